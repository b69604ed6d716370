"""Readers: every format gives the same records, and every kind of bad file a clear error."""

import gzip
import json
import os
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.errors import NotGeoreferencedWarning

from mobclip import grid
from mobclip.errors import CellError, RecordError
from mobclip.fetch import fetch
from mobclip.manifest import (
    Area,
    Condition,
    Derivation,
    HistogramSpec,
    PlaceSpec,
    SourceSpec,
    TargetSpec,
    load_manifest,
)
from mobclip.records import FlowRecords, PointRecords, RasterRecords, ZoneRecords
from mobclip.sources import KIND_READERS, read, read_place
from mobclip.synthetic import write_country

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[1]
TOWN = Area(bbox=(-87.7, 41.8, -87.5, 42.0))
SHOPS = {"lon": ("lon",), "lat": ("lat",)}


def source(kind, path, **change):
    given = {
        "name": "it", "kind": kind, "path": Path(path).name, "provider": "City", "licence": "CC0",
        "citation": "City", "date": "2020",
    }  # fmt: skip
    return SourceSpec(**(given | change))


def town(*sources, area=TOWN):
    return PlaceSpec(
        name="town", title="Town", resolution=9, area=area,
        sources={s.name: s for s in sources}, modalities={},
    )  # fmt: skip


def reading(kind, path, polygons=None, **change):
    spec = source(kind, path, **change)
    return read(spec, Path(path), town(spec), polygons)


def value(column):
    """A target, which is one way for a column to be wanted."""
    target = TargetSpec(
        name="t", title="t", unit="u", column=column, aggregate="mean", level="cell"
    )
    return {"targets": {"t": target}}


def write(path, frame):
    frame.to_parquet(path)
    return path


# ---- points -----------------------------------------------------------------------------------


def test_points_from_csv():
    shops = reading(
        "points", DATA / "shops.csv",
        columns=SHOPS | {"text": ("name", "tags"), "category": ("kind",)}, **value("size"),
    )  # fmt: skip
    assert isinstance(shops, PointRecords)
    assert shops.dropped == {"no coordinates": 1}
    assert shops.text.tolist() == ["Café Sol; coffee; cakes", "books", "Zoë's"]
    assert shops.category.tolist() == ["food", "shop", "food"]
    np.testing.assert_array_equal(shops.values["size"], [3, np.nan, 2])
    np.testing.assert_array_equal(shops.weight, 1)
    np.testing.assert_array_equal(shops.lon, [-87.63, -87.631, -87.633])


@pytest.fixture
def same_shops(tmp_path):
    """The shops in every format that carries points."""
    frame = pd.read_csv(DATA / "shops.csv")
    shapes = gpd.GeoDataFrame(
        frame, geometry=gpd.points_from_xy(frame["lon"], frame["lat"]), crs=4326
    )
    shapes.loc[2, "geometry"] = None
    csv = (DATA / "shops.csv").read_bytes()
    (tmp_path / "s.csv.gz").write_bytes(gzip.compress(csv))
    with zipfile.ZipFile(tmp_path / "s.csv.zip", "w") as archive:
        archive.writestr("__MACOSX/._s.csv", "junk")
        archive.writestr("folder/s.csv", csv)
    frame.to_parquet(tmp_path / "s.parquet")
    shapes.to_parquet(tmp_path / "geo.parquet")
    shapes.to_file(tmp_path / "s.geojson")
    (tmp_path / "s.geojson.gz").write_bytes(gzip.compress((tmp_path / "s.geojson").read_bytes()))
    shapes.to_file(tmp_path / "s.gpkg")
    shapes.to_crs(26971).to_file(tmp_path / "s.shp")
    with zipfile.ZipFile(tmp_path / "shape.zip", "w") as archive:
        for part in tmp_path.glob("s.*"):
            if part.suffix in (".shp", ".shx", ".dbf", ".prj", ".cpg"):
                archive.write(part, part.name)
    return tmp_path


