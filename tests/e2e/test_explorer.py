"""The app in a real browser: words, painted labels, data of one's own, a session replayed."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mobclip import grid
from mobclip.cli import app
from mobclip.place import Place

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")
playwright_api = pytest.importorskip(
    "playwright.sync_api", reason="browser tests need Playwright: extra 'dev'"
)
expect = playwright_api.expect

CHROMIUM = os.environ.get("MOBCLIP_CHROMIUM") or shutil.which("chromium") or ""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM, reason="no Chromium: install it, or set MOBCLIP_CHROMIUM to its path"
    ),
]


@pytest.fixture(scope="module")
def place(app_data: Path) -> Place:
    return Place.load(app_data / "places" / "islands-r6")


def saved(page, folder: Path) -> dict:
    """What the session's file says."""
    page.locator(".st-key-session_menu button").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this session").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    page.keyboard.press("Escape")
    return json.loads(path.read_text())


def test_words_find_places_and_the_session_replays_them(
    session, address: str, place: Place, app_data: Path, tmp_path: Path
) -> None:
    session.open(f"{address}/?view=similar&run=propagated")
    before = session.drawn()
    box = session.page.get_by_label("Like what?", exact=True)
    box.fill("harbour")
    box.press("Enter")
    session.drawn(instead_of=before)
    expect(session.map).to_have_attribute("data-results", "20")
    said = saved(session.page, tmp_path)
    found = [one["h3"] for one in said["said"]["similar"]]
    assert len(found) == 20
    centres = grid.centers(grid.from_strings(found))
    assert (centres[:, 0] < -30).mean() > 0.9  # harbours are on the western island
    file = next(tmp_path.glob("*.session.json"))
    done = CliRunner().invoke(app, ["--data", str(app_data), "replay", str(file)])
    assert done.exit_code == 0, done.output
    assert "These are the numbers that were saved." in done.output

    other = said["selection"] | {"query": "farm"}
    file.write_text(json.dumps(said | {"selection": other}))
    session.page.locator(".st-key-session_menu button").first.click()
    session.page.locator("[data-testid=stPopoverBody] input[type=file]").set_input_files(file)
    expect(box).to_have_value("farm", timeout=20_000)


def test_the_map_leaves_as_one_file(session, address: str, browser, tmp_path: Path) -> None:
    session.open(f"{address}/?view=map&run=propagated")
    session.page.locator(".st-key-session_menu button").first.click()
    with session.page.expect_download() as download:
        session.page.get_by_role("button", name="Map as one HTML file").click()
    download.value.save_as(tmp_path / "map.html")
    alone = browser.new_page()
    alone.goto((tmp_path / "map.html").as_uri())
    alone.wait_for_selector(".mobclip-map[data-state=ready]", timeout=60_000)
    expect(alone.get_by_text("Embedding “propagated”")).to_be_visible()
    assert "Nobody" in alone.locator("footer").inner_text()  # who the data are from
    alone.close()


def test_labels_are_painted_and_nobody_else_sees_them(visit, address: str, tmp_path: Path) -> None:
    url = f"{address}/?view=probe&tab=paint&run=propagated"
    mine, theirs = visit(), visit()
    mine.open(url)
    theirs.open(url)
    painted = mine.page.get_by_label("Class to paint", exact=True)
    for name, across in (("west", 0.35), ("east", 0.65)):
        painted.fill(name)
        painted.press("Enter")
        expect(mine.page.get_by_text("Type what to paint")).to_be_hidden(timeout=20_000)
        mine.page.wait_for_timeout(1500)  # until the page knows the second class too
        mine.page.get_by_role("button", name="Select a box").click()
        area = mine.map.bounding_box()
        x, y = area["x"] + across * area["width"], area["y"] + 0.45 * area["height"]
        mine.page.mouse.move(x - 35, y - 60)
        mine.page.mouse.down()
        mine.page.mouse.move(x + 35, y + 60, steps=8)
        mine.page.mouse.up()
        counted = mine.page.locator("[data-testid=stHtml]").filter(has_text=name)
        expect(counted.first).to_be_visible(timeout=20_000)
    labels = saved(mine.page, tmp_path)["labels"]
    assert set(labels.values()) == {"west", "east"}
    said = saved(mine.page, tmp_path)["said"]["painted"]
    assert said["classes"].keys() == {"west", "east"}
    assert saved(theirs.page, tmp_path)["labels"] == {}


def test_a_table_is_brought_and_a_bad_one_says_why(
    session, address: str, place: Place, tmp_path: Path
) -> None:
    session.open(f"{address}/?view=probe&tab=own&run=propagated")
    page = session.page
    upload = page.locator("[data-testid=stMain] input[type=file]")
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"\x80\x04\x95 a pickle, not a table")
    upload.set_input_files(bad)
    problem = page.locator("[data-testid=stAlert]").filter(has_text="bad.parquet")
    expect(problem).to_be_visible(timeout=20_000)

    cells = grid.to_strings(place.cells[:80])
    values = np.random.default_rng(0).normal(size=80)
    rows = [f"{cell},{value:.3f}" for cell, value in zip(cells, values, strict=True)]
    good = tmp_path / "good.csv"
    good.write_text("\n".join(["h3,rent", *rows, "nowhere,3"]))
    page.get_by_role("button", name=re.compile("Remove|Delete")).first.click()
    expect(problem).to_be_hidden(timeout=20_000)  # the server has forgotten the first one
    expect(page.get_by_text("A row of the table says where")).to_be_visible(timeout=20_000)
    upload.set_input_files(good)
    expect(page.get_by_text("81 rows, 2 columns")).to_be_visible(timeout=20_000)
    licence = page.get_by_label("Licence, and whose it is", exact=True)
    licence.fill("CC0, invented")
    licence.press("Enter")
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_text("R² in new areas")).to_be_visible(timeout=30_000)
