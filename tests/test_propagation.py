"""P x, whole, by rows and transposed, on both back ends, against dense algebra."""

import numpy as np
import pytest
import shapely
import torch

from mobclip import grid
from mobclip.graph import MobilityGraph
from mobclip.model.propagation import (
    BLOCK,
    CompiledPropagation,
    Propagation,
    TensorPropagation,
)
from mobclip.spectral import line_vectors

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 7, 51), 6)[:150]
BACK_ENDS = [CompiledPropagation, lambda graph: TensorPropagation(graph, "cpu")]


def flows(weight: float = 1.0) -> MobilityGraph:
    """Asymmetric, with degrees from 0 to some dozens: rows of every remainder of four."""
    rng = np.random.default_rng(0)
    n = len(CELLS)
    origin = (n * rng.random(2500) ** 3).astype(int)
    destination = (n * rng.random(2500) ** 2).astype(int)
    keep = (origin != 17) & (destination != 17)
    return MobilityGraph.from_edges(
        CELLS, CELLS[origin[keep]], CELLS[destination[keep]], np.full(int(keep.sum()), weight)
    )


@pytest.fixture(params=[1.0, 300.0, 0.3], ids=["uint8", "uint16", "float32"])
def graph(request) -> MobilityGraph:
    return flows(request.param)


@pytest.fixture(params=BACK_ENDS, ids=["compiled", "tensor"])
def operator(request, graph):
    return request.param(graph.undirected())


def dense(graph: MobilityGraph) -> torch.Tensor:
    return torch.from_numpy(graph.normalised("symmetric").toarray()).double()


def test_the_three_types_of_weights_are_there(graph):
    assert graph.undirected().weights.dtype == {1.0: "uint8", 300.0: "uint16"}.get(
        float(graph.weights.min()), "float32"
    )


@pytest.mark.parametrize("dims", [1, 5, 16])
def test_product(graph, operator, dims):
    x = torch.randn(len(CELLS), dims, generator=torch.Generator().manual_seed(dims))
    expected = dense(graph) @ x.double()
    torch.testing.assert_close((operator @ x).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [[0], [3, 17, 149], range(0, 150, 2), range(150), [9, 2, 40]])
def test_rows_and_their_transpose(graph, operator, rows):
    generator = torch.Generator().manual_seed(0)
    rows = torch.tensor(list(rows))
    x = torch.randn(len(CELLS), 6, generator=generator)
    y = torch.randn(len(rows), 6, generator=generator)
    matrix = dense(graph)[rows]
    cut = operator.cut(rows)
    for found, expected in (
        (cut.gather(x), matrix @ x.double()),
        (cut.spread(y), matrix.T @ y.double()),
    ):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_column_slice_of_a_table_may_be_given(graph, operator):
    # As where several processes share the columns.
    x = torch.randn(len(CELLS), 8)
    torch.testing.assert_close(operator @ x[:, 2:5], (operator @ x)[:, 2:5])


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr("mobclip.model.propagation.BLOCK", 100)
    assert BLOCK > 100
    operator = Propagation.of(flows().undirected())
    x = torch.randn(len(CELLS), 4)
    rows = torch.arange(3, 140, 3)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            cut = operator.cut(rows)
            found.append((operator @ x, cut.gather(x), cut.spread(x[rows])))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_a_cell_twice_is_refused():
    operator = Propagation.of(flows().undirected())
    with pytest.raises(ValueError, match="each cell once"):
        operator.cut(torch.tensor([4, 4])).spread(torch.ones(2, 3))


def test_the_graph_may_lie_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("mobclip.graph.IN_MEMORY", 10)
    flows().save(tmp_path / "graph")
    loaded = MobilityGraph.load(tmp_path / "graph").undirected()
    assert isinstance(loaded.indices, np.memmap)
    x = torch.randn(len(CELLS), 4)
    expected = Propagation.of(flows().undirected()) @ x
    assert torch.equal(Propagation.of(loaded) @ x, expected)
    torch.testing.assert_close(TensorPropagation(loaded, "cpu") @ x, expected)


def test_line_vectors_do_not_depend_on_the_parts_that_are_in_memory(monkeypatch):
    monkeypatch.setattr("mobclip.graph.PARTITION", 200)
    in_parts = line_vectors(flows(), 8, seed=0)
    monkeypatch.undo()
    np.testing.assert_allclose(in_parts, line_vectors(flows(), 8, seed=0), atol=1e-5)
