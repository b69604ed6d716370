"""Curves of trainings. Altair and pandas are imported where they are used: half a second."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from colours import CLASSES

from mobclip.runs import RunLog, mean_of

ALONE = "#2a9db5"  # of one run: read on light and on dark ground
WIDTHS = (4.5, 3.2, 2.2, 1.3)  # of several: two that are the same are both seen
MEASURES = {
    "validation": "Validation loss",
    "loss": "Training loss",
    "recall": "Recall@10 on held-out cells",
    "closeness": "Closeness on held-out cells",
}
HELP = (
    "**Validation loss**: on cells that were kept out of training; the epoch where it is lowest is "
    "kept. **Recall@10**: how often the right cell is among the ten best of the candidates, mean "
    "over modalities. **Closeness**: the cosine between a cell's embedding from what is left of "
    "its evidence and from all of it. Losses of different recipes are different quantities: "
    "compare them within a recipe only."
)


def value(epoch: dict[str, Any], measure: str) -> float | None:
    """One measure of one epoch; None where the recipe does not report it."""
    if measure in ("recall", "closeness"):
        return mean_of(epoch, measure)
    found = epoch.get(measure)
    return float(found) if found is not None else None


def steps(log: RunLog, *, height: int = 170) -> None:
    """Loss of every step."""
    rows = log.steps()
    if not rows:
        st.caption("The loss appears here with the first step.")
        return
    import altair as alt
    import pandas as pd

    table = pd.DataFrame({"Step": [r["step"] for r in rows], "Loss": [r["loss"] for r in rows]})
    chart = (
        alt.Chart(table)
        .mark_line(color=ALONE, strokeWidth=1.5)
        .encode(
            x=alt.X("Step:Q", title="Step"),
            y=alt.Y("Loss:Q", title="Loss", scale=alt.Scale(zero=False)),
            tooltip=["Step", alt.Tooltip("Loss", format=".4f")],
        )
        .properties(height=height)
    )
    st.altair_chart(chart, key=f"steps {log.name}")
    last = rows[-1]
    each = f"{last['step'] / max(len(rows), 1):.0f}"
    drawn = f" About every {each}th is drawn." if len(rows) < last["step"] * 0.9 else ""
    st.caption(f"{last['step']:,} steps; loss now {last['loss']:.4f}.{drawn}")


def epochs(logs: Sequence[RunLog], measure: str, *, height: int = 190, key: str = "epochs") -> None:
    """One measure by epoch; a line for each run."""
    found = [
        (log.name, one["epoch"], at)
        for log in logs
        for one in log.epochs
        if (at := value(dict(one), measure)) is not None
    ]
    if not found:
        st.caption(f"{MEASURES[measure]}: none of these runs reports it, or not yet.")
        return
    import altair as alt
    import pandas as pd

    name = MEASURES[measure]
    table = pd.DataFrame(found, columns=["Run", "Epoch", name])
    runs = [log.name for log in logs]
    colour = alt.Color(
        "Run:N",
        scale=alt.Scale(domain=runs, range=[ALONE, *CLASSES[1:]][: len(runs)]),
        legend=alt.Legend(orient="top", title=None, labelLimit=260) if len(runs) > 1 else None,
    )
    lines = (
        alt.Chart(table)
        .mark_line(point=alt.OverlayMarkDef(size=18))
        .encode(
            x=alt.X("Epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y(f"{name}:Q", title=None, scale=alt.Scale(zero=False)),
            color=colour,
            strokeWidth=alt.StrokeWidth(
                "Run:N", scale=alt.Scale(domain=runs, range=WIDTHS[-len(runs) :]), legend=None
            ),
            tooltip=["Run", "Epoch", alt.Tooltip(name, format=".4f")],
        )
    )
    st.altair_chart(lines.properties(height=height), key=key)
