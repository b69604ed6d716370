"""Does more of it help, and at what cost: power laws."""

from collections.abc import Mapping
from typing import Any

from mobclip.evaluation import figures
from mobclip.evaluation.document import (
    Block,
    Cell,
    Code,
    Column,
    Figure,
    Paragraph,
    Row,
    Table,
    Text,
)
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import (
    LONG,
    amount,
    average,
    finite,
    fixed,
    how_often,
    plural,
    whole,
    with_bracket,
    with_spread,
)


def section(of: Results) -> list[Block]:
    """A plot per kind of amount, all recipes over one another; laws and costs as tables."""
    recipes: Mapping[str, Any] = of.all.get("scaling") or {}
    by_axis: dict[str, dict[str, Mapping[str, Any]]] = {}
    for recipe, found in recipes.items():
        for axis, curve in (found.get("axes") or {}).items():
            if curve.get("points"):
                by_axis.setdefault(str(axis), {})[str(recipe)] = curve
    if not by_axis:
        return []
    laws: list[list[Cell | Text]] = []
    costs: list[list[Cell | Text]] = []
    for axis, curves in by_axis.items():
        for recipe, curve in curves.items():
            laws.append(_law_line(axis, recipe, curve))
            costs += [_cost_line(axis, recipe, point) for point in curve["points"]]
    plots = [
        plot for axis, curves in by_axis.items() if (plot := _plot(of, axis, curves)) is not None
    ]
    left_out = [
        f"{recipe}, {axis}: {why}"
        for recipe, found in recipes.items()
        for axis, why in (found.get("left_out") or {}).items()
    ]
    return [
        Paragraph(
            text="The error is what is missing to the best possible R². A power law, error = "
            "a · x^(−b), is a straight line on these axes: doubling x divides the error by 2^b. An "
            "interval of b that holds zero means that no scaling was seen."
        ),
        Row(blocks=plots),
        Table(
            title="Fitted power laws",
            columns=[
                Column(title="more", align="left"),
                Column(title="recipe", align="left"),
                Column(title="exponent b [95 % interval]"),
                Column(title="a"),
                Column(title="floor c"),
                Column(title="from x"),
                Column(title="to x"),
                Column(title="what it says", align="left"),
            ],
            rows=laws,
            note="The interval resamples seeds and targets.",
        ),
        Table(
            title="What it costs",
            columns=[
                Column(title="more", align="left"),
                Column(title="recipe", align="left"),
                Column(title="x"),
                Column(title="R² on spatial blocks"),
                Column(title="time, s"),
                Column(title="peak memory, MB"),
                Column(title="parameters"),
            ],
            rows=costs,
            note=" ".join(
                f"{recipe}: time of the {found['seconds']}; memory is the {found['memory']}."
                for recipe, found in recipes.items()
                if found.get("seconds") and found.get("memory")
            ),
            folded=len(costs) > LONG,
        ),
        *([Paragraph(kind="note", text=f"Left out. {'; '.join(left_out)}.")] if left_out else []),
    ]


def _plot(of: Results, axis: str, curves: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    drawn = [
        one
        for recipe, curve in list(curves.items())[: figures.SERIES]
        if (one := _error_curve(of, recipe, curve)) is not None
    ]
    if not drawn:
        return None
    first = next(iter(curves.values()))
    unit = str(first.get("unit") or axis)
    sizes = sorted({len(curve["points"]) for curve in curves.values()})
    study = (of.all.get("scaling") or {}).get(next(iter(curves))) or {}
    often = how_often(
        study.get("folds", of.all.get("folds")), study.get("seeds", of.all.get("seeds"))
    )
    targets = f", {plural(len(first['targets']), 'target')}" if first.get("targets") else ""
    units = finite(first.get("n_units"))
    return Figure(
        title=f"More {axis}: {_verdict(curves)}",
        drawing=figures.curve_plot(
            drawn,
            xlabel=f"{unit} (log)",
            ylabel="error: best possible R² − R² (log)",
            xlog=True,
            ylog=True,
        ),
        alt=f"Error against {unit}, both logarithmic, with a fitted power law per recipe; the "
        "tables below have the numbers.",
        note=f"n = {' or '.join(map(str, sizes))} sizes{targets}"
        + (f", {whole(units)} units on average" if units is not None else "")
        + f"; {often}. Bars: ± standard deviation over seeds.",
    )


def _error_curve(of: Results, recipe: str, curve: Mapping[str, Any]) -> figures.Curve | None:
    law = curve.get("law") or {}
    ceiling = finite(law.get("ceiling"))
    if ceiling is None:  # as the law has it: 1 where the noise of a target is not known
        of_targets = [finite(of.target(name).get("ceiling")) for name in curve.get("targets") or ()]
        ceiling = average(one or 1.0 for one in of_targets) if of_targets else 1.0
    points = [
        (float(point["x"]), ceiling - point["blocks"], finite(point.get("spread")) or 0.0)
        for point in curve["points"]
        if finite(point.get("x")) and finite(point.get("blocks")) is not None
    ]
    # What has no logarithm has no place on the plot; the table has every point.
    points = sorted(one for one in points if one[0] > 0 and one[1] > 0)
    if not points:
        return None
    x = [one[0] for one in points]
    line: dict[str, Any] = {}
    a, b, c = finite(law.get("a")), finite(law.get("b")), finite(law.get("c")) or 0.0
    if a is not None and b is not None:
        steps = [x[0] * (x[-1] / x[0]) ** (i / 40) for i in range(41)]
        line = {"line_x": steps, "line_y": [a * step ** (-b) + c for step in steps]}
    return figures.Curve(
        label=recipe if b is None else f"{recipe}: b = {fixed(b)}",
        x=x,
        y=[one[1] for one in points],
        # A bar that would reach below zero has no end on a log axis.
        spread=[min(one[2], 0.95 * one[1]) for one in points],
        **line,
    )


def _verdict(curves: Mapping[str, Mapping[str, Any]]) -> str:
    """What the laws of one axis say together."""
    laws = [curve.get("law") or {} for curve in curves.values()]
    falls = [law for law in laws if (finite(law.get("low")) or 0.0) > 0]
    if not falls:
        return "no scaling seen"
    if len(falls) == len(laws):
        return "the error falls"
    return f"the error falls for {len(falls)} of {len(laws)} recipes"


def _law_line(axis: str, recipe: str, curve: Mapping[str, Any]) -> list[Cell | Text]:
    law = curve.get("law") or {}
    amounts = sorted(x for point in curve["points"] if (x := finite(point.get("x"))) is not None)
    return [
        Cell(text=axis, under=str(curve.get("how") or "")),
        Code(recipe),
        with_bracket(law, "b", "low", "high"),
        amount(law.get("a")),
        fixed(law.get("c")),
        whole(amounts[0]) if amounts else "–",
        whole(amounts[-1]) if amounts else "–",
        str(law.get("verdict") or curve.get("why") or "–"),
    ]


def _cost_line(axis: str, recipe: str, point: Mapping[str, Any]) -> list[Cell | Text]:
    return [
        axis,
        Code(recipe),
        whole(point.get("x")),
        with_spread(
            {"blocks": point.get("blocks"), "blocks_spread": point.get("spread")}, "blocks"
        ),
        amount(point.get("seconds")),
        whole(point.get("peak_mb")),
        whole(point.get("parameters")),
    ]
