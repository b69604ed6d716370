"""The app in a real browser: started once, visited by one or two people."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

APP = Path(__file__).parents[2] / "app"
CHROMIUM = os.environ.get("MOBCLIP_CHROMIUM") or shutil.which("chromium") or ""
SOFTWARE_WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def serve() -> Callable[..., AbstractContextManager[str]]:
    """Run a Streamlit script; the address it answers at."""

    @contextmanager
    def run(script: Path, folder: Path, *options: str, **environment: str) -> Iterator[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
        command += ["--server.port", str(port), "--server.headless", "true"]
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.25)
            else:
                pytest.fail(f"the page did not start:\n{(folder / 'log').read_text()}")
            yield url
        finally:
            server.terminate()
            server.wait()

    return run


@pytest.fixture(scope="module")
def address(serve, app_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, started from a folder that is not the repository."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with serve(APP / "main.py", elsewhere, MOBCLIP_DATA_DIR=str(app_data)) as url:
        yield url


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    api = pytest.importorskip(
        "playwright.sync_api", reason="browser tests need Playwright: extra 'dev'"
    )
    with api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Any) -> Iterator[Any]:
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", *SOFTWARE_WEBGL]
    )
    yield browser
    browser.close()


class Session:
    """A page, what it asked of the network, and what it complained of."""

    def __init__(self, browser: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 720}, accept_downloads=True)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.map = self.page.locator(".mobclip-map")

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.drawn()

    def drawn(self, *, instead_of: str | None = None) -> str:
        """Wait until colours (other than those) are on the screen; their fingerprint."""
        other = f':not([data-painted-colours="{instead_of}"])' if instead_of else ""
        self.page.wait_for_selector(
            f".mobclip-map[data-state=ready][data-painted-colours]{other}", timeout=60_000
        )
        return self.map.get_attribute("data-painted-colours")

    def switch_to(self, view: str) -> None:
        self.page.get_by_role("radio", name=view).or_(
            self.page.get_by_role("button", name=view, exact=True)
        ).first.click()

    def click(self, across: float, down: float) -> None:
        box = self.map.bounding_box()
        self.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[[], Session]]:
    """Open a page of one's own; in the end nobody has asked the network for anything."""
    sessions: list[Session] = []

    def opened() -> Session:
        sessions.append(Session(browser))
        return sessions[-1]

    yield opened
    outside = [
        url
        for session in sessions
        for url in session.asked
        if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:", url)
    ]
    complaints = [one for session in sessions for one in session.complaints]
    for session in sessions:
        session.page.close()
    assert outside == []
    assert complaints == []


@pytest.fixture
def session(visit: Callable[[], Session]) -> Session:
    """The page of one person."""
    return visit()
