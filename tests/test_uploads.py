"""Files that people bring: looked through, read as chosen, made into a place of the manifest."""

import json
import pickle
import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import yaml

from mobclip import grid, pipeline, uploads
from mobclip.errors import MobclipError, RecordError
from mobclip.place import Place
from mobclip.sources import preview as preview_module
from mobclip.uploads import Sheet, check, guess, preview

WEST, SOUTH = -30.6, -20.5
PLACE = uploads.Wanted(name="mine", title="My place", resolution=7, licence="own data")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def points(tmp_path, rng):
    """600 points of three categories."""
    frame = pd.DataFrame(
        {
            "Longitude": WEST + 0.5 * rng.random(600),
            "Latitude": SOUTH + 0.5 * rng.random(600),
            "category": rng.choice(["bar", "shop", "farm"], 600),
            "name": [f"number {i}" for i in range(600)],
        }
    )
    path = tmp_path / "places to go.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def zones(tmp_path, rng):
    """25 squares with people."""
    squares = [
        shapely.box(WEST + 0.1 * i, SOUTH + 0.1 * j, WEST + 0.1 * (i + 1), SOUTH + 0.1 * (j + 1))
        for i in range(5)
        for j in range(5)
    ]
    frame = gpd.GeoDataFrame(
        {
            "code": [f"{i:03d}" for i in range(25)],
            "Population": rng.integers(100, 900, 25),
            "cars": rng.integers(10, 90, 25),
            "median_income": rng.random(25) * 1000,
        },
        geometry=squares,
        crs="EPSG:4326",
    )
    path = tmp_path / "zones.geojson"
    frame.to_file(path, driver="GeoJSON", engine="pyogrio")
    return path


@pytest.fixture
def flows(tmp_path, rng):
    """Trips between zone ids."""
    ends = rng.integers(0, 25, (300, 2))
    frame = pd.DataFrame(
        {
            "from_zone": [f"{i:03d}" for i in ends[:, 0]],
            "to_zone": [f"{i:03d}" for i in ends[:, 1]],
            "trips": rng.integers(1, 20, 300),
        }
    )
    path = tmp_path / "trips.parquet"
    frame.to_parquet(path)
    return path


def sheet(kind, path, **other) -> Sheet:
    found = guess(kind, preview(path))
    return Sheet(**{**found.__dict__, **other})


def only(checked, kind):
    (found,) = [one for one in checked.files if one.kind == kind]
    return found


# ---- first sight -------------------------------------------------------------------------------


def test_columns_are_proposed(points, zones, flows):
    one = guess("points", preview(points))
    assert one.columns == {
        "lon": "Longitude", "lat": "Latitude", "category": "category", "text": "name",
    }  # fmt: skip
    two = guess("zones", preview(zones))
    assert two.columns == {"id": "code"}
    assert two.uses == {"Population": "population", "cars": "count", "median_income": "average"}
    assert (two.preview.geometry, two.preview.crs, two.preview.rows) == (
        "polygons",
        "EPSG:4326",
        25,
    )
    three = guess("flows", preview(flows))
    assert three.columns == {
        "origin": "from_zone", "destination": "to_zone", "weight": "trips",
    }  # fmt: skip
    assert three.preview.rows == 300


def test_flows_between_cells_and_between_positions_are_told_apart(tmp_path):
    cells = grid.to_strings(grid.polygon_to_cells(shapely.box(WEST, SOUTH, WEST + 1, SOUTH + 1), 6))
    path = tmp_path / "a.csv"
    pd.DataFrame({"o": cells[:9], "d": cells[1:10], "n": 1}).to_csv(path, index=False)
    assert guess("flows", preview(path)).columns == {
        "origin_cell": "o", "destination_cell": "d", "weight": "n",
    }  # fmt: skip
    pd.DataFrame(
        {"start_lng": [1.5], "start_lat": [2.5], "end_lng": [3.5], "end_lat": [4.5]}
    ).to_csv(path, index=False)
    assert guess("flows", preview(path)).columns == {
        "origin_lon": "start_lng", "origin_lat": "start_lat",
        "destination_lon": "end_lng", "destination_lat": "end_lat",
    }  # fmt: skip


