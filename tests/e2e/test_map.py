"""The map by itself in a real browser: colours where they belong, tools, two colourings, exports.

The page is map_app.py, not the app.
"""

import http.server
import io
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mobclip import grid

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")
playwright_api = pytest.importorskip(
    "playwright.sync_api", reason="browser tests need Playwright: extra 'dev'"
)
Image = pytest.importorskip("PIL.Image")
ImageColor = pytest.importorskip("PIL.ImageColor")

HERE = Path(__file__).parent
APP = HERE.parents[1] / "app"
CHROMIUM = os.environ.get("MOBCLIP_CHROMIUM") or shutil.which("chromium") or ""
SOFTWARE_WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
NO_WEBGL = ["--disable-gpu", "--disable-3d-apis"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM, reason="no Chromium: install it, or set MOBCLIP_CHROMIUM to its path"
    ),
]


@pytest.fixture(scope="module")
def parts() -> Iterator[tuple]:
    """a_place, waves, longitude and html_map, which stand beside the app's scripts."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in (APP, HERE):
            patch.syspath_prepend(str(folder))
        import html_map
        import map_cells

        yield map_cells, html_map


@pytest.fixture(scope="module")
def address(serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("map")
    (folder / "static").mkdir()  # Streamlit serves what lies beside the script, but no links
    shutil.copy(APP / "static" / "mobclip_map.js", folder / "static")
    for name in ("map_app.py", "map_cells.py"):
        shutil.copy(HERE / name, folder)
    options = ["--server.address", "127.0.0.1", "--server.enableStaticServing", "true"]
    options += ["--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"]
    with serve(folder / "map_app.py", folder, *options, PYTHONPATH=str(APP)) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator["playwright_api.BrowserType"]:
    with playwright_api.sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope="module")
def browser(chromium: "playwright_api.BrowserType") -> Iterator["playwright_api.Browser"]:
    browser = chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *SOFTWARE_WEBGL])
    yield browser
    browser.close()


class Page:
    """A map in a page, and where its cells are on the screen."""

    def __init__(self, browser: "playwright_api.Browser", **context: object) -> None:
        self.page = browser.new_page(viewport={"width": 1100, "height": 720}, **context)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.map = self.page.locator(".mobclip-map")

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.drawn()

    def drawn(self) -> None:
        self.page.wait_for_selector(
            ".mobclip-map[data-state=ready][data-detail=full]", timeout=60_000
        )

    def says(self, text: str) -> str:
        """The line of the page with this in it, once it is there."""
        line = self.page.locator("p, code").filter(has_text=re.compile(text))
        playwright_api.expect(line).to_be_visible(timeout=15_000)
        return line.inner_text()

    def pixels(self, lonlat: np.ndarray, *, halves: bool = False) -> np.ndarray:
        """Pixels of the page of points in degrees, by Web Mercator."""
        longitude, latitude, zoom = map(float, self.map.get_attribute("data-view").split(","))
        box = self.map.bounding_box()
        width = box["width"] / (2 if halves else 1)
        scale = 512 * 2**zoom / (2 * np.pi)
        x = np.radians((lonlat[:, 0] - longitude + 180) % 360 - 180) * scale
        y = np.arcsinh(np.tan(np.radians(lonlat[:, 1]))) - np.arcsinh(np.tan(np.radians(latitude)))
        middle = [box["x"] + width / 2, box["y"] + box["height"] / 2]
        return np.column_stack([x, -y * scale]) + middle

    def colours(self, at: np.ndarray) -> np.ndarray:
        """What the screen shows there."""
        image = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        return image[at[:, 1].astype(int), at[:, 0].astype(int)]

    def choose(self, tool: str) -> None:
        self.page.get_by_role("button", name=tool).click()

    def drag(self, *points: np.ndarray) -> None:
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=4)
        self.page.mouse.up()

    def lines(self, flows: object) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the middles of arcs, and the colours that belong there."""
        ends = [
            self.pixels(grid.centers(grid.from_strings([getattr(one, end) for one in flows.lines])))
            for end in ("start", "end")
        ]
        across = (ends[1] - ends[0]) @ np.array([[0, 1], [-1, 0]])  # to the right, y down
        kinds = [flows.kinds[one.kind][0] for one in flows.lines]
        return (ends[0] + ends[1]) / 2 + 0.15 * across, np.array(
            [ImageColor.getrgb(k) for k in kinds]
        )


