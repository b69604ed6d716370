"""Charts of the probe view: all embeddings side by side, predictions, what labels are worth.

Altair and pandas are imported where they are used: together they cost half a second.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st
from scores import PROTOCOLS, Scores, bounds, metric_name

from mobclip.place import Target
from mobclip.probes import ProbeResult
from mobclip.probes.learning import Point
from mobclip.probes.next_cells import Simulated
from views.layers import NO_YES

COLOURS = {"blocks": "#2a9db5", "random": "#9db4bf"}
GREY = "#8a8f94"
DOTS = 3000
CLASSES = 8  # rows and columns of the confusion table; the smaller classes share the last
AS_SET = "{run}, as set"  # the row of the sliders
FLOOR = -0.5  # bars below it are cut off: one hopeless run must not flatten the others


def ladder(scores: Scores, run: str, live: Mapping[str, float] | None = None) -> None:
    """All runs side by side: what does this embedding add?

    live : protocol -> score as the sliders have it, drawn on top of the others
    """
    st.markdown("**Against the other embeddings**")
    found = {protocol: scores.primary(protocol) for protocol in PROTOCOLS}
    if not found["blocks"]:
        st.caption("No scores yet: run `mobclip probe` on this place.")
        return
    import altair as alt
    import pandas as pd

    name = metric_name(scores.metric)
    order = list(found["blocks"])
    bars_of = [
        {
            "Embedding": one,
            "Tested in": PROTOCOLS[protocol],
            name: row["mean"],
            "low": bounds(row)[0],
            "high": bounds(row)[1],
        }
        for protocol, rows in found.items()
        for one, row in rows.items()
        if one in order
    ]
    if live:
        mine = AS_SET.format(run=run)
        order = [mine, *order]
        bars_of += [
            {
                "Embedding": mine,
                "Tested in": PROTOCOLS[protocol],
                name: value,
                "low": value,
                "high": value,
            }
            for protocol, value in live.items()
        ]
        run = mine
    table = pd.DataFrame(bars_of)
    least = float(min(0.0, max(table["low"].min(), FLOOR)))
    most = 1.0 if table["high"].max() > 0.45 or scores.target.ceiling else 0.5
    base = alt.Chart(table).encode(
        y=alt.Y("Embedding:N", sort=order, title=None, axis=alt.Axis(labelLimit=160)),
        yOffset=alt.YOffset("Tested in:N", sort=list(PROTOCOLS.values())),
    )
    bars = base.mark_bar(clip=True).encode(
        x=alt.X(f"{name}:Q", scale=alt.Scale(domain=[least, most]), title=name),
        color=alt.Color(
            "Tested in:N",
            sort=list(PROTOCOLS.values()),
            scale=alt.Scale(
                domain=list(PROTOCOLS.values()), range=[COLOURS[one] for one in PROTOCOLS]
            ),
            legend=alt.Legend(orient="bottom", title=f"{name} in", labelLimit=220),
        ),
        opacity=alt.condition(alt.datum.Embedding == run, alt.value(1.0), alt.value(0.62)),
        tooltip=[
            "Embedding",
            "Tested in",
            *(alt.Tooltip(one, format=".3f") for one in (name, "low", "high")),
        ],
    )
    spread = base.mark_rule(clip=True, strokeWidth=1.5, color=GREY).encode(x="low:Q", x2="high:Q")
    layered = [bars, spread]
    mark = _mark(scores)
    if mark:
        at = alt.Chart(pd.DataFrame({"at": [mark[0]], "text": [mark[1]]}))
        layered.append(at.mark_rule(color=GREY, strokeDash=[5, 3], strokeWidth=2).encode(x="at:Q"))
        layered.append(
            at.mark_text(color=GREY, baseline="bottom", dy=-4).encode(
                x="at:Q", y=alt.value(0), text="text:N"
            )
        )
    chart = alt.layer(*layered).properties(height=max(200, 34 * len(order) + 60))
    st.altair_chart(chart, key="ladder")
    cut = " Bars below the axis are cut off." if least == FLOOR else ""
    st.caption(
        f"Thin lines: {scores.ranges}. "
        + (
            "In full colour: the chosen embedding as the sliders have it, in the folds of one seed."
            if live
            else "The chosen embedding is drawn in full colour."
        )
        + cut
        + (f" {mark[2]}" if mark else "")
    )


def _mark(scores: Scores) -> tuple[float, str, str] | None:
    """A value that is worth a line across the ladder: where, its label, what it means."""
    ceiling = scores.target.ceiling
    if ceiling is not None:
        return (
            ceiling,
            f"ceiling {ceiling:.2f}",
            "Dashed: the noise ceiling, the most that the noise in what was measured allows.",
        )
    if scores.metric == "auc":
        return 0.5, "chance", "Dashed: what guessing has."
    return None


def scatter(target: Target, part: str, result: ProbeResult) -> None:
    """A number, or one part of a composition: predicted against measured."""
    st.markdown(f"**Predicted against measured{f': {part}' if part else ''}**")
    import altair as alt
    import pandas as pd

    column = (slice(None), target.classes.index(part)) if part else slice(None)
    pick = np.linspace(0, result.n - 1, min(result.n, DOTS)).astype(int)
    unit = f"log(1 + {target.unit})" if target.transform == "log1p" else target.unit
    dots = pd.DataFrame(
        {
            "Measured": result.actual[column][pick],
            "Predicted": result.predicted[column][pick],
            "Unit": result.unit_ids[pick],
        }
    )
    low = float(dots[["Measured", "Predicted"]].min().min())
    high = float(dots[["Measured", "Predicted"]].max().max())
    scale = alt.Scale(domain=[low, high], nice=True)
    points = (
        alt.Chart(dots)
        .mark_circle(size=16, opacity=0.5, color=COLOURS["blocks"])
        .encode(
            x=alt.X("Measured:Q", scale=scale, title=f"Measured, {unit}"),
            y=alt.Y("Predicted:Q", scale=scale, title=f"Predicted, {unit}"),
            tooltip=[
                "Unit",
                alt.Tooltip("Measured", format=".3g"),
                alt.Tooltip("Predicted", format=".3g"),
            ],
        )
    )
    line = pd.DataFrame({"v": [low, high]})
    diagonal = alt.Chart(line).mark_line(color=GREY, strokeDash=[4, 4]).encode(x="v:Q", y="v:Q")
    st.altair_chart((diagonal + points).properties(height=320), key="fit")
    extra = f" {len(pick):,} of {result.n:,} drawn." if len(pick) < result.n else ""
    st.caption(
        "Each dot was predicted by a model that never saw its block of the map; on the dashed "
        f"line it would be exactly right.{extra}"
    )


def confusion(target: Target, result: ProbeResult) -> None:
    """Classes: how many of each were taken for which."""
    st.markdown("**Predicted against measured**")
    import altair as alt
    import pandas as pd

    names = target.classes or NO_YES
    truth, chosen = result.actual.argmax(axis=1), result.predicted.argmax(axis=1)
    called, order = _fewer(truth, names)
    counts = pd.crosstab(
        pd.Categorical(called[truth], order), pd.Categorical(called[chosen], order), dropna=False
    ).to_numpy()
    rows = counts.sum(axis=1, keepdims=True)
    table = pd.DataFrame(
        {
            "Measured": np.repeat(order, len(order)),
            "Predicted": np.tile(order, len(order)),
            "Units": counts.ravel(),
            "Share of the row": (counts / np.maximum(rows, 1)).ravel(),
        }
    )
    base = alt.Chart(table).encode(
        x=alt.X(
            "Predicted:N",
            sort=order,
            axis=alt.Axis(
                orient="top",
                labelAngle=0 if _short(order) else -40,
                labelLimit=120,
                labelOverlap=False,
            ),
        ),
        y=alt.Y("Measured:N", sort=order, axis=alt.Axis(labelLimit=150, labelOverlap=False)),
    )
    share = alt.Color(
        "Share of the row:Q",
        scale=alt.Scale(domain=[0, 1], range=["#2a9db510", "#2a9db5"]),
        legend=None,
    )
    cells = base.mark_rect().encode(
        color=share,
        tooltip=["Measured", "Predicted", "Units", alt.Tooltip("Share of the row", format=".0%")],
    )
    ink = "#e8eaed" if st.context.theme.type == "dark" else "#1f2328"
    numbers = base.mark_text(fontSize=12).encode(
        text=alt.Text("Units:Q", format=",d"),
        color=alt.condition(
            alt.datum["Share of the row"] > 0.8, alt.value("#0b1f24"), alt.value(ink)
        ),
        opacity=alt.condition(alt.datum.Units > 0, alt.value(1.0), alt.value(0.35)),
    )
    st.altair_chart((cells + numbers).properties(height=max(160, 36 * len(order) + 60)), key="fit")
    st.caption(
        f"Numbers of places ({result.n:,} in all). Each was predicted by a model that never saw "
        "its block of the map; on the diagonal it is right. Darker: a larger share of its row."
    )


def _fewer(truth: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Name of each class in the table, and the names in order; the smaller classes share one."""
    called = np.array(names, dtype=object)
    if len(names) <= CLASSES:
        return called, list(names)
    sizes = np.bincount(truth, minlength=len(names))
    small = np.argsort(-sizes, kind="stable")[CLASSES - 1 :]
    other = f"{len(small)} smaller classes"
    called[small] = other
    return called, [*(name for name in called if name != other), other]


