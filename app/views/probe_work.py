"""What the probe view computes: once, and again when a file, an upload or a slider changes.

What follows from files is shared by all sessions, as in `cache`. What follows from a target that
somebody brought along, or from painted labels, stays in the session of that somebody.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import brought
import cache
import numpy as np
import spaces
import streamlit as st
from cache import PlaceFiles
from spaces import Space

from mobclip.baselines import BASELINES
from mobclip.place import Target
from mobclip.probes import PROTOCOLS, ProbeResult, Score, folds_of, learning, probe
from mobclip.probes.conformal import Intervals
from mobclip.probes.learning import Learned, Limits, Point
from mobclip.probes.local_intervals import local_intervals
from mobclip.probes.next_cells import Simulated, simulate
from mobclip.session import Selection
from mobclip.splits import Folds

LEVEL = 0.9  # of the intervals
KEPT = 24  # results of a session
SEEDS = (0, 1)  # divisions of the map in "what if"
OWN_SEEDS = (0, 1, 2)  # divisions into folds of a target of one's own, as of those in the tables


# ---- what is asked


@dataclass(frozen=True, kw_only=True)
class Setting(Limits):
    """Where the sliders stand."""

    run: str

    @property
    def usual(self) -> bool:
        """Whether the probe is that of the tables: all labels, all numbers, all evidence."""
        return self == Setting(run=self.run)


def setting(selection: Selection, files: PlaceFiles, target: Target) -> Setting:
    """What the address asks for, as far as this run and target have it."""
    limits = Limits.of(
        selection,
        units=len(target.values),
        dims=cache.load_index(files, selection.run).embeddings.dims,
        known=spaces.known_of(files, selection.run),
    )
    return Setting(run=selection.run, **asdict(limits))


# ---- targets


def targets(files: PlaceFiles) -> dict[str, Target]:
    """Those of the place, then those that this session brought along."""
    return {**cache.load_place(files).targets, **brought.targets(files)}


def is_own(files: PlaceFiles, target: Target) -> bool:
    """Whether it lives in this session alone."""
    return target.name in brought.targets(files)


def kept(key: Any, make: Callable[[], Any]) -> Any:
    """What `make` made for this session; the least recently asked for goes first."""
    found: dict[str, Any] = st.session_state.setdefault("probe_kept", {})
    text = repr(key)
    value = found.pop(text) if text in found else make()
    found[text] = value
    while len(found) > KEPT:
        found.pop(next(iter(found)))
    return value


# ---- probes


def space(asked: Setting, files: PlaceFiles) -> Space:
    """The embedding that the sliders leave."""
    gone = [one for one in spaces.known_of(files, asked.run) if one not in asked.using]
    return Space(run=asked.run, without=tuple(gone) if asked.using else ())


def features(files: PlaceFiles, asked: Setting, target: Target | None = None) -> np.ndarray:
    """(units, numbers) of a target, or (cells, numbers)."""
    vectors = spaces.embeddings(files, space(asked, files)).vectors
    vectors = vectors[:, : asked.dims or None].astype(np.float64)
    return vectors if target is None else target.units_of(vectors)


def folds(files: PlaceFiles, target: Target, protocol: Any) -> Folds:
    """The folds of the first seed."""
    cells = target.cell_of_unit(cache.load_place(files).cells)
    return Folds(of_unit=folds_of(cells, protocol=protocol, seed=0))


def result(files: PlaceFiles, target: Target, asked: Setting) -> ProbeResult:
    """Held-out predictions and scores, in random folds and in blocks, with these sliders.

    Raises
    ------
    ConfigError : too few units, or the same value everywhere
    """
    if not is_own(files, target):
        if asked.usual:
            return cache.load_probe(files, asked.run, target.name)
        return _result(*cache.probe_key(files, asked.run, target.name), asked)
    key = ("result", cache.probe_key(files, asked.run, target.name), asked)
    return kept(key, lambda: _probed(files, target, asked))


@st.cache_resource(max_entries=64, show_spinner=False)
def _result(
    folder: Any, place_version: Any, path: Any, version: Any, name: str, asked: Setting
) -> ProbeResult:
    files = PlaceFiles(folder=folder)
    return _probed(files, cache.load_place(files).targets[name], asked)


def _probed(files: PlaceFiles, target: Target, asked: Setting) -> ProbeResult:
    if asked.usual:
        return probed_run(files, target, asked.run)
    x = features(files, asked, target)
    found: dict[str, Learned] = {
        protocol: learning.learned(
            x,
            target.actual,
            folds(files, target, protocol),
            kind=target.kind,
            share=asked.share,
            alpha=asked.alpha or None,
        )
        for protocol in PROTOCOLS
    }
    number = target.kind == "number"
    shown = found["blocks"]
    return ProbeResult(
        run=asked.run,
        probe="ridge",
        target=target.name,
        kind=target.kind,
        n=len(target.values),
        metrics={
            protocol: {metric: Score(per_seed=(value,)) for metric, value in one.metrics.items()}
            for protocol, one in found.items()
        },
        unit_ids=target.unit_ids,
        actual=shown.actual[:, 0] if number else shown.actual,
        predicted=shown.predicted[:, 0] if number else shown.predicted,
        folds=shown.folds.of_unit,
    )


def probed_run(files: PlaceFiles, target: Target, run: str) -> ProbeResult:
    """The usual probe of a run, as its table is made."""
    recipe = BASELINES.get(run)
    return probe(
        cache.load_index(files, run).embeddings,
        target,
        seeds=OWN_SEEDS,
        probe=recipe.probe if recipe else "ridge",
    )


def ladder_rows(
    files: PlaceFiles, target: Target, runs: list[str]
) -> Iterator[tuple[float, list[Mapping[str, Any]]]]:
    """Of a target of one's own: how far it is, and scores of every run so far."""
    rows: list[Mapping[str, Any]] = []
    for done, run in enumerate(runs, 1):
        key = ("result", cache.probe_key(files, run, target.name), Setting(run=run))
        found = kept(key, lambda run=run: probed_run(files, target, run))
        rows += found.to_rows()
        yield done / len(runs), rows