@pytest.mark.parametrize("name", ["s.csv.gz", "s.csv.zip", "s.parquet"])
def test_tables_agree(same_shops, name):
    columns = SHOPS | {"text": ("name", "tags"), "category": ("kind",)}
    expected = reading("points", DATA / "shops.csv", columns=columns)
    found = reading("points", same_shops / name, columns=columns)
    np.testing.assert_array_equal(found.lon, expected.lon)
    assert found.text.tolist() == expected.text.tolist()
    assert found.category.tolist() == expected.category.tolist()


@pytest.mark.parametrize(
    "name", ["geo.parquet", "s.geojson", "s.geojson.gz", "s.gpkg", "s.shp", "shape.zip"]
)
def test_geometries_agree(same_shops, name):
    found = reading("points", same_shops / name, columns={"category": ("kind",)}, **value("size"))
    np.testing.assert_allclose(found.lon, [-87.63, -87.631, -87.633], atol=1e-7)
    np.testing.assert_allclose(found.lat, [41.88, 41.881, 41.883], atol=1e-7)
    np.testing.assert_array_equal(found.values["size"], [3, np.nan, 2])
    assert found.dropped == {"no coordinates": 1}


def test_coordinates_in_another_crs(tmp_path):
    frame = pd.DataFrame({"lon": [448_000.0], "lat": [4_637_000.0]})  # NAD27 / UTM 16N, metres
    found = reading("points", write(tmp_path / "p.parquet", frame), columns=SHOPS, crs="EPSG:26716")
    # Independent: PROJ's cs2cs gives this position; the datum shift of 200 m is in it.
    degrees = gpd.GeoSeries.from_xy([448_000.0], [4_637_000.0], crs=26716).to_crs(4326)
    np.testing.assert_allclose([found.lon[0], found.lat[0]], [degrees.x[0], degrees.y[0]])


def test_points_from_cells(tmp_path):
    cells = grid.polygon_to_cells(shapely.box(*TOWN.bbox), 8)[:3]
    frame = pd.DataFrame({"h3": [*grid.to_strings(cells), None], "v": [1.0, 2.0, 3.0, 4.0]})
    for path in (write(tmp_path / "c.parquet", frame), tmp_path / "c.csv"):
        frame.to_csv(tmp_path / "c.csv", index=False)
        found = reading("points", path, columns={"cell": ("h3",)}, **value("v"))
        back = grid.points_to_cells(lon=found.lon, lat=found.lat, resolution=8)
        np.testing.assert_array_equal(back, cells)
        np.testing.assert_array_equal(found.values["v"], [1, 2, 3])
        assert found.dropped == {"no coordinates": 1}
    numbers = write(tmp_path / "n.parquet", pd.DataFrame({"h3": cells}))
    assert len(reading("points", numbers, columns={"cell": ("h3",)})) == 3
    bad = write(tmp_path / "b.parquet", pd.DataFrame({"h3": ["zebra"]}))
    with pytest.raises(CellError, match="'zebra' "):
        reading("points", bad, columns={"cell": ("h3",)})


def test_out_of_range_rows_are_dropped_and_counted(tmp_path):
    frame = pd.DataFrame({"lon": [-87.6, 999.0, 272.4], "lat": [41.9, 0.0, 41.9]})
    found = reading("points", write(tmp_path / "p.parquet", frame), columns=SHOPS)
    assert found.dropped == {"coordinates out of range": 1}
    np.testing.assert_allclose(found.lon, -87.6)


def test_swapped_columns_get_a_hint(tmp_path):
    frame = pd.DataFrame({"lon": [41.9, 41.8], "lat": [-87.6, -87.7]})
    path = write(tmp_path / "p.parquet", frame)
    with pytest.raises(RecordError, match="Longitude and latitude are swapped"):
        reading("points", path, columns=SHOPS)
    beyond = write(tmp_path / "q.parquet", pd.DataFrame({"lon": [40.0], "lat": [120.0]}))
    with pytest.raises(RecordError, match="look swapped"):
        reading("points", beyond, columns=SHOPS)


def test_metres_taken_for_degrees_get_a_hint(tmp_path):
    frame = pd.DataFrame({"lon": [448_000.0], "lat": [4_637_000.0]})
    with pytest.raises(RecordError, match="Is this a projected CRS"):
        reading("points", write(tmp_path / "p.parquet", frame), columns=SHOPS)