@pytest.fixture
def page(browser: "playwright_api.Browser") -> Iterator[Page]:
    page = Page(browser)
    yield page
    page.page.close()
    assert page.complaints == []
    allowed = r"(http|ws)://127\.0\.0\.1:|data:|blob:|file:"
    assert [url for url in page.asked if not re.match(allowed, url)] == []


def some(cells: np.ndarray, number: int = 40) -> np.ndarray:
    """Rows of some cells, spread over the place and away from its border."""
    lonlat = grid.centers(cells)
    inner = np.flatnonzero(np.all(np.abs(lonlat - lonlat.mean(0)) < 0.7 * np.ptp(lonlat, 0) / 2, 1))
    return inner[:: len(inner) // number]


def differ(shown: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.abs(shown.astype(int) - wanted[:, :3]).max(axis=1)


def test_every_cell_has_its_colour_and_a_click_finds_it(
    page: Page, address: str, parts: tuple
) -> None:
    cells = parts[0].a_place(2000)
    lonlat, rows = grid.centers(cells), some(cells)
    page.open(address)
    at = page.pixels(lonlat[rows])
    assert differ(page.colours(at), parts[0].waves(lonlat).colours[rows]).max() <= 1
    page.page.mouse.click(*at[7])
    assert page.says("cell=86") == f"cell={cells[rows[7]]:x}"


def test_a_place_of_30000_cells_shows_parents_from_afar_and_every_cell_up_close(
    page: Page, address: str, parts: tuple
) -> None:
    cells = parts[0].a_place(30_000)
    lonlat, rows = grid.centers(cells), some(cells)
    wanted = parts[0].waves(lonlat).colours[rows]
    page.open(f"{address}/?cells=30000")
    # Drawn as 2 pixels each: the middle of a cell may be half its neighbour's.
    assert np.median(differ(page.colours(page.pixels(lonlat[rows])), wanted)) <= 8
    for name in ("Zoom in", "Zoom in", "Zoom in"):
        page.choose(name)
    page.page.wait_for_timeout(300)
    page.drawn()
    at = page.pixels(lonlat)
    seen = np.flatnonzero(np.all((at > [330, 200]) & (at < [700, 400]), axis=1))[::11]
    assert len(seen) > 5
    assert differ(page.colours(at[seen]), parts[0].waves(lonlat).colours[seen]).max() <= 1
    for _ in range(6):  # cells of a third of a pixel
        page.choose("Zoom out")
    page.page.wait_for_timeout(500)
    page.drawn()
    at = page.pixels(lonlat[rows])
    assert np.median(differ(page.colours(at), wanted)) <= 45
    page.page.mouse.click(*at[9])
    assert page.says("cell=86").startswith("cell=86")


def test_box_polygon_freehand_and_brush(page: Page, address: str, parts: tuple) -> None:
    cells = parts[0].a_place(2000)
    lonlat = grid.centers(cells)
    page.open(address)
    west, south, east, north = -25.4, -20.5, -24.9, -19.8
    corners = np.array([[west, north], [east, north], [east, south], [west, south]])
    inside = np.all((lonlat > [west, south]) & (lonlat < [east, north]), axis=1)
    at = page.pixels(corners)
    page.choose("Select a box")
    page.drag(at[0], at[2])
    count = int(page.says("tool=box k=0 corners=4").split("cells=")[1])
    assert abs(count - inside.sum()) <= 3  # the hand is exact to a pixel
    page.drawn()
    outside = some(cells)[~inside[some(cells)]]
    shown = page.colours(page.pixels(lonlat[outside]))
    assert differ(shown, parts[0].waves(lonlat).colours[outside]).min() > 5  # veiled

    page.choose("Select a polygon")
    at = page.pixels(corners)  # the page has moved down by a line
    page.page.mouse.click(*at[0])
    page.page.keyboard.press("Escape")
    for point in at[:2]:
        page.page.mouse.click(*point)
    page.page.mouse.dblclick(*at[2])
    half = int(page.says("tool=polygon k=0 corners=3").split("cells=")[1])
    assert abs(half - inside.sum() / 2) <= 0.1 * inside.sum()

    page.choose("Select freehand")
    page.drag(*at, at[0])
    drawn = page.says("tool=polygon k=0 corners=(?!3 )")
    assert abs(int(drawn.split("cells=")[1]) - inside.sum()) <= 0.1 * inside.sum()

    page.choose("Brush cells")
    page.choose("Larger brush")  # from 1 ring to 2
    page.page.mouse.click(*page.pixels(lonlat[[some(cells)[3]]])[0])
    page.says("tool=brush k=2 corners=0 cells=19$")
    stroke = page.pixels(np.array([[-25.4, -20.2], [-24.9, -20.2]]))
    page.drag(*stroke)
    long = int(page.says("tool=brush k=2 corners=0 cells=(?!19$)").split("cells=")[1])
    line = np.linspace(-25.4, -24.9, 200)
    centre = grid.points_to_cells(lon=line, lat=np.full(200, -20.2), resolution=6)
    assert abs(long - len(np.unique(grid.disk(np.unique(centre), 2)[1]))) <= 12
    assert page.map.get_attribute("data-clicks") is None  # none of this was a click


def test_an_area_by_keyboard_alone(page: Page, address: str) -> None:
    page.open(address)
    box = page.page.get_by_role("button", name="Select a box")
    box.focus()
    page.page.keyboard.press("Enter")
    playwright_api.expect(box).to_have_attribute("aria-pressed", "true")
    page.map.focus()
    for key in ("+", "Enter", "ArrowRight", "ArrowDown", "Enter"):
        page.page.keyboard.press(key)
    assert int(page.says("tool=box").split("cells=")[1]) > 10


def test_two_colourings_under_a_divider(page: Page, address: str, parts: tuple) -> None:
    cells = parts[0].a_place(2000)
    lonlat, rows = grid.centers(cells), some(cells)
    both = [make(lonlat).colours[rows] for make in (parts[0].waves, parts[0].longitude)]
    page.open(f"{address}/?split=swipe")
    for title in ("Waves (m)", "Longitude (°)"):
        playwright_api.expect(page.page.get_by_text(title)).to_be_visible()
    divider = page.page.get_by_role("separator", name="Divider")
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):
        divider.press(key)
    page.page.wait_for_timeout(300)
    box = page.map.bounding_box()
    line = box["x"] + 0.45 * box["width"]
    at = page.pixels(lonlat[rows])
    away = np.abs(at[:, 0] - line) > 22  # the divider itself and its knob
    left = at[:, 0] < line
    assert 5 < left.sum() < len(left) - 5
    shown = page.colours(at)
    for side, where in zip(both, (left & away, ~left & away), strict=True):
        assert differ(shown[where], side[where]).max() <= 1
    knob = divider.bounding_box()
    page.drag(np.array([line, knob["y"] + 100]), np.array([line - 120, knob["y"] + 100]))
    assert float(page.map.get_attribute("data-divider")) < 0.4


def test_two_maps_side_by_side_have_one_view(page: Page, address: str, parts: tuple) -> None:
    cells = parts[0].a_place(2000)
    lonlat, rows = grid.centers(cells), some(cells)
    page.open(f"{address}/?split=side")
    page.page.mouse.move(700, 300)
    page.page.mouse.wheel(0, -100)
    page.page.mouse.move(700, 5)  # no tooltip
    page.page.wait_for_timeout(400)
    page.drawn()
    box = page.map.bounding_box()
    left = page.pixels(lonlat[rows], halves=True)
    free = left[:, 1] < box["y"] + 0.7 * box["height"]  # not under the legends
    rows, left = rows[free], left[free]
    right = left + np.array([box["width"] / 2, 0])
    for at, make in ((left, parts[0].waves), (right, parts[0].longitude)):
        assert differ(page.colours(at), make(lonlat).colours[rows]).max() <= 1
    page.page.mouse.click(*right[5])
    assert page.says("cell=86") == f"cell={cells[rows[5]]:x}"
    page.choose("Select a box")
    page.drag(right[5] - 60, right[5] + 60)  # up to a box of 120 pixels in the right map
    side = 120 * 360 / 512 / 2 ** float(page.map.get_attribute("data-view").split(",")[2])
    area = side * side * np.cos(np.radians(20)) * 111.2**2
    count = int(page.says("tool=box").split("cells=")[1])
    assert count == pytest.approx(area / grid.areas_km2(cells).mean(), rel=0.15)


@pytest.mark.parametrize("renderer", ["webgl2", "flat"])
def test_flows_are_lines_on_the_map_and_in_its_picture(
    chromium: "playwright_api.BrowserType",
    address: str,
    parts: tuple,
    renderer: str,
    tmp_path: Path,
) -> None:
    cells = parts[0].a_place(2000)
    flows = parts[0].trips(cells)
    options = SOFTWARE_WEBGL if renderer == "webgl2" else NO_WEBGL
    browser = chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *options])
    page = Page(browser)
    page.open(f"{address}/?flows=1")
    assert page.map.get_attribute("data-renderer") == renderer
    assert page.map.get_attribute("data-flows") == "3"
    at, wanted = page.lines(flows)
    assert differ(page.colours(at), wanted).max() <= 1
    with page.page.expect_download() as download:
        page.choose("Save the map as a picture")
    download.value.save_as(tmp_path / "map.png")
    picture = np.asarray(Image.open(tmp_path / "map.png").convert("RGB"))
    box = page.map.bounding_box()
    x, y = (2 * (at - [box["x"], box["y"]])).astype(int).T
    assert differ(picture[y, x], wanted).max() <= 1

    legend = page.page.locator(".legend").first
    for text in ("Number of trips", "away", "back", "40"):
        playwright_api.expect(legend.get_by_text(text, exact=True)).to_be_visible()
    widths = legend.locator(".widths i")
    tall = [one.bounding_box()["height"] for one in widths.all()]
    assert tall == pytest.approx([8 * (n / 40) ** 0.5 for n in (40, 10)[: len(tall)]], abs=0.6)

    before = page.map.get_attribute("data-view")
    page.choose("Zoom in")
    page.map.focus()
    page.page.keyboard.press("ArrowUp")
    page.page.wait_for_timeout(700)
    page.drawn()
    assert page.map.get_attribute("data-view") != before
    at, wanted = page.lines(flows)
    assert differ(page.colours(at), wanted).max() <= 1
    page.page.mouse.click(550, 250)
    page.says("cell=86")  # a run later they are still there
    assert page.map.get_attribute("data-flows") == "3"
    assert page.complaints == []
    browser.close()


