"""The app's three views through Streamlit's AppTest: what they say, not how they are drawn."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from streamlit.testing.v1 import AppTest

from mobclip import grid
from mobclip.place import Place
from mobclip.storage import read_json

APP = Path(__file__).parents[1] / "app"


@pytest.fixture
def open_app(app_data: Path, monkeypatch: pytest.MonkeyPatch):
    """Open the app with an address (`place="islands-r6"`, ...) on the test place."""
    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(app_data))

    def run(**address: str) -> AppTest:
        app = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
        for name, value in address.items():
            app.query_params[name] = value
        return checked(app.run())

    return run


def checked(app: AppTest) -> AppTest:
    """No run may raise."""
    assert not app.exception, [one.message for one in app.exception]
    assert not app.error, [one.value for one in app.error]
    return app


def sent(app: AppTest) -> dict:
    """Header of what the map component got."""
    (component,) = app.get("bidi_component")
    data = component.proto.bytes
    length = int.from_bytes(data[:4], "little")
    return json.loads(data[4 : 4 + length])


def address(app: AppTest, name: str) -> str:
    """One part of the page's address."""
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def words(app: AppTest) -> str:
    """Everything that the page says."""
    kinds = (app.markdown, app.caption, app.info, app.warning, app.code)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def a_cell(app_data: Path, number: int = 40) -> str:
    """One of the place's cells."""
    return grid.to_strings(Place.load(app_data / "places" / "islands-r6").cells[[number]])[0]


def test_without_a_place_the_command_is_named(
    open_app, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    app = open_app()
    assert "mobclip demo" in words(app)
    assert str(tmp_path) in words(app)


def test_a_place_without_embeddings_says_how_to_make_them(
    open_app, app_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "places" / "islands-r6"
    shutil.copytree(app_data / "places" / "islands-r6", folder)
    shutil.rmtree(folder / "runs")
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    assert "mobclip embed islands" in words(open_app())


def test_opens_on_the_run_that_is_best_on_blocks(open_app, app_data: Path) -> None:
    table = read_json(app_data / "places" / "islands-r6" / "probes.json")
    blocks: dict[str, list[float]] = {}
    for row in table["rows"]:
        if row["protocol"] == "blocks":
            blocks.setdefault(row["run"], []).append(row["mean"])
    best = max(blocks, key=lambda run: np.mean(blocks[run]))
    app = open_app()
    assert app.selectbox(key="run").value == best
    assert sorted(app.selectbox(key="run").options)[0].startswith("coordinates · R² ")
    assert "PCA" in words(app)  # colours are by PCA until UMAP is there


def test_the_map_shows_every_colouring(open_app, app_data: Path) -> None:
    app = open_app(cell=a_cell(app_data))
    drawn = {}
    for option in ("embedding", "similarity", "evidence", "has:poi", "target:visitors"):
        checked(app.selectbox(key="colour").set_value(option).run())
        drawn[option] = sent(app)
    assert len({one["colours"] for one in drawn.values()}) == 5
    assert drawn["target:visitors"]["legend"]["title"] == "Visitors (people a day)"
    assert [item["label"] for item in drawn["evidence"]["legend"]["items"]] == [
        "0 of 2", "1 of 2", "2 of 2",
    ]  # fmt: skip
    assert address(app, "colour") == "target:visitors"


def test_cells_travel_once_and_the_same_view_is_the_same_bytes(open_app, app_data: Path) -> None:
    app = open_app()
    count = len(Place.load(app_data / "places" / "islands-r6").cells)
    first = sent(app)["blobs"]
    assert first["cells"][1] == 8 * count
    assert first["colours"][1] == 3 * count
    assert "cells" not in sent(app.run())["blobs"]
    again = app.get("bidi_component")[0].proto.bytes
    app.run()
    assert app.get("bidi_component")[0].proto.bytes == again


def test_a_cell_has_its_similar_places_listed(open_app, app_data: Path) -> None:
    cell = a_cell(app_data)
    app = open_app(view="similar", cell=cell, count="10")
    table = app.dataframe[0].value
    assert len(table) == 10
    assert cell not in set(table["Cell"])
    assert table["Similarity"].is_monotonic_decreasing
    assert sent(app)["selected"] == cell
    assert sent(app)["results"] == table["Cell"].tolist()
    before = table["km away"].min()

    checked(app.select_slider(key="apart").set_value(20.0).run())
    assert before < 20 < app.dataframe[0].value["km away"].min()


@pytest.mark.parametrize("text", ["{cell}", "0x{cell}", "{lat}, {lon}", " {lat} {lon} "])
def test_search_by_cell_or_position(open_app, app_data: Path, text: str) -> None:
    cell = a_cell(app_data)
    lon, lat = grid.centers(grid.from_strings([cell]))[0]
    app = open_app(view="similar")
    assert "Click a hexagon" in words(app)
    checked(app.text_input(key="ask").set_value(text.format(cell=cell, lat=lat, lon=lon)).run())
    assert address(app, "cell") == cell
    assert sent(app)["fly"]["cell"] == cell
    assert len(app.dataframe[0].value) == 20


def test_search_by_words_finds_the_places_that_have_them(open_app, app_data: Path) -> None:
    app = open_app(view="similar", run="propagated")
    checked(app.text_input(key="ask").set_value("harbour warehouse").run())
    found = grid.centers(grid.from_strings(app.dataframe[0].value["Cell"].tolist()))
    assert (found[:, 0] < -30).mean() > 0.9  # the western island
    assert "km away" not in app.dataframe[0].value


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("862a1072fffffff", "has no cell there"),  # New York
        ("40.7, -74.0", "has no cell there"),
        ("140.7, -74.0", "no position on Earth"),
        ("86ffffffffffff0", "not an H3 cell"),
    ],
)
def test_what_cannot_be_found_is_said(open_app, text: str, answer: str) -> None:
    app = open_app(view="similar")
    checked(app.text_input(key="ask").set_value(text).run())
    assert answer in words(app)
    assert not app.dataframe


