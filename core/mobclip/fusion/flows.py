"""FlowMap: the flows of any cell as columns, also of a cell that was not there when it was made."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.graph import MobilityGraph
from mobclip.spectral import truncated_svd

KINDS = ("volume", "affinity")


@dataclass(frozen=True, kw_only=True)
class FlowMap:
    """Who a cell is tied to, read against the partners that were known when the map was made.

    With A ≈ U S Vᵀ a cell that sends the row a of flows lies at a V S^-1/2, and by what it
    receives at aᵀ U S^-1/2. For the cells of A itself that is U √S and V √S, the columns of
    `spectral.flow_vectors`; a new cell is folded in by its flows from and to the known ones.
    """

    cells: UInt64[np.ndarray, "partners"]  # sorted
    partners: Mapping[str, Float32[np.ndarray, "partners _"]]  # `<kind>_out`, `<kind>_in`

    @classmethod
    def fit(cls, graph: MobilityGraph, dims: int, *, seed: int) -> "FlowMap":
        """The leading `dims` singular vectors of volumes, log(1 + A), and affinities, PPMI."""
        rng = np.random.default_rng(seed)
        partners = {}
        for kind in KINDS:
            u, s, vt = truncated_svd(_weighted(graph, kind), dims, rng=rng)
            # A direction without strength says nothing, and would be divided by nearly 0.
            keep = s > 1e-6 * max(s.max(initial=0), 1e-30)
            scale = 1 / np.sqrt(s[keep])
            partners[f"{kind}_out"] = (vt[keep].T * scale).astype(np.float32)
            partners[f"{kind}_in"] = (u[:, keep] * scale).astype(np.float32)
        return cls(cells=graph.cells, partners=partners)

    def of(
        self, graph: MobilityGraph
    ) -> tuple[Float32[np.ndarray, "cells columns"], tuple[str, ...], np.ndarray]:
        """Columns of every cell of a graph, their names, and the group that shares a scale.

        Volumes and affinities by partner, then log(1 + outflow) and log(1 + inflow). Partners that
        are not in the map are passed over.
        """
        row, known = grid.locate(graph.cells, self.cells)
        blocks, names, groups = [], [], []
        for kind in KINDS:
            weighted = _weighted(graph, kind).astype(np.float32)
            for side, matrix in (("out", weighted), ("in", sparse.csr_array(weighted.T))):
                vectors = np.zeros((len(graph.cells), self._dims(kind)), np.float32)
                vectors[row[known]] = self.partners[f"{kind}_{side}"][known]
                blocks.append(np.asarray(matrix @ vectors, np.float32))
                names += [f"{kind}_{side}_{i:03d}" for i in range(self._dims(kind))]
                groups += [kind] * self._dims(kind)
        strength = np.column_stack([graph.out_strength, graph.in_strength])
        blocks.append(np.log1p(strength).astype(np.float32))
        names += ["log_outflow", "log_inflow"]
        groups += ["", ""]
        return np.hstack(blocks), tuple(names), np.array(groups)

    def of_cell(
        self, graph: MobilityGraph, row: int, *, times: float = 1.0
    ) -> Float32[np.ndarray, " columns"]:
        """The columns of one cell, as `of` has them; its flows may be `times` as large."""
        there = graph.indices[graph.indptr[row] : graph.indptr[row + 1]]
        sent = graph.weights[graph.indptr[row] : graph.indptr[row + 1]].astype(np.float64)
        arriving = np.flatnonzero(graph.indices == row)
        here = np.searchsorted(graph.indptr, arriving, side="right") - 1
        got = graph.weights[arriving].astype(np.float64)
        leaves, enters = (one.astype(np.float64) for one in (graph.out_strength, graph.in_strength))
        total = leaves.sum() + (times - 1) * (sent.sum() + got.sum())
        blocks = []
        for kind in KINDS:
            for side, partners, flow, strength, own in (
                ("out", there, sent, enters, leaves[row]),
                ("in", here, got, leaves, enters[row]),
            ):
                weight = np.log1p(times * flow)
                if kind == "affinity" and times > 0:
                    other = strength[partners] + (times - 1) * flow
                    weight = np.maximum(np.log(times * flow * total / (times * own * other)), 0)
                at, known = grid.locate(self.cells, graph.cells[partners])
                vectors = self.partners[f"{kind}_{side}"][at[known]]
                weight = weight[known] if times > 0 else np.zeros(int(known.sum()))
                blocks.append(weight.astype(np.float32) @ vectors)
        amounts = np.log1p(times * np.array([leaves[row], enters[row]]))
        return np.concatenate([*blocks, amounts]).astype(np.float32)

    def _dims(self, kind: str) -> int:
        return self.partners[f"{kind}_out"].shape[1]


def _weighted(graph: MobilityGraph, kind: str) -> sparse.csr_array:
    """log(1 + A), or the positive pointwise mutual information of A, float64."""
    matrix = graph.matrix
    if kind == "volume":
        data = np.log1p(matrix.data.astype(np.float64))
    else:
        out, into = graph.out_strength.astype(np.float64), graph.in_strength.astype(np.float64)
        origin = np.repeat(np.arange(len(graph.cells)), np.diff(matrix.indptr))
        data = np.log(matrix.data * out.sum() / (out[origin] * into[matrix.indices]))
        data = np.maximum(data, 0)
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
