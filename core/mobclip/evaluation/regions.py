"""Region-embedding benchmarks given as arrays: our rows beside published tables.

Such a benchmark is a city cut into a few hundred regions: flows between them, features of each
(such as points of interest by category), labels to be predicted and land-use classes to be found
again. Here it becomes a place of one cell per region, on which our training-free rows are made,
and all vectors are scored by the protocol of those papers (`mobclip.probes.region_protocol`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.geometry
from jaxtyping import Float64, Int64, Real, UInt64

from mobclip import grid
from mobclip.baselines import BASELINES, ENCODINGS, Features, available
from mobclip.errors import ConfigError, RecordError
from mobclip.graph import MobilityGraph
from mobclip.place import MOBILITY, Place
from mobclip.probes.region_protocol import region_clustering, region_regression
from mobclip.storage import digest, read_json
from mobclip.table import CellTable

FOLDS = (5, 10)  # both are in use
MAX_REGIONS = 20_000  # a dense matrix of flows: 3 GB
# Baselines that ask where a cell is.
USE_SPACE = ("coordinates", *ENCODINGS, "neighbours", "poi-clusters", "propagated")


@dataclass(frozen=True, kw_only=True)
class RegionBenchmark:
    """Arrays of one city. Every array has the same regions in the same order."""

    # Plain arrays: they come from files of others, and __post_init__ says what is wrong with them.
    name: str
    mobility: np.ndarray  # (regions, regions) float64: flow from row to column, 0 or more
    features: Mapping[str, np.ndarray] = field(default_factory=dict)  # (regions, columns) float64
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)  # (regions,) float64
    clusters: np.ndarray | None = None  # (regions,) int64: land-use class of each region
    polygons: np.ndarray | None = None  # (regions,) shapely, degrees lon, lat
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)  # (regions, dims), of others

    def __post_init__(self) -> None:
        n = len(self.mobility)
        if self.mobility.shape != (n, n) or not 2 <= n <= MAX_REGIONS:
            raise RecordError(
                f"{self.name}: mobility has shape {self.mobility.shape}; it is (regions, regions), "
                f"2 to {MAX_REGIONS:,} of them. Sum a third axis, such as hours, first."
            )
        arrays: dict[str, np.ndarray | None] = {
            "mobility": self.mobility,
            **{f"features_{name}": values for name, values in self.features.items()},
            **{f"label_{name}": values for name, values in self.labels.items()},
            **{f"vectors_{name}": values for name, values in self.vectors.items()},
            "clusters": self.clusters,
            "polygons": self.polygons,
        }
        for name, values in arrays.items():
            if values is None:
                continue
            if len(values) != n:
                raise RecordError(
                    f"{self.name}: {name} has {len(values)} rows and mobility {n}: all arrays "
                    "have the same regions."
                )
            if name != "polygons" and not np.isfinite(values).all():
                raise RecordError(f"{self.name}: {name} has values that are not finite.")
        if (self.mobility < 0).any():
            raise RecordError(f"{self.name}: mobility has negative flows; a flow is 0 or more.")
        if MOBILITY in self.features:
            raise RecordError(
                f"{self.name}: features cannot be called {MOBILITY!r}, which are the flows."
            )

    def __len__(self) -> int:
        return len(self.mobility)

    @classmethod
    def load(cls, folder: Path | str) -> "RegionBenchmark":
        """Read a folder of arrays.

        =====================  =================================================================
        `mobility`             (regions, regions) flows from row to column; required
        `features_<name>`      (regions, columns), e.g. `features_poi` with counts by category
        `label_<name>`         (regions,), e.g. `label_crime`
        `clusters`             (regions,) whole numbers: the land-use class
        `vectors_<name>`       (regions, dims) embeddings of others, to be scored beside ours
        `regions.geojson`      polygons in the order of the rows, degrees lon, lat
        =====================  =================================================================

        Arrays are .npy (numbers alone: nothing is unpickled) or .csv (comma-separated numbers, a
        first line of names is skipped).

        Raises
        ------
        RecordError : a file is missing, given twice, not whole, or of the wrong shape
        """
        folder = Path(folder)
        paths: dict[str, Path] = {}
        for path in sorted([*folder.glob("*.npy"), *folder.glob("*.csv")]):
            if path.stem in paths:
                raise RecordError(f"{path.stem} is there twice, in {paths[path.stem]} and {path}.")
            paths[path.stem] = path
        if MOBILITY not in paths:
            raise RecordError(f"{folder} has no mobility.npy or mobility.csv.")
        outline = folder / "regions.geojson"
        clusters = _read_array(paths["clusters"]) if "clusters" in paths else None
        return cls(
            name=folder.name,
            mobility=_read_array(paths[MOBILITY]),
            features={
                stem.removeprefix("features_"): _matrix(_read_array(path))
                for stem, path in paths.items()
                if stem.startswith("features_")
            },
            labels={
                stem.removeprefix("label_"): _column(_read_array(path), path)
                for stem, path in paths.items()
                if stem.startswith("label_")
            },
            vectors={
                stem.removeprefix("vectors_"): _matrix(_read_array(path))
                for stem, path in paths.items()
                if stem.startswith("vectors_")
            },
            clusters=None if clusters is None else _whole(clusters, paths["clusters"]),
            polygons=_read_polygons(outline) if outline.is_file() else None,
        )


@dataclass(frozen=True, kw_only=True)
class RegionPlace:
    """A benchmark as a place: one cell for each region."""

    place: Place  # in memory; POI-like tables, flows, no targets
    cells: UInt64[np.ndarray, "regions"]  # of each region, in the benchmark's order
    left_out: Mapping[str, str]  # baseline -> why it cannot be made here


def place_of(benchmark: RegionBenchmark) -> RegionPlace:
    """The benchmark as a place, on which our rows can be made.

    With polygons a region is the cell of its centroid, at the coarsest resolution that keeps all
    regions apart, so that neighbours stay as near as they can. Without, cells are far apart and
    mean nothing, and rows that use space are left out. Tables: features that are all 0 or more
    are taken as counts, log(1 + n) and the log of their sum, as in the POI tokens; others stay as
    they are. The diagonal of the flows is left out, as everywhere.

    Raises
    ------
    ConfigError : two regions have the same centroid
    """
    cells = _cells_of(benchmark)
    order = np.argsort(cells)
    tables = {}
    for name, values in benchmark.features.items():
        width = len(str(values.shape[1]))
        if (values >= 0).all():
            columns = [f"count_{i:0{width}d}" for i in range(values.shape[1])]
            tokens = np.log1p(np.column_stack([values, values.sum(axis=1)]))
            columns.append("log_total")
        else:
            columns = [f"value_{i:0{width}d}" for i in range(values.shape[1])]
            tokens = values
        tables[name] = CellTable(
            modality=name,
            cells=cells[order],
            values=tokens[order].astype(np.float32),
            columns=tuple(columns),
        )
    origin, destination = np.nonzero(benchmark.mobility)
    graph = MobilityGraph.from_edges(
        cells[order],
        cells[origin],
        cells[destination],
        benchmark.mobility[origin, destination],
    )
    place = Place(
        folder=Path(f"{benchmark.name} (in memory)"),
        name=benchmark.name,
        title=benchmark.name,
        resolution=grid.resolution_of(cells),
        cells=cells[order],
        modalities=(MOBILITY, *tables),
        provenance={"key": digest([benchmark.name, cells.tolist()]), "benchmark": benchmark.name},
    )
    # What is read lazily from disk elsewhere is set here.
    place.__dict__.update(tables=tables, graph=graph, targets={})
    left_out = {}
    for name in available(place):
        if BASELINES[name].probe != "ridge":
            left_out[name] = f"its vectors are for the probe {BASELINES[name].probe}"
        elif benchmark.polygons is None and name in USE_SPACE:
            left_out[name] = "it uses space, and the benchmark has no polygons"
    return RegionPlace(place=place, cells=cells, left_out=left_out)


def evaluate(
    benchmark: RegionBenchmark,
    run: str,
    vectors: Real[np.ndarray, "regions dims"],
    *,
    folds: Sequence[int] = FOLDS,
) -> list[dict[str, Any]]:
    """Score the vectors of one run by the papers' protocol, on every label and on the classes.

    Returns
    -------
    rows `run, benchmark, task, kind, n, dims`, and of kind "regression", for each number of
    folds, `folds` and MAE, RMSE and R², each `_pooled` and `_mean`; of kind "clustering",
    `classes` and NMI and ARI, mean and `_spread` over seeds
    """
    if len(vectors) != len(benchmark) or not np.isfinite(vectors).all():
        raise ConfigError(
            f"{run!r} has {len(vectors)} vectors for {len(benchmark)} regions of "
            f"{benchmark.name}, or some that are not finite: one finite vector per region."
        )
    values = np.asarray(vectors, np.float64)
    common = {"run": run, "benchmark": benchmark.name, "n": len(values), "dims": values.shape[1]}
    rows: list[dict[str, Any]] = []
    for task, labels in benchmark.labels.items():
        rows += [
            {
                **common,
                "task": task,
                "kind": "regression",
                "folds": count,
                **region_regression(values, labels, folds=count),
            }
            for count in folds
        ]
    if benchmark.clusters is not None:
        rows.append(
            {
                **common,
                "task": "clusters",
                "kind": "clustering",
                "classes": len(np.unique(benchmark.clusters)),
                **region_clustering(values, benchmark.clusters),
            }
        )
    return rows


def compare(
    benchmark: RegionBenchmark,
    *,
    folds: Sequence[int] = FOLDS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Our training-free rows and the vectors of others, one table.

    Rows are those of `evaluate`, with `external`. What cannot be made on this benchmark is in
    `place_of(benchmark).left_out`.
    """
    regions = place_of(benchmark)
    features = Features(regions.place, seed=seed)
    rows = []
    for name in available(regions.place):
        if name not in regions.left_out:
            made = BASELINES[name].fit(features).at(regions.cells)
            rows += evaluate(benchmark, name, made, folds=folds)
    for name, vectors in benchmark.vectors.items():
        rows += evaluate(benchmark, name, vectors, folds=folds)
    return [{**row, "external": row["run"] in benchmark.vectors} for row in rows]