def test_all_rows_lost_is_an_error_with_row_numbers(tmp_path):
    frame = pd.DataFrame({"lon": [np.nan] * 7, "lat": [1.0] * 7})
    with pytest.raises(RecordError, match=r"7 no coordinates; .* rows 0, 1, 2, 3, 4"):
        reading("points", write(tmp_path / "p.parquet", frame), columns=SHOPS)


def test_a_source_far_from_its_place_is_an_error(tmp_path):
    frame = pd.DataFrame({"lon": [2.35], "lat": [48.85]})
    with pytest.raises(RecordError, match=r"nothing in p.parquet lies near Town.*lon 2.350"):
        reading("points", write(tmp_path / "p.parquet", frame), columns=SHOPS)


# ---- columns, filters, numbers ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s.csv.gz", "s.csv.zip", "s.parquet"])
def test_a_wrong_column_lists_what_there_is(same_shops, name):
    with pytest.raises(RecordError) as raised:
        reading("points", same_shops / name, columns=SHOPS | {"category": ("knid",)})
    for part in ("no column 'knid'", "Did you mean 'kind'?", "id, lon, lat, name, tags", name):
        assert part in str(raised.value)


@pytest.mark.parametrize("name", ["geo.parquet", "s.geojson", "s.gpkg", "shape.zip"])
def test_a_wrong_column_beside_a_geometry(same_shops, name):
    with pytest.raises(RecordError, match=r"no column 'knid'. Did you mean 'kind'"):
        reading("points", same_shops / name, columns={"category": ("knid",)})


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"city": Condition(allowed=("A",))}, [0, 1]),
        ({"city": Condition(allowed=("A", "B"))}, [0, 1, 2]),
        ({"city": Condition(excluded=("A",))}, [2]),
        ({"inside": Condition(allowed=(True,))}, [0, 2, 3]),
        ({"size": Condition(min=2)}, [1, 2]),
        ({"size": Condition(min=2, max=2)}, [1]),
        ({"end": Condition(min_column="start")}, [0, 1, 3]),
        ({"start": Condition(max_column="end")}, [0, 1, 3]),
        ({"start": Condition(min="2021-01-02")}, [1, 2, 3]),
        ({"city": Condition(allowed=("A",)), "size": Condition(min=2)}, [1]),
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_filters(tmp_path, where, kept, suffix):
    frame = pd.DataFrame(
        {
            "lon": -87.6, "lat": [41.90, 41.91, 41.92, 41.93], "row": range(4),
            "city": ["A", "A", "B", None], "inside": [True, False, True, True],
            "size": [1.0, 2.0, 3.0, np.nan],
            "start": pd.to_datetime(["2021-01-01", "2021-01-02", "2021-01-05", "2021-01-05"]),
            "end": pd.to_datetime(["2021-01-01", "2021-01-03", "2021-01-04", "2021-01-06"]),
        }
    )  # fmt: skip
    path = tmp_path / f"f{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    found = reading("points", path, columns=SHOPS, where=where, **value("row"))
    assert found.values["row"].tolist() == kept
    assert sum(found.dropped.values()) == 4 - len(kept)
    assert all(reason.startswith("outside the filter on ") for reason in found.dropped)


def test_a_filter_that_leaves_nothing_shows_what_there_is(tmp_path):
    frame = pd.DataFrame({"lon": [-87.6], "lat": [41.9], "city": ["Chicago"]})
    with pytest.raises(RecordError, match="column 'city' holds 'Chicago'"):
        reading(
            "points", write(tmp_path / "p.parquet", frame), columns=SHOPS,
            where={"city": Condition(allowed=("chicago",))},
        )  # fmt: skip


def test_a_filter_of_the_wrong_kind_is_an_error(tmp_path):
    frame = pd.DataFrame({"lon": [-87.6], "lat": [41.9], "city": ["Chicago"]})
    with pytest.raises(RecordError, match="write a value of the kind that the column holds"):
        reading(
            "points", write(tmp_path / "p.parquet", frame), columns=SHOPS,
            where={"city": Condition(min=3)},
        )  # fmt: skip