def _short(names: Sequence[str]) -> bool:
    return max(len(name) for name in names) * len(names) <= 60


# ---- what labels are worth -----------------------------------------------------------------------

ORDERS = {"suggested": "suggested next", "random": "at random"}
ORDER_COLOURS = {"suggested": "#d55e00", "random": "#8a8f94"}


def curve(points: Sequence[Point], metric: str, now: int, best: tuple[str, float] | None) -> None:
    """Score against the number of labels, with the spread over subsets.

    now : labels that the slider leaves
    best : name and score in new areas of the best other embedding with all labels
    """
    st.markdown("**What more labels bring**")
    import altair as alt
    import pandas as pd

    name = metric_name(metric)
    table = pd.DataFrame(
        {
            "Labels": one.labels,
            "Tested in": PROTOCOLS[one.protocol],
            name: float(np.mean(one.scores)),
            "low": min(one.scores),
            "high": max(one.scores),
            "Subsets": len(one.scores),
        }
        for one in points
    )
    colour = alt.Color(
        "Tested in:N",
        sort=list(PROTOCOLS.values()),
        scale=alt.Scale(domain=list(PROTOCOLS.values()), range=[COLOURS[one] for one in PROTOCOLS]),
        legend=alt.Legend(
            orient="bottom",
            title=f"{name} in",
            labelLimit=220,
            symbolOpacity=1,
            symbolType="circle",
        ),
    )
    least = max(float(min(0.0, table["low"].min())), -1.0)
    base = alt.Chart(table).encode(
        x=alt.X(
            "Labels:Q",
            scale=alt.Scale(type="log", nice=False, padding=8),
            axis=alt.Axis(title="Labels learned from", format="~s", grid=False, tickCount=5),
        ),
        color=colour,
    )
    scale = alt.Scale(domain=[least, 1.0])
    layered = [
        base.mark_area(opacity=0.18, clip=True).encode(
            y=alt.Y("low:Q", scale=scale, title=name), y2="high:Q"
        ),
        base.mark_line(clip=True, strokeWidth=2).encode(y=alt.Y(f"{name}:Q", scale=scale)),
        base.mark_point(clip=True, filled=True, size=45).encode(
            y=alt.Y(f"{name}:Q", scale=scale),
            tooltip=[
                alt.Tooltip("Labels", format=","),
                "Tested in",
                *(alt.Tooltip(one, format=".3f") for one in (name, "low", "high")),
                "Subsets",
            ],
        ),
        alt.Chart(pd.DataFrame({"Labels": [now]}))
        .mark_rule(color=GREY, strokeWidth=1.5)
        .encode(x="Labels:Q"),
    ]
    if best is not None:
        at = pd.DataFrame({"at": [best[1]], "text": [f"{best[0]}, all labels"]})
        layered.append(
            alt.Chart(at)
            .mark_rule(color=GREY, strokeDash=[5, 3], clip=True)
            .encode(y=alt.Y("at:Q", scale=scale))
        )
        layered.append(
            alt.Chart(at)
            .mark_text(color=GREY, align="left", baseline="bottom", dy=-3, clip=True)
            .encode(x=alt.value(4), y=alt.Y("at:Q", scale=scale), text="text:N")
        )
    st.altair_chart(alt.layer(*layered).properties(height=380), key="curve")
    st.caption(
        "Each budget is drawn three times at random; the band is from the worst to the best of "
        "them. Every point is scored on all units, each by a model that saw nothing of its fold. "
        "Upright line: the labels that the slider leaves."
        + (" Dashed: the best other embedding in new areas." if best else "")
    )