def _cells_of(benchmark: RegionBenchmark) -> UInt64[np.ndarray, "regions"]:
    """One distinct cell for each region."""
    if benchmark.polygons is None:
        # The middles of coarse cells are many steps apart at three resolutions more: no two
        # regions are neighbours.
        lon, lat = np.meshgrid(np.arange(-180, 180, 2.0), np.arange(-80, 81, 2.0))
        world = np.unique(grid.points_to_cells(lon=lon.ravel(), lat=lat.ravel(), resolution=0))
        coarse = next(
            resolution
            for resolution in range(grid.MAX_RESOLUTION)
            if len(world) * 5**resolution >= len(benchmark)
        )
        middles = grid.centers(grid.children(world, coarse)[: len(benchmark)])
        return grid.points_to_cells(lon=middles[:, 0], lat=middles[:, 1], resolution=coarse + 3)
    middle = shapely.centroid(benchmark.polygons)
    lon, lat = shapely.get_x(middle), shapely.get_y(middle)
    for resolution in range(grid.MAX_RESOLUTION + 1):
        cells = grid.points_to_cells(lon=lon, lat=lat, resolution=resolution)
        if len(np.unique(cells)) == len(cells):
            return cells
    _, where, counts = np.unique(cells, return_inverse=True, return_counts=True)
    twice = np.flatnonzero(counts[where] > 1)
    raise ConfigError(
        f"{benchmark.name}: regions {twice[0]} and {twice[1]} have the same centroid. Are polygons "
        "repeated? Without polygons, rows that use space are left out."
    )