# ---- intervals, curves


def intervals(files: PlaceFiles, target: Target, part: str, asked: Setting) -> Intervals:
    """90 % intervals of a number, or of a part of a composition, calibrated on other blocks."""
    key = ("width", cache.probe_key(files, asked.run, target.name), part, asked.using, asked.dims)

    def make() -> Intervals:
        with st.spinner("Calibrating intervals on other areas …"):
            return calibrated(files, target, part, asked)

    return kept(key, make)


def calibrated(files: PlaceFiles, target: Target, part: str, asked: Setting) -> Intervals:
    """`intervals`, computed: for who has no session to keep them in."""
    return local_intervals(
        features(files, asked, target),
        target.actual[:, target.classes.index(part) if part else 0],
        folds(files, target, "blocks"),
        level=LEVEL,
    )


def bounds(target: Target, found: Intervals) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of each unit's interval, in the target's unit; NaN: without end."""
    ends = []
    for sign in (-1, 1):
        at = found.predicted + sign * found.half_width
        shown = at if target.kind == "composition" else target.untransformed(at)
        if target.kind == "composition":
            shown = np.clip(shown, 0, 1)
        ends.append(np.where(np.isfinite(found.half_width), shown, np.nan))
    return ends[0], ends[1]


def curve(
    files: PlaceFiles, target: Target, asked: Setting, tell: Callable[[float], None]
) -> list[Point]:
    """The learning curve; `tell` hears how far it is."""
    alone = (asked.using, asked.dims, asked.alpha)
    key = ("curve", cache.probe_key(files, asked.run, target.name), alone)

    def make() -> list[Point]:
        cells = target.cell_of_unit(cache.load_place(files).cells)
        total = len(learning.budgets(len(target.values))) * len(PROTOCOLS)
        found = []
        for point in learning.curve(
            features(files, asked, target),
            target.actual,
            cells,
            kind=target.kind,
            alpha=asked.alpha or None,
        ):
            found.append(point)
            tell(len(found) / total)
        return found

    return kept(key, make)


def what_if_key(files: PlaceFiles, target: Target, asked: Setting) -> tuple[Any, ...]:
    """What `what_if` depends on."""
    return ("order", cache.probe_key(files, asked.run, target.name), asked.using, asked.dims)


def what_if(
    files: PlaceFiles, target: Target, asked: Setting, tell: Callable[[float], None]
) -> list[Simulated]:
    """Scores, had one labelled in the suggested order or at random."""

    def make() -> list[Simulated]:
        cells = target.cell_of_unit(cache.load_place(files).cells)
        found: list[Simulated] = []
        for one in simulate(
            features(files, asked, target), target.actual, cells, kind=target.kind, seeds=SEEDS
        ):
            found.append(one)
            tell(min(len(found) / (2 * 5 * len(SEEDS)), 1.0))
        return found

    return kept(what_if_key(files, target, asked), make)
