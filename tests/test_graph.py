"""MobilityGraph against dense algebra on graphs that are not symmetric."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mobclip import graph as graph_module
from mobclip import grid
from mobclip.errors import ArtefactError, CellError, ConfigError
from mobclip.graph import MobilityGraph, Undirected, hold_out

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.5), 6)[:6]
OUTSIDE = grid.polygon_to_cells(shapely.box(9, 50, 9.5, 50.5), 6)[:1]

flows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=25
)


def build(rows: list[tuple[int, int, int]]) -> tuple[MobilityGraph, np.ndarray]:
    """The graph, and its dense matrix by a naive loop."""
    origin, destination, weight = (np.array(column) for column in zip(*rows, strict=True))
    graph = MobilityGraph.from_edges(CELLS, CELLS[origin], CELLS[destination], weight)
    dense = np.zeros((6, 6))
    for a, b, w in rows:
        if a != b:
            dense[a, b] += w
    return graph, dense


@given(rows=flows)
@settings(max_examples=60, deadline=None)
def test_edges_are_summed_and_directed(rows: list[tuple[int, int, int]]) -> None:
    graph, dense = build(rows)
    np.testing.assert_allclose(graph.matrix.toarray(), dense)
    np.testing.assert_allclose(graph.out_strength, dense.sum(axis=1))
    np.testing.assert_allclose(graph.in_strength, dense.sum(axis=0))
    np.testing.assert_array_equal(graph.present, (dense + dense.T).any(axis=1))
    np.testing.assert_allclose(graph.symmetrised().toarray(), dense + dense.T)
    inside = sum(w for a, b, w in rows if a == b)
    assert graph.report["self_flow_weight"] == inside
    assert graph.report["weight"] == dense.sum() + inside
    assert graph.report["edges"] == np.count_nonzero(dense)


@given(rows=flows)
@settings(max_examples=60, deadline=None)
def test_normalisations_agree_with_dense_algebra(rows: list[tuple[int, int, int]]) -> None:
    graph, dense = build(rows)

    def inverse(values: np.ndarray) -> np.ndarray:
        return np.diag([1 / v if v > 0 else 0.0 for v in values])

    both = dense + dense.T
    root = inverse(np.sqrt(both.sum(axis=1)))
    for kind, expected in (
        ("symmetric", root @ both @ root),
        ("out", inverse(dense.sum(axis=1)) @ dense),
        ("in", inverse(dense.sum(axis=0)) @ dense.T),
    ):
        np.testing.assert_allclose(graph.normalised(kind).toarray(), expected, atol=1e-6)


def test_an_asymmetric_example_by_hand() -> None:
    # 0 -> 1 with 3, 1 -> 0 with 1, 1 -> 2 with 4: degrees of A + Aᵀ are 4, 8, 4.
    graph, _ = build([(0, 1, 3), (1, 0, 1), (1, 2, 4)])
    normal = graph.normalised("symmetric").toarray()[:3, :3]
    root32 = np.sqrt(32)
    np.testing.assert_allclose(
        normal, [[0, 4 / root32, 0], [4 / root32, 0, 4 / root32], [0, 4 / root32, 0]], atol=1e-6
    )
    out = graph.normalised("out").toarray()[:3, :3]
    np.testing.assert_allclose(out, [[0, 1, 0], [0.2, 0, 0.8], [0, 0, 0]], atol=1e-6)
    into = graph.normalised("in").toarray()[:3, :3]
    np.testing.assert_allclose(into, [[0, 1, 0], [1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_flows_that_leave_the_cells_are_counted() -> None:
    graph = MobilityGraph.from_edges(
        CELLS,
        np.concatenate([CELLS[:2], OUTSIDE]),
        np.concatenate([CELLS[1:2], OUTSIDE, CELLS[:1]]),
        np.array([2.0, 5.0, 7.0]),
        {"source": "trips"},
    )
    assert graph.report["outside_weight"] == 12
    assert graph.report["source"] == "trips"
    assert graph.matrix.sum() == 2


def test_restrict_keeps_flows_between_the_kept() -> None:
    graph, dense = build([(0, 1, 3), (1, 2, 4), (4, 5, 1), (2, 4, 6)])
    kept = np.sort(np.concatenate([CELLS[[1, 2, 4]], OUTSIDE]))
    smaller = graph.restrict(kept)
    rows, known = grid.locate(CELLS, kept)
    expected = dense[np.ix_(rows, rows)] * np.outer(known, known)
    np.testing.assert_array_equal(smaller.matrix.toarray(), expected)
    np.testing.assert_array_equal(smaller.cells, kept)


def test_negative_weights_are_refused() -> None:
    with pytest.raises(CellError, match="negative"):
        MobilityGraph.from_matrix(CELLS, sparse.csr_array(-np.eye(6)))


def test_saved_edges_are_memory_mapped_and_the_same(tmp_path: Path) -> None:
    graph, dense = build([(0, 1, 3), (1, 0, 1), (1, 2, 4)])
    graph.save(tmp_path / "mobility")
    back = MobilityGraph.load(tmp_path / "mobility")
    assert isinstance(back.weights, np.memmap)
    assert isinstance(back.indices, np.memmap)
    np.testing.assert_array_equal(back.matrix.toarray(), dense)
    np.testing.assert_array_equal(back.cells, CELLS)
    assert dict(back.report) == dict(graph.report)
    whole = MobilityGraph.load(tmp_path / "mobility", mmap=False)
    assert not isinstance(whole.weights, np.memmap)
    graph.save(tmp_path / "mobility")  # over the old one
    assert [path.name for path in tmp_path.iterdir()] == ["mobility"]


@pytest.mark.parametrize("name", ["cells", "indptr", "indices", "weights"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "header only"])
def test_a_damaged_graph_is_named(tmp_path: Path, name: str, damage: str) -> None:
    graph, _ = build([(0, 1, 3), (1, 0, 1), (1, 2, 4)])
    graph.save(tmp_path / "mobility")
    path = tmp_path / "mobility" / f"{name}.npy"
    if damage == "missing":
        path.unlink()
    else:
        size = -4 if damage == "truncated" else 40
        path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ArtefactError, match=rf"{name}\.npy is missing or truncated"):
        MobilityGraph.load(tmp_path / "mobility")


def test_arrays_that_do_not_fit_are_refused() -> None:
    graph, _ = build([(0, 1, 3)])
    with pytest.raises(ArtefactError, match="do not fit"):
        MobilityGraph(
            cells=CELLS[:3],
            indptr=graph.indptr,
            indices=graph.indices,
            weights=graph.weights,
        )


def many_flows(seed: int = 0) -> MobilityGraph:
    """350 cells, flows between a tenth of the pairs."""
    rng = np.random.default_rng(seed)
    cells = grid.polygon_to_cells(shapely.box(5, 50, 6.2, 51.2), 6)
    origin, destination = rng.integers(0, len(cells), (2, len(cells) ** 2 // 10))
    weight = rng.exponential(1 + 50 * (origin < 20))
    return MobilityGraph.from_edges(cells, cells[origin], cells[destination], weight)


def test_held_out_flows_are_gone_in_both_directions() -> None:
    graph = many_flows()
    held = hold_out(graph, rng=np.random.default_rng(0))
    seen, learned, tested = (
        part.matrix.toarray() for part in (held.seen, held.learned, held.tested)
    )
    np.testing.assert_array_equal(seen + learned + tested, graph.matrix.toarray())
    # Parents by parents: what is hidden anywhere between two parents is hidden everywhere.
    names, parent = np.unique(held.parents, return_inverse=True)
    member = np.eye(len(names))[parent]
    between = [member.T @ (one > 0) @ member for one in (seen, learned, tested)]
    between = [(one + one.T) > 0 for one in between]
    assert (sum(one.astype(int) for one in between) <= 1).all()
    assert between[2].any(axis=0).all()  # each parent is cut off from some
    # The same by rule, for every pair of cells.
    n = len(graph.cells)
    part = np.array([held.parts_of(one) for one in range(n)])
    np.testing.assert_array_equal(part, part.T)
    assert (seen[part < 2] == 0).all()
    assert (learned[part != 1] == 0).all()
    assert (tested[part != 0] == 0).all()


def test_a_fifth_is_tested_and_a_fifth_is_learned_from() -> None:
    graph = many_flows()
    shares = [
        [part.weights.sum() / graph.weights.sum() for part in (held.tested, held.learned)]
        for held in (hold_out(graph, rng=np.random.default_rng(seed)) for seed in range(20))
    ]
    np.testing.assert_allclose(np.mean(shares, axis=0), 0.2, atol=0.03)


def test_the_busiest_parents_are_dealt_one_to_each_group() -> None:
    graph = many_flows()
    held = hold_out(graph, rng=np.random.default_rng(3))
    names, parent = np.unique(held.parents, return_inverse=True)
    strength = np.bincount(parent, weights=graph.out_strength + graph.in_strength)
    group = np.array([held.group[parent == one][0] for one in range(len(names))])
    assert sorted(group[np.argsort(-strength)[:5]]) == [0, 1, 2, 3, 4]
    assert all((held.group[parent == one] == group[one]).all() for one in range(len(names)))


def test_holding_out_is_seeded() -> None:
    graph = many_flows()
    one, same, other = (hold_out(graph, rng=np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.group, same.group)
    assert (one.group != other.group).any()


@pytest.mark.parametrize(("east", "north", "resolution"), [(9, 53, 4), (5.6, 50.5, 5)])
def test_parents_are_two_resolutions_coarser_if_that_leaves_ten(
    east: float, north: float, resolution: int
) -> None:
    cells = grid.polygon_to_cells(shapely.box(5, 50, east, north), 6)
    graph = MobilityGraph.from_edges(cells, cells[:1], cells[1:2], np.ones(1))
    held = hold_out(graph, rng=np.random.default_rng(0))
    assert grid.resolution_of(np.unique(held.parents)) == resolution
    assert len(np.unique(held.parents)) >= 10


def test_a_place_too_small_to_hold_out_flows_is_refused() -> None:
    graph, _ = build([(0, 1, 3)])
    with pytest.raises(ConfigError, match="larger place"):
        hold_out(graph, rng=np.random.default_rng(0))


def dense_of(both: Undirected) -> np.ndarray:
    n = len(both)
    matrix = sparse.csr_array((both.weights, both.indices, both.indptr), shape=(n, n))
    assert matrix.has_sorted_indices
    return matrix.toarray().astype(np.float64)


@given(rows=flows)
@settings(max_examples=60, deadline=None)
def test_undirected_is_both_directions_and_its_scale_normalises(rows) -> None:
    graph, dense = build(rows)
    both = graph.undirected()
    np.testing.assert_array_equal(dense_of(both), dense + dense.T)
    assert both.edges == np.count_nonzero(dense + dense.T)
    np.testing.assert_allclose(
        both.scale[:, None] * dense_of(both) * both.scale,
        graph.normalised("symmetric").toarray(),
        atol=1e-7,
    )


@pytest.mark.parametrize(
    ("weight", "kept"), [(1.0, np.uint8), (200.0, np.uint16), (1e6, np.float32), (0.5, np.float32)]
)
def test_undirected_of_a_large_graph_is_made_on_disk_in_parts(
    tmp_path, monkeypatch, weight, kept
) -> None:
    rng = np.random.default_rng(0)
    cells = grid.polygon_to_cells(shapely.box(5, 50, 8, 52), 6)[:700]
    origin, destination = rng.integers(0, 700, (2, 9000))
    origin[origin < 40] = 41  # the first rows are empty
    MobilityGraph.from_edges(cells, cells[origin], cells[destination], np.full(9000, weight)).save(
        tmp_path / "graph"
    )
    monkeypatch.setattr(graph_module, "PARTITION", 1000)
    graph = MobilityGraph.load(tmp_path / "graph")
    in_memory = graph.undirected()
    assert not (tmp_path / "graph" / "undirected").exists()
    monkeypatch.setattr(graph_module, "IN_MEMORY", 1000)
    on_disk = graph.undirected()
    assert isinstance(on_disk.indices, np.memmap)
    assert isinstance(on_disk.weights, np.memmap)
    assert in_memory.weights.dtype == on_disk.weights.dtype == kept
    np.testing.assert_array_equal(dense_of(on_disk), graph.symmetrised().toarray())
    np.testing.assert_array_equal(dense_of(in_memory), graph.symmetrised().toarray())
    np.testing.assert_array_equal(on_disk.scale, in_memory.scale)
    made = (tmp_path / "graph" / "undirected" / "indices.npy").stat().st_mtime_ns
    graph.undirected()  # found, not made again
    assert (tmp_path / "graph" / "undirected" / "indices.npy").stat().st_mtime_ns == made


def test_parts_of_undirected_are_its_rows(monkeypatch) -> None:
    graph, dense = build([(0, 1, 3), (1, 0, 1), (1, 2, 4), (4, 1, 2)])
    monkeypatch.setattr(graph_module, "PARTITION", 3)
    parts = list(graph.undirected().parts())
    assert len(parts) > 2
    assert [part.start for part, _ in parts[1:]] == [part.stop for part, _ in parts[:-1]]
    np.testing.assert_array_equal(np.vstack([rows.toarray() for _, rows in parts]), dense + dense.T)
    np.testing.assert_array_equal(graph.undirected().strength, (dense + dense.T).sum(axis=1))