def _read_array(path: Path) -> Float64[np.ndarray, "..."]:
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
            if values.dtype.kind not in "biuf":
                raise ValueError(f"it holds {values.dtype}, and numbers are needed")
            return values.astype(np.float64)
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        try:
            np.array(first.split(","), np.float64)
            header = 0
        except ValueError:
            header = 1
        return np.loadtxt(path, delimiter=",", skiprows=header, encoding="utf-8-sig")
    except (ValueError, OSError, EOFError) as error:
        raise RecordError(
            f"{path} is not an array of numbers ({error}). Save it with np.save from a plain "
            "numeric array, or as comma-separated numbers."
        ) from error


def _matrix(values: np.ndarray) -> np.ndarray:
    return values[:, None] if values.ndim == 1 else values


def _column(values: np.ndarray, path: Path) -> np.ndarray:
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise RecordError(
            f"{path} has shape {values.shape}: it is one number for each region. Choose a column."
        )
    return values


def _whole(values: np.ndarray, path: Path) -> Int64[np.ndarray, "regions"]:
    column = _column(values, path)
    if not (column == np.round(column)).all():
        raise RecordError(f"{path} has classes that are not whole numbers.")
    return column.astype(np.int64)


def _read_polygons(path: Path) -> np.ndarray:
    try:
        features = read_json(path)["features"]
        shapes = np.array(
            [shapely.geometry.shape(one["geometry"]) for one in features], dtype=object
        )
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise RecordError(
            f"{path} is not a GeoJSON FeatureCollection of polygons ({error!r})."
        ) from error
    kinds = {one.geom_type for one in shapes} - {"Polygon", "MultiPolygon"}
    if kinds:
        raise RecordError(f"{path} has a {min(kinds)} where every region is a polygon.")
    return shapes