def test_flows_across_the_date_line_and_in_a_file(
    page: Page, address: str, parts: tuple, tmp_path: Path
) -> None:
    map_cells, html_map = parts
    from map_component import MapPlace

    cells = map_cells.a_place(2000, 180)
    lonlat = grid.centers(cells)
    assert (np.ptp(lonlat[:, 0]) > 350) & (lonlat[:, 0] > 0).any()
    flows = map_cells.trips(cells)
    east = [lonlat[np.flatnonzero(cells == int(one.end, 16))[0], 0] > 0 for one in flows.lines]
    page.open(f"{address}/?flows=1&lon=180")
    at, wanted = page.lines(flows)
    assert differ(page.colours(at), wanted).max() <= 1
    assert len(set(east)) == 2  # some of the lines cross
    place = MapPlace(cells=cells, resolution=6)
    text = html_map.html_map(
        place, map_cells.waves(lonlat), title="Trips", provenance="", flows=flows
    )
    (tmp_path / "map.html").write_bytes(text)
    page.open(f"file://{tmp_path}/map.html")
    at, wanted = page.lines(flows)
    assert differ(page.colours(at), wanted).max() <= 1
    playwright_api.expect(page.page.get_by_text("Number of trips")).to_be_visible()


def test_a_legend_folds_and_the_browser_remembers(page: Page, address: str) -> None:
    page.open(f"{address}/?many=1")
    item = page.page.get_by_text("Class 13 of many")
    playwright_api.expect(item).to_be_visible()
    tall = page.page.locator(".legend").first.bounding_box()["height"]
    page.choose("Fold the legend away")
    playwright_api.expect(item).to_be_hidden()
    playwright_api.expect(page.page.get_by_text("Many", exact=True)).to_be_visible()
    assert page.page.locator(".legend").first.bounding_box()["height"] < tall / 4
    page.page.reload()
    page.drawn()
    playwright_api.expect(item).to_be_hidden()
    page.page.get_by_role("button", name="Show the legend").focus()
    page.page.keyboard.press("Enter")
    playwright_api.expect(item).to_be_visible()
    page.page.keyboard.press("Enter")  # the keyboard has stayed there
    playwright_api.expect(item).to_be_hidden()
    assert page.map.get_attribute("data-clicks") is None