def test_missing_values_and_words(tmp_path):
    frame = pd.DataFrame({"lon": -87.6, "lat": 41.9, "v": ["1", "n/a", None], "w": [5.0, -999, 0]})
    path = write(tmp_path / "p.parquet", frame)
    with pytest.raises(RecordError, match=r"'v' holds 'n/a', which is not a number \(1 rows, "):
        reading("points", path, columns=SHOPS, **value("v"))
    found = reading("points", path, columns=SHOPS, missing={"v": ("n/a",)}, **value("v"))
    np.testing.assert_array_equal(found.values["v"], [1, np.nan, np.nan])
    found = reading("points", path, columns=SHOPS, missing={"w": (0, -999)}, **value("w"))
    np.testing.assert_array_equal(found.values["w"], [5, np.nan, np.nan])


def test_derived_columns(tmp_path):
    frame = pd.DataFrame(
        {"lon": -87.6, "lat": 41.9, "a": [1.0, 4, 2], "b": [1.0, 2, 0], "n": [10, 2, 0]}
    )
    rule = Derivation(add=("a", "b"), subtract=("b",), per=("n", "b"), scale=2.0, per_at_least=3.0)
    found = reading(
        "points", write(tmp_path / "p.parquet", frame), columns=SHOPS, derive={"d": rule},
        **value("d"),
    )  # fmt: skip
    np.testing.assert_allclose(found.values["d"], [2 / 11, 2.0, np.nan])


def test_weights_missing_and_negative(tmp_path):
    frame = pd.DataFrame({"lon": -87.6, "lat": 41.9, "w": [2.0, np.nan]})
    columns = SHOPS | {"weight": ("w",)}
    found = reading("points", write(tmp_path / "p.parquet", frame), columns=columns)
    assert (found.weight.tolist(), found.dropped) == ([2.0], {"no weight": 1})
    frame["w"] = [2.0, -1.0]
    with pytest.raises(RecordError, match="weights must be finite and not negative"):
        reading("points", write(tmp_path / "p.parquet", frame), columns=columns)


# ---- zones --------------------------------------------------------------------------------------


@pytest.fixture
def tracts(tmp_path):
    """Four squares: ids with leading zeros, people, age in percent."""
    frame = gpd.GeoDataFrame(
        {
            "GEOID": ["01", "02", "03", "04"], "pop": [100.0, 50.0, 0.0, 20.0],
            "young": [40.0, 50.1, 0.0, 10.0], "old": [60.0, 49.9, 0.0, 90.0],
        },
        geometry=[shapely.box(-87.7 + i / 100, 41.9, -87.69 + i / 100, 41.91) for i in range(4)],
        crs=4326,
    )  # fmt: skip
    frame.to_parquet(tmp_path / "tracts.parquet")
    return frame


AGE = {
    "columns": {"id": ("GEOID",)},
    "counts": {"population": "pop"},
    "histograms": {
        "age": HistogramSpec(bins={"y": "young", "o": "old"}, unit="percent", total="pop")
    },
}


@pytest.mark.parametrize("name", ["t.parquet", "t.geojson", "t.gpkg", "t.shp"])
@pytest.mark.parametrize("crs", [4326, 26916])
def test_zones_in_every_format_and_crs(tracts, tmp_path, name, crs):
    frame = tracts.to_crs(crs)
    if name.endswith("parquet"):
        frame.to_parquet(tmp_path / name)
    elif not (name.endswith("geojson") and crs != 4326):
        frame.to_file(tmp_path / name)
    else:
        pytest.skip("GeoJSON is WGS84")
    zones = reading("zones", tmp_path / name, **AGE)
    assert isinstance(zones, ZoneRecords)
    assert zones.ids.tolist() == ["01", "02", "03", "04"]
    assert shapely.equals_exact(
        shapely.normalize(zones.geometry), shapely.normalize(tracts.geometry.to_numpy()), 1e-7
    ).all()
    assert set(zones.values) == {"pop", "young", "old"}


