"""Shared fixtures. Real data is reached only through MOBCLIP_MIRROR, and tests skip without it."""

import os
from pathlib import Path

import numpy as np
import pytest
import shapely
from scipy import sparse

from mobclip import grid, pipeline
from mobclip.config import FusionConfig
from mobclip.graph import MobilityGraph
from mobclip.place import Place, Target, save_place
from mobclip.table import CellTable
from pages import checked

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
def chicago(mirror: Path, manifest_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Real Chicago at resolution 8, with two runs of it."""
    data = tmp_path_factory.mktemp("chicago")
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=data, mirror=mirror)
    place = pipeline.tokenize(workspace, workspace.spec("chicago", resolution=8))
    for run, config in (("pca", None), ("mobclip", FusionConfig(epochs=1, hidden_units=64))):
        pipeline.embed(workspace, place, run, config=config)
        pipeline.project(workspace, place, run)
    pipeline.probe(workspace, place, seeds=[0])
    return place


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


@pytest.fixture(scope="session")
def app_data(tmp_path_factory: pytest.TempPathFactory, manifest_path: Path) -> Path:
    """A data folder with one small place, made by the real stages, for the app to open.

    Two islands: harbour words and high values in the west, farm words and low ones in the east.
    """
    from mobclip import pipeline
    from mobclip.featurizers.tfidf import Tfidf
    from mobclip.modalities import poi
    from mobclip.records import PointRecords

    rng = np.random.default_rng(1)
    islands = [shapely.box(-30.6, -20.5, -30.1, -19.8), shapely.box(-29.9, -20.5, -29.4, -19.8)]
    cells = np.sort(np.concatenate([grid.polygon_to_cells(island, 6) for island in islands]))
    lonlat = grid.centers(cells)
    west = lonlat[:, 0] < -30.0
    spread = rng.integers(0, len(cells), 3 * len(cells))
    words = np.where(west[spread], "harbour warehouse", "farm barn").astype(object)
    words[::3] = "cafe market"
    points = PointRecords(
        source="venues",
        lon=lonlat[spread, 0],
        lat=lonlat[spread, 1],
        text=words,
        category=np.array([str(text).split()[0] for text in words], object),
        weight=np.ones(len(spread)),
    )
    featurizer = Tfidf(dims=4)
    tables = {
        "poi": poi.tokenize([points], cells, featurizer),
        "demographics": CellTable(
            modality="demographics",
            cells=cells[10:],
            values=(west[10:, None] + 0.3 * rng.normal(size=(len(cells) - 10, 3))).astype(
                np.float32
            ),
            columns=("hist_age_young", "hist_age_middle", "hist_age_old"),
        ),
    }
    districts, district = np.unique(grid.parents(cells, 5), return_inverse=True)
    membership = sparse.csr_array(
        (1.0 / np.bincount(district)[district], (district, np.arange(len(cells)))),
        shape=(len(districts), len(cells)),
    )
    targets = {
        "income": Target(
            name="income",
            title="Median income",
            unit="coins a year",
            level="districts",
            unit_ids=np.array(grid.to_strings(districts), object),
            values=np.asarray(membership @ (20.0 + 30 * west)) + rng.normal(size=len(districts)),
            weights=membership,
            note="Invented for a test.",
        ),
        "visitors": Target(
            name="visitors",
            title="Visitors",
            unit="people a day",
            level="cell",
            unit_ids=np.array(grid.to_strings(cells[5:]), object),
            values=np.exp(rng.normal(3 + 2 * west[5:], 0.3)),
            weights=sparse.eye_array(len(cells), format="csr")[5:],
            transform="log1p",
        ),
    }
    land = {
        "type": "MultiPolygon",
        "coordinates": [island.__geo_interface__["coordinates"] for island in islands],
    }
    town = {"type": "Point", "coordinates": [-30.35, -20.1]}
    context = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {"kind": "coast"}, "geometry": land},
            {
                "type": "Feature",
                "properties": {"kind": "city", "name": "Westport", "population": 9000},
                "geometry": town,
            },
        ],
    }
    data = tmp_path_factory.mktemp("app")
    place = save_place(
        data / "places" / "islands-r6",
        name="islands",
        title="Two islands",
        resolution=6,
        cells=cells,
        tables=tables,
        graph=None,
        targets=targets,
        provenance={
            "key": "islands",
            "generated": True,
            "sources": {"venues": {"provider": "Nobody", "licence": "CC0-1.0", "date": "2026"}},
        },
        featurizers={"poi": featurizer},
        context=context,
    )
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=data)
    for run in ("coordinates", "demographics", "propagated"):
        pipeline.embed(workspace, place, run)
        pipeline.project(workspace, place, run)
    pipeline.probe(workspace, place)
    return data


@pytest.fixture(scope="session")
def country_data(tmp_path_factory: pytest.TempPathFactory, manifest_path: Path) -> Path:
    """A data folder in which the main job has run on a country of 600 cells, 3 epochs."""
    from mobclip import pipeline
    from mobclip.config import FusionConfig, TrainConfig

    data = tmp_path_factory.mktemp("country")
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=data)
    configs = {"mobclip": FusionConfig(epochs=3), "mobclip-paper": TrainConfig(epochs=3)}
    pipeline.demo(workspace, workspace.spec("synthetic", cells=600), configs)
    return data


@pytest.fixture
def open_app(app_data: Path, monkeypatch: pytest.MonkeyPatch):
    """Open the app with an address (`place="islands-r6"`, ...) on the test place, or on others.

    data : folder of other places
    """
    testing = pytest.importorskip("streamlit.testing.v1", reason="the app needs the extra 'app'")
    app_folder = REPOSITORY / "app"
    monkeypatch.syspath_prepend(str(app_folder))

    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(app_data))

    def run(data: Path | None = None, **address: str):
        if data is not None:
            monkeypatch.setenv("MOBCLIP_DATA_DIR", str(data))
        app = testing.AppTest.from_file(str(app_folder / "main.py"), default_timeout=60)
        for name, value in address.items():
            app.query_params[name] = value
        return checked(app.run())

    return run


def striped_chips(west: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 32, 32) images from 0 to 255: stripes of fields in the east, blocks in the west."""
    across, down = np.meshgrid(np.arange(32), np.arange(32))
    fields = np.where(across // 4 % 2, 150.0, 90.0)
    blocks = np.where((across // 8 + down // 8) % 2, 220.0, 40.0)
    grey = np.where(west[:, None, None], blocks, fields)
    colour = grey[:, None] * np.array([0.9, 1.0, 0.8])[:, None, None]
    return np.clip(colour + 10 * rng.normal(size=colour.shape), 0, 255).astype(np.float32)


@pytest.fixture(scope="session")
def pictured_data(
    app_data: Path, tmp_path_factory: pytest.TempPathFactory, manifest_path: Path
) -> Path:
    """The two islands with images and flows too, and the runs mobclip (fitted, not trained),
    propagated and coordinates."""
    from dataclasses import replace

    from mobclip import featurizers, fusion, pipeline
    from mobclip.chips import Look, chip_writer
    from mobclip.config import FusionConfig
    from mobclip.featurizers.mosaiks import Mosaiks
    from mobclip.probes.words import text_map

    rng = np.random.default_rng(8)
    islands = Place.load(app_data / "places" / "islands-r6")
    cells = islands.cells
    west = grid.centers(cells)[:, 0] < -30.0
    chips = striped_chips(west, rng)
    reader = Mosaiks(filters=8).fit(chips)
    seen = np.arange(len(cells)) % 9 > 0  # some have no image
    imagery = CellTable(
        modality="imagery",
        cells=cells[seen],
        values=np.column_stack([reader(chips[seen]), np.ones(seen.sum(), np.float32)]),
        columns=(*reader.columns, "covered"),
    )
    origin, destination = rng.integers(0, len(cells), (2, 4000))
    alike = (west[origin] == west[destination]) & (origin % 5 > 0) & (destination % 7 > 0)
    graph = MobilityGraph.from_edges(
        cells, cells[origin[alike]], cells[destination[alike]], np.ones(int(alike.sum()))
    )
    data = tmp_path_factory.mktemp("pictured")
    look = Look(bands=(1, 2, 3), named=False, low=0.0, high=255.0)
    with chip_writer(data / "chips", look, 32) as append:
        append(cells[seen], chips[seen])
    place = save_place(
        data / "places" / "islands-r6",
        name="islands",
        title="Two islands",
        resolution=6,
        cells=cells,
        tables={**islands.tables, "imagery": imagery},
        graph=graph,
        targets=islands.targets,
        provenance={**islands.provenance, "key": "pictured"},
        featurizers={
            "poi": featurizers.load(islands.folder / "featurizers" / "poi"),
            "imagery": reader,
        },
        context=islands.context,
        chips=data / "chips",
    )
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=data)
    for run in ("coordinates", "propagated"):
        pipeline.embed(workspace, place, run)
    run = place.folder / "runs" / "mobclip"
    fusion.Fusion.fit([place], FusionConfig(dims=16)).save(run / fusion.FUSION_FILE)
    made = fusion.embed(place, run, name="mobclip")
    made = replace(made, provenance={**made.provenance, "place_key": "pictured", "key": "fitted"})
    made.save(run / "embeddings.parquet")
    words = text_map(made, place)
    assert words is not None
    words.save(run / "text.safetensors")
    return data