def test_the_first_view_leaves_room_for_what_lies_over_it(
    page: Page, address: str, parts: tuple
) -> None:
    page.page.set_viewport_size({"width": 600, "height": 700})
    page.open(f"{address}/?many=1")
    at = page.pixels(grid.centers(parts[0].a_place(2000)))
    box = page.map.bounding_box()

    def covered(at: np.ndarray) -> float:
        under = np.zeros(len(at), bool)
        for card in page.page.locator(".mobclip-map .card").all():
            if card.is_visible():
                one = card.bounding_box()
                within = at - [one["x"], one["y"]]
                under |= ((within > 0) & (within < [one["width"], one["height"]])).all(axis=1)
        return under.mean()

    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    bounds = (at.min(0) + at.max(0)) / 2
    centred = middle + (at - bounds) * (box["height"] - 56) / np.ptp(at[:, 1])
    assert covered(centred) > 0.08
    assert covered(at) < 0.01
    assert (at > [box["x"], box["y"]]).all()
    assert (at < [box["x"] + box["width"], box["y"] + box["height"]]).all()
    assert np.ptp(at, 0).min() > 0.6 * (box["height"] - 56)


def test_a_picture_of_the_map_with_legend_and_provenance(
    page: Page, address: str, tmp_path: Path
) -> None:
    page.open(f"{address}/?marks=1")
    assert page.map.get_attribute("data-marks") == "3"
    with page.page.expect_download() as download:
        page.choose("Save the map as a picture")
    download.value.save_as(tmp_path / "map.png")
    assert download.value.suggested_filename == "map-of-a-test.png"
    box = page.map.bounding_box()
    picture = np.asarray(Image.open(tmp_path / "map.png").convert("RGB"))
    assert picture.shape[1] == 2 * round(box["width"])
    below = picture[2 * round(box["height"]) :]
    assert 60 <= len(below) <= 140
    assert (below < 100).any()  # words
    above = picture[: 2 * round(box["height"])]
    assert len(np.unique(above.reshape(-1, 3)[::7], axis=0)) > 100  # hexagons
    corner = above[-60:-20, 40 : 2 * 230]  # inside the legend: its ends, dark on white
    assert (corner > 245).all(axis=2).mean() > 0.5


