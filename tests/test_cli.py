"""The command line as a newcomer uses it, with wrong input too."""

import re
import subprocess
import sys

import geopandas
import numpy as np
import pytest
from typer.testing import CliRunner

from mobclip import grid
from mobclip.cli import app, main
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import Place

COMMANDS = [
    "fetch",
    "tokenize",
    "train",
    "embed",
    "project",
    "search",
    "probe",
    "evaluate",
    "coverage",
    "export",
    "replay",
    "app",
    "demo",
]


@pytest.fixture
def run(country_data, manifest_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    base = ["--manifest", str(manifest_path), "--data", str(country_data)]
    return lambda *words: CliRunner().invoke(app, [*base, *words])


def test_without_arguments_it_explains_itself():
    result = CliRunner().invoke(app, [])
    for command in COMMANDS:
        assert command in result.output
    assert "mobclip demo" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 300


def test_search_by_cell_by_position_and_by_text(run, country_data):
    place = Place.load(country_data / "places" / "synthetic-600-r6")
    cell = place.cells[100]
    lon, lat = grid.centers(place.cells[100:101])[0]
    size = ["--cells", "600", "-k", "3"]
    by_cell = run("search", "synthetic", *size, "--cell", f"{cell:x}")
    by_place = run("search", "synthetic", *size, "--at", str(lon), str(lat))
    assert by_cell.exit_code == by_place.exit_code == 0, by_cell.output
    cells = re.findall(r"│ ([0-9a-f]{15}) │", by_cell.output)
    assert len(cells) == 3
    assert cells == re.findall(r"│ ([0-9a-f]{15}) │", by_place.output)
    by_text = run("search", "synthetic", *size, "--text", "harbour")
    assert len(re.findall(r"│ [0-9a-f]{15} │", by_text.output)) == 3


def test_probe_prints_the_ladder_and_the_warning(run):
    result = run("probe", "synthetic", "--cells", "600")
    assert result.exit_code == 0, result.output
    assert re.search(r"mobclip-paper +│ +128 +│ +-?0\.\d{3} ± 0\.\d{3}", result.output)


def test_demo_without_the_app_finds_everything_done(run):
    result = run("demo", "--cells", "600", "--epochs", "3", "--no-app")
    assert result.exit_code == 0, result.output
    assert "600" in result.output
    assert "fitting" not in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "synthetic", "--cells", "600"], "one of --cell"),
        (["search", "synthetic", "--cells", "600", "--cell", "zzz"], "'zzz' (row 0) is not an H3"),
        (["search", "synthetic", "--cells", "600", "--at", "10", "10"], "not among the"),
        (["tokenize", "chicgo"], "Did you mean 'chicago'"),
        (["embed", "synthetic", "--cells", "600", "--run", "clip"], "no run 'clip'"),
        (["train", "synthetic", "--cells", "600", "--epochs", "0"], "must be 1 or more"),
        (["project", "synthetic", "--cells", "600", "--method", "tsne"], "choose pca or umap"),
    ],
)
def test_wrong_input_is_one_plain_message(
    words, message, country_data, manifest_path, monkeypatch, capsys
):
    base = ["mobclip", "--manifest", str(manifest_path), "--data", str(country_data)]
    monkeypatch.setattr(sys, "argv", [*base, *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_help_does_not_load_torch():
    code = "import sys; from mobclip import cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_export_writes_what_the_ending_says(run, country_data, tmp_path):
    place = Place.load(country_data / "places" / "synthetic-600-r6")
    words = ["export", "synthetic", "--cells", "600", "--run", "pca", "--out"]
    done = run(*words, str(tmp_path / "a.parquet"))
    assert done.exit_code == 0, done.output
    read = geopandas.read_parquet(tmp_path / "a.parquet")
    assert read.crs.to_string() == "OGC:CRS84"  # longitude first, as GeoParquet has it
    assert read["h3"].tolist() == grid.to_strings(place.cells)
    made = Embeddings.load(place.folder / "runs" / "pca" / "embeddings.parquet")
    np.testing.assert_array_equal(np.stack(read["embedding"]), made.vectors)
    np.testing.assert_allclose(
        read["POP"], place.targets["POP"].on_cells(place.targets["POP"].values)
    )
    done = run(*words, str(tmp_path / "a.xlsx"))
    assert isinstance(done.exception, ConfigError)
    assert "ends in .parquet (GeoParquet), .csv or .pmtiles" in str(done.exception)
    assert not (tmp_path / "a.xlsx").exists()
