"""The mobility graph against dense algebra and naive loops; nothing is lost unseen."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.modalities import mobility
from mobclip.overlay import overlay
from mobclip.records import FlowRecords, ZoneRecords

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 5.5, 50.4), 6)
AWAY = np.array([9.0, 50.0])


def zones(columns: int, rows: int) -> ZoneRecords:
    x, y = np.linspace(5, 5.9, columns + 1), np.linspace(50, 50.4, rows + 1)
    boxes = [
        shapely.box(x[i], y[j], x[i + 1], y[j + 1]) for i in range(columns) for j in range(rows)
    ]
    return ZoneRecords(
        source="tracts",
        ids=np.array([f"{7 * i % 10}" for i in range(len(boxes))], dtype=object),
        geometry=np.array(boxes, dtype=object),
    )


def balanced(report: dict) -> bool:  # type: ignore[type-arg]
    parts = ("graph_weight", "self_flow_weight", "outside_weight", "unmatched_weight")
    return report["weight"] == pytest.approx(sum(report[part] for part in parts))


@given(
    rows=st.lists(
        st.tuples(st.integers(-1, 6), st.integers(-1, 6), st.sampled_from([0.0, 0.5, 1.0, 9.0])),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=50, deadline=None)
def test_flows_between_points_agree_with_a_naive_loop(rows: list[tuple[int, int, float]]) -> None:
    centres = grid.centers(CELLS)
    ends = [
        np.array([centres[i] if i >= 0 else AWAY for i in column])
        for column in ([r[0] for r in rows], [r[1] for r in rows])
    ]
    weight = np.array([r[2] for r in rows])
    source = FlowRecords(
        source="trips", origin=ends[0], destination=ends[1], weight=weight, dropped={"late": 3}
    )
    dense = np.zeros((len(CELLS), len(CELLS)))
    inside = outside = 0.0
    for a, b, w in rows:
        if a < 0 or b < 0:
            outside += w
        elif a == b:
            inside += w
        else:
            dense[a, b] += w
    if not dense.any():
        with pytest.raises(RecordError, match="no flow of trips"):
            mobility.build([source], CELLS, {})
        return
    graph = mobility.build([source], CELLS, {})
    np.testing.assert_allclose(graph.matrix.toarray(), dense, rtol=1e-6)
    report = graph.report
    assert report["self_flow_weight"] == pytest.approx(inside)
    assert report["outside_weight"] == pytest.approx(outside, abs=1e-9)
    assert report["sources"]["trips"]["dropped"] == {"late": 3}
    assert report["sources"]["trips"]["rows"] == len(rows)
    assert balanced(report)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0.1, 9)), min_size=1, max_size=20
    )
)
@settings(max_examples=30, deadline=None)
def test_flows_between_zones_are_spread_by_area(rows: list[tuple[int, int, float]]) -> None:
    # Ten zones, of which the eastern ones lie outside the cells in part or in whole.
    polygons = zones(5, 2)
    shares = overlay(polygons, CELLS).shares_of_zones().toarray()
    at = {zone: i for i, zone in enumerate(polygons.ids)}
    between = np.zeros((10, 10))
    for a, b, w in rows:
        between[at[str(a)], at[str(b)]] += w
    dense = shares.T @ between @ shares
    source = FlowRecords(
        source="jobs",
        origin=np.array([str(r[0]) for r in rows], dtype=object),
        destination=np.array([str(r[1]) for r in rows], dtype=object),
        weight=np.array([r[2] for r in rows]),
        zones="tracts",
    )
    off_diagonal = dense - np.diag(np.diag(dense))
    if not off_diagonal.any():
        return
    graph = mobility.build([source], CELLS, {"tracts": polygons})
    np.testing.assert_allclose(graph.matrix.toarray(), off_diagonal, rtol=1e-5, atol=1e-7)
    report = graph.report["sources"]["jobs"]
    assert report["cells_per_zone"] is None
    assert report["self_flow_weight"] == pytest.approx(np.trace(dense))
    assert report["outside_weight"] == pytest.approx(between.sum() - dense.sum(), abs=1e-6)
    assert balanced(report)


@pytest.mark.parametrize("limit", [1, 40, 500])
def test_the_memory_limit_keeps_the_largest_shares_and_all_weight(limit: int) -> None:
    polygons = zones(5, 2)
    rng = np.random.default_rng(0)
    ids = polygons.ids[rng.integers(10, size=(2, 60))]
    source = FlowRecords(
        source="jobs",
        origin=ids[0],
        destination=ids[1],
        weight=rng.uniform(1, 5, 60),
        zones="tracts",
    )
    whole = mobility.build([source], CELLS, {"tracts": polygons})
    cut = mobility.build([source], CELLS, {"tracts": polygons}, max_edges=limit)
    report = cut.report["sources"]["jobs"]
    assert report["cells_per_zone"] >= 1
    assert cut.report["edges"] < whole.report["edges"]
    if report["cells_per_zone"] > 1:
        assert cut.report["edges"] <= limit
    # Only where flows lie has changed: what leaves the area and what is read have not.
    assert report["outside_weight"] == pytest.approx(whole.report["outside_weight"])
    assert balanced(report)


def test_more_memory_keeps_more_cells_per_zone() -> None:
    polygons = zones(5, 2)
    source = FlowRecords(
        source="jobs",
        origin=polygons.ids,
        destination=polygons.ids[::-1].copy(),
        weight=np.ones(10),
        zones="tracts",
    )
    kept = [
        mobility.build([source], CELLS, {"tracts": polygons}, max_edges=limit).report["sources"][
            "jobs"
        ]["cells_per_zone"]
        for limit in (1, 100, 200, 10_000)
    ]
    assert kept[0] == 1
    assert kept[-1] is None
    assert kept[:3] == sorted(kept[:3])
    assert kept[2] > 1


def test_unknown_zones_are_counted() -> None:
    polygons = zones(5, 2)
    source = FlowRecords(
        source="jobs",
        origin=np.array(["0", "nowhere", "1"], dtype=object),
        destination=np.array(["1", "1", "nowhere"], dtype=object),
        weight=np.array([2.0, 3.0, 5.0]),
        zones="tracts",
    )
    report = mobility.build([source], CELLS, {"tracts": polygons}).report
    assert report["unmatched_weight"] == 8
    assert report["sources"]["jobs"]["unmatched_rows"] == 2
    assert balanced(report)
    with pytest.raises(RecordError, match="id_width"):
        mobility.build(
            [
                FlowRecords(
                    source="jobs",
                    origin=np.array(["00"], dtype=object),
                    destination=np.array(["01"], dtype=object),
                    weight=np.ones(1),
                    zones="tracts",
                )
            ],
            CELLS,
            {"tracts": polygons},
        )
    with pytest.raises(RecordError, match="zones of 'tracts', which was not read"):
        mobility.build([source], CELLS, {})


def test_flows_between_cells_stand_as_they_are_and_finer_ones_go_to_parents() -> None:
    fine = grid.children(CELLS[:2], 7)
    kids = [fine[grid.parents(fine, 6) == cell] for cell in CELLS[:2]]
    same = FlowRecords(
        source="same", origin=CELLS[:1], destination=CELLS[1:2], weight=np.array([2.0])
    )
    finer = FlowRecords(
        source="finer",
        origin=np.concatenate([kids[0][:2], kids[1][:1]]),
        destination=np.concatenate([kids[1][:2], kids[1][1:2]]),
        weight=np.array([1.0, 4.0, 8.0]),
    )
    graph = mobility.build([same, finer], CELLS, {})
    assert graph.matrix[0, 1] == 7
    assert graph.matrix.nnz == 1
    assert graph.report["sources"]["finer"]["self_flow_weight"] == 8
    assert list(graph.report["sources"]) == ["same", "finer"]


def test_no_flows_are_refused() -> None:
    with pytest.raises(RecordError, match="at least one source"):
        mobility.build([], CELLS, {})
