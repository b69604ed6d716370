"""Shared fixtures. Real data is reached only through MOBCLIP_MIRROR, and tests skip without it."""

import os
from pathlib import Path

import numpy as np
import pytest
import shapely
from scipy import sparse

from mobclip import grid
from mobclip.graph import MobilityGraph
from mobclip.place import Place, Target, save_place
from mobclip.table import CellTable

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def manifest_path() -> Path:
    """The repository's own manifest."""
    return REPOSITORY / "data_manifest.yaml"


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder of the real data; skips where there is none."""
    value = os.environ.get("MOBCLIP_MIRROR")
    if not value or not Path(value).is_dir():
        pytest.skip("real data: set MOBCLIP_MIRROR to the folder that holds chicago/ and nyc/")
    return Path(value)


@pytest.fixture(scope="session")
def toy_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """226 cells in two kinds of place, which POIs, flows and the target all tell apart.

    Written by hand, not by the pipeline, so that the tests of models and probes stand alone.
    """
    rng = np.random.default_rng(0)
    cells = grid.polygon_to_cells(shapely.box(-35, 38, -34, 39), 6)
    n = len(cells)
    kind = rng.integers(0, 2, n)
    origin, destination = rng.integers(0, n, (2, 6000))
    alike = kind[origin] == kind[destination]
    keep = alike | (rng.random(6000) < 0.2)
    graph = MobilityGraph.from_edges(
        cells, cells[origin[keep]], cells[destination[keep]], np.ones(int(keep.sum()))
    )
    some = np.flatnonzero(rng.random(n) < 0.8)
    text = np.eye(2)[kind[some]] + 0.3 * rng.normal(size=(len(some), 2))
    total = rng.normal(size=(len(some), 1))
    poi = CellTable(
        modality="poi",
        cells=cells[some],
        values=np.hstack([text, total]).astype(np.float32),
        columns=("text_000", "text_001", "log_total"),
    )
    demographics = CellTable(
        modality="demographics",
        cells=cells,
        values=(kind[:, None] + rng.normal(size=(n, 4))).astype(np.float32),
        columns=tuple(f"hist_age_{i}" for i in range(4)),
    )
    target = Target(
        name="kind",
        title="Kind of place",
        unit="0 or 1",
        level="cell",
        unit_ids=np.array(grid.to_strings(cells), dtype=object),
        values=kind + 0.1 * rng.normal(size=n),
        weights=sparse.eye_array(n, format="csr"),
    )
    return save_place(
        tmp_path_factory.mktemp("toy") / "toy-r6",
        name="toy",
        title="Toy",
        resolution=6,
        cells=cells,
        tables={"poi": poi, "demographics": demographics},
        graph=graph,
        targets={"kind": target},
        provenance={"key": "toy", "sources": {"made": {"licence": "none"}}},
    )
