"""What the map's Python half sends to the browser and makes of what comes back."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import shapely

from mobclip import grid
from mobclip.errors import MobclipError

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

APP = Path(__file__).parents[1] / "app"


@pytest.fixture(scope="module")
def component() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APP))
        yield importlib.import_module("map_component")


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    return grid.polygon_to_cells(shapely.box(-25.5, -20.5, -24.5, -19.5), 6)


def read(data: bytes) -> tuple[dict, dict[str, bytes]]:
    """Header and blobs, as payload.js reads them."""
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    assert all(start % 8 == 0 for start, _ in header["blobs"].values())
    blobs = {name: data[start : start + size] for name, (start, size) in header["blobs"].items()}
    return header, blobs


def rgb(n: int, colours: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (colours, 3), np.uint8)[rng.integers(0, colours, n)]


def test_cells_and_colours_arrive_as_they_are(component: ModuleType, cells: np.ndarray) -> None:
    place = component.MapPlace(cells=cells, resolution=6, context=b"{}")
    colours = rgb(len(cells), 50)
    first, blobs = read(component.encode(place, colours, with_place=True, label="A", height="1px"))
    assert np.array_equal(np.frombuffer(blobs["cells"], "<u8"), cells)
    assert np.array_equal(np.frombuffer(blobs["colours"], np.uint8).reshape(-1, 3), colours)
    assert blobs["context"] == b"{}"
    again, later = read(
        component.encode(place, colours[::-1], with_place=False, label="A", height="1px")
    )
    assert set(later) == {"colours"}
    assert again["place"] == first["place"]
    assert again["colours"] != first["colours"]


def test_a_recolouring_of_many_cells_costs_four_bytes_each_with_values(
    component: ModuleType,
) -> None:
    cells = grid.polygon_to_cells(shapely.box(-27, -22, -23, -18), 6)
    n = len(cells)
    place = component.MapPlace(cells=cells, resolution=6)
    rng = np.random.default_rng(1)
    values = (np.exp(rng.normal(0, 6, n)) * rng.choice([-1, 1], n)).astype(np.float32)
    values[:3] = [np.nan, 0, np.inf]
    colours = np.column_stack([rgb(n, 100), rng.choice([60, 255], n)]).astype(np.uint8)
    data = component.encode(place, colours, with_place=False, label="", height="", values=values)
    assert len(data) < 4 * n + 3000
    _, blobs = read(data)
    palette = np.frombuffer(blobs["palette"], np.uint8).reshape(-1, 4)
    assert len(palette) > 100
    index = np.frombuffer(blobs["colours"], np.uint8)
    assert np.array_equal(palette[index], colours)
    # As valueAt() of payload.js puts three bytes back into single precision.
    bits = np.zeros((n, 4), np.uint8)
    bits[:, 1:] = np.frombuffer(blobs["values"], np.uint8).reshape(n, 3)
    back = bits.view("<f4")[:, 0]
    assert np.isnan(back[0])
    assert back[1] == 0
    assert np.isinf(back[2])
    assert np.abs(back[3:] / values[3:] - 1).max() < 2**-16 + 1e-7
    classes = component.encode(
        place, colours, with_place=False, label="", height="", values=np.arange(n) % 70.0
    )
    bits[:, 1:] = np.frombuffer(read(classes)[1]["values"], np.uint8).reshape(n, 3)
    assert np.array_equal(bits.view("<f4")[:, 0], np.arange(n) % 70)  # whole numbers are exact


def test_many_colours_travel_as_they_are(component: ModuleType) -> None:
    cells = grid.polygon_to_cells(shapely.box(-27, -22, -23, -18), 6)
    place = component.MapPlace(cells=cells, resolution=6)
    for count in (256, 257, 5000):
        colours = np.zeros((len(cells), 3), np.uint8)
        code = np.arange(len(cells)) % count
        colours[:, 0], colours[:, 1] = code % 256, code // 256
        _, blobs = read(component.encode(place, colours, with_place=False, label="", height=""))
        if count == 256:
            assert len(blobs["palette"]) == 4 * 256
        else:
            assert "palette" not in blobs
            assert blobs["colours"] == colours.tobytes()


def test_a_second_colouring_area_and_marks(component: ModuleType, cells: np.ndarray) -> None:
    colouring = importlib.import_module("colours")
    place = component.MapPlace(cells=cells, resolution=6)
    other = colouring.ramp(np.arange(len(cells), dtype=float), title="Rank", unit="m")
    area = np.arange(len(cells)) % 3 == 0
    header, blobs = read(
        component.encode(
            place,
            rgb(len(cells), 9),
            with_place=False,
            label="",
            height="",
            other=other,
            split="side",
            area=area,
            marks={f"{cells[0]:x}": "like"},
            tools=("click", "box"),
        )
    )
    assert header["other"]["legend"]["title"] == "Rank (m)"
    assert header["other"]["tip"]["unit"] == "m"
    assert blobs["other_colours"] == other.colours.tobytes()
    bits = np.unpackbits(np.frombuffer(blobs["area"], np.uint8), bitorder="little")
    assert np.array_equal(bits[: len(cells)].astype(bool), area)
    assert header["marks"] == {f"{cells[0]:x}": "like"}
    assert header["tools"] == ["click", "box"]


def test_flows_travel_without_the_cells(component: ModuleType, cells: np.ndarray) -> None:
    place = component.MapPlace(cells=cells, resolution=6)
    names = grid.to_strings(cells[:51])
    flows = component.Flows(
        lines=[
            component.Flow(start=names[0], end=name, amount=100 / (i + 3), kind=i % 2)
            for i, name in enumerate(names[1:])
        ],
        title="Share",
        unit="%",
        kinds=[("#0072b2", "out"), ("#d55e00", "in")],
    )
    given = {"with_place": False, "label": "", "height": ""}
    data = component.encode(place, rgb(len(cells), 9), flows=flows, **given)
    header, blobs = read(data)
    assert set(blobs) == {"colours"}
    assert header["flows"]["lines"][0] == [names[0], names[1], 33.33, 0]
    assert header["flows"]["kinds"][1] == {"colour": "#d55e00", "label": "in"}
    assert (header["flows"]["unit"], header["flows"]["arrows"]) == ("%", True)
    without = component.encode(place, rgb(len(cells), 9), **given)
    assert len(data) - len(without) < 3000
    assert read(without)[0]["flows"] is None


@pytest.mark.parametrize("wrong", [{"amount": 0}, {"amount": np.nan}, {"amount": 1, "kind": 1}])
def test_a_flow_that_cannot_be_drawn_is_refused(component: ModuleType, wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"a flow (must be|of kind)"):
        component.Flows(
            lines=[component.Flow(start="86", end="87", **wrong)], title="", kinds=[("#000", "")]
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": "swipe"},
        {"tools": ("hammer",)},
        {"area": np.ones(3, bool)},
        {"values": np.ones(3)},
    ],
)
def test_what_does_not_fit_is_refused(
    component: ModuleType, cells: np.ndarray, wrong: dict
) -> None:
    place = component.MapPlace(cells=cells, resolution=6)
    with pytest.raises(ValueError, match=r"second colouring|hammer|area must|values must"):
        component.encode(place, rgb(len(cells), 9), with_place=False, label="", height="", **wrong)


def test_cells_of_a_polygon_are_those_with_their_centre_inside(
    component: ModuleType, cells: np.ndarray
) -> None:
    ring = [[-25.3, -20.3], [-24.7, -20.3], [-24.7, -19.8], [-25.0, -20.1], [-25.3, -19.8]]
    area = component.Area.from_event({"tool": "polygon", "ring": ring})
    wanted = grid.polygon_to_cells(shapely.Polygon(ring), 6)
    assert len(wanted) > 10
    assert np.array_equal(component.area_cells(cells, area), wanted)
    bow = component.Area.from_event(
        {"tool": "polygon", "ring": [ring[0], ring[2], ring[1], [-25.3, -19.8]]}
    )
    assert 0 < len(component.area_cells(cells, bow)) < len(cells)  # a line that crosses itself


@pytest.mark.parametrize("turn", [-360, 0, 360])
def test_a_box_across_the_date_line(component: ModuleType, turn: int) -> None:
    sides = [shapely.box(178, -18, 180, -16), shapely.box(-180, -18, -178, -16)]
    fiji = np.sort(np.concatenate([grid.polygon_to_cells(side, 5) for side in sides]))
    # The map counts on from the place's first cell: 181 or -179, 179 or -181.
    west, east = 179.2 + turn, 181.1 + turn
    ring = [[west, -17.5], [east, -17.5], [east, -16.5], [west, -16.5]]
    area = component.Area.from_event({"tool": "box", "ring": ring})
    found = component.area_cells(fiji, area)
    lon, lat = grid.centers(fiji).T
    lon = lon % 360
    wanted = fiji[(lon > 179.2) & (lon < 181.1) & (lat > -17.5) & (lat < -16.5)]
    assert len(wanted) > 20
    assert np.array_equal(found, wanted)


def test_a_brush_covers_rings_around_its_way(component: ModuleType, cells: np.ndarray) -> None:
    way = grid.to_strings(cells[[100, 101]])
    area = component.Area.from_event({"tool": "brush", "cells": way, "k": 2})
    found = component.area_cells(cells, area)
    wanted = np.intersect1d(grid.disk(cells[[100, 101]], 2)[1], cells)
    assert np.array_equal(found, wanted)
    alone = component.Area(tool="brush", cells=tuple(way[:1]), k=0)
    assert component.area_cells(cells, alone).tolist() == [cells[100]]


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"tool": "box"},
        {"tool": "box", "ring": [[0, 0], [1, 1]]},
        {"tool": "polygon", "ring": [[0, 0], [1, float("nan")], [1, 1]]},
        {"tool": "polygon", "ring": [[0, 0], [1, "x"], [1, 1]]},
        {"tool": "brush", "cells": [], "k": 1},
        {"tool": "brush", "cells": ["86a4"], "k": 99},
        {"tool": "hammer", "ring": [[0, 0], [1, 0], [1, 1]]},
    ],
)
def test_an_event_that_is_no_area_is_refused(component: ModuleType, event: dict) -> None:
    with pytest.raises(MobclipError, match="cannot be read"):
        component.Area.from_event(event)


def test_a_brushed_cell_that_is_none(component: ModuleType, cells: np.ndarray) -> None:
    area = component.Area.from_event({"tool": "brush", "cells": ["zebra"], "k": 1})
    with pytest.raises(MobclipError, match="zebra"):
        component.area_cells(cells, area)


def test_a_basemap_only_where_the_user_names_one(
    component: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOBCLIP_BASEMAP", raising=False)
    assert component.basemap_of_environment() is None
    monkeypatch.setenv("MOBCLIP_BASEMAP", "http://localhost:8080/{z}/{x}/{y}.png")
    monkeypatch.setenv("MOBCLIP_BASEMAP_ATTRIBUTION", "Somebody")
    assert component.basemap_of_environment() == {
        "url": "http://localhost:8080/{z}/{x}/{y}.png",
        "attribution": "Somebody",
    }
    monkeypatch.setenv("MOBCLIP_BASEMAP", "http://localhost:8080/tiles")
    with pytest.raises(MobclipError, match=r"MOBCLIP_BASEMAP.*{z}"):
        component.basemap_of_environment()


def test_a_map_in_one_file_asks_for_nothing(component: ModuleType, cells: np.ndarray) -> None:
    colouring, html_map = map(importlib.import_module, ("colours", "html_map"))
    place = component.MapPlace(cells=cells, resolution=6)
    waves = colouring.ramp(grid.centers(cells)[:, 0], title="Longitude", unit="°")
    page = html_map.html_map(place, waves, title="</script><b>", provenance="a & b").decode()
    assert "<title>&lt;/script&gt;&lt;b&gt;</title>" in page
    assert "a &amp; b" in page
    assert page.count("</script") == page.count("<script") == 4
    assert "src=" not in page.split("<script")[0]
    assert "MIT" in page.split('id="licences">')[1].split("</script")[0]
