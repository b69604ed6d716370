"""Maps of the embedding space: vectors -> 3-D and 2-D coordinates -> colours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, UInt8, UInt64

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError
from mobclip.storage import read_parquet, write_parquet

Method = Literal["pca", "umap"]
NEIGHBOURS = 15
MIN_DIST = 0.1


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


def oklab_colours(xyz: Float32[np.ndarray, "cells 3"]) -> UInt8[np.ndarray, "cells 3"]:
    """Colours of points in the unit cube: lightness and two opponent hues of OKLab.

    Equal steps look about equally large (Ottosson 2020). Lightness stays between 0.45 and 0.85,
    so that every colour can be told from a white and from a black ground. The first axis, along
    which places differ most, becomes blue-yellow, which most colour-blind people can see.
    """
    unit = np.clip(np.asarray(xyz, np.float64), 0, 1)
    lightness = 0.45 + 0.40 * unit[:, 2]
    a = (unit[:, 1] - 0.5) * 0.36
    b = (unit[:, 0] - 0.5) * 0.36
    roots = np.column_stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    linear = roots**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    linear = np.clip(linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(srgb * 255).astype(np.uint8)


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