def test_the_file_and_the_manifest_must_agree_on_the_crs(tracts, tmp_path):
    path = tmp_path / "tracts.parquet"
    assert len(reading("zones", path, crs="EPSG:4326", **AGE)) == 4
    with pytest.raises(RecordError, match=r"(?s)EPSG:4326 .*EPSG:26916 "):
        reading("zones", path, crs="EPSG:26916", **AGE)
    with pytest.raises(RecordError, match="'EPSG:1' in the manifest is not known"):
        reading("zones", path, crs="EPSG:1", **AGE)
    tracts.to_crs(26916).to_file(tmp_path / "t.shp")
    assert len(reading("zones", tmp_path / "t.shp", crs="EPSG:26916", **AGE)) == 4


def test_no_crs_anywhere_is_an_error(tracts, tmp_path):
    tracts.to_crs(26916).to_file(tmp_path / "t.shp")
    (tmp_path / "t.prj").unlink()
    with pytest.raises(RecordError, match="states no CRS and the manifest gives none"):
        reading("zones", tmp_path / "t.shp", **AGE)
    assert len(reading("zones", tmp_path / "t.shp", crs="EPSG:26916", **AGE)) == 4
    tracts.set_crs(None, allow_override=True).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(RecordError, match="states no CRS"):
        reading("zones", tmp_path / "none.parquet", **AGE)


def test_metres_labelled_as_degrees(tracts, tmp_path):
    wrong = tracts.to_crs(26916).set_crs(4326, allow_override=True)
    wrong.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(RecordError, match="which are not degrees"):
        reading("zones", tmp_path / "t.parquet", **AGE)


def test_bad_polygons_are_repaired_or_counted(tracts, tmp_path):
    bowtie = shapely.Polygon([(-87.7, 41.9), (-87.6, 42), (-87.6, 41.9), (-87.7, 42)])
    tracts["geometry"] = [bowtie, None, shapely.Polygon(), shapely.Point(-87.6, 41.9)]
    tracts.to_parquet(tmp_path / "t.parquet")
    zones = reading("zones", tmp_path / "t.parquet", **AGE)
    assert (zones.ids.tolist(), zones.dropped) == (["01"], {"no polygon": 3})
    assert shapely.is_valid(zones.geometry).all()
    assert zones.geometry[0].area == pytest.approx(0.005)
    tracts["geometry"] = shapely.Point(-87.6, 41.9)
    tracts.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(RecordError, match="for points use kind: points"):
        reading("zones", tmp_path / "t.parquet", **AGE)


def test_repeated_ids(tracts, tmp_path):
    tracts["GEOID"] = ["01", "01", "03", "03"]
    tracts.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(RecordError, match=r"zone id '01' stands in 2 rows \(2 ids repeat\)"):
        reading("zones", tmp_path / "t.parquet", **AGE)
    with pytest.raises(RecordError, match="merge is for zones without values"):
        reading("zones", tmp_path / "t.parquet", repeated_ids="merge", **AGE)
    merged = reading(
        "zones", tmp_path / "t.parquet", repeated_ids="merge", columns={"id": ("GEOID",)}
    )
    assert merged.ids.tolist() == ["01", "03"]
    assert merged.geometry[0].equals(shapely.union_all(tracts.geometry[:2].to_numpy()))


def test_histograms_must_partition(tracts, tmp_path):
    doubled = AGE | {
        "histograms": {
            "age": HistogramSpec(
                bins={"y": "young", "o": "old", "all": "hundred"}, unit="percent", total="pop"
            )
        }
    }
    tracts["hundred"] = 100.0
    tracts.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(RecordError, match=r"'age' sum to 2.00 of their total in the median zone"):
        reading("zones", tmp_path / "t.parquet", **doubled)
    counted = AGE | {
        "histograms": {
            "age": HistogramSpec(bins={"y": "young", "o": "old"}, unit="people", total="pop")
        }
    }
    with pytest.raises(RecordError, match=r"sum to 2.00 of their total"):
        reading("zones", tmp_path / "t.parquet", **counted)


