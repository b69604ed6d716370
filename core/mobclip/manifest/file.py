"""A manifest file: all places of it, or every problem in it."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mobclip.errors import ManifestError
from mobclip.manifest.entries import PlaceSpec
from mobclip.manifest.parser import Parser, listed, nearest


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All places of one manifest file."""

    path: Path
    places: Mapping[str, PlaceSpec]

    def place(self, name: str) -> PlaceSpec:
        """The place called `name`; `ManifestError` lists what there is."""
        if name not in self.places:
            raise ManifestError(
                f"{self.path} has no place {name!r}.{nearest(name, list(self.places))} "
                f"It has {listed(list(self.places))}."
            )
        return self.places[name]


def load_manifest(path: Path | str) -> Manifest:
    """Read and check a whole manifest; `ManifestError` lists every problem found."""
    path = Path(path)
    try:
        document = yaml.load(path.read_text("utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError as error:
        raise ManifestError(
            f"There is no manifest at {path}. Name one with --manifest, "
            "or run from the folder that holds data_manifest.yaml."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} is not valid YAML: {error}") from error
    parser = Parser()
    if isinstance(document, dict):
        document = {key: v for key, v in document.items() if not str(key).startswith("x-")}
    top = parser.mapping(document, "the file", keys=("places",), required=("places",))
    places = parser.named(top.get("places"), "places")
    parsed = {name: parser.place(name, body) for name, body in places.items()}
    if parser.problems:
        count = len(parser.problems)
        lines = "".join(f"\n  - {problem}" for problem in parser.problems)
        raise ManifestError(
            f"{path} has {count} problem{'s' if count > 1 else ''}:{lines}\n"
            "The reference of all keys is the docstring of mobclip.manifest "
            "(`python -m pydoc mobclip.manifest`)."
        )
    return Manifest(path=path, places=parsed)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets a key repeat and keeps the last: here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            # "<<" is the merge key, whose entries may be overridden.
            if key_node.tag != "tag:yaml.org,2002:merge":
                key = self.construct_object(key_node, deep=True)
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} stands twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)
