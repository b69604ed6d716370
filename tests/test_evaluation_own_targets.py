"""Files that people bring: what they become, and what is said of rows that cannot be used."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from mobclip import grid
from mobclip.errors import ArtefactError, RecordError
from mobclip.evaluation import own_targets
from mobclip.evaluation.own_targets import Upload, zones_of
from mobclip.place import Place, Target


@pytest.fixture(scope="module")
def islands(app_data) -> Place:
    return Place.load(app_data / "places" / "islands-r6")


def csv_of(columns: dict, delimiter: str = ",") -> bytes:
    lines = [delimiter.join(columns)]
    lines += [delimiter.join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    return ("\n".join(lines) + "\n").encode()


def parquet_of(columns: dict) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def made(upload: Upload, place: Place, column: str, kind: str | None = None):
    key = upload.keys(place)[0]
    chosen = kind or upload.kind_of(column)
    return upload.target(place, key, column, chosen, name="own", title="Mine", licence="CC0-1.0")


@pytest.mark.parametrize("form", ["csv", "semicolons", "parquet text", "parquet numbers"])
def test_cells_are_joined_whatever_their_form(islands: Place, form: str) -> None:
    names = grid.to_strings(islands.cells)
    value = np.arange(len(names)) + 0.5
    data = {
        "csv": lambda: csv_of({"h3": names, "trees": value}),
        "semicolons": lambda: b"\xef\xbb\xbf" + csv_of({"hex_id": names, "trees": value}, ";"),
        "parquet text": lambda: parquet_of({"cell": names, "trees": value}),
        "parquet numbers": lambda: parquet_of({"where": islands.cells, "trees": value}),
    }[form]()
    upload = Upload.read(data, "mine.parquet" if "parquet" in form else "mine.csv")
    assert upload.value_columns(upload.keys(islands)[0]) == ["trees"]
    target = made(upload, islands, "trees")
    assert target.kind == "number"
    assert target.level == "cell"
    np.testing.assert_array_equal(target.on_cells(), value)
    assert "CC0-1.0" in target.note


def test_what_mobclip_exports_is_read(islands: Place) -> None:
    from mobclip import export

    table = export.results_table(
        islands.cells[:40], {"score": np.arange(40.0)}, {"place": "islands"}
    )
    for data, name in ((export.to_csv(table), "a.csv"), (export.to_geoparquet(table), "a.parquet")):
        upload = Upload.read(data, name)
        assert upload.keys(islands)[0].columns == ("h3",)
        assert made(upload, islands, "score").values.tolist() == list(range(40))


def test_positions_become_means_of_cells(islands: Place) -> None:
    lonlat = grid.centers(islands.cells[[3, 3, 7]])
    upload = Upload.read(
        csv_of({"Longitude": lonlat[:, 0], "LAT": lonlat[:, 1], "price": [10, 30, 7]}), "a.csv"
    )
    key = upload.keys(islands)[0]
    assert key.kind == "lonlat"
    target = made(upload, islands, "price")
    assert target.on_cells()[[3, 7]].tolist() == [20, 7]
    report = upload.report(islands, key, "price", "number")
    assert (report.rows, report.used, report.units, report.cells) == (3, 3, 2, 2)


def test_points_of_geoparquet_are_read_and_polygons_refused(islands: Place) -> None:
    lonlat = grid.centers(islands.cells[:6])
    points = shapely.to_wkb(shapely.points(lonlat)).tolist()
    data = parquet_of({"geometry": pa.array(points, pa.binary()), "kind": list("abcabc")})
    upload = Upload.read(data, "a.parquet")
    target = made(upload, islands, "kind")
    assert target.classes == ("a", "b", "c")
    assert target.on_cells()[:6].tolist() == [0, 1, 2, 0, 1, 2]
    shapes = shapely.to_wkb(grid.boundaries(islands.cells[:6])).tolist()
    polygons = Upload.read(
        parquet_of({"geometry": pa.array(shapes, pa.binary()), "n": range(6)}), "a.parquet"
    )
    with pytest.raises(RecordError, match="Polygon"):
        key = own_targets.Key(kind="points", columns=("geometry",))
        polygons.report(islands, key, "n", "number")


def test_another_crs_is_named(islands: Place) -> None:
    import geopandas as gpd

    out = io.BytesIO()
    points = gpd.GeoSeries(shapely.points(grid.centers(islands.cells[:6])), crs=4326)
    gpd.GeoDataFrame({"n": range(6)}, geometry=points.to_crs(3857)).to_parquet(out)
    upload = Upload.read(out.getvalue(), "a.parquet")
    with pytest.raises(RecordError, match=r"Mercator.*Reproject"):
        upload.report(islands, own_targets.Key(kind="points", columns=("geometry",)), "n", "number")


def test_zones_of_the_place_are_joined_by_id(islands: Place) -> None:
    income = islands.targets["income"]
    upload = Upload.read(
        csv_of({"district": [*income.unit_ids, "nowhere"], "rent": range(len(income.values) + 1)}),
        "rent.csv",
    )
    # The ids of this place's districts are cells too: named as districts they are zones.
    key = next(one for one in upload.keys(islands) if one.kind == "zones")
    assert key.level == "districts"
    report = upload.report(islands, key, "rent", "number")
    assert report.dropped == {"not a zone of this place": 1}
    assert report.problems[0][0] == len(income.values) + 1
    assert "nowhere" in report.problems[0][1]
    target = upload.target(islands, key, "rent", "number", name="own", title="Rent")
    assert target.level == "districts"
    assert (target.weights != income.weights).nnz == 0
    assert target.unit_ids.tolist() == income.unit_ids.tolist()


def brought(islands: Place) -> list[Target]:
    """A number of cells, classes of cells, and a number of zones."""
    cells = grid.to_strings(islands.cells[:40])
    zones = zones_of(islands)["districts"].ids[:6]
    by_cell = {"h3": cells, "n": [one / 7 for one in range(40)], "kind": ["a", "b"] * 20}
    upload = Upload.read(csv_of(by_cell), "cells.csv")
    key = own_targets.Key(kind="cells", columns=("h3",))
    found = [
        upload.target(islands, key, column, kind, name=f"own-{column}", title=column)
        for column, kind in (("n", "number"), ("kind", "class"))
    ]
    upload = Upload.read(csv_of({"id": zones, "rent": [float(one) for one in range(6)]}), "z.csv")
    key = own_targets.Key(kind="zones", columns=("id",), level="districts")
    found.append(upload.target(islands, key, "rent", "number", name="own-rent", title="Rent"))
    return found


def test_targets_come_back_from_a_session_file(islands: Place) -> None:
    targets = brought(islands)
    text = json.dumps([own_targets.as_json(one, islands.cells) for one in targets])
    again = own_targets.from_json(json.loads(text), islands)
    assert list(again) == ["own-n", "own-kind", "own-rent"]
    for one in targets:
        back = again[one.name]
        np.testing.assert_array_equal(back.values, one.values)
        assert back.unit_ids.tolist() == one.unit_ids.tolist()
        assert (back.weights != one.weights).nnz == 0
        assert (back.kind, back.classes, back.level) == (one.kind, one.classes, one.level)
        assert back.note == one.note


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "income"}, "no name of a target that was brought along"),
        ({"kind": "composition"}, "of a kind that is not read"),
        ({"cells": [["861000000ffffff"]] * 40}, "not an H3 cell|does not have"),
        ({"weights": [[0.5]] * 40}, "sum to 1"),
        ({"weights": [[1.0]] * 39}, "each unit has cells"),
        ({"values": [float("nan")] * 40}, "not finite"),
        ({"values": [1.0] * 39}, "do not fit together"),
        ({"values": [[1.0]] * 40}, "not whole|shape"),
        ({"cells": None}, "not whole"),
        ({"classes": ["a"]}, "has no classes"),
    ],
)
def test_a_session_file_is_anybodys(islands: Place, change: dict, said: str) -> None:
    given = own_targets.as_json(brought(islands)[0], islands.cells) | change
    with pytest.raises(ArtefactError, match=said):
        own_targets.from_json([given], islands)


def test_targets_of_a_session_file_are_a_list_of_a_few(islands: Place) -> None:
    one = own_targets.as_json(brought(islands)[0], islands.cells)
    for given in ([None], ["x"], [{}], 3):
        with pytest.raises(ArtefactError, match="not whole"):
            own_targets.from_json(given, islands)
    many = [one | {"name": f"own-{i}"} for i in range(own_targets.MOST + 1)]
    with pytest.raises(ArtefactError, match="up to 8"):
        own_targets.from_json(many, islands)


def test_ids_that_lost_their_zeros_are_found(islands: Place) -> None:
    zones = zones_of(islands)
    zones["tracts"] = own_targets.Zones(
        ids=np.array(["0017", "0400"], object), members=zones["districts"].members[:2]
    )
    upload = Upload.read(csv_of({"tract": ["17.0", "400"], "rent": [3, 4]}), "rent.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_targets.upload, "zones_of", lambda place: zones)
        key = own_targets.Key(kind="zones", columns=("tract",), level="tracts")
        target = upload.target(islands, key, "rent", "number", name="own", title="Rent")
    assert target.unit_ids.tolist() == ["0017", "0400"]
    assert target.values.tolist() == [3, 4]


def test_finer_cells_are_averaged_and_coarser_ones_are_units(islands: Place) -> None:
    fine = grid.children(islands.cells[[9]], 7)
    upload = Upload.read(csv_of({"h3": grid.to_strings(fine), "n": range(len(fine))}), "a.csv")
    assert made(upload, islands, "n").on_cells()[9] == np.mean(range(len(fine)))
    coarse = np.unique(grid.parents(islands.cells, 4))
    wide = Upload.read(csv_of({"h3": grid.to_strings(coarse), "n": range(len(coarse))}), "a.csv")
    target = made(wide, islands, "n")
    assert len(target.values) == len(coarse)
    np.testing.assert_allclose(target.weights.sum(1), 1)
    row = np.searchsorted(coarse, grid.parents(islands.cells, 4))
    np.testing.assert_array_equal(target.on_cells(), row)


def test_every_row_that_is_left_out_is_counted_with_its_reason(islands: Place) -> None:
    names = grid.to_strings(islands.cells[:20])
    rows = [f"{name},{i}" for i, name in enumerate(names)]
    rows[2] = f"{names[2]},many"
    rows[5] = f"{names[5]},"
    rows[7] = "this is no cell,4"
    rows[8] = ",4"
    rows[11] = "862a1072fffffff,4"  # New York
    rows[13] = f"{names[13]},4,5,6"
    upload = Upload.read(("h3,n\n" + "\n".join(rows) + "\n").encode(), "bad.csv")
    report = upload.report(islands, upload.keys(islands)[0], "n", "number")
    assert report.rows == 20
    assert report.used == 14
    assert report.dropped == {
        own_targets.BROKEN: 1,
        "not a number": 1,
        "no value": 1,
        "not an H3 cell": 1,
        "no cell": 1,
        "outside of the place": 1,
    }
    assert sum(report.dropped.values()) == report.rows - report.used
    assert (3, f"h3 = {names[2]}, n = many", "not a number") in report.problems
    assert report.problems[0][0] == 14
    assert len(report.problems) == 5


def test_kinds_are_guessed_and_can_be_changed(islands: Place) -> None:
    n = 60
    names = grid.to_strings(islands.cells[:n])
    rng = np.random.default_rng(0)
    upload = Upload.read(
        csv_of(
            {
                "h3": names,
                "row": range(n),
                "height": rng.normal(size=n).round(3),
                "coast": rng.choice(["Yes", "no"], n),
                "soil": rng.choice(["clay", "sand", "peat"], n),
                "storeys": rng.integers(1, 5, n),
                "same": ["x"] * n,
                "comment": [f"remark {i}" for i in range(n)],
            }
        ),
        "a.csv",
    )
    key = upload.keys(islands)[0]
    columns = upload.value_columns(key)
    assert set(columns) == {"row", "height", "coast", "soil", "storeys"}
    assert columns[-1] == "row"  # a number of the row is no likely value
    assert [upload.kind_of(one) for one in ("height", "coast", "soil", "storeys")] == [
        *("number", "binary", "class", "number"),
    ]
    assert upload.kinds_of("storeys") == ["number", "class"]
    assert made(upload, islands, "storeys", "class").classes == ("1", "2", "3", "4")
    assert set(made(upload, islands, "coast").values) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("data", "name", "says"),
    [
        (b"", "a.csv", "column names"),
        (b"h3,n\n", "a.csv", "no rows"),
        (b"h3,h3\n1,2\n", "a.csv", "several columns"),
        (b"\x80\x04K\x01.", "model.pkl", "not read here"),
        (b"PAR1 and then nothing", "a.parquet", "cannot be read"),
        (b"h3,n\n\xff\xfe\xfa,3\n", "a.csv", "UTF-8"),
        (b"x" * (own_targets.MAX_BYTES + 1), "a.csv", "50 MB"),
    ],
)
def test_bad_files_are_refused_in_words(data: bytes, name: str, says: str) -> None:
    with pytest.raises(RecordError, match=says):
        Upload.read(data, name)


def test_too_many_rows_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_targets.table_file, "MAX_ROWS", 10)
    for data, name in (
        (csv_of({"h3": range(11)}), "a.csv"),
        (parquet_of({"h3": range(11)}), "a.parquet"),
    ):
        with pytest.raises(RecordError, match="11 rows"):
            Upload.read(data, name)


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_targets.table_file, "MAX_UNPACKED", 1000)
    data = parquet_of({"h3": np.arange(1000.0)})
    with pytest.raises(RecordError, match="unpacks"):
        Upload.read(data, "a.parquet")
