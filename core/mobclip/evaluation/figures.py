"""Figures of the report as SVG: dots with intervals, and curves.

Drawn with matplotlib without its state (no pyplot), in pixels, with marks that differ in shape and
filling, never in colour alone. Colours are left as CSS variables of the page around, so that one
drawing serves light, dark and print; text stays text, so that it can be read aloud and searched.
"""

import hashlib
import io
import math
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that are replaced by what the page says: `colours[stand-in] = CSS variable`.
INK, MUTED, FAINT, PAPER, ACCENT = "#101112", "#717273", "#d1d2d3", "#f1f2f3", "#1a4b8c"
_VARIABLES = {INK: "ink", MUTED: "muted", FAINT: "faint", PAPER: "paper", ACCENT: "accent"}

WIDE, NARROW, CURVES = 720, 350, 460  # width of a drawing in pixels
_FONT = 12.5  # pixels
_LEGEND_ROW = 19  # pixels
_LABEL = 44  # longest name in a legend
# (marker, filled, line, colour) of the first, second, ... series: told apart in black and white.
_STYLES: Sequence[tuple[str, bool, Any, str]] = (
    ("o", True, "-", ACCENT),
    ("o", False, "--", INK),
    ("D", False, "-.", INK),
    ("s", True, ":", MUTED),
    ("^", False, (0, (5, 1, 1, 1, 1, 1)), ACCENT),
    ("v", True, (0, (1, 1)), INK),
    ("x", True, (0, (8, 3)), MUTED),
    ("P", False, (0, (3, 5)), INK),
)
SERIES = len(_STYLES)  # more cannot be told apart


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure, for a wide page and where it needs it for a phone."""

    wide: str
    narrow: str | None = None


@dataclass(frozen=True, kw_only=True)
class Dots:
    """One value per row of a dot plot, with its interval where known."""

    label: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one series, and a line through them or of its own."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()  # half an error bar
    line_x: Sequence[float] = ()  # a fitted line; empty: points are joined
    line_y: Sequence[float] = ()
    points: bool = True


def dot_plot(
    rows: Sequence[str],
    series: Sequence[Dots],
    *,
    xlabel: str,
    reference: float | None = None,
    reference_label: str = "",
    floor: float = -math.inf,
    least: tuple[float, float] | None = None,
    headings: Mapping[int, str] | None = None,
) -> Drawing:
    """Horizontal dot plot: a line per row, a mark per series, bars for intervals.

    Parameters
    ----------
    rows : labels, the first on top
    reference : where a vertical line marks no difference, or what was promised
    floor : values below it are drawn at the left edge as an arrow with their number
    least : what the axis shows at least
    headings : row number -> what the rows from there on have in common
    """
    wide, narrow = (
        _dots(
            rows,
            series,
            xlabel=xlabel,
            reference=reference,
            reference_label=reference_label,
            limits=_limits(series, reference, floor, least),
            headings=headings or {},
            narrow=narrow,
        )
        for narrow in (False, True)
    )
    return Drawing(wide=wide, narrow=narrow)


def curve_plot(
    curves: Sequence[Curve],
    *,
    xlabel: str,
    ylabel: str,
    xlog: bool = False,
    ylog: bool = False,
    percent: bool = False,
    diagonal: str = "",
) -> Drawing:
    """Curves over one another; `diagonal` names the line y = x, what chance gives.

    `percent` writes the x axis in per cent.
    """
    labels = [curve.label for curve in curves] + ([diagonal] if diagonal else [])
    columns = _columns(labels, room=CURVES - 40)
    with _settings():
        figure = _figure(CURVES, 300.0 + _LEGEND_ROW * math.ceil(len(labels) / columns))
        axes = figure.add_subplot()
        for curve, style in zip(curves, _STYLES, strict=False):
            _draw_curve(axes, curve, style)
        if diagonal:
            x = curves[0].x
            axes.plot(x, x, color=MUTED, linewidth=0.9, label=diagonal, zorder=1)
        if xlog:
            axes.set_xscale("log")
            _log_ticks(axes.xaxis, [x for curve in curves for x in curve.x], percent=percent)
        if ylog:
            axes.set_yscale("log")
            _log_ticks(axes.yaxis, axes.get_ylim())
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.grid(True)
        _legend(figure, axes, columns)
        return Drawing(wide=_svg(figure))


def _dots(
    rows: Sequence[str],
    series: Sequence[Dots],
    *,
    xlabel: str,
    reference: float | None,
    reference_label: str,
    limits: tuple[float, float],
    headings: Mapping[int, str],
    narrow: bool,
) -> str:
    step = 22 + 5 * (len(series) - 1) + (15 if narrow else 0)  # height of a row, pixels
    tops, y = [], 0.0  # where each row is; headings take a row of their own
    for i in range(len(rows)):
        y += 0.85 if i in headings and i > 0 else 0.0
        y += 0.55 if i in headings and i == 0 else 0.0
        tops.append(y)
        y += 1
    width = NARROW if narrow else WIDE
    labels = [one.label for one in series] + ([reference_label] if reference_label else [])
    columns = _columns(labels, room=width - 40)
    legend = len(labels) > 1
    wrapped = textwrap.wrap(xlabel, 44 if narrow else 90)
    with _settings():
        above = _LEGEND_ROW * math.ceil(len(labels) / columns) * legend
        height = above + step * y + 42 + 16 * len(wrapped)
        figure = _figure(width, height)
        axes = figure.add_subplot()
        axes.set_ylim(y - 0.5, -0.5)
        axes.set_xlim(*limits)
        axes.set_yticks([] if narrow else tops, [] if narrow else [_short(row, 34) for row in rows])
        for name, top in zip(rows, tops, strict=True):
            at = top + (0.16 if narrow else 0)
            axes.axhline(at, color=FAINT, linewidth=0.8, zorder=1)
            if narrow:
                axes.text(0, top - 0.16, _short(name, 46), transform=axes.get_yaxis_transform(),
                          va="bottom", fontsize=_FONT - 1, backgroundcolor=PAPER, zorder=4,
                          bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5})  # fmt: skip
        for i, heading in headings.items():
            text = _short(heading, 48 if narrow else 80)
            axes.text(0, tops[i] - 0.5, text, color=MUTED, va="bottom", style="italic",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        if reference is not None:
            axes.axvline(reference, color=INK, linewidth=1.1, zorder=2)
        gap = min(0.22, 0.6 / len(series))
        for i, (one, style) in enumerate(zip(series, _STYLES, strict=False)):
            shift = (i - (len(series) - 1) / 2) * gap + (0.16 if narrow else 0)
            # Side by side, where several of a row are beyond the edge.
            before = [
                sum(
                    (value := other.values[row]) is not None and value < limits[0]
                    for other in series[:i]
                )
                for row in range(len(rows))
            ]
            _draw_dots(axes, one, [top + shift for top in tops], style, before)
        axes.set_xlabel("\n".join(wrapped))
        axes.grid(True, axis="x")
        axes.tick_params(axis="y", length=0)
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
        if reference_label:
            axes.plot([], [], color=INK, linewidth=1.1, label=reference_label)
        if legend:
            _legend(figure, axes, columns)
        return _svg(figure)


def _limits(
    series: Sequence[Dots],
    reference: float | None,
    floor: float,
    least: tuple[float, float] | None,
) -> tuple[float, float]:
    found = list(least or ()) + ([] if reference is None else [reference])
    for one in series:
        found += [value for value in (*one.values, *one.low, *one.high) if value is not None]
    if not found:
        return 0.0, 1.0
    low, high = max(min(found), floor), max(*found, floor)
    margin = 0.04 * ((high - low) or 1.0)
    return low - margin, high + margin


def _draw_dots(
    axes: "Axes",
    one: Dots,
    at: Sequence[float],
    style: tuple[Any, ...],
    before: Sequence[int],
) -> None:
    marker, filled, _, colour = style
    left = axes.get_xlim()[0]
    for i, (value, y) in enumerate(zip(one.values, at, strict=True)):
        if value is None:
            continue
        low = one.low[i] if one.low else None
        high = one.high[i] if one.high else None
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=colour, linewidth=1.6, zorder=3,
                      solid_capstyle="butt")  # fmt: skip
        if value < left:  # beyond the edge: an arrow and the number
            axes.annotate(
                f"◀ {value:.2f}".replace("-", "−"),
                (left, y),
                xytext=(3 + 56 * before[i], 0),
                textcoords="offset points",
                va="center",
                fontsize=_FONT - 2.5,
                color=colour,
                zorder=5,
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
            )
    shown = [
        (value, y)
        for value, y in zip(one.values, at, strict=True)
        if value is not None and value >= left
    ]
    axes.plot(
        [value for value, _ in shown],
        [y for _, y in shown],
        linestyle="none",
        marker=marker,
        markersize=7,
        markeredgewidth=1.6,
        color=colour,
        markerfacecolor=colour if filled else PAPER,
        markeredgecolor=colour,
        label=one.label,
        zorder=4,
    )


def _draw_curve(axes: "Axes", curve: Curve, style: tuple[Any, ...]) -> None:
    marker, filled, line, colour = style
    if curve.line_x:
        axes.plot(curve.line_x, curve.line_y, color=colour, linestyle=line, linewidth=1.5)
    if curve.spread:
        axes.errorbar(
            curve.x, curve.y, yerr=curve.spread, fmt="none", ecolor=colour, elinewidth=1.2
        )
    axes.plot(
        curve.x,
        curve.y,
        color=colour,
        linestyle="none" if curve.line_x else line,
        linewidth=1.7,
        marker=marker if curve.points else "",
        markersize=6.5,
        markeredgewidth=1.5,
        markerfacecolor=colour if filled else PAPER,
        markeredgecolor=colour,
        label=curve.label,
    )


def _log_ticks(axis: Any, values: Sequence[float], *, percent: bool = False) -> None:
    """Ticks written as people write numbers: at the values, where they leave room, else round."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = min(values), max(values)
    room = math.log(high / low) / 9 if high > low else 0.0
    ticks: list[float] = []
    for value in sorted(set(values)):
        if not ticks or math.log(value / ticks[-1]) >= room:
            ticks.append(value)
    # Many values are a curve, two are where a scale begins and ends: neither was chosen.
    if 2 < len(set(values)) <= 20:
        axis.set_major_locator(FixedLocator(ticks))
    elif high / low < 8:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(base=10, subs=(1.0,) if percent else (1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:g} %" if percent else _short_number(value))
    )