def test_a_geoparquet_of_points_needs_no_columns(tmp_path, rng):
    path = tmp_path / "a.parquet"
    at = shapely.points(WEST + rng.random(50) / 2, SOUTH + rng.random(50) / 2)
    gpd.GeoDataFrame({"kind": ["bar"] * 50}, geometry=at, crs="EPSG:4326").to_parquet(path)
    found = check([sheet("points", path)], PLACE)
    assert found.good, found.problems
    assert guess("points", preview(path)).columns == {"category": "kind"}
    assert only(found, "points").used == 50


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"lon,lat,kind\n", "no rows"),
        ("a.csv", b"lon;lat;kind\n1;2;bar\n", "semicolons"),
        ("a.csv", b"PK\x03\x04\0\0\0\0", "save it as CSV"),
        ("a.csv", "lon,lat,größe\n1,2,3\n".encode("latin-1"), "UTF-8"),
        ("a.csv", b"x" * 1_200_000, "longer than 1 MB"),
        ("a.csv", ",".join(f"c{i}" for i in range(5000)).encode() + b"\n1\n", "5,000 columns"),
        ("a.parquet", pickle.dumps({"a": 1}), "pickles among them, are not opened"),
        ("a.parquet", b"PAR1 but no more of it PAR1", "cannot be read"),
        ("a.geojson", b"<OGRVRTDataSource><OGRVRTLayer/></OGRVRTDataSource>", "FeatureCollection"),
        ("a.geojson", b'{"type": "Topology"}', "FeatureCollection"),
        ("a.geojson", b'{"type": "FeatureCollection", "features": [', "cannot be read"),
        ("a.pkl", b"x", "not taken"),
        ("a.gpkg", b"x", "not taken"),
    ],
)
def test_what_is_not_what_it_says_is_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError, match=says):
        preview(tmp_path / name)


def test_a_pickle_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (shutil.rmtree, (str(tmp_path),))

    (tmp_path / "a.parquet").write_bytes(b"PAR1" + pickle.dumps(Bomb()) + b"PAR1")
    with pytest.raises(RecordError):
        preview(tmp_path / "a.parquet")
    assert tmp_path.is_dir()


def test_too_large_and_too_long_are_refused(points, monkeypatch):
    monkeypatch.setattr(preview_module, "BYTES", 1000)
    with pytest.raises(RecordError, match="MB"):
        preview(points)
    monkeypatch.setattr(preview_module, "BYTES", 10**9)
    monkeypatch.setattr(preview_module, "ROWS", 599)
    with pytest.raises(RecordError, match="600 rows; at most 599"):
        preview(points)


# ---- the report --------------------------------------------------------------------------------


def test_a_good_set_of_files(points, zones, flows):
    found = check([sheet("points", points), sheet("zones", zones), sheet("flows", flows)], PLACE)
    assert found.good, found.problems
    assert [(one.kind, one.rows, one.used) for one in found.files] == [
        ("points", 600, 600), ("flows", 300, 300), ("zones", 25, 25),
    ]  # fmt: skip
    outline = shapely.box(WEST, SOUTH, WEST + 0.5, SOUTH + 0.5)
    cells = len(grid.polygon_to_cells(outline, 7))
    assert abs(only(found, "zones").cells - cells) <= 1
    assert only(found, "zones").extent == pytest.approx((WEST, SOUTH, WEST + 0.5, SOUTH + 0.5))
    assert found.cells == only(found, "zones").cells
    assert found.area is None


