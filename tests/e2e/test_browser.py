"""The app in a real browser: a click on a hexagon, and nothing asked of the network."""

import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mobclip.projection import Projection

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")
playwright_api = pytest.importorskip(
    "playwright.sync_api", reason="browser tests need Playwright: extra 'dev'"
)

CHROMIUM = os.environ.get("MOBCLIP_CHROMIUM") or shutil.which("chromium") or ""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM, reason="no Chromium: install it, or set MOBCLIP_CHROMIUM to its path"
    ),
]


def test_a_click_lists_similar_places_and_recolours(session, address: str) -> None:
    session.open(f"{address}/?view=similar")
    blank = session.drawn()
    before = session.map.screenshot()
    session.page.mouse.move(400, 300)
    session.page.mouse.wheel(0, -120)  # the view is the user's from here on
    session.page.wait_for_timeout(500)
    view = session.map.get_attribute("data-view")

    session.click(0.36, 0.5)  # inside the western island
    first = session.drawn(instead_of=blank)
    playwright_api.expect(session.page.get_by_text("Most like")).to_be_visible()
    playwright_api.expect(session.page.get_by_test_id("stDataFrame").first).to_be_visible()
    cell = session.map.get_attribute("data-selected")
    assert re.fullmatch(r"86[0-9a-f]{13}", cell)
    assert f"cell={cell}" in session.page.url
    assert session.map.get_attribute("data-results") == "20"
    assert session.map.screenshot() != before

    session.click(0.7, 0.5)  # and in the eastern one
    second = session.drawn(instead_of=first)
    assert second not in {blank, first}
    assert session.map.get_attribute("data-selected") != cell
    assert session.map.get_attribute("data-view") == view


def test_beside_the_cells_and_after_a_drag_nothing_is_chosen(session, address: str) -> None:
    session.open(f"{address}/?view=similar")
    session.click(0.02, 0.5)
    session.page.mouse.move(300, 350)
    session.page.mouse.down()
    session.page.mouse.move(360, 380, steps=4)
    session.page.mouse.up()
    session.page.wait_for_timeout(1000)
    assert session.map.get_attribute("data-clicks") is None
    assert session.map.get_attribute("data-selected") == ""


def test_the_keyboard_moves_the_map_and_chooses_a_cell(session, address: str) -> None:
    session.open(f"{address}/?view=similar")
    blank = session.drawn()
    session.map.focus()
    before = session.map.get_attribute("data-view")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "+"):
        session.page.keyboard.press(key)
    assert session.map.get_attribute("data-view") != before
    session.page.keyboard.press("Enter")
    session.drawn(instead_of=blank)
    assert session.map.get_attribute("data-selected")


def test_views_share_the_map_and_a_reload_gets_the_cells_again(session, address: str) -> None:
    session.open(address)
    colours = session.drawn()
    cells = session.map.get_attribute("data-cells")
    for name in ("Similar places", "Probe", "Map"):
        session.switch_to(name)
        colours = session.drawn(instead_of=colours)
    session.page.reload()
    session.drawn()
    assert session.map.get_attribute("data-cells") == cells


def test_a_hint_that_was_put_away_does_not_come_back(session, visit, address: str) -> None:
    expect = playwright_api.expect
    hint = session.page.get_by_text("New here?")
    session.open(f"{address}/?view=map")
    expect(hint).to_be_visible()
    session.page.get_by_role("button", name="Got it").click()
    expect(hint).to_be_hidden()
    session.page.wait_for_function("document.cookie.includes('mobclip_hints=map')")
    cookies = {one["name"]: one for one in session.page.context.cookies()}
    cookie = cookies["mobclip_hints"]
    assert cookie["sameSite"] == "Lax"
    assert 364 < (cookie["expires"] - time.time()) / 86400 < 366
    session.page.reload()
    session.drawn()
    expect(session.page.get_by_role("tab", name="Space")).to_be_visible()
    expect(hint).to_be_hidden()
    session.open(f"{address}/?view=similar")
    expect(session.page.get_by_text("Ways to ask")).to_be_visible()  # another hint
    session.open(f"{address}/?view=map&lesson=1")
    session.page.get_by_role("button", name="Start again").click()
    session.page.wait_for_function("!document.cookie.includes('mobclip_hints')")
    somebody = visit()
    somebody.open(f"{address}/?view=map")
    expect(somebody.page.get_by_text("New here?")).to_be_visible()


