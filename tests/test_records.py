"""Records refuse what a reader must never let through."""

import numpy as np
import pytest
import shapely

from mobclip.errors import RecordError
from mobclip.records import FlowRecords, PointRecords, ZoneRecords, first_rows


def points(**change):
    lon = change.pop("lon", np.array([1.0, 2.0]))
    given = {"lat": np.array([50.0, 51.0]), "weight": np.ones(len(lon))} | change
    return PointRecords(source="shops", lon=lon, **given)


def zones(ids, **change):
    boxes = np.array([shapely.box(i, 0, i + 1, 1) for i in range(len(ids))], dtype=object)
    given = {"geometry": boxes} | change
    return ZoneRecords(source="tracts", ids=np.array(ids, dtype=object), **given)


def test_points_keep_what_they_are_given():
    assert len(points()) == 2
    assert points(text=np.array(["a", ""], dtype=object)).text.tolist() == ["a", ""]


@pytest.mark.parametrize(
    ("lon", "lat"),
    [([np.nan, 1.0], [0.0, 0.0]), ([181.0, 1.0], [0.0, 0.0]), ([1.0, 1.0], [0.0, -90.5])],
)
def test_points_refuse_impossible_positions(lon, lat):
    with pytest.raises(RecordError, match="not a position in degrees"):
        points(lon=np.array(lon), lat=np.array(lat))


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_points_refuse_bad_weights_and_name_the_row(weight):
    with pytest.raises(RecordError, match=r"1 rows, first 1; "):
        points(weight=np.array([1.0, weight]))


def test_points_refuse_columns_of_another_length():
    with pytest.raises(RecordError, match="size has 3 rows where 2 are expected"):
        points(values={"size": np.zeros(3)})


def test_zones_refuse_repeated_ids():
    with pytest.raises(RecordError, match="zone id 'b' stands in 2 rows"):
        zones(["a", "b", "b"])


def test_zones_refuse_missing_and_empty_polygons():
    for shape in (None, shapely.Polygon()):
        with pytest.raises(RecordError, match="without a polygon"):
            zones(["a"], geometry=np.array([shape], dtype=object))


def test_outline_is_the_union():
    assert zones(["a", "b"]).outline().equals(shapely.box(0, 0, 2, 1))


def test_the_ends_of_flows_are_told_by_their_arrays():
    lonlat = np.zeros((2, 2))
    cells = np.array([1, 2], np.uint64)
    ids = np.array(["a", "b"], dtype=object)

    def flows(end, **change):
        return FlowRecords(source="trips", origin=end, destination=end, weight=np.ones(2), **change)

    assert flows(lonlat).ends == "points"
    assert flows(cells).ends == "cells"
    assert flows(ids, zones="tracts").ends == "zones"
    with pytest.raises(RecordError, match="name the source of the zones"):
        flows(ids)
    with pytest.raises(RecordError, match="both ends must be of one kind"):
        FlowRecords(source="trips", origin=lonlat, destination=cells, weight=np.ones(2))


def test_first_rows_lists_five():
    assert first_rows(np.ones(7, bool)) == "7 rows, first 0, 1, 2, 3, 4, ..."
    assert first_rows(np.array([False, True])) == "1 rows, first 1"