def test_a_map_in_one_file_opens_from_the_disk(page: Page, parts: tuple, tmp_path: Path) -> None:
    map_cells, html_map = parts
    from map_component import MapPlace

    cells = map_cells.a_place(2000)
    lonlat, rows = grid.centers(cells), some(cells)
    waves = map_cells.waves(lonlat)
    place = MapPlace(cells=cells, resolution=6)
    text = html_map.html_map(place, waves, title="A <test>", provenance="CC0 & nobody")
    (tmp_path / "map.html").write_bytes(text)
    page.open(f"file://{tmp_path}/map.html")
    playwright_api.expect(page.page.get_by_role("heading", name="A <test>")).to_be_visible()
    playwright_api.expect(page.page.get_by_text("CC0 & nobody")).to_be_visible()
    at = page.pixels(lonlat[rows])
    assert differ(page.colours(at), waves.colours[rows]).max() <= 1
    page.page.mouse.move(*at[4])
    page.says(f"{cells[rows[4]]:x}")
    playwright_api.expect(page.page.get_by_text("Waves: ")).to_be_visible()
    assert [url for url in page.asked if not url.startswith(("file://", "data:", "blob:"))] == []


def test_tiles_of_a_server_that_the_user_names(page: Page, address: str) -> None:
    square = io.BytesIO()
    Image.new("RGB", (256, 256), (200, 30, 30)).save(square, "PNG")
    paths = []

    class Tiles(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(square.getvalue())

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tiles) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        template = f"http://127.0.0.1:{server.server_port}/{{z}}/{{x}}/{{y}}.png"
        page.open(f"{address}/?tiles={template}")
        playwright_api.expect(page.page.get_by_text("Tiles of a test")).to_be_visible()
        page.page.wait_for_timeout(700)
        box = page.map.bounding_box()
        (corner,) = page.colours(np.array([[box["x"] + box["width"] / 2, box["y"] + 4]]))
        server.shutdown()
    assert paths
    assert all(re.fullmatch(r"/\d+/\d+/\d+\.png", path) for path in paths)
    assert corner[0] > 180 > 150 > corner[1]  # red, at reduced opacity

    page.open(address)
    playwright_api.expect(page.page.get_by_text("Tiles of a test")).to_be_hidden()


