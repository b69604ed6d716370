"""Flows -> one directed, weighted graph over the cells."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.graph import MobilityGraph
from mobclip.overlay import overlay
from mobclip.records import FlowRecords, ZoneRecords

MAX_EDGES = 30_000_000  # edges of one source before sums: about 1 GB while they are made


def build(
    flows: Sequence[FlowRecords],
    cells: UInt64[np.ndarray, "cells"],
    zones: Mapping[str, ZoneRecords],
    *,
    max_edges: int = MAX_EDGES,
) -> MobilityGraph:
    """Sum all flows into one graph; a node for each cell.

    A point end counts for the cell it lies in, a cell end for itself. A zone end is spread over
    the cells of the zone by area: with W the shares of zones in cells and F the flows between
    zones, the flows between cells are Wᵀ F W. Where that would make more than `max_edges` edges,
    each zone keeps its k most covered cells, with k as large as fits, and their shares are scaled
    up so that no weight is lost.

    Parameters
    ----------
    flows : sources; weights of different sources are added as they are
    cells : sorted, unique, one resolution
    zones : polygons by source name, for flows whose ends are zones

    Returns
    -------
    graph whose `report` holds, in weight units: ``weight`` read in all, ``graph_weight`` kept as
    edges, ``self_flow_weight`` inside a cell, ``outside_weight`` with an end outside the cells,
    ``unmatched_weight`` with an end in no known zone (the five add up: read = the rest), and
    under ``sources`` the same for each source with its ``rows``, ``unmatched_rows``, ``dropped``
    and, for zones, ``cells_per_zone`` (the k above; None: all of them)
    """
    if not flows:
        raise RecordError("a mobility graph needs at least one source of flows.")
    n = len(cells)
    total = sparse.csr_array((n, n), dtype=np.float64)
    reports: dict[str, dict[str, Any]] = {}
    for source in flows:
        if source.ends == "zones":
            matrix, report = _from_zones(source, cells, zones, max_edges)
        else:
            matrix, report = _from_cells(source, cells)
        inside = float(matrix.diagonal().sum())
        matrix.setdiag(0)
        matrix.eliminate_zeros()
        read = float(source.weight.sum())
        kept = float(matrix.sum())
        reports[source.source] = {
            "rows": len(source),
            "ends": source.ends,
            "weight": read,
            "graph_weight": kept,
            "self_flow_weight": inside,
            # What is left over: an end outside the cells, in whole or in part.
            "outside_weight": max(read - kept - inside - report["unmatched_weight"], 0.0),
            **report,
            "edges": int(matrix.nnz),
            "dropped": dict(source.dropped),
        }
        total = total + matrix
    sums = {
        key: sum(report[key] for report in reports.values())
        for key in (
            "weight",
            "graph_weight",
            "self_flow_weight",
            "outside_weight",
            "unmatched_weight",
        )
    }
    if sums["graph_weight"] == 0:
        raise RecordError(
            f"no flow of {', '.join(reports)} joins two of the {n} cells: check the columns of "
            "origin and destination and the area in data_manifest.yaml."
        )
    return MobilityGraph.from_matrix(cells, total, {**sums, "sources": reports})


def _from_cells(
    source: FlowRecords, cells: UInt64[np.ndarray, "cells"]
) -> tuple[sparse.csr_array, dict[str, Any]]:
    """Flows between points or cells."""
    resolution = grid.resolution_of(cells)
    ends = []
    for end in (source.origin, source.destination):
        if source.ends == "points":
            end = grid.points_to_cells(lon=end[:, 0], lat=end[:, 1], resolution=resolution)
        elif len(end) and grid.resolution_of(end) != resolution:
            # A parent holds all of a finer cell's flow; a coarser cell would have to be split.
            end = grid.parents(end, resolution)
        ends.append(grid.locate(cells, end))
    (row, row_known), (column, column_known) = ends
    known = row_known & column_known
    matrix = sparse.csr_array(
        (source.weight[known], (row[known], column[known])), shape=(len(cells), len(cells))
    )
    return matrix, {
        "outside_rows": int((~known).sum()),
        "unmatched_rows": 0,
        "unmatched_weight": 0.0,
    }


def _from_zones(
    source: FlowRecords,
    cells: UInt64[np.ndarray, "cells"],
    zones: Mapping[str, ZoneRecords],
    max_edges: int,
) -> tuple[sparse.csr_array, dict[str, Any]]:
    """Flows between zones, spread over cells by area."""
    if source.zones is None or source.zones not in zones:
        raise RecordError(
            f"{source.source}: its ends are zones of {source.zones!r}, which was not read; "
            f"read are {', '.join(zones) or 'none'}. Name that source in data_manifest.yaml."
        )
    polygons = zones[source.zones]
    order = np.argsort(polygons.ids.astype(str))
    ids = polygons.ids.astype(str)[order]
    ends = []
    for end in (source.origin, source.destination):
        at = np.minimum(np.searchsorted(ids, end.astype(str)), len(ids) - 1)
        ends.append((order[at], ids[at] == end.astype(str)))
    (row, row_known), (column, column_known) = ends
    known = row_known & column_known
    if not known.any():
        raise RecordError(
            f"{source.source}: no end is among the {len(ids)} zone ids of {source.zones!r} "
            f"(first ends {source.origin[:1].tolist()}, first ids {ids[:1].tolist()}). "
            "Do leading zeros lack? Set `id_width`."
        )
    between = sparse.csr_array(
        (source.weight[known], (row[known], column[known])), shape=(len(ids), len(ids))
    )
    shares = overlay(polygons, cells).shares_of_zones()
    most = _cells_per_zone(between, shares, max_edges)
    if most is not None:
        shares = _largest(shares, most)
    matrix = sparse.csr_array(shares.T @ between @ shares)
    return matrix, {
        "unmatched_rows": int((~known).sum()),
        "unmatched_weight": float(source.weight[~known].sum()),
        "cells_per_zone": most,
    }


def _cells_per_zone(
    between: sparse.csr_array, shares: sparse.csr_array, max_edges: int
) -> int | None:
    """Largest k such that k cells per zone make at most `max_edges` edges; None: all fit."""
    size = np.diff(shares.indptr)
    flows = between.tocoo()

    def edges(k: int) -> int:
        capped = np.minimum(size, k).astype(np.int64)
        return int((capped[flows.row] * capped[flows.col]).sum())

    largest = int(size.max(initial=0))
    if edges(largest) <= max_edges:
        return None
    low, high = 1, largest  # one cell per zone always has to do
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if edges(middle) <= max_edges else (low, middle)
    return low


def _largest(shares: sparse.csr_array, k: int) -> sparse.csr_array:
    """The `k` largest shares of each row, scaled to the sum of the whole row."""
    matrix = sparse.csr_array(shares)
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    # By row, then share from large to small, then cell: equal shares are cut the same everywhere.
    order = np.lexsort((matrix.indices, -matrix.data, row))
    rank = np.arange(len(order)) - matrix.indptr[row]
    kept = order[rank < k]
    cut = sparse.csr_array((matrix.data[kept], (row[kept], matrix.indices[kept])), matrix.shape)
    before, after = matrix.sum(axis=1), cut.sum(axis=1)
    scale = np.divide(before, after, out=np.zeros_like(before), where=after > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ cut)
