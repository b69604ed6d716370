"""What the app's hexagon map costs in a browser.

Claim: cells travel once (8 bytes), a recolouring costs at most 4 bytes per cell, and a million
cells stay usable. Starts a bare Streamlit script with the component in headless Chromium (software
WebGL) and prints, per size: first paint and full detail (every outline at least a pixel wide), both
since the page was asked for, and, for comparison, how long Streamlit's own page takes without a
map; click -> recoloured and painted; six turns of the wheel -> every outline there; bytes to the
browser first and per rerun; the browser's JavaScript heap.

    python benchmarks/map.py 20000 300000
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

APP = Path(__file__).resolve().parent.parent / "app"
SCRIPT = """
import sys
sys.path.insert(0, {app!r})
import h3, numpy as np, streamlit as st
from map_component import Legend, MapPlace, Tip, hex_map

st.set_page_config(layout="wide")

@st.cache_resource
def place():
    n, resolution = {cells}, 6
    ring = int(np.ceil((n / 3) ** 0.5))
    disk = h3.grid_disk(h3.latlng_to_cell(-25.0, -20.0, resolution), ring)
    cells = np.sort(np.array([int(c, 16) for c in disk], np.uint64))[:n]
    return MapPlace(cells=np.sort(cells), resolution=resolution)

def clicked(cell):
    st.session_state.cell = cell

if {cells} == 0:
    st.write("no map")
    st.stop()

cell = st.session_state.get("cell")
seed = int(cell, 16) % 2**32 if cell else 0
colours = np.random.default_rng(seed).integers(0, 256, (len(place().cells), 3), np.uint8)
hex_map(place(), colours, key="map", on_click=clicked, label="Benchmark", height="560px",
        legend=Legend(title="Random colours"), selected=cell)
st.write(f"cell={{cell}}")
"""


def measure(cells: int) -> None:
    """Print one row of the table."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        script = Path(folder) / "bench.py"
        script.write_text(SCRIPT.format(app=str(APP), cells=cells))
        served = Path(folder) / "static"  # Streamlit serves what lies beside the script
        served.mkdir()
        shutil.copy(APP / "static" / "mobclip_map.js", served)  # no links: they are refused
        command = [sys.executable, "-m", "streamlit", "run", str(script)]
        command += ["--server.port", str(port), "--server.address", "127.0.0.1"]
        command += ["--server.headless", "true", "--server.enableStaticServing", "true"]
        command += ["--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/_stcore/health")
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("MOBCLIP_CHROMIUM", "/usr/bin/chromium"),
                args=[
                    "--no-sandbox",
                    "--use-gl=angle",
                    "--use-angle=swiftshader",
                    "--enable-unsafe-swiftshader",
                ],
            )
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            if not cells:
                times = [alone(page, url) for _ in range(3)]
                print(f"Streamlit's page without a map: {times[0]:.1f} s, again {min(times):.1f} s")
                return
            received = [0]

            def count(payload: bytes | str) -> None:
                received[0] += len(payload)

            page.on("websocket", lambda ws: ws.on("framereceived", count))
            began = time.perf_counter()
            page.goto(url)
            page.wait_for_selector(".mobclip-map[data-state=ready]", timeout=120_000)
            first, first_bytes = time.perf_counter() - began, received[0]
            page.wait_for_selector(".mobclip-map[data-detail=full]", timeout=120_000)
            full = time.perf_counter() - began
            page.wait_for_timeout(2000)
            times, sizes = [], []
            box = page.locator(".mobclip-map").bounding_box()
            assert box is not None
            for fraction in (0.4, 0.5, 0.6):
                before = page.locator(".mobclip-map").get_attribute("data-painted-colours")
                received[0] = 0
                began = time.perf_counter()
                page.mouse.click(box["x"] + box["width"] * fraction, box["y"] + box["height"] / 2)
                page.wait_for_selector(
                    f'.mobclip-map[data-painted-colours]:not([data-painted-colours="{before}"])',
                    timeout=120_000,
                )
                times.append(time.perf_counter() - began)
                page.wait_for_timeout(1500)
                sizes.append(received[0])
            began = time.perf_counter()
            for _ in range(6):
                page.mouse.wheel(0, -200)
            page.wait_for_timeout(100)
            page.wait_for_selector(".mobclip-map[data-detail=full]", timeout=120_000)
            page.evaluate("new Promise(requestAnimationFrame)")
            zoomed = time.perf_counter() - began
            heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
            browser.close()
        finally:
            server.terminate()
            server.wait()
    print(
        f"{cells:>9,} | {first:5.1f} s | {full:5.1f} s | "
        f"{min(times):.2f}-{max(times):.2f} s | {zoomed:4.1f} s | "
        f"{first_bytes / 1e6:6.2f} MB ({first_bytes / cells:.1f} B/cell) | "
        f"{max(sizes) / 1e6:.2f} MB ({max(sizes) / cells:.1f} B/cell) | {heap:.0f} MB",
        flush=True,
    )


def alone(page: Page, url: str) -> float:
    """Seconds until Streamlit's page shows its text."""
    began = time.perf_counter()
    page.goto(url)
    page.get_by_text("no map").wait_for(timeout=120_000)
    return time.perf_counter() - began


def wait_for(url: str) -> None:
    """Until the server answers, 60 s at most."""
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.25)
    raise SystemExit(f"Streamlit did not start: nothing answers at {url}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("cells", type=int, nargs="*", default=[20_000, 300_000])
    sizes = options.parse_args().cells
    measure(0)
    print(
        "cells | first paint | full detail | click -> recoloured | zoomed in | wire first | "
        "wire per rerun | JS heap"
    )
    for size in sizes:
        measure(size)