def test_bad_rows_are_counted_and_named(points):
    lines = points.read_text().splitlines()
    lines[3] = f"unknown,{SOUTH + 0.1},bar,three"  # the third row below the header
    lines[8] = "500,-20.2,bar,eight"
    lines[9] = ",,bar,nine"
    points.write_text("\n".join(lines))
    found = check([sheet("points", points)], PLACE)
    assert found.good, found.problems
    read = only(found, "points")
    assert (read.rows, read.used) == (600, 597)
    assert {why: (rows, first) for why, rows, first in read.dropped} == {
        "no coordinates": (2, (3, 9)),
        "coordinates out of range": (1, (8,)),
    }
    assert "'unknown' is taken as not known" in " ".join(read.notes)
    assert found.repairs["points"].missing == {"Longitude": ("unknown",)}


def test_words_where_numbers_belong_are_a_problem(points):
    chosen = sheet("points", points)
    wrong = Sheet(**{**chosen.__dict__, "columns": {**chosen.columns, "lat": "name"}})
    (problem,) = check([wrong], PLACE).problems
    assert "“name” is to hold numbers" in problem


def test_exchanged_coordinates_are_noticed(points, zones, tmp_path):
    chosen = sheet("points", points)
    turned = {**chosen.columns, "lon": "Latitude", "lat": "Longitude"}
    wrong = Sheet(**{**chosen.__dict__, "columns": turned})
    found = " ".join(check([wrong, sheet("zones", zones)], PLACE).problems)
    assert "exchange" in found or "swapped" in found
    # Without anything to compare with: Chicago, turned, lies in the Antarctic.
    path = tmp_path / "c.csv"
    pd.DataFrame({"lon": [41.8, 41.9], "lat": [-87.6, -87.7], "kind": ["a", "b"]}).to_csv(
        path, index=False
    )
    assert "near a pole" in " ".join(check([sheet("points", path)], PLACE).problems)


def test_a_projected_file_is_asked_for_its_crs(points, tmp_path):
    path = tmp_path / "utm.csv"
    pd.DataFrame(
        {"x": [448_000.0, 449_000.0, 448_500.0], "y": [4_637_000.0, 4_638_000.0, 4_636_000.0],
         "kind": ["a", "b", "a"]}
    ).to_csv(path, index=False)  # fmt: skip
    (problem,) = check([sheet("points", path)], PLACE).problems
    assert "projected" in problem
    assert "in the manifest" not in problem
    good = check([sheet("points", path, crs="EPSG:32616")], PLACE)
    assert good.good, good.problems
    assert only(good, "points").extent[0] == pytest.approx(-87.6, abs=0.1)
    (problem,) = check([sheet("points", path, crs="EPSG:123456")], PLACE).problems
    assert "EPSG:123456" in problem


def test_a_geojson_that_is_not_in_degrees(tmp_path):
    square = {"type": "Polygon", "coordinates": [[[4e5, 5e6], [5e5, 5e6], [5e5, 6e6], [4e5, 5e6]]]}
    feature = {"type": "Feature", "properties": {"id": "a", "pop": 3}, "geometry": square}
    path = tmp_path / "z.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (problem,) = check([sheet("zones", path)], PLACE).problems
    assert "not degrees" in problem


def test_unknown_zone_ids_are_named(zones, flows):
    frame = pd.read_parquet(flows)
    frame.loc[4, "to_zone"] = "999"
    frame.loc[6, "from_zone"] = "998"
    frame.to_parquet(flows)
    found = check([sheet("zones", zones), sheet("flows", flows)], PLACE)
    assert found.good, found.problems
    read = only(found, "flows")
    assert (read.rows, read.used) == (300, 298)
    ((why, rows, first),) = read.dropped
    assert "“999”" in why
    assert (rows, first) == (2, (5, 7))
    frame["to_zone"] = "none of them"
    frame.to_parquet(flows)
    (problem,) = check([sheet("zones", zones), sheet("flows", flows)], PLACE).problems
    assert "all 300 rows have an end in no zone" in problem
    (problem,) = check([sheet("flows", flows)], PLACE).problems
    assert "the zones are needed too" in problem