def test_negative_counts_name_the_code_to_declare(tracts, tmp_path):
    tracts.loc[1, "pop"] = -666.0
    tracts.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(RecordError, match=r"'population' .* is negative \(1 rows, first 1; -666"):
        reading("zones", tmp_path / "t.parquet", **AGE)
    zones = reading("zones", tmp_path / "t.parquet", missing={"pop": (-666,)}, **AGE)
    assert np.isnan(zones.values["pop"][1])


@pytest.mark.parametrize(
    "ids", [[2, 4, 9], ["2", "4", "9"], [2.0, 4.0, np.nan], ["02", "04", "09"]]
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_borrowed_polygons_join_ids_of_any_type(tracts, tmp_path, ids, suffix):
    zones = reading("zones", tmp_path / "tracts.parquet", **AGE)
    frame = pd.DataFrame({"tract": ids, "crimes": [5.0, 6.0, 7.0]})
    path = tmp_path / f"crimes{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    borrowed = {
        "columns": {"id": ("tract",)}, "geometry_from": "tracts", "id_width": 2, **value("crimes"),
    }  # fmt: skip
    found = reading("zones", path, {"tracts": zones}, **borrowed)
    assert found.ids.tolist() == ["02", "04"]
    assert found.values["crimes"].tolist() == [5.0, 6.0]
    assert found.geometry[0].equals(zones.geometry[1])
    assert sum(found.dropped.values()) == 1
    if suffix == ".parquet" and ids[0] != "02":
        with pytest.raises(RecordError, match=r"like '2.*', ids of 'tracts' like '01': set id_wid"):
            reading("zones", path, {"tracts": zones}, **(borrowed | {"id_width": None}))
    with pytest.raises(RecordError, match="'tracts', which has not been read"):
        reading("zones", path, **borrowed)


