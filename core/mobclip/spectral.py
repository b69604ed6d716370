"""Vectors of cells from the mobility graph alone, by factorisation: fast, seeded, no training."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from scipy import sparse
from threadpoolctl import threadpool_limits

from mobclip.graph import MobilityGraph, Undirected

POWER_STEPS = 2  # each brings singular values apart as σ²; six products in all


@runtime_checkable
class Matrix(Protocol):
    """What a truncated SVD needs of a matrix: its products with dense blocks of columns."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns."""

    def __matmul__(self, block: Any, /) -> Any:
        """Product with (columns, k)."""

    @property
    def T(self) -> Any:  # noqa: N802
        """Transpose, which has products too."""


def truncated_svd(
    matrix: Matrix, dims: int, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leading `dims` singular triplets (U, s, Vᵀ) by block power iteration.

    Halko, Martinsson, Tropp 2011, algorithm 4.4. Signs are fixed (largest entry of each column of
    U positive), so that one seed gives one answer.
    """
    dims = min(dims, min(matrix.shape) - 1)
    block = rng.normal(size=(matrix.shape[1], min(dims + 16, matrix.shape[1])))
    with threadpool_limits(1, "blas"):  # tall and thin: a second thread costs more than it gives
        basis, _ = np.linalg.qr(matrix @ block)
        for _ in range(POWER_STEPS):
            other, _ = np.linalg.qr(matrix.T @ basis)
            basis, _ = np.linalg.qr(matrix @ other)
        small_u, s, vt = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
        u = basis @ small_u[:, :dims]
    sign = np.sign(u[np.abs(u).argmax(axis=0), np.arange(dims)])
    sign[sign == 0] = 1
    return u * sign, s[:dims], vt[:dims] * sign[:, None]


def line_vectors(
    graph: MobilityGraph, dims: int, *, seed: int
) -> Float32[np.ndarray, "cells dims"]:
    """Node vectors that LINE (second order) would converge to, in closed form.

    LINE with one negative sample factorises log(w_ij · vol / (d_i d_j)) (Tang et al. 2015;
    Qiu et al. 2018, "Network embedding as matrix factorization", table 1). We take the positive
    part on the edges and U √s of its truncated SVD, instead of sampling edges by the billion.
    Rows are scaled to mean norm 1. Cells without flow get small random rows.
    """
    rng = np.random.default_rng(seed)
    both = graph.undirected()
    n = len(both)
    vectors = rng.normal(scale=1 / np.sqrt(dims), size=(n, dims)) * 0.1
    if both.edges == 0:
        return vectors.astype(np.float32)
    positive = _Information(both)
    u, s, _ = truncated_svd(positive, dims, rng=rng)
    found = u * np.sqrt(s)
    norm = np.linalg.norm(found, axis=1)
    connected = norm > 0
    vectors[connected, : found.shape[1]] = found[connected] / norm[connected].mean()
    return vectors.astype(np.float32)


class _Information:
    """Positive part of log(w_ij · vol / (d_i d_j)), of which only a part is in memory at a time.

    Symmetric. Its entries are made anew for every product, which costs a tenth of it.
    """

    def __init__(self, graph: Undirected) -> None:
        self.graph = graph
        self.shape = (len(graph), len(graph))

    @property
    def T(self) -> "_Information":  # noqa: N802
        return self

    def __matmul__(self, block: np.ndarray) -> np.ndarray:
        strength = self.graph.strength
        out = np.empty((len(strength), block.shape[1]))
        for part, rows in self.graph.parts():
            expected = np.repeat(strength[part], np.diff(rows.indptr)) * strength[rows.indices]
            np.maximum(np.log(rows.data * strength.sum() / expected), 0, out=rows.data)
            out[part] = rows @ block
        return out


def flow_vectors(
    graph: MobilityGraph, dims: int, *, seed: int
) -> dict[str, Float32[np.ndarray, "cells _"]]:
    """What the flows say of each cell, as named blocks of columns.

    ``volume``: truncated SVD of log(1 + A), origins and destinations side by side: who is
    connected to whom, and how strongly. ``affinity``: the same of the positive pointwise mutual
    information, which takes size away. ``magnitude``: log(1 + outflow), log(1 + inflow).
    """
    rng = np.random.default_rng(seed)
    matrix = graph.matrix.astype(np.float64).tocoo()
    out, into = graph.out_strength.astype(np.float64), graph.in_strength.astype(np.float64)
    shape = matrix.shape

    def both_sides(weights: np.ndarray) -> Float32[np.ndarray, "cells _"]:
        u, s, vt = truncated_svd(
            sparse.csr_array((weights, (matrix.row, matrix.col)), shape=shape), dims, rng=rng
        )
        return np.hstack([u * np.sqrt(s), vt.T * np.sqrt(s)]).astype(np.float32)

    information = np.log(matrix.data * out.sum() / (out[matrix.row] * into[matrix.col]))
    return {
        "volume": both_sides(np.log1p(matrix.data)),
        "affinity": both_sides(np.maximum(information, 0)),
        "magnitude": np.log1p(np.column_stack([out, into])).astype(np.float32),
    }
