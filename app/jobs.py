"""Work beside the page: boosted trees in a thread of the server, all that is longer in processes.

A `Job` (boosted trees) belongs to the session that started it, which alone holds it. Its scores,
once there, serve every session, as all else that is computed from files. One job works at a time
on this machine; the others wait.

`Work` (training, embedding, making a place) belongs to the data folder: every session sees it.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobclip.embeddings import Embeddings
from mobclip.errors import MobclipError
from mobclip.place import Target
from mobclip.probes import Score, probe
from mobclip.storage import atomic_path, read_json, write_json
from mobclip.work import END, JOB, PROGRESS, clean

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

KEPT = 256  # scores of finished jobs
SEEDS = (0,)  # the folds of the ridge beside it

_turn = threading.Lock()
_scores: dict[Hashable, Mapping[str, Score]] = {}


def scores_of(key: Hashable) -> Mapping[str, Score] | None:
    """Protocol -> primary score, where a job with this key has finished."""
    return _scores.get(key)


class Stopped(Exception):
    """Raised inside the work that is to end."""


class Job:
    """Boosted trees on one target from one embedding, in random folds and in blocks.

    It stops by itself when nothing holds it any more: when its session is gone.
    """

    def __init__(self, key: Hashable, embeddings: Embeddings, target: Target) -> None:
        self.key = key
        self.what = f"“{target.title}” from {embeddings.name}"
        self._work = work = _Work(key=key, embeddings=embeddings, target=target)
        weakref.finalize(self, work.stop.set)
        threading.Thread(target=work.run, name="boosted trees", daemon=True).start()

    def stop(self) -> None:
        """End it: at once while it waits, else after the fold that it is at."""
        self._work.stop.set()

    @property
    def waiting(self) -> bool:
        """Whether another job has the machine."""
        return self._work.started is None

    @property
    def finished(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self._work.finished.is_set()

    @property
    def problem(self) -> str:
        """Why it failed; empty if it did not."""
        return self._work.problem

    @property
    def step(self) -> tuple[int, int]:
        """Folds done, and of how many; (0, 0) before the first."""
        return self._work.step

    @property
    def seconds_left(self) -> float | None:
        """From the folds so far; None before the first."""
        done, total = self.step
        if not done or self._work.started is None:
            return None
        return (time.monotonic() - self._work.started) / done * (total - done)


@dataclass(kw_only=True)
class _Work:
    """What the thread holds: not the job, whose end it is to notice."""

    key: Hashable
    embeddings: Embeddings
    target: Target
    stop: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    started: float | None = None
    step: tuple[int, int] = (0, 0)
    problem: str = ""

    def run(self) -> None:
        if sys.platform == "linux":
            # Of this thread and the threads of LightGBM that it starts: the page comes first.
            os.setpriority(os.PRIO_PROCESS, 0, 10)
        try:
            with _turn:
                self._tell(0, 0)
                self.started = time.monotonic()
                if self.key not in _scores:  # another session may have been first
                    found = probe(
                        self.embeddings,
                        self.target,
                        seeds=SEEDS,
                        probe="boosting",
                        on_step=self._tell,
                    )
                    while len(_scores) >= KEPT:
                        _scores.pop(next(iter(_scores)))
                    _scores[self.key] = found.scores
        except Stopped:
            pass
        except Exception as error:  # the page must say what a thread would swallow
            log.exception("boosted trees on %s", self.target.name)
            self.problem = str(error) or type(error).__name__
        finally:
            self.finished.set()

    def _tell(self, done: int, total: int) -> None:
        if self.stop.is_set():
            raise Stopped
        self.step = done, total


# ---- work in processes of their own ------------------------------------------------------------
#
# Training, embedding and making a place take minutes and must outlive a reload of the page, the
# session and the server: each is a process that tells what it does in files (`mobclip.work`).
# One at a time on a data folder. Whoever holds the lock is at work: the kernel takes it off a
# process that died, however it died, so nothing has to be believed of process numbers.

WORKER = (sys.executable, "-m", "mobclip.work")
GRACE = 10.0  # seconds between SIGTERM and SIGKILL
HISTORY = 20  # folders of ended work that are kept
STOPPING, PID, LOG = "stopping", "pid.json", "log.txt"


def read_only() -> bool:
    """Whether this server only shows: MOBCLIP_READ_ONLY=1, for a class on one machine."""
    return os.environ.get("MOBCLIP_READ_ONLY", "") == "1"


class Busy(MobclipError):
    """Other work has the machine, or none may be done here."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something long that was started, by whomever."""

    folder: Path
    job: Mapping[str, Any]  # as in job.json
    running: bool

    @property
    def kind(self) -> str:
        """train, embed or place."""
        return str(self.job.get("kind", ""))

    @property
    def title(self) -> str:
        """What it is, in words."""
        return str(self.job.get("title", self.kind))

    @property
    def state(self) -> str:
        """running, stopping, done, stopped, failed or died."""
        if self.running:
            return "stopping" if (self.folder / STOPPING).exists() else "running"
        end = _read(self.folder / END).get("state")
        if end:
            return str(end)
        return "stopped" if (self.folder / STOPPING).exists() else "died"

    @property
    def problem(self) -> str:
        """Why it failed, in words; empty if it did not."""
        told = str(_read(self.folder / END).get("problem", ""))
        if self.state != "died" or told:
            return told
        last = self.log[-400:].strip()
        return (
            "The process ended without a word: it was killed, or the machine ran out of memory or "
            "was switched off." + (f" Its last lines: {last}" if last else "")
        )

    @property
    def progress(self) -> tuple[str, int, int]:
        """What is being done, steps done, and of how many (0: unknown)."""
        now = _read(self.folder / PROGRESS)
        return str(now.get("what", "starting")), int(now.get("done", 0)), int(now.get("total", 0))

    @property
    def log(self) -> str:
        """The end of what it printed."""
        try:
            return (self.folder / LOG).read_text("utf-8", errors="replace")[-4000:]
        except FileNotFoundError:
            return ""


