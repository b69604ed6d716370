"""Make docs/screenshots/: every view of the app in headless Chromium, light and dark.

MOBCLIP_DATA_DIR=data python docs/screenshots.py synthetic-r6
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("MOBCLIP_CHROMIUM", "/usr/bin/chromium")
SOFTWARE_WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
VIEWS = {
    "map": "",
    "clusters": "&colour=clusters",
    "compare": "&other={other}&split=swipe",
    "similar": "&view=similar&cell={cell}&apart={apart}",
    "words": "&view=similar&query={query}",
    "probe": "&view=probe&target={target}",
    "modalities": "&view=modalities&cell={cell}",
    "train": "&view=train",
    "data": "&view=data",
    "class": "&view=map&lesson=2&cell={cell}",
}


def main() -> None:
    """Start the app, visit each view, save PNGs."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("place", help="folder name of a place, e.g. chicago-r8")
    arguments.add_argument("--target", help="what to predict; default: the first of the place")
    arguments.add_argument("--run", default="", help="embedding; default: the best on blocks")
    arguments.add_argument("--other", default="pca", help="embedding that it is compared with")
    arguments.add_argument("--query", default="market hall", help="words to search for")
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    arguments.add_argument("--themes", nargs="+", default=["light", "dark"])
    chosen = arguments.parse_args()
    places = Path(os.environ.get("MOBCLIP_DATA_DIR") or "data") / "places"
    target = chosen.target or next(
        iter(json.loads((places / chosen.place / "targets.json").read_text("utf-8"))), ""
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py")]
    command += ["--server.port", str(port), "--server.headless", "true"]
    server = subprocess.Popen(command)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", *SOFTWARE_WEBGL]
            )
            for theme in chosen.themes:
                page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=theme)
                page.goto(f"http://127.0.0.1:{port}/?place={chosen.place}&run={chosen.run}")
                cell = a_cell(page)
                for name, query in VIEWS.items():
                    address = query.format(
                        cell=cell, target=target, apart=20, other=chosen.other, query=chosen.query
                    )
                    page.goto(
                        f"http://127.0.0.1:{port}/?place={chosen.place}&run={chosen.run}{address}"
                    )
                    settle(page)
                    page.screenshot(path=chosen.out / f"{name}-{theme}.png")
                    if name == "similar":
                        why = page.get_by_text("Why?", exact=True)
                        why.evaluate("one => one.scrollIntoView({block: 'start'})")
                        page.wait_for_timeout(2500)
                        page.screenshot(path=chosen.out / f"why-{theme}.png")
                    if name == "probe":
                        heading = page.get_by_text("Against the other embeddings")
                        heading.evaluate("one => one.scrollIntoView({block: 'start'})")
                        page.wait_for_timeout(4000)
                        page.screenshot(path=chosen.out / f"probe-charts-{theme}.png")
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()


def a_cell(page: Page) -> str:
    """A cell near the middle of the map, chosen by a click."""
    settle(page)
    box = page.locator(".mobclip-map").bounding_box()
    assert box is not None
    for dx, dy in ((0.5, 0.5), (0.45, 0.4), (0.55, 0.6), (0.4, 0.5), (0.6, 0.4)):
        page.mouse.click(box["x"] + dx * box["width"], box["y"] + dy * box["height"])
        page.wait_for_timeout(3000)
        cell = page.locator(".mobclip-map").get_attribute("data-selected")
        if cell:
            return cell
    raise SystemExit("no hexagon near the middle of the map")


def settle(page: Page) -> None:
    """Until the map is drawn and nothing moves."""
    page.wait_for_selector(".mobclip-map[data-state=ready]", timeout=90_000)
    page.wait_for_selector("[data-testid=stStatusWidget]", state="detached", timeout=60_000)
    hint = page.get_by_role("button", name="Got it")
    if hint.count():
        hint.first.click()
    page.wait_for_selector("[data-testid=stStatusWidget]", state="detached", timeout=60_000)
    page.wait_for_timeout(2500)


def wait_for(url: str) -> None:
    """Until the server answers, 60 s at most."""
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.25)
    raise SystemExit(f"the app did not start: nothing answers at {url}")


if __name__ == "__main__":
    main()