def _short_number(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _short(text: str, most: int) -> str:
    """Middle cut out of a long name, so that both ends are seen; the table has it whole."""
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3 - 1]}…{text[-(most // 3) :]}"


def _settings() -> Any:
    from matplotlib import rc_context

    return rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "mobclip",
            "text.parse_math": False,
            "font.size": _FONT,
            "font.family": "DejaVu Sans",
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": MUTED,
            "axes.facecolor": "none",
            "axes.unicode_minus": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.color": FAINT,
            "grid.linewidth": 0.8,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "legend.frameon": False,
            "legend.handletextpad": 0.5,
            "legend.columnspacing": 1.6,
        }
    )


def _figure(width: int, height: float) -> "Figure":
    from matplotlib.figure import Figure

    # 72 dots per inch: the unit of the SVG is then one pixel of the page.
    return Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained", facecolor="none")


def _columns(labels: Sequence[str], *, room: int) -> int:
    """Columns of a legend that fit into `room` pixels."""
    widths = [min(len(label), _LABEL) * 0.62 * _FONT + 55 for label in labels]
    return len(labels) if sum(widths) <= room else max(1, int(room / max(widths)))


def _legend(figure: "Figure", axes: "Axes", columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    names = [_short(label, _LABEL) for label in labels]
    figure.legend(handles, names, loc="outside upper left", ncols=columns, borderaxespad=0.2)


def _svg(figure: "Figure") -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Only measuring uses matplotlib's font: the browser has one for every script.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font: ([^;\"]*?)([\d.]+px)[^;\"]*", _font, svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var(--{variable})")
    # Names in an SVG are names in the whole page.
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    prefix = hashlib.sha256(svg.encode("utf-8")).hexdigest()[:8]
    svg = re.sub(
        r' id="([^"]+)"',
        lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "",
        svg,
    )
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _font(found: re.Match[str]) -> str:
    """Size and slant stay, the family is the page's."""
    slant = "; font-style: italic" if "italic" in found[1] else ""
    return f"font-size: {found[2]}{slant}"