def test_fingers_tap_and_pinch(
    browser: "playwright_api.Browser", address: str, parts: tuple
) -> None:
    cells = parts[0].a_place(2000)
    page = Page(browser, has_touch=True)
    page.open(address)
    row = some(cells)[6]
    page.page.touchscreen.tap(*page.pixels(grid.centers(cells[[row]]))[0])
    assert page.says("cell=86") == f"cell={cells[row]:x}"
    before = float(page.map.get_attribute("data-view").split(",")[2])
    fingers = page.page.context.new_cdp_session(page.page)

    def touch(kind: str, gap: float) -> None:
        points = [{"x": 550 - gap, "y": 300, "id": 0}, {"x": 550 + gap, "y": 300, "id": 1}]
        fingers.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [] if kind == "touchEnd" else points},
        )

    touch("touchStart", 40)
    for gap in range(50, 130, 10):
        touch("touchMove", gap)
        page.page.wait_for_timeout(30)
    touch("touchEnd", 130)
    page.page.wait_for_timeout(300)
    assert float(page.map.get_attribute("data-view").split(",")[2]) > before + 0.4
    assert page.complaints == []
    page.page.close()


def test_without_webgl2_the_map_is_drawn_on_a_plain_canvas(
    chromium: "playwright_api.BrowserType", address: str, parts: tuple
) -> None:
    cells = parts[0].a_place(30_000)
    lonlat, rows = grid.centers(cells), some(cells)
    browser = chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *NO_WEBGL])
    page = Page(browser)
    page.open(f"{address}/?cells=30000")
    assert page.map.get_attribute("data-renderer") == "flat"
    playwright_api.expect(page.page.get_by_text("Drawn without WebGL 2")).to_be_visible()
    at = page.pixels(lonlat[rows])
    wanted = parts[0].waves(lonlat).colours
    assert np.median(differ(page.colours(at), wanted[rows])) <= 45  # larger cells, their mean
    page.page.mouse.click(*at[4])
    cell = page.says("cell=86").removeprefix("cell=")
    assert (
        np.abs(page.pixels(grid.centers(np.array([int(cell, 16)], np.uint64)))[0] - at[4]).max() < 3
    )
    view = page.map.get_attribute("data-view")
    page.drag(at[4], at[4] + 90)
    assert page.map.get_attribute("data-view") != view
    page.page.mouse.move(*at[4])
    for _ in range(4):
        page.page.mouse.wheel(0, -300)
    page.page.wait_for_timeout(600)
    at = page.pixels(lonlat)
    seen = np.flatnonzero(np.all((at > [330, 200]) & (at < [700, 400]), axis=1))[::11]
    assert len(seen) > 3
    assert differ(page.colours(at[seen]), wanted[seen]).max() <= 1
    page.choose("Select a box")
    page.drag(np.array([400.0, 250.0]), np.array([600.0, 380.0]))
    assert int(page.says("tool=box").split("cells=")[1]) > 3
    assert page.complaints == []
    browser.close()