def test_a_page_that_lost_its_cells_asks_for_them(session, address: str) -> None:
    session.open(address)
    colours = session.drawn()
    session.page.evaluate("window.__mobclipPlaces.clear()")
    session.switch_to("Similar places")
    session.drawn(instead_of=colours)
    assert session.page.evaluate("window.__mobclipPlaces.size") == 1


def test_umap_colours_arrive_by_themselves(session, address: str, app_data: Path) -> None:
    path = app_data / "places" / "islands-r6" / "runs" / "demographics" / "projection.parquet"
    session.open(f"{address}/?run=demographics")
    by_pca = session.drawn()
    pca = Projection.load(path)
    replace(pca, method="umap", xyz=pca.xyz[:, ::-1].copy()).save(path)
    try:
        session.drawn(instead_of=by_pca)
        playwright_api.expect(session.page.get_by_text("Colours are by PCA")).to_be_hidden()
    finally:
        pca.save(path)


def test_boosted_trees_grow_while_the_page_goes_on(session, visit, address: str) -> None:
    expect = playwright_api.expect
    probe = f"{address}/?view=probe&target=visitors&run=propagated"
    session.open(probe)
    session.page.get_by_role("button", name="Try boosted trees").click()
    progress = session.page.get_by_text("Boosted trees:")
    expect(progress).to_be_visible()
    redrawn = session.map.get_attribute("data-recolours")

    other = visit()  # somebody else sees nothing of it
    other.page.goto(probe.replace("propagated", "demographics"))
    expect(other.page.get_by_role("button", name="Try boosted trees")).to_be_visible()
    expect(other.page.get_by_text("Boosted trees:")).to_be_hidden()

    expect(session.page.get_by_text("Boosted trees", exact=True)).to_be_visible(timeout=60_000)
    expect(session.page.get_by_text("Ridge regression", exact=True)).to_be_visible()
    expect(progress).to_be_hidden()
    assert session.map.get_attribute("data-recolours") == redrawn


def test_without_webgl2_the_page_still_works(
    playwright: "playwright_api.Playwright", address: str
) -> None:
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]
    )
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(f"{address}/?view=similar")
    playwright_api.expect(page.get_by_text("Drawn without WebGL 2")).to_be_visible(timeout=30_000)
    playwright_api.expect(page.get_by_text("Like what?")).to_be_visible()
    browser.close()


def test_space_and_map_select_for_each_other(session, address: str) -> None:
    session.open(f"{address}/?view=map")
    page = session.page
    page.get_by_role("tab", name="Space").click()
    plot = page.locator(".js-plotly-plot")
    plot.locator("canvas").first.wait_for(timeout=30_000)
    box = plot.bounding_box()

    def corner(across: float, down: float) -> tuple[float, float]:
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    # A lasso around the left half of the dots: the map shows which cells those are.
    page.mouse.move(*corner(0.5, 0.12))
    page.mouse.down()
    for across, down in ((0.02, 0.12), (0.02, 0.98), (0.5, 0.98), (0.5, 0.2)):
        page.mouse.move(*corner(across, down), steps=6)
    page.mouse.up()
    selected = page.get_by_text(re.compile(r"[\d,]+ cells are selected"))
    selected.wait_for(timeout=30_000)
    page.wait_for_selector(".mobclip-map[data-state=ready]:not([data-area=''])")
    by_lasso, lassoed = session.map.get_attribute("data-area"), selected.inner_text()

    # A box on the map: other cells, and the lasso is gone from the space.
    page.get_by_role("button", name="Select a box").click()
    area = session.map.bounding_box()
    page.mouse.move(area["x"] + 0.1 * area["width"], area["y"] + 0.25 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.45 * area["width"], area["y"] + 0.75 * area["height"], steps=8)
    page.mouse.up()
    page.wait_for_selector(
        f".mobclip-map[data-state=ready]:not([data-area='']):not([data-area='{by_lasso}'])"
    )
    playwright_api.expect(selected).not_to_have_text(lassoed)
    playwright_api.expect(plot.locator(".outline-controllers")).to_have_count(0)
    shown = plot.evaluate("plot => plot._fullData[0].selectedpoints.length")
    assert selected.inner_text().startswith(f"{shown:,} cells are selected")

    page.get_by_role("tab", name="Selection").click()
    page.get_by_text("Median income (coins a year)").wait_for()
    page.get_by_role("button", name="Clear").click()
    page.wait_for_selector(".mobclip-map[data-state=ready][data-area='']")
    page.get_by_role("tab", name="Colour").click()
