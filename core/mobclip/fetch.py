"""A file of the manifest -> the same file on this machine, verified. The only network code.

A read-only mirror folder is looked at first, then `<data>/raw/`, then the addresses of the entry.
The sha256 of a file is checked when it is first used; `<data>/raw/verified.json` remembers size and
time of what was checked, so that later starts read no file twice.
"""

import logging
from pathlib import Path
from typing import Any

import pooch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from mobclip.errors import ArtefactError, FetchError
from mobclip.manifest import SourceSpec
from mobclip.storage import atomic_path, file_sha256, read_json, write_json

_log = logging.getLogger(__name__)
_NOTES = "verified.json"
_SECONDS = 60  # without a byte, before a download is given up


def fetch(
    spec: SourceSpec, *, data_dir: Path, mirror: Path | None = None, progress: bool = False
) -> Path:
    """Path of the verified file of one source.

    Parameters
    ----------
    spec : entry of the manifest
    data_dir : downloads go to `<data_dir>/raw/<path>`
    mirror : folder that holds the same relative paths; never written to
    progress : show a bar while downloading

    Raises
    ------
    FetchError : the file cannot be had, or its sha256 is not the one of the manifest
    """
    raw = data_dir / "raw"
    cached = raw / spec.path
    if spec.generator is not None:
        raise FetchError(
            f"{spec.name} is made on this machine by the generator {spec.generator['name']!r}, not "
            "downloaded: `mobclip fetch` makes the files of its place."
        )
    if mirror is not None and (mirror / spec.path).is_file():
        _verify(spec, mirror / spec.path, raw)
        return mirror / spec.path
    if cached.is_file():
        try:
            _verify(spec, cached, raw)
        except FetchError as error:
            if not spec.url:
                raise  # placed by hand: not ours to delete
            cached.unlink()
            _log.warning("Deleted, to be downloaded again: %s", error)
        else:
            return cached
    if not spec.url:
        looked = [str(cached)] + ([str(mirror / spec.path)] if mirror else [])
        raise FetchError(
            f"{spec.name}: the file is not at {' or '.join(looked)}, and the manifest has no url "
            f"for it. It comes from: {spec.origin} Put it at {cached} "
            "(or into a folder that MOBCLIP_MIRROR names) and run again."
        )
    _download(spec, cached, progress=progress)
    _remember(spec, cached, raw)
    return cached


def _verify(spec: SourceSpec, path: Path, raw: Path) -> None:
    """`FetchError` naming both hashes, unless `path` is what the manifest says."""
    if _notes(raw).get(str(path.resolve())) == _note(spec, path):
        return
    _check_hash(spec, path, str(path))
    _remember(spec, path, raw)


def _check_hash(spec: SourceSpec, path: Path, where: str) -> None:
    found = file_sha256(path)
    if found != spec.sha256:
        raise FetchError(
            f"{spec.name}: {where} is not the file of the manifest: its sha256 is {found} "
            f"({path.stat().st_size:,} bytes), the manifest says {spec.sha256} "
            f"({spec.bytes:,} bytes). Remove or replace it; if the provider has published a new "
            "version that you trust, change sha256 and bytes in the manifest."
        )


def _note(spec: SourceSpec, path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": spec.sha256}


def _notes(raw: Path) -> dict[str, Any]:
    try:
        notes = read_json(raw / _NOTES)
    except ArtefactError:  # none yet, or damaged: only costs reading the files once more
        return {}
    return notes if isinstance(notes, dict) else {}


def _remember(spec: SourceSpec, path: Path, raw: Path) -> None:
    write_json(raw / _NOTES, {**_notes(raw), str(path.resolve()): _note(spec, path)})


def _download(spec: SourceSpec, target: Path, *, progress: bool) -> None:
    """Try the addresses in turn; `target` is there whole and verified, or not at all."""
    failures = []
    for url in spec.url:
        _log.info("downloading %s (%s bytes) from %s", spec.path, f"{spec.bytes:,}", url)
        try:
            with atomic_path(target) as temporary:
                with _Bar(spec, shown=progress) as bar:
                    pooch.HTTPDownloader(progressbar=bar, timeout=_SECONDS)(
                        url, str(temporary), None
                    )
                _check_hash(spec, temporary, f"what {url} sent")
        except (OSError, FetchError) as error:  # an error of requests is an OSError
            failures.append(f"{url}: {error}")
        else:
            return
    listed = "".join(f"\n  - {failure}" for failure in failures)
    raise FetchError(
        f"{spec.name}: no address gave {spec.path}:{listed}\n"
        f"Check the network, or put the file at {target} (or into a folder that MOBCLIP_MIRROR "
        f"names).{' It comes from: ' + spec.origin if spec.origin else ''}"
    )


class _Bar:
    """A bar of bytes on stderr, with the calls that pooch makes on it."""

    def __init__(self, spec: SourceSpec, *, shown: bool) -> None:
        self.total = spec.bytes  # pooch writes what the server says here
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
        )
        self._task = self._progress.add_task(spec.path, total=spec.bytes)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def update(self, count: int) -> None:
        self._progress.update(self._task, advance=count, total=self.total or None)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        self._progress.refresh()
