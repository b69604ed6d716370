"""Fetching: mirror, cache, download; hashes always; nothing half-written, nothing bad kept."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from mobclip import fetch as fetch_module
from mobclip.errors import FetchError
from mobclip.fetch import fetch
from mobclip.manifest import SourceSpec

DATA = Path(__file__).parent / "data"
FILE = "shops.csv"
CONTENT = (DATA / FILE).read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, directory=str(DATA), **kwargs)

    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path.startswith("/broken/"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:20])
            return
        super().do_GET()

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    """An HTTP server over tests/data on this machine; `requests` lists the paths asked for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        running.requests = []
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        yield running
        running.shutdown()
        thread.join()


def spec(*url, sha256=SHA256, **change):
    given = {
        "name": "shops", "kind": "points", "path": f"town/{FILE}", "provider": "City",
        "licence": "CC0", "citation": "City", "date": "2020", "url": url, "sha256": sha256,
        "bytes": len(CONTENT), "origin": "the city's portal.",
    }  # fmt: skip
    return SourceSpec(**(given | change))


def put(folder, content=CONTENT):
    path = folder / "town" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_downloads_once_and_then_works_offline(server, tmp_path):
    wanted = spec(f"{server.url}/{FILE}")
    path = fetch(wanted, data_dir=tmp_path)
    assert path == tmp_path / "raw" / "town" / FILE
    assert path.read_bytes() == CONTENT
    assert fetch(wanted, data_dir=tmp_path) == path
    assert server.requests == [f"/{FILE}"]
    assert files(tmp_path) == [f"raw/town/{FILE}", "raw/verified.json"]


def test_the_mirror_comes_first(server, tmp_path):
    mirrored = put(tmp_path / "mirror")
    found = fetch(
        spec(f"{server.url}/{FILE}"), data_dir=tmp_path / "data", mirror=tmp_path / "mirror"
    )
    assert found == mirrored
    assert server.requests == []


def test_a_mirror_without_the_file_falls_back(server, tmp_path):
    (tmp_path / "mirror").mkdir()
    found = fetch(
        spec(f"{server.url}/{FILE}"), data_dir=tmp_path / "data", mirror=tmp_path / "mirror"
    )
    assert found.read_bytes() == CONTENT


def test_a_wrong_file_in_the_mirror_is_named_and_left_alone(tmp_path):
    mirrored = put(tmp_path / "mirror", b"other")
    with pytest.raises(FetchError) as raised:
        fetch(spec(), data_dir=tmp_path / "data", mirror=tmp_path / "mirror")
    assert SHA256 in str(raised.value)
    assert hashlib.sha256(b"other").hexdigest() in str(raised.value)
    assert mirrored.read_bytes() == b"other"


def test_a_wrong_download_is_not_kept(server, tmp_path):
    with pytest.raises(FetchError) as raised:
        fetch(spec(f"{server.url}/{FILE}", sha256="f" * 64), data_dir=tmp_path)
    assert SHA256 in str(raised.value)
    assert "f" * 64 in str(raised.value)
    assert files(tmp_path) == []


def test_a_broken_download_leaves_nothing(server, tmp_path):
    with pytest.raises(FetchError, match="no address gave"):
        fetch(spec(f"{server.url}/broken/{FILE}"), data_dir=tmp_path)
    assert files(tmp_path) == []


def test_ctrl_c_leaves_nothing(server, tmp_path, monkeypatch):
    def interrupted(_path):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_module, "file_sha256", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(spec(f"{server.url}/{FILE}"), data_dir=tmp_path)
    assert files(tmp_path) == []


def test_addresses_are_tried_in_turn(server, tmp_path):
    wanted = spec(f"{server.url}/gone.csv", f"{server.url}/broken/x", f"{server.url}/{FILE}")
    assert fetch(wanted, data_dir=tmp_path).read_bytes() == CONTENT
    assert server.requests == ["/gone.csv", "/broken/x", f"/{FILE}"]


def test_a_damaged_cached_file_is_replaced(server, tmp_path):
    put(tmp_path / "raw", CONTENT[:30])
    assert fetch(spec(f"{server.url}/{FILE}"), data_dir=tmp_path).read_bytes() == CONTENT


def test_a_wrong_file_placed_by_hand_is_not_deleted(tmp_path):
    placed = put(tmp_path / "raw", b"mine")
    with pytest.raises(FetchError, match=SHA256):
        fetch(spec(), data_dir=tmp_path)
    assert placed.read_bytes() == b"mine"


def test_without_url_the_error_says_where_from_and_where_to(tmp_path):
    with pytest.raises(FetchError) as raised:
        fetch(spec(), data_dir=tmp_path, mirror=tmp_path / "mirror")
    for part in ("the city's portal.", str(tmp_path / "raw" / "town" / FILE), "MOBCLIP_MIRROR"):
        assert part in str(raised.value)


def test_no_network_is_a_fetch_error(tmp_path):
    with pytest.raises(FetchError, match="Check the network"):
        fetch(spec("http://127.0.0.1:1/x.csv"), data_dir=tmp_path)


def test_a_checked_file_is_read_again_only_when_it_changed(tmp_path, monkeypatch):
    path = put(tmp_path / "raw")
    fetch(spec(), data_dir=tmp_path)
    read = []
    monkeypatch.setattr(
        fetch_module,
        "file_sha256",
        lambda p: read.append(p) or hashlib.sha256(p.read_bytes()).hexdigest(),
    )
    fetch(spec(), data_dir=tmp_path)
    assert read == []
    os.utime(path, ns=(1, 1))
    fetch(spec(), data_dir=tmp_path)
    assert read == [path]
    path.write_bytes(b"changed")
    with pytest.raises(FetchError):
        fetch(spec(), data_dir=tmp_path)


def test_a_new_hash_in_the_manifest_is_checked_again(tmp_path):
    put(tmp_path / "raw")
    fetch(spec(), data_dir=tmp_path)
    with pytest.raises(FetchError, match="0" * 64):
        fetch(spec(sha256="0" * 64), data_dir=tmp_path)


def test_a_damaged_note_only_costs_a_second_look(tmp_path):
    put(tmp_path / "raw")
    (tmp_path / "raw" / "verified.json").write_text("{", "utf-8")
    assert fetch(spec(), data_dir=tmp_path).read_bytes() == CONTENT


def test_generated_files_are_made_not_fetched(tmp_path):
    made = spec(sha256="", generator={"name": "synthetic"})
    put(tmp_path / "raw")
    with pytest.raises(FetchError, match="made on this machine by the generator 'synthetic'"):
        fetch(made, data_dir=tmp_path)


def test_the_bar_shows_and_hides(server, tmp_path, capsys):
    fetch(spec(f"{server.url}/{FILE}"), data_dir=tmp_path / "a", progress=False)
    assert capsys.readouterr() == ("", "")
    fetch(spec(f"{server.url}/{FILE}"), data_dir=tmp_path / "b", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert FILE in err
