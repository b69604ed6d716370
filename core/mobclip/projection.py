"""Maps of the embedding space: vectors -> 3-D and 2-D coordinates -> colours."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import shapely
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8, UInt64

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.storage import read_parquet, write_parquet

Method = Literal["pca", "umap"]
NEIGHBOURS = 15
MIN_DIST = 0.1
BLOCK = 300_000  # similarities at once: what a processor has at hand; 64 rows at least
SPARSE = 16  # of so many cells one is looked at first


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Where each cell lies in a small map of the space, and its colour there."""

    cells: UInt64[np.ndarray, "cells"]
    xyz: Float32[np.ndarray, "cells 3"]  # each axis from 0 to 1 between its 1st and 99th percentile
    xy: Float32[np.ndarray, "cells 2"]  # for a scatter plot; same scaling
    rgb: UInt8[np.ndarray, "cells 3"]  # colour of xyz in OKLab: alike places, alike colours
    method: Method
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path | str) -> None:
        """Write as Parquet, atomically."""
        axes = {f"xyz_{i}": pa.array(self.xyz[:, i]) for i in range(3)}
        axes |= {f"xy_{i}": pa.array(self.xy[:, i]) for i in range(2)}
        axes |= {f"rgb_{i}": pa.array(self.rgb[:, i]) for i in range(3)}
        columns = {
            "cell": pa.array(self.cells),
            "h3": pa.array(grid.to_strings(self.cells)),
            **axes,
        }
        header = {"method": self.method, "provenance": dict(self.provenance)}
        write_parquet(
            path, pa.table(columns).replace_schema_metadata({"mobclip": json.dumps(header)})
        )

    @classmethod
    def load(cls, path: Path | str) -> "Projection":
        """Read what `save` wrote; `ArtefactError` if it is missing, truncated or not one."""
        table = read_parquet(path)
        metadata = table.schema.metadata or {}
        if b"mobclip" not in metadata or "xyz_0" not in table.column_names:
            raise ArtefactError(f"{path} holds no projection. Run `mobclip project` again.")
        header = json.loads(metadata[b"mobclip"])

        def axes(name: str, count: int) -> np.ndarray:
            return np.column_stack([table[f"{name}_{i}"].to_numpy() for i in range(count)])

        return cls(
            cells=table["cell"].to_numpy(),
            xyz=axes("xyz", 3),
            xy=axes("xy", 2),
            rgb=axes("rgb", 3),
            method=header["method"],
            provenance=header["provenance"],
        )


def pca_projection(embeddings: Embeddings) -> Projection:
    """Three principal components of the unit vectors: instant, and linear."""
    unit = embeddings.unit()
    centred = unit - unit.mean(0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, np.argsort(-values)[: min(3, len(values))]]
    sign = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    xyz = np.zeros((len(unit), 3), np.float32)
    xyz[:, : axes.shape[1]] = centred @ (axes * sign)
    return _projection(embeddings, xyz, xyz[:, :2], "pca", {})


def umap_projection(embeddings: Embeddings, *, seed: int = 0) -> Projection:
    """UMAP (McInnes et al. 2018) of the unit vectors to 3-D and to 2-D.

    Seeded, so that a refit on the same machine and versions gives the same map; the coordinates
    are kept because other machines may differ. Distances between clusters mean little.
    """
    import umap  # takes seconds, and compiles: only when a projection is wanted

    unit = embeddings.unit()
    neighbours = min(NEIGHBOURS, len(unit) - 1)
    settings = {"n_neighbors": neighbours, "min_dist": MIN_DIST, "metric": "euclidean"}
    # On unit vectors the Euclidean distance ranks as the cosine does, and is faster.
    graph = umap.umap_.nearest_neighbors(
        unit, neighbours, "euclidean", None, False, np.random.RandomState(seed)
    )
    maps = {
        dims: umap.UMAP(
            n_components=dims, random_state=seed, n_jobs=1, precomputed_knn=graph, **settings
        ).fit_transform(unit)
        for dims in (3, 2)
    }
    provenance = {**settings, "seed": seed, "umap-learn": umap.__version__}
    return _projection(embeddings, maps[3], maps[2], "umap", provenance)


