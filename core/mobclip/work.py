"""Long work in a process of its own: `python -m mobclip.work FOLDER`. The app starts it.

`FOLDER/job.json` says what is to be done; what happens is told in files that any process can read:

===============  =================================================================================
`progress.json`  what is being done, steps done and in all (0: unknown)
`end.json`       how it ended: `state` done, stopped or failed, and `problem` in words
===============  =================================================================================

The work gives way to all else on the machine. SIGTERM stops it in good order.
"""

import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mobclip.errors import ArtefactError, ConfigError, MobclipError
from mobclip.storage import read_json, write_json

log = logging.getLogger(__name__)

JOB, PROGRESS, END = "job.json", "progress.json", "end.json"
NICE = 10
OFTEN = 0.3  # seconds between two writes of the progress within a stage

OnStep = Callable[[str, int, int], None]


def main(folder: Path) -> int:
    """Do what `job.json` says; exit status."""
    os.nice(NICE)
    signal.signal(signal.SIGTERM, _stop)
    # Idle threads of torch sleep instead of spinning: see `cli.main`.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    job = read_json(folder / JOB)
    end = {"state": "failed", "problem": ""}
    try:
        KINDS[job["kind"]](job, _teller(folder / PROGRESS))
        end["state"] = "done"
    except KeyboardInterrupt:
        end["state"] = "stopped"
    except MobclipError as error:
        end["problem"] = str(error)
    except Exception as error:  # whoever watches must hear of it
        log.exception("%s", job)
        end["problem"] = f"{type(error).__name__}: {error}"
    if end["state"] != "done":
        clean(job)
    write_json(folder / END, end)
    return 0 if end["state"] == "done" else 1


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def clean(job: Mapping[str, Any]) -> None:
    """Take away what a job has begun to make and did not finish."""
    for path in job.get("undo", []):
        shutil.rmtree(path, ignore_errors=True)


def _teller(path: Path) -> OnStep:
    stage, last = "", 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal stage, last
        new, now = what.split(":")[0], time.monotonic()
        if new != stage or now - last > OFTEN or done == total:
            stage, last = new, now
            write_json(path, {"what": what, "done": done, "total": total})

    return tell


# ---- kinds of work -----------------------------------------------------------------------------


def _train(job: Mapping[str, Any], tell: OnStep) -> None:
    """A recipe on a place; goes on where it was stopped."""
    from mobclip import pipeline, runs
    from mobclip.recipes import TRAINED

    place = _place(job)
    recipe, run = str(job["recipe"]), str(job["run"])
    settings = TRAINED[recipe].settings.from_dict(job["settings"])
    runs.record_recipe(place.folder / "runs" / run, recipe, settings.to_dict())
    pipeline.train(_workspace(place.folder, tell), place, recipe, config=settings, run=run)


def _embed(job: Mapping[str, Any], tell: OnStep) -> None:
    """Embeddings, colours and scores of a run that was trained."""
    from mobclip import pipeline
    from mobclip.recipes import TRAINED
    from mobclip.runs import RunLog, recorded_settings

    place = _place(job)
    run = str(job["run"])
    found = RunLog.load(place.folder / "runs" / run, list(TRAINED))
    if found.recipe not in TRAINED:
        raise ConfigError(f"{run}: nobody knows by which recipe it was trained; train it anew.")
    kind = TRAINED[found.recipe].settings
    given = recorded_settings(found.folder)
    if given is None:  # trained by `mobclip train`
        known = kind().to_dict()
        given = {name: value for name, value in found.settings.items() if name in known}
    settings = kind.from_dict(given)
    workspace = _workspace(place.folder, tell)
    pipeline.embed(workspace, place, run, config=settings, recipe=found.recipe, seed=settings.seed)
    pipeline.project(workspace, place, run)
    if place.targets:
        pipeline.probe(workspace, place)


def _make_place(job: Mapping[str, Any], tell: OnStep) -> None:
    """A place of uploaded files: tokens, the training-free embeddings, colours, scores."""
    from mobclip import pipeline
    from mobclip.baselines import Features
    from mobclip.recipes import TRAINED

    workspace = pipeline.Workspace.open(
        manifest=job["manifest"], data=job["data"], mirror=job["mirror"], on_step=tell
    )
    spec = workspace.spec(str(job["name"]))
    place = pipeline.tokenize(workspace, spec)
    features = Features(place)
    names = [run for run in pipeline.explored_runs(place) if run not in TRAINED]
    for done, run in enumerate(names):
        tell(f"embedding by {run}", done, len(names) + 1)
        pipeline.embed(_workspace(place.folder, _silent), place, run, features=features)
        pipeline.project(_workspace(place.folder, _silent), place, run)
    tell("predicting the targets", len(names), len(names) + 1)
    if place.targets:
        try:
            pipeline.probe(_workspace(place.folder, _silent), place)
        except ConfigError as error:  # too few units: a place for all that
            log.warning("%s", error)


def _silent(what: str, done: int, total: int) -> None:
    """Where a stage is one step of a longer work."""


KINDS: dict[str, Callable[[Mapping[str, Any], OnStep], None]] = {
    "train": _train,
    "embed": _embed,
    "place": _make_place,
}


def _place(job: Mapping[str, Any]) -> Any:
    from mobclip.place import Place

    return Place.load(job["place"])


def _workspace(place: Path, tell: OnStep) -> Any:
    """For stages after `tokenize`, which read no manifest."""
    from mobclip.manifest import Manifest
    from mobclip.pipeline import Workspace

    nothing = Manifest(path=place / "place.yaml", places={})
    return Workspace(manifest=nothing, data=place.parents[1], on_step=tell)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        sys.exit(main(Path(sys.argv[1])))
    except (IndexError, ArtefactError, json.JSONDecodeError) as error:
        sys.exit(f"python -m mobclip.work FOLDER: {error}")
