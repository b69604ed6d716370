"""The map as one file: opens from a disk, without a server and without network."""

import base64
import html
from typing import Any

from map_component import BUNDLE, Coloured, MapPlace, encode

_LICENCES = BUNDLE.with_suffix(".LICENSES.txt")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --st-font: system-ui, sans-serif;
  --st-code-font: ui-monospace, monospace; --st-background-color: #ffffff;
  --st-secondary-background-color: #f0f2f6; --st-text-color: #31333f; --st-border-color: #d5d8de;
  --st-primary-color: #1f7a8c; }}
@media (prefers-color-scheme: dark) {{ :root {{ --st-background-color: #0e1117;
  --st-secondary-background-color: #262730; --st-text-color: #fafafa; --st-border-color: #3d4046;
  --st-primary-color: #4fb3c8; }} }}
body {{ margin: 0; height: 100vh; display: flex; flex-direction: column;
  font-family: var(--st-font); background: var(--st-background-color);
  color: var(--st-text-color); }}
h1 {{ font-size: 1.15rem; margin: .7rem 1rem .5rem; overflow-wrap: anywhere; }}
main {{ flex: 1; min-height: 300px; padding: 0 1rem; }}
footer {{ font-size: .8rem; margin: .5rem 1rem .7rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
<main><div class="mobclip-map"></div></main>
<footer>{provenance}</footer>
<script type="text/plain" id="licences">{licences}</script>
<script type="text/plain" id="map">{data}</script>
<script type="module">
{bundle}
</script>
<script type="module">
const text = atob(document.getElementById("map").textContent);
const data = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
window.__mobclipMap({{parentElement: document, data, setTriggerValue: () => {{}}}});
</script>
</body>
</html>
"""


def html_map(
    place: MapPlace, colouring: Coloured, *, title: str, provenance: str, **options: Any
) -> bytes:
    """A page with the map of a colouring: it can be moved, hovered over and saved as a picture.

    options : further ones of `encode`, such as ``selected`` or a second colouring
    """
    data = encode(
        place,
        colouring.colours,
        with_place=True,
        label=title,
        height="100%",
        legend=colouring.legend,
        values=colouring.values,
        tip=colouring.tip,
        provenance=provenance,
        **options,
    )
    page = _PAGE.format(
        title=html.escape(title),
        provenance=html.escape(provenance),
        licences=_in_script(_LICENCES.read_text("utf-8")),
        data=base64.b64encode(data).decode(),
        bundle=_in_script(BUNDLE.read_text("utf-8")),
    )
    return page.encode()


def _in_script(text: str) -> str:
    # Neither may stand in a script of a page, whatever it means to JavaScript.
    return text.replace("</script", r"<\/script").replace("<!--", r"<\!--")