def test_a_table_without_polygons_says_where_to_get_them(tmp_path):
    frame = pd.DataFrame({"GEOID": ["1"], "pop": [1.0], "young": [1.0], "old": [99.0]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    for path in (write(tmp_path / "t.parquet", frame), tmp_path / "t.csv"):
        with pytest.raises(RecordError, match="`geometry_from`"):
            reading("zones", path, **AGE)


# ---- flows --------------------------------------------------------------------------------------

TRIPS = {
    "origin_lon": ("a",),
    "origin_lat": ("b",),
    "destination_lon": ("c",),
    "destination_lat": ("d",),
}


def test_flows_between_points(tmp_path):
    frame = pd.DataFrame(
        {
            "a": [-87.6, np.nan, -87.6, -87.6], "b": [41.9, 41.9, 41.9, 41.9],
            "c": [-87.61, -87.6, np.nan, -87.62], "d": [41.91, 41.9, 41.9, 99.0], "n": [3, 1, 1, 1],
        }
    )  # fmt: skip
    flows = reading(
        "flows", write(tmp_path / "f.parquet", frame), columns=TRIPS | {"weight": ("n",)}
    )
    assert isinstance(flows, FlowRecords)
    assert flows.ends == "points"
    np.testing.assert_allclose(flows.origin, [[-87.6, 41.9]])
    np.testing.assert_allclose(flows.destination, [[-87.61, 41.91]])
    assert flows.weight.tolist() == [3.0]
    assert flows.dropped == {
        "no origin": 1, "no destination": 1, "destination out of range": 1
    }  # fmt: skip


def test_flows_between_zones_and_cells(tmp_path):
    frame = pd.DataFrame({"o": [1, 2, 3], "d": ["07", None, "x"], "n": [1.0, 2.0, np.nan]})
    flows = reading(
        "flows", write(tmp_path / "f.parquet", frame), id_width=2, zones="tracts",
        columns={"origin": ("o",), "destination": ("d",), "weight": ("n",)},
    )  # fmt: skip
    assert (flows.origin.tolist(), flows.destination.tolist()) == (["01"], ["07"])
    assert (flows.zones, flows.ends) == ("tracts", "zones")
    assert flows.dropped == {"no weight": 1, "no destination": 1}
    cells = grid.polygon_to_cells(shapely.box(*TOWN.bbox), 7)[:2]
    frame = pd.DataFrame({"o": grid.to_strings(cells), "d": cells[::-1]})
    flows = reading(
        "flows", write(tmp_path / "c.parquet", frame),
        columns={"origin_cell": ("o",), "destination_cell": ("d",)},
    )  # fmt: skip
    assert flows.ends == "cells"
    np.testing.assert_array_equal(flows.origin, cells)
    np.testing.assert_array_equal(flows.destination, cells[::-1])


# ---- rasters and damaged files ------------------------------------------------------------------


def image(path, **profile):
    given = {
        "driver": "GTiff", "width": 400, "height": 300, "count": 2, "dtype": "uint8",
        "crs": "EPSG:26716", "transform": rasterio.Affine(10, 0, 447_000, 0, -10, 4_640_000),
    }  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 255, (2, 300, 400), np.uint8)
    with rasterio.open(path, "w", **(given | profile)) as file:
        file.write(pixels)
    return path


def test_raster(tmp_path):
    found = reading("rasters", image(tmp_path / "i.tif"), nodata=0.0)
    assert isinstance(found, RasterRecords)
    assert (found.crs, found.bands, found.nodata) == ("EPSG:26716", 2, 0.0)
    assert reading("rasters", image(tmp_path / "n.tif", nodata=7)).nodata == 7
    with pytest.raises(RecordError, match=r"states nodata 7.0, but the manifest gives 0.0"):
        reading("rasters", tmp_path / "n.tif", nodata=0.0)


def test_raster_without_crs_or_position(tmp_path):
    bare = image(tmp_path / "i.tif", crs=None)
    with pytest.raises(RecordError, match=r"i.tif states no CRS and the manifest gives none"):
        reading("rasters", bare)
    assert reading("rasters", bare, crs="EPSG:26716").crs == "EPSG:26716"
    with pytest.raises(RecordError, match=r"(?s)EPSG:26716 .*EPSG:32616 "):
        reading("rasters", image(tmp_path / "j.tif"), crs="EPSG:32616")
    with pytest.warns(NotGeoreferencedWarning):
        nowhere = image(tmp_path / "k.tif", transform=rasterio.Affine.identity())
    with pytest.raises(RecordError, match="has no georeference"):
        reading("rasters", nowhere)


@pytest.mark.parametrize(
    "name",
    ["s.csv.gz", "s.csv.zip", "s.parquet", "geo.parquet", "s.geojson.gz", "s.gpkg", "i.tif"],
)
def test_truncated_files(same_shops, name):
    image(same_shops / "i.tif")
    whole = (same_shops / name).read_bytes()
    path = same_shops / f"cut{name[name.index('.') :]}"
    path.write_bytes(whole[: len(whole) // 2])
    kind = "rasters" if name == "i.tif" else "points"
    with_geometry = name in ("geo.parquet", "s.geojson.gz", "s.gpkg")
    columns = {} if kind == "rasters" else {"text": ("name",)} if with_geometry else SHOPS
    with pytest.raises(RecordError, match=r"cut.*(cannot be read|truncated)"):
        reading(kind, path, columns=columns)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00bad", b"id,lon,lat\n"])
def test_files_that_are_not_csv(tmp_path, content):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(RecordError, match=r"p\.csv"):
        reading("points", tmp_path / "p.csv", columns=SHOPS)


def test_a_missing_file(tmp_path):
    with pytest.raises(RecordError, match="Run `mobclip fetch`"):
        reading("points", tmp_path / "p.csv", columns=SHOPS)


def test_several_members_must_be_told_apart(tracts, tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(DATA / "shops.csv", "a.csv")
        archive.writestr("b.csv", "lon,lat\n-87.6,41.9\n")
    with pytest.raises(RecordError, match=r"a.csv, b.csv: say which with `member`"):
        reading("points", tmp_path / "z.zip", columns=SHOPS)
    assert len(reading("points", tmp_path / "z.zip", columns=SHOPS, member="b.csv")) == 1
    with pytest.raises(RecordError, match=r"does not hold 'c.csv'"):
        reading("points", tmp_path / "z.zip", columns=SHOPS, member="c.csv")
    tracts.to_file(tmp_path / "t.gpkg", layer="one")
    tracts[:2].to_file(tmp_path / "t.gpkg", layer="two")
    with pytest.raises(RecordError, match="layers one, two: say which with `member`"):
        reading("zones", tmp_path / "t.gpkg", **AGE)
    assert len(reading("zones", tmp_path / "t.gpkg", member="two", **AGE)) == 2


# ---- whole places -------------------------------------------------------------------------------


def test_read_place_reads_polygons_before_borrowers(tracts, tmp_path):
    pd.DataFrame({"t": ["02"], "crimes": [5.0]}).to_csv(tmp_path / "crimes.csv", index=False)
    crimes = source(
        "zones", "crimes.csv", name="crimes", columns={"id": ("t",)}, geometry_from="tracts",
        **value("crimes"),
    )  # fmt: skip
    lender = source("zones", "tracts.parquet", name="tracts", **AGE)
    place = town(crimes, lender, area=Area(source="tracts"))
    paths = {"crimes": tmp_path / "crimes.csv", "tracts": tmp_path / "tracts.parquet"}
    records = read_place(place, paths)
    assert list(records) == ["crimes", "tracts"]
    assert records["crimes"].ids.tolist() == ["02"]


def test_every_kind_has_a_reader():
    assert set(KIND_READERS) == {"points", "zones", "flows", "rasters"}


def test_the_entry_of_the_synthetic_country_fits_its_files(tmp_path):
    """Every column that the manifest names is there, and no row is lost."""
    place = load_manifest(ROOT / "data_manifest.yaml").place("synthetic")
    write_country(tmp_path / "country", cells=500, resolution=place.resolution, seed=0)
    records = read_place(
        place,
        {key: tmp_path / "country" / Path(spec.path).name for key, spec in place.sources.items()},
    )
    assert len(records["targets_cells"]) == 500
    assert all(record.dropped == {} for record in records.values())
    assert len(place.targets) == 11


MIRROR = os.environ.get("MOBCLIP_MIRROR")
# Rows read and rows left out, as the READMEs of the two bundles have them.
EXPECTED = {
    "chicago": {
        "trips": (146_138, {"outside the filter on ended_at": 2, "no destination": 316}),
        "taxi": (14_520, {"no destination": 480}),
        "venues": (17_968, {"outside the filter on in_chicago_box": 15}),
        "tracts": (1_318, {}),
        "precincts": (2_069, {}),
        "crime_total": (844, {"id not in tracts": 13}),
        "crimes_2012": (9_912, {"no coordinates": 88}),
    },
    "new-york": {
        "jobs": (203_653, {}),
        "taxi": (6_383, {"no origin": 26, "no destination": 24}),
        "taxi_zones": (260, {}),
        "venues": (13_556, {}),
        "tracts": (2_166, {}),
        "landuse": (2_032, {"id not in tracts": 290}),
    },
}


@pytest.mark.real
@pytest.mark.skipif(MIRROR is None, reason="MOBCLIP_MIRROR, the folder of real data, is not set")
@pytest.mark.parametrize("name", list(EXPECTED))
def test_real_places(name, tmp_path):
    place = load_manifest(ROOT / "data_manifest.yaml").place(name)
    paths = {
        key: fetch(spec, data_dir=tmp_path, mirror=Path(str(MIRROR)))
        for key, spec in place.sources.items()
    }
    records = read_place(place, paths)
    assert set(records) == set(place.sources)
    for key, (rows, dropped) in EXPECTED[name].items():
        assert (len(records[key]), records[key].dropped) == (rows, dropped), key
    people = records["tracts"].values["Total Population"].sum()
    assert round(people) == {"chicago": 5_236_393, "new-york": 8_426_743}[name]
    for spec in place.sources.values():
        for target in spec.targets.values():
            if target.column is not None:
                values = records[spec.name].values[target.column]
                assert np.isfinite(values).any()
                if target.unit.startswith("share"):
                    assert (np.nanmin(values), np.nanmax(values)) >= (0, 0)
                    assert np.nanmax(values) <= 1 + 1e-9
    json.dumps({key: dict(record.dropped) for key, record in records.items()})
