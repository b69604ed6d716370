"""Values -> colours and their legend, the same way in every view."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from map_component import Legend, Tip

from mobclip.clusters import spread
from mobclip.projection import linear_rgb, oklab_of_linear

# Sequential: viridis (Smith & van der Walt), even in lightness and safe for colour-blind readers.
SEQUENTIAL = (
    "#440154", "#482878", "#3e4a89", "#31688e", "#26828e",
    "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
)  # fmt: skip
# Diverging: blue - grey - orange-red, for errors around zero.
DIVERGING = ("#2166ac", "#67a9cf", "#d1e5f0", "#e3e3e3", "#fddbc7", "#ef8a62", "#b2182b")
# Classes: Okabe & Ito (2008), which colour-blind readers can tell apart, with grey for their black:
# the ground of the map may be dark.
CLASSES = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7",
    "#56b4e9", "#d55e00", "#f0e442", "#8a8f94",
)  # fmt: skip
# Clusters: the same, then colours far from all before them in OKLab, as most people see them and
# as red-blind and green-blind people do. The first k are the best for k clusters; no neon.
CLUSTERS = (
    *CLASSES[:7], "#882244", "#00eebb", "#553399", "#8877ee", "#99bb88", "#bbccff", "#995544",
    "#aa4488", "#ddcc88", "#ee5566", "#11ccbb", "#774400", "#3355cc",
)  # fmt: skip
# Red-blind and green-blind sight of amounts of light (Machado, Oliveira & Fernandes 2009).
BLIND = (
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
     (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
     (-0.011820, 0.042940, 0.968881)),
)  # fmt: skip
FEW = 8  # clusters whose whole names stand in the legend
LINE = 34  # letters of a shorter one
ABSENT, PRESENT = "#c9ced3", "#1f7a8c"
EMPTY = (150, 155, 160, 60)  # a cell without a value: a faint grey


@dataclass(frozen=True, kw_only=True)
class Colouring:
    """What the map needs for one way of colouring."""

    colours: np.ndarray  # uint8 (n, 3 or 4)
    legend: Legend
    values: np.ndarray | None = None  # float (n,), for the tooltip
    tip: Tip | None = None


def _rgb(stops: Sequence[str]) -> np.ndarray:
    return np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops], np.uint8)


# One less than fits a byte: with "no value" the map sends one byte a cell instead of four.
_STEPS = 255


def _table(stops: Sequence[str], size: int = _STEPS) -> np.ndarray:
    rgb = _rgb(stops).astype(float)
    at = np.linspace(0, len(stops) - 1, size)
    channels = [np.interp(at, np.arange(len(stops)), channel) for channel in rgb.T]
    return np.round(np.column_stack(channels)).astype(np.uint8)


def shown(number: float) -> str:
    """A number as people write it; a dash where there is none."""
    if not np.isfinite(number):
        return "–"
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def ramp(
    values: np.ndarray,
    *,
    title: str,
    unit: str = "",
    note: str = "",
    logarithmic: bool = False,
    stops: Sequence[str] = SEQUENTIAL,
    centred: bool = False,
    like: np.ndarray | None = None,
    ends: tuple[float, float] | None = None,
) -> Colouring:
    """Colour by a number; NaN is faint grey. The ends of the ramp are the 2nd and 98th percentile.

    logarithmic : even colour steps per factor instead of per unit, for values that span scales
    centred : the middle of the ramp is zero
    like : other values, whose percentiles end the ramp, so that two maps can be compared
    ends : instead of percentiles
    """
    scale = np.log1p(values) if logarithmic else values
    known = np.isfinite(scale)
    low, high = ends or _percentiles(values if like is None else like, logarithmic)
    if centred:
        high = max(abs(low), abs(high))
        low = -high
    width = high - low if high > low else 1.0
    step = np.clip((np.where(known, scale, low) - low) / width, 0, 1)
    colours = np.full((len(values), 4), 255, np.uint8)
    colours[:, :3] = _table(stops)[np.round(step * (_STEPS - 1)).astype(int)]
    colours[~known] = EMPTY
    ends = [np.expm1(low), np.expm1(high)] if logarithmic else [low, high]
    beyond_low = known.any() and scale[known].min() < low
    beyond_high = known.any() and scale[known].max() > high
    notes = [note] if note else []
    if not known.all():
        notes.append("faint grey: no value")
    return Colouring(
        colours=colours if not known.all() else np.ascontiguousarray(colours[:, :3]),
        legend=Legend(
            title=f"{title} ({unit})" if unit else title,
            ramp=stops,
            low=f"{'≤ ' if beyond_low else ''}{shown(ends[0])}",
            high=f"{'≥ ' if beyond_high else ''}{shown(ends[1])}",
            note="; ".join(notes),
        ),
        values=values.astype(np.float32),
        tip=Tip(label=title, unit=unit),
    )


def _percentiles(values: np.ndarray, logarithmic: bool) -> tuple[float, float]:
    scale = np.log1p(values) if logarithmic else values
    known = scale[np.isfinite(scale)]
    low, high = np.percentile(known, [2, 98]) if len(known) else (0.0, 1.0)
    return float(low), float(high)


def categories(
    codes: np.ndarray, labels: Sequence[str], stops: Sequence[str], title: str
) -> Colouring:
    """Colour by a small whole number, with a name for each."""
    return Colouring(
        colours=_rgb(stops)[codes],
        legend=Legend(title=title, items=tuple(zip(stops, labels, strict=True))),
        values=codes.astype(np.float32),
        tip=Tip(label=title, labels=labels),
    )


def classes(
    values: np.ndarray,
    names: Sequence[str],
    *,
    measured: np.ndarray,
    title: str,
    note: str = "",
) -> Colouring:
    """Colour by class; NaN is faint grey. Of more classes than colours the small ones share one.

    values : (n,) index into `names`
    measured : the same of the measured classes, whose sizes decide: one class, one colour, on
        every map of a target
    """
    code = np.arange(len(names))
    items = list(zip(CLASSES, names, strict=False))
    if len(names) > len(CLASSES):
        own = len(CLASSES) - 1
        sizes = np.bincount(measured[np.isfinite(measured)].astype(int), minlength=len(names))
        largest = np.argsort(-sizes, kind="stable")[:own]
        code = np.full(len(names), own)
        code[largest] = np.arange(own)
        items = [(CLASSES[i], names[one]) for i, one in enumerate(largest)]
        items.append((CLASSES[own], f"{len(names) - own} smaller classes"))
    known = np.isfinite(values)
    colours = np.full((len(values), 4), 255, np.uint8)
    colours[:, :3] = _rgb(CLASSES)[code[np.where(known, values, 0).astype(int)]]
    colours[~known] = EMPTY
    notes = [note] if note else []
    if not known.all():
        notes.append("faint grey: no value")
    return Colouring(
        colours=colours,
        legend=Legend(title=title, items=items, note="; ".join(notes)),
        values=values.astype(np.float32),
        tip=Tip(label=title, labels=names),
    )


def apart(stops: Sequence[str]) -> np.ndarray:
    """(n, n) how far colours are from one another in OKLab, for whoever sees the least of it."""
    light = linear_rgb(_rgb(stops))
    seen = [light, *(np.clip(light @ np.array(one).T, 0, 1) for one in BLIND)]
    labs = [oklab_of_linear(one) for one in seen]
    return np.min([np.linalg.norm(lab[:, None] - lab[None], axis=2) for lab in labs], axis=0)


def of_clusters(touching: np.ndarray) -> list[str]:
    """A colour for each cluster, unlike those of the clusters that it touches on the map.

    touching : (n, n) how long the border between two clusters is
    """
    stops = CLUSTERS[: len(touching)]
    return [stops[i] for i in spread(touching, apart(stops))]


def _short(name: str) -> str:
    """The first parts of a name that fit into one line of a legend."""
    parts = re.split(r"(, | · )", name)
    kept = parts[0]
    for joint, part in zip(parts[1::2], parts[2::2], strict=True):
        if len(kept) + len(joint) + len(part) > LINE:
            break
        kept += joint + part
    return kept if len(kept) <= LINE else f"{kept[: LINE - 1].rstrip()}…"


def clusters(labels: np.ndarray, names: Sequence[str], stops: Sequence[str]) -> Colouring:
    """Colour by cluster, with the name of each; -1, a cell that is in none, is faint grey."""
    codes = np.where(labels < 0, len(names), labels)
    known = np.column_stack([_rgb(stops), np.full(len(stops), 255, np.uint8)])
    return Colouring(
        colours=np.vstack([known, np.array(EMPTY, np.uint8)])[codes],
        legend=Legend(
            title=f"{len(names)} clusters",
            items=[
                # Of many, short ones: they must leave room for the map.
                (stop, f"{i} · {name if len(names) <= FEW else _short(name)}")
                for i, (stop, name) in enumerate(zip(stops, names, strict=True), start=1)
            ],
        ),
        values=np.where(labels < 0, np.nan, labels).astype(np.float32),
        tip=Tip(label="Cluster", labels=[f"{i} · {name}" for i, name in enumerate(names, start=1)]),
    )
