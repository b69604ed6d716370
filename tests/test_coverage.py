"""The report of a place: planted faults are found, numbers are those of a naive count."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import shapely
from scipy import sparse

from mobclip import grid
from mobclip.coverage import report
from mobclip.graph import MobilityGraph
from mobclip.place import Place, Target, save_place
from mobclip.table import CellTable


@pytest.fixture
def place(tmp_path):
    """A place with faults of every sort."""
    rng = np.random.default_rng(0)
    cells = grid.polygon_to_cells(shapely.box(-35, 38, -33, 40), 6)
    n = len(cells)
    some = np.arange(n // 4)
    normal = rng.normal(size=len(some))
    wild = rng.normal(size=len(some))
    wild[7] = 1e4
    values = np.column_stack([normal, normal, np.full(len(some), 3.0), wild])
    values[1] = values[0]  # two cells alike
    poi = CellTable(
        modality="poi",
        cells=cells[some],
        values=values.astype(np.float32),
        columns=("count_bar", "count_cafe", "count_zoo", "log_total"),
    )
    ends = np.array([[0, 1, 6.0], [1, 0, 2.0], [2, 3, 4.0], [5, 5, 20.0]])
    graph = MobilityGraph.from_edges(
        cells, cells[ends[:, 0].astype(int)], cells[ends[:, 1].astype(int)], ends[:, 2]
    )
    values = np.zeros(10)
    values[:3] = 1
    target = Target(
        name="poor",
        title="Poor",
        unit="",
        level="cell",
        unit_ids=np.array(grid.to_strings(cells[:10]), object),
        values=values,
        kind="binary",
        weights=sparse.eye_array(n, format="csr")[:10],
    )
    number = replace(target, name="rent", title="Rent", kind="number", values=np.arange(10.0))
    sources = {
        "venues": {"provider": "A", "licence": "CC0", "citation": "B.", "dropped": {"no id": 3}},
        "trips": {"provider": "C", "licence": "unstated"},
    }
    return save_place(
        tmp_path / "faulty-r6",
        name="faulty",
        title="Faulty",
        resolution=6,
        cells=cells,
        tables={"poi": poi},
        graph=graph,
        targets={"poor": target, "rent": number},
        provenance={"key": "k", "mobclip": "0", "sources": sources},
    )


def test_coverage_is_counted(place):
    found = report(place)
    by_name = {one.name: one for one in found.modalities}
    n = len(place.cells)
    assert (by_name["poi"].cells, by_name["mobility"].cells) == (n // 4, 4)
    assert by_name["poi"].share == pytest.approx((n // 4) / n)
    assert found.complete == pytest.approx(4 / n)
    assert by_name["poi"].alike == 2


def test_odd_columns_are_named(place):
    columns = {one.name: one for one in report(place).modalities[1].columns}
    assert columns["count_zoo"].constant
    assert columns["count_cafe"].same_as == "count_bar"
    assert columns["log_total"].extreme == 1
    assert columns["count_bar"].extreme == 0
    assert columns["log_total"].most == 1e4
    found = " ".join(report(place).findings)
    assert "count_zoo is the same in every cell" in found
    assert "count_cafe (= count_bar) is there twice" in found
    assert "Only 25% of the cells have points of interest" in found


def test_flows_are_counted(place):
    flows = report(place).flows
    assert flows.edges == 3
    assert flows.isolated == len(place.cells) - 4
    assert flows.weight == 32
    assert flows.kept == pytest.approx(12 / 32)
    assert flows.inside == pytest.approx(20 / 32)
    assert flows.returned == pytest.approx((2 + 2) / 12)  # 2 of 6 there come back, and 2 of 2
    assert flows.largest == pytest.approx(6 / 12)
    assert any("62% of the flow stays inside one cell" in one for one in report(place).findings)


def test_targets_and_what_nearly_holds_them(place):
    leak = {"target": "rent", "modality": "poi", "column": "log_total", "r2_column": 0.91}
    found = report(place, {"leakage": [{**leak, "near_copy": True}]})
    poor, rent = found.targets
    assert poor.summary == "30% yes"
    assert rent.summary == "0 to 9, median 4.5"
    assert rent.cells == pytest.approx(10 / len(place.cells))
    assert (poor.copy, rent.copy, rent.nearest) == (False, True, "poi: log_total")
    assert found.findings[0].startswith("“Rent” is nearly held by the input poi: log_total")


def test_what_was_dropped_and_what_must_be_attributed(place):
    found = report(place)
    assert found.sources[0].dropped == {"no id": 3}
    assert found.attribution.splitlines() == [
        "venues: A. B. Licence: CC0.",
        "trips: C. Licence: unstated.",
    ]
    assert any("The licence of trips is not stated" in one for one in found.findings)


def test_a_place_without_faults_has_no_findings(toy_place):
    found = report(toy_place)
    assert not [one for one in found.findings if "same in every cell" in one or "twice" in one]
    assert found.flows.returned is not None


def test_the_command_prints_it(country_data, manifest_path):
    options = ["--manifest", str(manifest_path), "--data", str(country_data)]
    command = [sys.executable, "-m", "mobclip", *options, "coverage", "synthetic"]
    done = subprocess.run([*command, "--cells", "600"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    place = Place.load(next((country_data / "places").iterdir()))
    assert f"{len(place.cells):,} cells" in done.stdout
    assert "Halcyonia, an invented country" in done.stdout