# Colours of a cube of points: a box in OKLab, as wide as most of it is in sRGB.
LIGHTNESS = (0.48, 0.84)
WIDTH = 0.30  # of both opponent axes
KNEE = 0.7  # chroma up to this share of what sRGB has is kept; beyond, it is pressed together

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab_colours(xyz: Float32[np.ndarray, "cells 3"]) -> UInt8[np.ndarray, "cells 3"]:
    """Colours of points in the unit cube: lightness and two opponent hues of OKLab.

    Equal steps look about equally large (Ottosson 2020). Lightness stays within `LIGHTNESS`, so
    that every colour can be told from a white and from a black ground. The first axis, along
    which places differ most, becomes blue-yellow, which most colour-blind people can see.

    A screen has no colour for the corners of the cube. Cutting its red, green and blue off would
    change lightness and hue there, and give many points one colour; instead chroma alone is
    reduced, and the more, the farther a point is outside.
    """
    unit = np.clip(np.asarray(xyz, np.float64), 0, 1)
    low, high = LIGHTNESS
    lightness = low + (high - low) * unit[:, 2]
    a = (unit[:, 1] - 0.5) * WIDTH
    b = (unit[:, 0] - 0.5) * WIDTH
    chroma = np.hypot(a, b)
    most = _most_chroma(lightness, a, b, chroma)
    kept = KNEE * most
    room = np.maximum(most - kept, 1e-9)
    pressed = kept + room * (1 - np.exp(-np.maximum(chroma - kept, 0) / room))
    ratio = np.divide(
        np.where(chroma > kept, pressed, chroma), chroma, out=np.ones_like(a), where=chroma > 0
    )
    linear = np.clip(_linear(np.column_stack([lightness, a * ratio, b * ratio])), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(srgb * 255).astype(np.uint8)


def oklab(rgb: UInt8[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """sRGB -> OKLab: lightness 0 to 1, green-red, blue-yellow."""
    return oklab_of_linear(linear_rgb(rgb))


def linear_rgb(rgb: UInt8[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """sRGB -> amounts of light, 0 to 1."""
    srgb = np.asarray(rgb, np.float64) / 255
    light: np.ndarray = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return light


def oklab_of_linear(linear: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """Amounts of light -> OKLab."""
    lab: np.ndarray = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return lab


def _linear(lab: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    light: np.ndarray = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T
    return light


def _most_chroma(
    lightness: np.ndarray, a: np.ndarray, b: np.ndarray, chroma: np.ndarray
) -> Float64[np.ndarray, " n"]:
    """Largest chroma that sRGB has at each lightness and hue, by bisection."""
    away = chroma > 0
    across = np.divide(a, chroma, out=np.ones_like(a), where=away)
    along = np.divide(b, chroma, out=np.zeros_like(b), where=away)
    low, high = np.zeros_like(chroma), np.full_like(chroma, 0.4)
    for _ in range(12):
        middle = (low + high) / 2
        light = _linear(np.column_stack([lightness, middle * across, middle * along]))
        inside = ((light >= 0) & (light <= 1)).all(axis=1)
        low = np.where(inside, middle, low)
        high = np.where(inside, high, middle)
    return low


def aligned(projection: Projection, to: Projection) -> Projection:
    """The projection turned, mirrored and scaled so that it lies on another as well as it can.

    Orthogonal Procrustes (Schönemann 1966) over the cells that both have: axes of a projection
    are arbitrary, and without it two maps of one space would have unlike colours. Distances
    within the projection keep their proportions.
    """
    row, known = grid.locate(to.cells, projection.cells)
    if known.sum() < 4:
        raise ConfigError(
            f"the projections have {known.sum()} cells in common: colours of one cannot be "
            "brought in line with the other's. Compare embeddings of one place."
        )
    xyz = _procrustes(projection.xyz, known, to.xyz[row[known]])
    return replace(
        projection,
        xyz=xyz,
        xy=_procrustes(projection.xy, known, to.xy[row[known]]),
        rgb=oklab_colours(xyz),
        provenance={**projection.provenance, "aligned": to.provenance.get("run", True)},
    )


def _procrustes(
    points: np.ndarray, known: np.ndarray, goal: np.ndarray
) -> Float32[np.ndarray, "cells dims"]:
    middle, goal_middle = points[known].mean(0), goal.mean(0)
    here, there = points[known] - middle, goal - goal_middle
    left, values, right = np.linalg.svd(here.T.astype(np.float64) @ there)
    size = float((here.astype(np.float64) ** 2).sum())
    scale = values.sum() / size if size > 0 else 1.0
    moved = (points - middle) @ (left @ right) * scale + goal_middle
    return np.asarray(moved, np.float32)


def inside(
    xy: Float32[np.ndarray, "cells 2"], ring: Float[np.ndarray, "corners 2"]
) -> Bool[np.ndarray, "cells"]:
    """Which points lie in what a hand drew around them."""
    if len(ring) < 3:
        return np.zeros(len(xy), bool)
    drawn = shapely.make_valid(shapely.Polygon(ring))  # a lasso may cross itself
    shapely.prepare(drawn)
    return np.asarray(shapely.contains_xy(drawn, xy[:, 0], xy[:, 1]))


def overlap(
    one: Embeddings,
    other: Embeddings,
    *,
    k: int = 20,
    queries: int | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Float32[np.ndarray, "cells"]:
    """Share of its `k` nearest cells by cosine that a cell has in common in two embeddings.

    1: the same cells; by chance k / cells. Exact, in blocks of rows. In the order of `one.cells`;
    NaN where the other has no such cell, and where a cell was not asked.

    queries : ask only so many cells, chosen at random; None: all
    progress : told the share that is done
    """
    row, common = grid.locate(other.cells, one.cells)
    rows = np.flatnonzero(common)
    shared = np.full(len(one.cells), np.nan, np.float32)
    k = min(k, len(rows) - 1)
    if k < 1:
        return shared
    spaces = [one.unit()[rows], other.unit()[row[rows]]]
    asked = np.arange(len(rows))
    if queries is not None and queries < len(rows):
        rng = np.random.default_rng(seed)
        asked = np.sort(rng.choice(len(rows), size=queries, replace=False))
    step = max(64, BLOCK // len(rows))
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        near = [_nearest(space, part, k) for space in spaces]
        # A cell in both lists stands twice, side by side, once the two lists are sorted as one.
        both = np.sort(np.concatenate(near, axis=1), axis=1)
        shared[rows[part]] = (both[:, 1:] == both[:, :-1]).sum(axis=1) / k
        if progress is not None:
            progress(min(1.0, (start + step) / len(asked)))
    return shared


def _nearest(
    unit: Float32[np.ndarray, "cells dims"], rows: Int64[np.ndarray, " n"], k: int
) -> Int64[np.ndarray, "n k"]:
    scores = unit[rows] @ unit.T
    scores[np.arange(len(rows)), rows] = -np.inf  # not itself
    some = scores[:, ::SPARSE]
    if some.shape[1] < 2 * k:
        return np.argpartition(scores, -k, axis=1)[:, -k:]
    # The k-th best of some cells is no better than the k-th best of all: what is below it is out,
    # and few are left to be sorted. Exact, and several times as fast.
    least = np.partition(some, -k, axis=1)[:, -k]
    found = np.empty((len(rows), k), np.int64)
    for i, row in enumerate(scores):
        left = np.flatnonzero(row >= least[i])
        found[i] = left[np.argpartition(row[left], -k)[-k:]]
    return found


def _projection(
    embeddings: Embeddings,
    xyz: np.ndarray,
    xy: np.ndarray,
    method: Method,
    provenance: Mapping[str, Any],
) -> Projection:
    scaled = _to_unit_cube(xyz)
    return Projection(
        cells=embeddings.cells,
        xyz=scaled,
        xy=_to_unit_cube(xy),
        rgb=oklab_colours(scaled),
        method=method,
        provenance={"run": embeddings.name, **provenance},
    )


def _to_unit_cube(points: np.ndarray) -> Float32[np.ndarray, "cells dims"]:
    """Each axis to 0..1 between its 1st and 99th percentile: outliers do not set the scale."""
    low, high = np.percentile(points, [1, 99], axis=0)
    width = np.where(high > low, high - low, 1)
    return ((points - low) / width).astype(np.float32)
