"""The notebooks run from top to bottom, offline, and are stored without outputs."""

import ast
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="running notebooks needs the extra 'dev'")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("leafmap", reason="the notebooks need the extra 'notebook'")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param, nbformat.read(request.param, as_version=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for all: the later notebooks find the country of the first."""
    return tmp_path_factory.mktemp("notebooks")


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03"]


# jupyter_client warns that the kernel talks over an unencrypted local socket: it is this machine's.
@pytest.mark.filterwarnings("ignore:.*encryption")
def test_runs_from_top_to_bottom_without_network(notebook, data, tmp_path, monkeypatch):
    path, content = notebook
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(data))
    # Streamlit, tested in the same process, sets a backend that draws nothing in a notebook.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # no start-up files of the user
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    client = nbclient.NotebookClient(
        content, timeout=120, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    client.execute()  # raises if a cell does
    # What the reader came for: a picture in the first, a map in the second.
    shown = [
        kind
        for cell in content.cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    ]
    assert "image/png" in shown
    if path.stem.startswith("02"):
        assert "application/vnd.jupyter.widget-view+json" in shown
        assert {"LeafletGeoJSONModel"} == layers_of_maps(content)  # no tiles


def layers_of_maps(content) -> set[str]:
    """Kinds of layers on the maps of an executed notebook."""
    (widgets,) = content.metadata["widgets"].values()
    models = widgets["state"]
    maps = [one["state"] for one in models.values() if one["model_name"] == "LeafletMapModel"]
    layers = [layer for one in maps for layer in one["layers"]]
    return {models[layer.removeprefix("IPY_MODEL_")]["model_name"] for layer in layers}


def test_is_stored_without_outputs(notebook):
    _, content = notebook
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    assert code
    assert not [cell for cell in code if cell.outputs or cell.execution_count is not None]
    assert set(content.metadata) <= {"kernelspec", "language_info"}


def test_defines_nothing_long(notebook):
    # What is longer belongs in the package, where it is tested.
    _, content = notebook
    for cell in content.cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                assert not isinstance(node, ast.ClassDef)
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno <= 5, node.name
