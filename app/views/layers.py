"""A target as a layer of the map: what was measured, what is predicted, and how far off that is."""

import cache
import colours
import numpy as np
from cache import PlaceFiles
from colours import Colouring

from mobclip.place import Target

NO_YES = ("no", "yes")
NAMES = {"predicted": "Predicted", "actual": "Measured", "error": "Error"}
# Of classes there is no too high and too low.
NAMES_OF_CLASSES = NAMES | {"error": "How right"}


def names(target: Target) -> dict[str, str]:
    """The layers of a target, as people call them."""
    return NAMES_OF_CLASSES if target.kind in ("binary", "class") else NAMES


def measured(files: PlaceFiles, target: Target, part: str = "", *, prefix: str = "") -> Colouring:
    """What was measured; of a composition the share of a part, or which part is the largest."""
    values = cache.target_on_cells(files, target.name, part)
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
    truth = cache.target_on_cells(files, target.name, part)
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


def error(files: PlaceFiles, run: str, target: Target, part: str = "") -> Colouring:
    """How far off the prediction is: a difference, or the probability given to the truth."""
    values = cache.predicted_on_cells(files, run, target.name, part, error=True)
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


def worded(target: Target, value: float) -> str:
    """A measured value of `cache.target_on_cells` in words; a dash where there is none."""
    if target.kind == "number" or not np.isfinite(value):
        return colours.shown(value)
    return (target.classes or NO_YES)[int(value)]


def _titled(target: Target, part: str) -> str:
    return f"{target.title}: {part}" if part else target.title
