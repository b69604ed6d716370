"""Boosted trees beside the page: seconds to minutes of work in a thread of the server.

A job belongs to the session that started it, which alone holds it. Its scores, once there, serve
every session, as all else that is computed from files. One job works at a time on this machine;
the others wait.
"""

import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from mobclip.embeddings import Embeddings
from mobclip.place import Target
from mobclip.probes import Score, probe

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
