"""The names that users import, and that importing them costs little."""

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mobclip

REPOSITORY = Path(__file__).parents[1]

NAMES = {
    *("CellTable", "Embeddings", "Matches", "MobclipError", "MobilityGraph", "Place"),
    *("ProbeResult", "Projection", "SimilarityIndex", "TrainConfig", "Workspace"),
    *("load_manifest", "probe"),
}


def test_the_names_are_these():
    # A name that goes or changes breaks the code of others: change this list on purpose only.
    assert set(mobclip.__all__) == NAMES
    assert set(mobclip.__all__) <= set(dir(mobclip))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_is_there_and_explained(name):
    thing = getattr(mobclip, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("mobclip.")
    assert len(inspect.getdoc(thing) or "") > 30
    assert f"`{name}`" in (mobclip.__doc__ or "")


def test_type_checkers_see_what_python_sees():
    # Lazy names are imported for type checkers alone, beside the table that Python goes by.
    tree = ast.parse(inspect.getsource(mobclip))
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    assert imported == {name: f"mobclip.{home}" for name, home in mobclip._HOME.items()}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        mobclip.Nothing  # noqa: B018


def test_import_is_light():
    code = "import sys, mobclip; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "mobclip" in loaded
    assert not {"torch", "numpy", "pandas", "pyarrow", "h3", "umap"} & set(loaded)


def test_version_is_the_one_of_the_package():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert mobclip.__version__ == project["version"]
    assert f"## {mobclip.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
