"""Real Chicago in a real browser: a click, words, a drawn box, another view, nobody else asked."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobclip.place import Place

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")
playwright_api = pytest.importorskip(
    "playwright.sync_api", reason="browser tests need Playwright: extra 'dev'"
)
expect = playwright_api.expect

APP = Path(__file__).parents[2] / "app" / "main.py"
CHROMIUM = os.environ.get("MOBCLIP_CHROMIUM") or shutil.which("chromium") or ""

pytestmark = [
    pytest.mark.real,
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM, reason="no Chromium: install it, or set MOBCLIP_CHROMIUM to its path"
    ),
]


@pytest.fixture(scope="module")
def address(serve, chicago: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app on Chicago."""
    data = str(chicago.folder.parents[1])
    with serve(APP, tmp_path_factory.mktemp("elsewhere"), MOBCLIP_DATA_DIR=data) as url:
        yield url


def test_chicago_is_clicked_and_searched_by_words(session, address: str) -> None:
    session.open(f"{address}/?view=similar&run=mobclip")
    blank = session.drawn()
    session.click(0.6, 0.5)  # the lake is to the right, other towns to the left
    clicked = session.drawn(instead_of=blank)
    assert re.fullmatch(r"88[0-9a-f]{13}", session.map.get_attribute("data-selected"))
    expect(session.map).to_have_attribute("data-results", "20")
    expect(session.page.get_by_text("Most like")).to_be_visible()
    box = session.page.get_by_label("Like what?", exact=True)
    box.fill("coffee")
    box.press("Enter")
    session.drawn(instead_of=clicked)
    expect(session.map).to_have_attribute("data-results", "20")


def test_a_box_on_chicago_selects_cells_and_says_what_is_special(session, address: str) -> None:
    session.open(f"{address}/?view=map&run=mobclip&colour=clusters")
    page = session.page
    page.get_by_role("button", name="Select a box").click()
    area = session.map.bounding_box()
    x, y = area["x"] + 0.6 * area["width"], area["y"] + 0.5 * area["height"]
    page.mouse.move(x - 40, y - 60)
    page.mouse.down()
    page.mouse.move(x + 40, y + 60, steps=8)
    page.mouse.up()
    page.get_by_role("tab", name="Selection").or_(page.get_by_text("Selection")).first.click()
    expect(page.get_by_role("button", name="Search like these")).to_be_visible(timeout=20_000)


def test_trips_of_a_cell_of_chicago_are_lines_on_the_map(session, address: str) -> None:
    session.open(f"{address}/?view=modalities&run=mobclip")
    session.page.get_by_role("button", name="Show me a telling cell").click()
    expect(session.page.get_by_text("trips leave")).to_be_visible(timeout=20_000)
    expect(session.map.get_by_text("Number of trips")).to_be_visible(timeout=20_000)