def test_flows_between_larger_cells_need_a_coarser_place(tmp_path):
    cells = grid.to_strings(grid.polygon_to_cells(shapely.box(WEST, SOUTH, WEST + 1, SOUTH + 1), 6))
    path = tmp_path / "a.csv"
    pd.DataFrame({"from": cells[:9], "to": cells[1:10]}).to_csv(path, index=False)
    (problem,) = check([sheet("flows", path)], PLACE).problems
    assert "choose 6 or less" in problem
    coarser = uploads.Wanted(**{**PLACE.__dict__, "resolution": 6})
    assert check([sheet("flows", path)], coarser).cells == 10
    lines = path.read_text().replace(cells[3], "nonsense")
    path.write_text(lines)
    chosen = Sheet(
        kind="flows",
        preview=preview(path),
        columns={"origin_cell": "from", "destination_cell": "to"},
    )
    (problem,) = check([chosen], coarser).problems
    assert "'nonsense' (row 3) is not an H3 cell" in problem
    assert "counted from 0" in problem


def test_a_lost_point_makes_no_country(tmp_path, points):
    with points.open("a") as file:
        file.write("120.0,45.0,bar,far away\n")
    fine = uploads.Wanted(**{**PLACE.__dict__, "resolution": 9})
    (problem,) = check([sheet("points", points)], fine).problems
    assert "at most 2,000,000" in problem
    trimmed = uploads.Wanted(**{**fine.__dict__, "trimmed": True})
    found = check([sheet("points", points)], trimmed)
    assert found.good, found.problems
    assert found.area[2] < -29


def test_negative_counts_are_codes(zones):
    frame = gpd.read_file(zones)
    frame.loc[2, "cars"] = -999
    frame.to_file(zones, driver="GeoJSON", engine="pyogrio")
    found = check([sheet("zones", zones)], PLACE)
    assert found.good, found.problems
    assert found.repairs["zones"].missing == {"cars": (-999.0,)}
    assert "-999" in only(found, "zones").notes[0]


def test_what_is_not_chosen_is_asked_for(points, zones):
    assert "at least one file" in check([], PLACE).problems[0]
    bare = Sheet(kind="points", preview=preview(points), columns={})
    found = " ".join(check([bare], PLACE).problems)
    assert "longitude and latitude" in found
    assert "category" in found
    useless = sheet("zones", zones, uses={})
    assert "Nothing here says what a cell is like" in " ".join(check([useless], PLACE).problems)


def test_names_titles_and_licences():
    assert PLACE.problems(["other"]) == []
    assert "already" in PLACE.problems(["mine"])[0]
    bad = uploads.Wanted(name="Ä b", title=" ", resolution=7, licence="")
    assert len(bad.problems([])) == 3


def test_zone_ids_that_repeat(points, zones, flows):
    frame = gpd.read_file(zones)
    frame.loc[3, "code"] = "004"
    frame.to_file(zones, driver="GeoJSON", engine="pyogrio")
    areas = sheet("zones", zones, columns={"id": "code"})
    (problem,) = check([areas, sheet("points", points), sheet("flows", flows)], PLACE).problems
    assert "zone id '004' stands in 2 rows" in problem
    assert problem.endswith("choose another id column.")


# ---- the place ---------------------------------------------------------------------------------


