"""Synthetic mobility of any size for the benchmarks: made in partitions, written as it is made.

Cells are the H3 cells of resolution 6 nearest to a point on the equator. A cell's popularity is
log-normal; trips start in proportion to it. 85 % of them are local: a displacement with a Pareto
tail (Lomax), of two candidates the more popular one; 15 % go anywhere, by popularity. All of it is
invented: it is there to have the sparsity and the locality of flows, nothing else.

    python benchmarks/flows.py --cells 50000 --edges 10000000 --out /tmp/flows
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from mobclip import grid
from mobclip.graph import MobilityGraph
from mobclip.storage import ArrayWriter, atomic_path, write_json

RESOLUTION, SPACING_KM, DEGREE_KM = 6, 6.4, 111.2
LOCAL, TAIL, SPREAD = 0.85, 1.2, 1.4  # share of local trips, Pareto exponent, of log popularity
PIXEL_KM = 3.0
TRIPS_AT_ONCE = 20_000_000


@dataclass(frozen=True, kw_only=True)
class Country:
    """Where trips can go."""

    cells: np.ndarray  # (n,) uint64, sorted
    x: np.ndarray  # (n,) km east
    y: np.ndarray  # (n,) km north
    popularity: np.ndarray  # (n,)
    cumulative: np.ndarray  # (n,) of popularity, ending at 1
    lookup: np.ndarray  # (pixels, pixels) int32: row of the cell at a point, -1 outside
    half: float  # km from the middle to the rim of the lookup

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Row of the cell at each point, -1 outside."""
        last = len(self.lookup) - 1
        column = ((x + self.half) / PIXEL_KM).clip(0, last).astype(np.int64)
        row = ((y + self.half) / PIXEL_KM).clip(0, last).astype(np.int64)
        return self.lookup[row, column]


def country(cells: int, rng: np.random.Generator) -> Country:
    """The `cells` cells nearest to the middle."""
    half = 0.62 * SPACING_KM * cells**0.5
    box = shapely.box(-half / DEGREE_KM, -half / DEGREE_KM, half / DEGREE_KM, half / DEGREE_KM)
    found = grid.polygon_to_cells(box, RESOLUTION)
    distance = np.hypot(*_km(grid.centers(found)))
    if len(found) < cells:
        raise SystemExit(f"{cells:,} cells do not fit into a box of {2 * half:.0f} km.")
    kept = np.sort(found[np.argsort(distance, kind="stable")[:cells]])
    x, y = _km(grid.centers(kept))
    popularity = rng.lognormal(0, SPREAD, cells)
    middle = np.arange(-half, half, PIXEL_KM) + PIXEL_KM / 2
    lookup = np.full((len(middle), len(middle)), -1, np.int32)
    for row, north in enumerate(middle):
        lat = np.full(len(middle), north / DEGREE_KM)
        lon = middle / DEGREE_KM / np.cos(np.radians(lat))
        at, known = grid.locate(kept, grid.points_to_cells(lon=lon, lat=lat, resolution=RESOLUTION))
        lookup[row, known] = at[known]
    cumulative = np.cumsum(popularity)
    return Country(
        cells=kept,
        x=x,
        y=y,
        popularity=popularity,
        cumulative=cumulative / cumulative[-1],
        lookup=lookup,
        half=half,
    )