def orders(found: Sequence[Simulated], metric: str) -> None:
    """What labelling in the suggested order would have brought, beside labelling at random."""
    import altair as alt
    import pandas as pd

    name = metric_name(metric)
    lines = []
    for strategy, title in ORDERS.items():
        runs = [one for one in found if one.strategy == strategy]
        shortest = min(len(one.labels) for one in runs)
        scores = np.array([one.scores[:shortest] for one in runs])
        mean = np.nanmean(scores, axis=0)
        error = np.nanstd(scores, axis=0, ddof=1) / np.sqrt(len(runs))
        lines += [
            {"Labels": n, "Order": title, name: m, "low": m - e, "high": m + e}
            for n, m, e in zip(runs[0].labels, mean, error, strict=False)
        ]
    table = pd.DataFrame(lines)
    low = max(float(table["low"].min()) - 0.02, -0.5)
    scale = alt.Scale(domain=[low, min(1.0, float(table["high"].max()) + 0.05)])
    base = alt.Chart(table).encode(
        x=alt.X("Labels:Q", title="Labels given, in this order"),
        color=alt.Color(
            "Order:N",
            sort=list(ORDERS.values()),
            scale=alt.Scale(
                domain=list(ORDERS.values()), range=[ORDER_COLOURS[one] for one in ORDERS]
            ),
            legend=alt.Legend(
                orient="bottom", title="Labelled", symbolOpacity=1, symbolType="circle"
            ),
        ),
    )
    chart = alt.layer(
        base.mark_area(opacity=0.15, clip=True).encode(
            y=alt.Y("low:Q", scale=scale, title=f"{name} in new areas"), y2="high:Q"
        ),
        base.mark_line(clip=True, strokeWidth=2).encode(y=alt.Y(f"{name}:Q", scale=scale)),
        base.mark_point(clip=True, filled=True, size=45).encode(
            y=alt.Y(f"{name}:Q", scale=scale),
            tooltip=["Order", "Labels", alt.Tooltip(name, format=".3f")],
        ),
    )
    st.altair_chart(chart.properties(height=380), key="orders")
    gain, unsure = _gain(found)
    if abs(gain) < 2 * unsure:
        verdict = "no clear difference"
    else:
        verdict = "the suggested order is better" if gain > 0 else "labelling at random is better"
    st.caption(
        f"Mean over {len(found) // len(ORDERS)} held-out parts of the map ± its standard error; "
        "both orders start from the same ten random labels. Suggested less random: "
        f"{gain:+.3f} ± {unsure:.3f} over all steps after them; {verdict}."
    )


def _gain(found: Sequence[Simulated]) -> tuple[float, float]:
    """How much better the suggested order scores than random, in the same part of the map.

    Mean over parts of the mean over steps after the start, and its standard error.
    """
    scores: dict[tuple[int, int], dict[str, float]] = {}
    for one in found:
        after = scores.setdefault((one.seed, one.fold), {})
        after[one.strategy] = float(np.nanmean(one.scores[1:]))
    gains = [one["suggested"] - one["random"] for one in scores.values()]
    return float(np.mean(gains)), float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