def test_the_place_is_made_as_the_command_line_makes_it(points, zones, flows, tmp_path):
    frame = gpd.read_file(zones)
    frame["rent"] = np.arange(25.0)
    frame["Cars"] = frame.cars  # a name that becomes the same
    frame.to_file(zones, driver="GeoJSON", engine="pyogrio")
    areas = sheet("zones", zones)
    uses = {**areas.uses, "rent": "target", "Cars": "count"}
    areas = Sheet(**{**areas.__dict__, "uses": uses, "units": {"rent": "coins"}})
    sheets = [sheet("points", points), areas, sheet("flows", flows)]
    data = tmp_path / "data"
    folder = uploads.save(data, sheets, PLACE, check(sheets, PLACE))
    assert sorted(path.name for path in folder.iterdir()) == [
        "data_manifest.yaml", "flows.parquet", "points.csv", "zones.geojson",
    ]  # fmt: skip
    workspace = pipeline.Workspace.open(
        manifest=folder / "data_manifest.yaml", data=data, mirror=folder
    )
    place = pipeline.tokenize(workspace, workspace.spec("mine"))
    assert place.folder == data / "places" / "mine-r7"
    assert set(place.modalities) == {"poi", "mobility", "demographics"}
    assert place.targets["rent"].unit == "coins"
    assert {"log_population", "log_cars", "log_cars_2", "mean_median_income"} <= set(
        place.tables["demographics"].columns
    )
    assert place.provenance["sources"]["points"]["licence"] == "own data"
    assert len(place.cells) == check(sheets, PLACE).cells
    frame = pd.read_csv(points)
    found = grid.points_to_cells(
        lon=frame.Longitude.to_numpy(), lat=frame.Latitude.to_numpy(), resolution=7
    )
    inside = np.unique(found[grid.locate(place.cells, found)[1]])
    np.testing.assert_array_equal(place.tables["poi"].cells, inside)
    with pytest.raises(MobclipError, match="there already"):
        uploads.save(data, sheets, PLACE, check(sheets, PLACE))


def test_nothing_half_made_is_left(points, tmp_path, monkeypatch):
    sheets = [sheet("points", points)]
    checked = check(sheets, PLACE)

    def fail(_path):
        raise OSError("the disk is full")

    monkeypatch.setattr("mobclip.uploads.store.file_sha256", fail)
    with pytest.raises(OSError, match="full"):
        uploads.save(tmp_path / "data", sheets, PLACE, checked)
    assert list((tmp_path / "data" / "uploads").iterdir()) == []


def test_codes_reach_the_manifest(points, tmp_path):
    lines = points.read_text().splitlines()
    lines[3] = f"unknown,{SOUTH + 0.1},bar,three"
    points.write_text("\n".join(lines))
    sheets = [sheet("points", points)]
    folder = uploads.save(tmp_path / "data", sheets, PLACE, check(sheets, PLACE))
    body = yaml.safe_load((folder / "data_manifest.yaml").read_text())["places"]["mine"]
    assert body["sources"]["points"]["missing"] == {"Longitude": ["unknown"]}
    workspace = pipeline.Workspace.open(
        manifest=folder / "data_manifest.yaml", data=tmp_path / "data", mirror=folder
    )
    place = pipeline.tokenize(workspace, workspace.spec("mine"))
    assert place.provenance["sources"]["points"]["dropped"] == {"no coordinates": 1}
    assert isinstance(place, Place)


# ---- real files ----------------------------------------------------------------------------


@pytest.mark.real
def test_real_files_are_understood_without_help(mirror):
    chicago = [
        sheet("points", mirror / "chicago" / "pois_foursquare_venues.parquet"),
        sheet("flows", mirror / "chicago" / "mobility_divvy_trips.parquet"),
        sheet("zones", mirror / "chicago" / "demographics_cook_tracts.parquet"),
    ]
    found = check(chicago, PLACE)
    assert found.good, found.problems
    assert chicago[2].columns == {"id": "GEOID"}
    assert chicago[2].uses["Total Population"] == "population"
    ((why, rows, _),) = only(found, "flows").dropped
    assert (why, rows) == ("no destination", 317)
    assert only(found, "points").used == 17983
    new_york = [
        sheet("flows", mirror / "nyc" / "mobility_lodes2018_tract_od.parquet"),
        sheet("zones", mirror / "nyc" / "demographics_tracts.parquet"),
    ]
    assert new_york[0].columns == {
        "origin": "home_geoid", "destination": "work_geoid", "weight": "jobs",
    }  # fmt: skip
    found = check(new_york, PLACE)
    assert found.good, found.problems
    assert only(found, "flows").used > 0.9 * only(found, "flows").rows