def _km(lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (
        lonlat[:, 0] * DEGREE_KM * np.cos(np.radians(lonlat[:, 1])),
        lonlat[:, 1] * DEGREE_KM,
    )


def _destinations(
    place: Country, origin: np.ndarray, reach: float, rng: np.random.Generator
) -> np.ndarray:
    """Where the trips of each origin end; -1 where that is outside or the origin itself."""
    n = len(origin)
    best = np.full(n, -1, np.int32)
    for _ in range(2):
        length = reach * ((1 - rng.random(n, np.float32)) ** np.float32(-1 / TAIL) - 1)
        angle = rng.random(n, np.float32) * np.float32(2 * np.pi)
        to = place.at(
            place.x[origin] + length * np.cos(angle), place.y[origin] + length * np.sin(angle)
        )
        take = (to >= 0) & ((best < 0) | (place.popularity[to] > place.popularity[best]))
        best[take] = to[take]
    far = rng.random(n, np.float32) > LOCAL
    best[far] = np.searchsorted(place.cumulative, rng.random(int(far.sum())))
    best[best == origin] = -1
    return best


def _rows(
    place: Country, start: int, stop: int, trips: np.ndarray, reach: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges out of rows start ... stop: number per row, columns, trips of each."""
    origin = np.repeat(np.arange(start, stop), trips[start:stop])
    to = _destinations(place, origin, reach, rng)
    n = len(place.cells)
    key, count = np.unique((origin[to >= 0] - start) * n + to[to >= 0], return_counts=True)
    per_row = np.bincount(key // n, minlength=stop - start)
    return per_row, (key % n).astype(np.int32), count.astype(np.float32)


def _partitions(trips: np.ndarray) -> Iterator[tuple[int, int]]:
    ends = np.cumsum(trips)
    start = 0
    while start < len(trips):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + TRIPS_AT_ONCE, side="right"))
        stop = max(start + 1, stop)
        yield start, stop
        start = stop


def write_flows(folder: Path, *, cells: int, edges: int, seed: int = 0) -> MobilityGraph:
    """Make about `edges` entries of A + Aᵀ and write them as a `MobilityGraph` that memory-maps.

    A sample of rows tells how many trips fall onto one another, and so how many are needed.
    """
    rng = np.random.default_rng(seed)
    place = country(cells, rng)
    reach = SPACING_KM * max(1.0, (edges / cells / 12) ** 0.5)
    per_cell = edges / 2 / cells
    sample = np.sort(rng.choice(cells, min(cells, 2000), replace=False))
    for _ in range(8):
        expected = place.popularity / place.popularity.mean() * per_cell
        origin = np.repeat(sample, np.ceil(expected[sample]).astype(np.int64))
        to = _destinations(place, origin, reach, np.random.default_rng(seed))
        distinct = len(np.unique(origin[to >= 0] * cells + to[to >= 0]))
        # Of the reverse of an edge some are there already, mostly among the local ones.
        per_cell *= edges / 2 / cells / (distinct / len(sample))
    trips = rng.poisson(expected * per_cell / (expected.mean() or 1)).astype(np.int64)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        indptr = np.zeros(cells + 1, np.int64)
        with (
            ArrayWriter(temporary / "indices.npy", np.int32) as indices,
            ArrayWriter(temporary / "weights.npy", np.float32) as weights,
        ):
            for start, stop in _partitions(trips):
                per_row, columns, counts = _rows(place, start, stop, trips, reach, rng)
                indptr[start + 1 : stop + 1] = per_row
                indices.append(columns)
                weights.append(counts)
        np.save(temporary / "indptr.npy", np.cumsum(indptr))
        np.save(temporary / "cells.npy", place.cells)
        write_json(temporary / "report.json", {"generated": True, "seed": seed})
    return MobilityGraph.load(folder)


def main() -> None:
    """Make, and print what was made."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cells", type=int, default=50_000)
    options.add_argument("--edges", type=int, default=10_000_000, help="of A + Aᵀ, about")
    options.add_argument("--out", type=Path, help="default: nothing is kept")
    chosen = options.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.out or Path(temporary) / "graph"
        graph = write_flows(folder, cells=chosen.cells, edges=chosen.edges)
    degree = np.diff(graph.indptr)
    print(
        f"{len(graph.cells):,} cells, {len(graph.indices):,} directed edges in "
        f"{time.perf_counter() - start:.0f} s; out-degree median {np.median(degree):.0f}, "
        f"mean {degree.mean():.0f}, most {degree.max():,}; largest weight "
        f"{graph.weights.max():.0f}"
    )


if __name__ == "__main__":
    main()
