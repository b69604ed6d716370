"""A target as a layer of the map: what was measured, what is predicted, and how far off that is."""

import cache
import colours
import numpy as np
from cache import PlaceFiles
from colours import Colouring

from mobclip.place import Target
from mobclip.probes import ProbeResult, shown_on_cells

NO_YES = ("no", "yes")
NAMES = {
    "predicted": "Predicted",
    "actual": "Measured",
    "error": "Error",
    "width": "Interval",
    "folds": "Folds",
}
# Of classes there is no too high and too low.
NAMES_OF_CLASSES = {
    "predicted": "Predicted",
    "actual": "Measured",
    "error": "How right",
    "folds": "Folds",
}


def names(target: Target) -> dict[str, str]:
    """The layers of a target, as people call them."""
    return NAMES_OF_CLASSES if target.kind in ("binary", "class") else NAMES


def measured_values(target: Target, part: str = "") -> np.ndarray:
    """(n,) what was measured at each cell; of a composition a part, or which is the largest."""
    return target.on_cells(target.values[:, target.classes.index(part)] if part else None)


def measured(files: PlaceFiles, target: Target, part: str = "", *, prefix: str = "") -> Colouring:
    """What was measured; of a composition the share of a part, or which part is the largest."""
    known = target.name in cache.load_place(files).targets
    values = (
        cache.target_on_cells(files, target.name, part) if known else measured_values(target, part)
    )
    title = prefix + _titled(target, part)
    note = "" if target.level == "cell" else f"known by {target.level}"
    if target.kind == "binary":
        return colours.classes(
            values, NO_YES, measured=values, title=title, note=target.unit or note
        )
    if target.kind == "class" or (target.kind == "composition" and not part):
        what = "the largest part" if target.kind == "composition" else target.unit
        return colours.classes(
            values, target.classes, measured=values, title=title, note=what or note
        )
    return colours.ramp(
        values,
        title=title,
        unit=target.unit,
        logarithmic=target.transform == "log1p",
        note=note,
    )


def predicted(files: PlaceFiles, run: str, target: Target, part: str = "") -> Colouring:
    """What is predicted by models that did not see the area, in the colours of `measured`."""
    values = cache.predicted_on_cells(files, run, target.name, part, error=False)
    return _predicted(values, cache.target_on_cells(files, target.name, part), target, part)


def predicted_by(result: ProbeResult, target: Target, part: str = "") -> Colouring:
    """The same of one probe, as the sliders have it."""
    values = shown_on_cells(target, result.actual, result.predicted, part)
    return _predicted(values, measured_values(target, part), target, part)


def _predicted(values: np.ndarray, truth: np.ndarray, target: Target, part: str) -> Colouring:
    title = f"Predicted: {_titled(target, part)}"
    if target.kind == "binary":
        return colours.ramp(values, title=title, unit="probability of yes", ends=(0.0, 1.0))
    if target.kind == "class":
        return colours.classes(
            values, target.classes, measured=truth, title=title, note="the most probable class"
        )
    return colours.ramp(
        values,
        title=title,
        unit=target.unit,
        logarithmic=target.transform == "log1p",
        like=truth,
    )


def error_of(result: ProbeResult, target: Target, part: str = "") -> Colouring:
    """How far off a prediction is: a difference, or the probability given to the truth."""
    values = shown_on_cells(target, result.actual, result.predicted, part, error=True)
    if target.kind in ("binary", "class"):
        return colours.ramp(
            values,
            title=f"How right: {target.title}",
            note="the probability that was given to the class that was measured; dark: wrong",
            ends=(0.0, 1.0),
        )
    return colours.ramp(
        values,
        title=f"Error: {_titled(target, part)}",
        unit=f"log(1 + {target.unit})" if target.transform == "log1p" else target.unit,
        note="blue: predicted too low; red: too high",
        stops=colours.DIVERGING,
        centred=True,
    )


def width(low: np.ndarray, high: np.ndarray, target: Target, part: str, note: str) -> Colouring:
    """How wide the interval of each unit is, from its two ends."""
    return colours.ramp(
        target.on_cells(high - low),
        title=f"Width of the 90 % interval: {_titled(target, part)}",
        unit=target.unit,
        logarithmic=target.transform == "log1p",
        note=note,
    )


def folds(result: ProbeResult, target: Target) -> Colouring:
    """Which cells are held out together."""
    values = target.on_cells(result.folds.astype(np.float64))
    labels = [f"fold {one + 1}" for one in range(int(result.folds.max()) + 1)]
    return colours.classes(
        values,
        labels,
        measured=values,
        title="Folds of blocks",
        note="each is predicted by a model that learned from the others",
    )


def worded(target: Target, value: float) -> str:
    """A measured value of `cache.target_on_cells` in words; a dash where there is none."""
    if target.kind == "number" or not np.isfinite(value):
        return colours.shown(value)
    return (target.classes or NO_YES)[int(value)]


def _titled(target: Target, part: str) -> str:
    return f"{target.title}: {part}" if part else target.title