def latest(data: Path) -> Work | None:
    """The work under way on a data folder, else the last that was."""
    folders = _folders(data)
    if not folders:
        return None
    folder = folders[-1]
    running = _locked(data) and not (folder / END).exists()
    work = Work(folder=folder, job=_read(folder / JOB), running=running)
    if not running and not (folder / END).exists():  # killed: it could not tidy up itself
        clean(work.job)
        write_json(folder / END, {"state": work.state, "problem": work.problem})
    return work


def start(data: Path, job: Mapping[str, Any]) -> Work:
    """Begin; `Busy` if other work is under way."""
    if read_only():
        raise Busy("This server only shows what there is (MOBCLIP_READ_ONLY=1).")
    if fcntl is None:
        raise Busy("Work beside the page needs Linux or macOS; use the command line instead.")
    home = data.resolve() / "jobs"
    home.mkdir(parents=True, exist_ok=True)
    lock = _lock(home)
    try:
        for old in _folders(data)[: -HISTORY + 1]:
            shutil.rmtree(old, ignore_errors=True)
        folder = home / f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09d}"
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            write_json(temporary / JOB, dict(job))
        with (folder / LOG).open("wb") as log_file:
            process = subprocess.Popen(
                [*WORKER, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],  # which keeps it locked while the process lives
                start_new_session=True,  # Ctrl-C at the server is not meant for it
            )
        write_json(folder / PID, {"pid": process.pid})
    finally:
        os.close(lock)
    threading.Thread(target=process.wait, name="reaper", daemon=True).start()
    return Work(folder=folder, job=dict(job), running=True)


def stop(data: Path) -> None:
    """End the work under way: it may tidy up; after ten seconds it is killed."""
    work = latest(data)
    if work is None or not work.running or read_only():
        return
    (work.folder / STOPPING).touch()
    pid = _read(work.folder / PID).get("pid")
    if not isinstance(pid, int):
        return
    _signal(pid, signal.SIGTERM)

    def insist() -> None:
        until = time.monotonic() + GRACE
        while _locked(data):
            now = latest(data)
            if now is None or now.folder != work.folder:
                return  # it has ended, and something else has begun
            if time.monotonic() > until:
                _signal(pid, signal.SIGKILL)
                return
            time.sleep(0.2)

    threading.Thread(target=insist, name="stop", daemon=True).start()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _folders(data: Path) -> list[Path]:
    """Of all work, oldest first."""
    return sorted(path.parent for path in data.resolve().glob(f"jobs/[0-9]*/{JOB}"))


def _lock(home: Path) -> int:
    """The lock, held; `Busy` if another process has it."""
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    work = None
    for _ in range(100):  # somebody who only looks has it for a moment; the last one may be leaving
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        work = latest(home.parent)
        if work is not None and work.running:
            break
        time.sleep(0.05)
    os.close(lock)
    raise Busy(
        f"{work.title if work else 'Other work'} is under way on this machine, one at a time: "
        "wait for it, or stop it."
    )


def _locked(data: Path) -> bool:
    path = data.resolve() / "jobs" / "lock"
    if fcntl is None or not path.exists():
        return False
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except MobclipError:  # not there yet
        return {}
    return value if isinstance(value, dict) else {}