def test_words_need_a_run_with_text(open_app) -> None:
    app = open_app(view="similar", run="coordinates", query="harbour")
    assert "cannot be searched by words" in words(app)


def test_unknown_words_are_answered_with_known_ones(open_app) -> None:
    app = open_app(view="similar", run="propagated", query="harbor")
    assert "Known words like it: harbour" in words(app)
    assert not app.dataframe


def test_the_download_says_how_it_was_made(open_app, app_data: Path) -> None:
    cell = a_cell(app_data)
    open_app(view="similar", cell=cell)
    import cache
    import state
    from views import similar

    (files,) = cache.places()
    selection = state.Selection(view="similar", place="islands-r6", run="propagated", cell=cell)
    text = similar._as_csv(similar._answer(selection, files), selection, files)
    notes = [line for line in text.splitlines() if line.startswith("#")]
    assert f"# query: {cell}" in notes
    assert "# place: islands-r6" in notes
    assert any("CC0-1.0" in line for line in notes)
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    assert rows[0] == "rank,h3,lon,lat,similarity,km_away"
    assert len(rows) == 21


@pytest.mark.parametrize("layer", ["predicted", "actual", "error"])
def test_probe_shows_both_protocols_and_the_gap(open_app, layer: str) -> None:
    app = open_app(view="probe", target="visitors", layer=layer)
    labels = {one.label: one.value for one in app.metric}
    assert set(labels) == {"R² in new areas", "R² in scattered gaps"}
    assert all("±" in value for value in labels.values())
    assert "new areas" in words(app)
    title = sent(app)["legend"]["title"]
    assert title.startswith({"predicted": "Pred", "actual": "Meas", "error": "Error"}[layer])
    if layer == "error":
        assert "log(1 + people a day)" in title


def test_the_probe_of_zones_colours_their_cells(open_app) -> None:
    app = open_app(view="probe")
    assert app.selectbox(key="target").value == "income"
    assert "Invented for a test." in words(app)
    assert len(app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart")) == 2


def test_switching_run_and_view_keeps_the_cell(open_app, app_data: Path) -> None:
    cell = a_cell(app_data)
    app = open_app(cell=cell)
    checked(app.selectbox(key="run").set_value("coordinates").run())
    checked(app.button[0].click().run())
    assert address(app, "view") == "similar"
    assert address(app, "run") == "coordinates"
    assert sent(app)["selected"] == cell


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"place": "atlantis-r6"}, "atlantis-r6"),
        ({"run": "gpt"}, "gpt"),
        ({"cell": "862a1072fffffff"}, "862a1072fffffff"),
        ({"cell": "<script>"}, "not a cell"),
        ({"view": "nonsense"}, ""),
        ({"colour": "target:nonsense"}, ""),
        ({"view": "probe", "target": "nonsense", "layer": "nonsense"}, ""),
        ({"view": "similar", "count": "many", "apart": "nan"}, ""),
        ({"view": "similar", "count": "-5", "apart": "1e99"}, ""),
    ],
)
def test_bad_links_open_something_and_say_what_was_ignored(
    open_app, address: dict[str, str], said: str
) -> None:
    assert said in words(open_app(**address))


def test_a_damaged_file_is_an_error_in_words(
    open_app, app_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "places" / "islands-r6"
    shutil.copytree(app_data / "places" / "islands-r6", folder)
    for path in folder.glob("runs/*/projection.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(APP))
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=60).run()
    assert not app.exception
    assert "projection.parquet" in app.error[0].value


def test_starting_the_app_imports_nothing_slow(app_data: Path) -> None:
    import subprocess

    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cache, state; "
        "from views import frame, map, probe, similar; "
        "print([m for m in ('torch', 'umap', 'geopandas', 'sklearn', 'rasterio', 'numba',"
        " 'altair') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(APP)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_run_without_colours_on_disk_is_coloured_by_pca(
    open_app, app_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "places" / "islands-r6"
    shutil.copytree(app_data / "places" / "islands-r6", folder)
    for path in folder.glob("runs/*/projection.parquet"):
        path.unlink()
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(APP))
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=60).run()
    assert not app.error
    assert not app.exception
    assert app.get("bidi_component")
