"""Probe: how well an embedding predicts something that it was not given, and where it fails."""

from typing import Any

import cache
import colours
import numpy as np
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring
from state import Selection

from mobclip.errors import ConfigError
from mobclip.place import Target
from mobclip.probes import ProbeResult
from views import frame

LAYERS = {"predicted": "Predicted", "actual": "Measured", "error": "Error"}
PROTOCOLS = {"blocks": "new areas (spatial blocks)", "random": "scattered gaps (random folds)"}
DOTS = 3000


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    place = cache.load_place(files)
    if not place.targets:
        st.info(
            f"**{place.title}** has no targets to predict. Name some under `targets:` in "
            "data_manifest.yaml and tokenize it again.",
            icon=":material/info:",
        )
        return
    left, right = frame.map_and_panel()
    with right:
        name = selection.target if selection.target in place.targets else next(iter(place.targets))
        st.session_state["target"] = name
        st.selectbox(
            "Predict what?",
            list(place.targets),
            format_func=lambda key: place.targets[key].title,
            key="target",
            help="A ridge regression learns to predict this from the embedding in one part of "
            "the place and is tested in another. The embedding itself was never given it.",
            on_change=lambda: state.change(target=st.session_state["target"]),
        )
        target = place.targets[name]
        table = cache.load_probes(files)
        rows = [row for row in table["rows"] if row["target"] == name] if table else []
        try:
            result = cache.load_probe(files, selection.run, name)
        except ConfigError as error:  # too few units, or the same value everywhere
            st.info(f"This cannot be probed here: {error}", icon=":material/info:")
            result = None
        if result is not None:
            _scores(rows, selection, target)
        layer = selection.layer if selection.layer in LAYERS else "predicted"
        if result is None:
            layer = "actual"
        st.session_state["layer"] = layer
        st.segmented_control(
            "On the map",
            list(LAYERS),
            format_func=LAYERS.__getitem__,
            key="layer",
            required=True,
            disabled=result is None,
            help="**Predicted**: by models that never saw the area around the cell. **Measured**: "
            "the truth. **Error**: predicted minus measured; red is too high, blue too low.",
            on_change=lambda: state.change(layer=st.session_state["layer"]),
        )
        if target.note:
            st.caption(f":material/info: {target.note}")
    frame.draw(
        left, selection, files, _colouring(layer, target, selection, files),
        height="max(380px, calc(100vh - 14rem))",
    )  # fmt: skip
    if result is None:
        return
    ladder, scatter = st.columns(2, gap="medium")
    with ladder:
        _ladder(rows, selection, table)
    with scatter:
        _scatter(target, result)


def _scores(rows: list[dict[str, Any]], selection: Selection, target: Target) -> None:
    mine = {row["protocol"]: row for row in rows if row["run"] == selection.run}
    if set(mine) < set(PROTOCOLS):
        st.info("This embedding has no scores yet. Run `mobclip probe` on this place.")
        return
    blocks, random = mine["blocks"], mine["random"]
    for column, row, label, help_text in zip(
        st.columns(2),
        (blocks, random),
        ("R² in new areas", "R² in scattered gaps"),
        (
            "Whole blocks of the map are held out and predicted: as if for a district without "
            "data. 1 is perfect, 0 no better than the average. ± is the standard deviation over "
            f"{len(blocks['per_seed'])} divisions into blocks.",
            "Single places are held out at random, so the neighbours of each were seen in "
            "training. Looks better than it is when neighbours are alike.",
        ),
        strict=True,
    ):
        column.metric(label, f"{row['mean']:.3f} ± {row['spread']:.3f}", help=help_text)
    st.caption(_gap(blocks["mean"], random["mean"]) + f" {blocks['n']:,} {_units(target)}.")


def _units(target: Target) -> str:
    return "cells" if target.level == "cell" else f"units ({target.level})"


def _gap(blocks: float, random: float) -> str:
    gap = random - blocks
    if blocks <= 0:
        return (
            "In new areas this embedding predicts no better than the average would: what random "
            "folds show is knowledge about neighbours."
            if random > 0.05
            else "This embedding does not predict it: no better than the average would."
        )
    if gap < 0.03:
        return f"The gap is small ({gap:.3f}): what was learned carries over to new areas."
    return (
        f"The gap is {gap:.3f}: that much of the score in scattered gaps comes from having seen "
        "the neighbours. Trust the number for new areas."
    )


def _colouring(layer: str, target: Target, selection: Selection, files: PlaceFiles) -> Colouring:
    values = (
        cache.target_on_cells(files, target.name)
        if layer == "actual"
        else cache.predicted_on_cells(files, selection.run, target.name, error=layer == "error")
    )
    logarithmic = target.transform == "log1p"
    if layer == "error":
        return colours.ramp(
            values,
            title=f"Error: {target.title}",
            unit=f"log(1 + {target.unit})" if logarithmic else target.unit,
            note="blue: predicted too low; red: too high",
            stops=colours.DIVERGING,
            centred=True,
        )
    return colours.ramp(
        values, title=f"{LAYERS[layer]}: {target.title}", unit=target.unit, logarithmic=logarithmic
    )


def _ladder(rows: list[dict[str, Any]], selection: Selection, table: dict[str, Any] | None) -> None:
    """All runs side by side: what does this embedding add?"""
    st.markdown("**Against the other embeddings**")
    if not rows or not table:
        st.caption("No scores yet: run `mobclip probe` on this place.")
        return
    import altair as alt  # only here: it costs half a second
    import pandas as pd

    frame_ = pd.DataFrame(
        {
            "Embedding": row["run"],
            "Tested in": PROTOCOLS[row["protocol"]],
            "R²": row["mean"],
            "Standard deviation": row["spread"],
            "low": row["mean"] - row["spread"],
            "high": row["mean"] + row["spread"],
        }
        for row in rows
    )
    blocks = frame_[frame_["Tested in"] == PROTOCOLS["blocks"]]
    order = blocks.sort_values("R²", ascending=False)["Embedding"].tolist()
    low = float(min(0.0, max(frame_["low"].min(), -0.5)))
    base = alt.Chart(frame_).encode(
        y=alt.Y("Embedding:N", sort=order, title=None, axis=alt.Axis(labelLimit=160)),
        yOffset=alt.YOffset("Tested in:N", sort=list(PROTOCOLS.values())),
    )
    colour = alt.Color(
        "Tested in:N",
        sort=list(PROTOCOLS.values()),
        scale=alt.Scale(domain=list(PROTOCOLS.values()), range=["#2a9db5", "#9db4bf"]),
        legend=alt.Legend(orient="bottom", title="R² on", labelLimit=220),
    )
    bars = base.mark_bar(clip=True).encode(
        x=alt.X("R²:Q", scale=alt.Scale(domain=[low, 1]), title="R²"),
        color=colour,
        opacity=alt.condition(
            alt.datum.Embedding == selection.run, alt.value(1.0), alt.value(0.62)
        ),
        tooltip=[
            "Embedding", "Tested in", alt.Tooltip("R²", format=".3f"),
            alt.Tooltip("Standard deviation", format=".3f"),
        ],
    )  # fmt: skip
    spread = base.mark_rule(clip=True, strokeWidth=1.5, color="#8a8f94").encode(
        x="low:Q", x2="high:Q"
    )
    st.altair_chart((bars + spread).properties(height=max(200, 34 * len(order) + 60)), key="ladder")
    st.caption(
        f"Thin lines: ± one standard deviation over {len(table['seeds'])} seeds. The chosen "
        "embedding is drawn in full colour. Bars below the axis are cut off."
    )


def _scatter(target: Target, result: ProbeResult) -> None:
    st.markdown("**Predicted against measured**")
    import altair as alt
    import pandas as pd

    pick = np.linspace(0, result.n - 1, min(result.n, DOTS)).astype(int)
    unit = f"log(1 + {target.unit})" if target.transform == "log1p" else target.unit
    dots = pd.DataFrame(
        {
            "Measured": result.actual[pick],
            "Predicted": result.predicted[pick],
            "Unit": result.unit_ids[pick],
        }
    )
    low = float(dots[["Measured", "Predicted"]].min().min())
    high = float(dots[["Measured", "Predicted"]].max().max())
    scale = alt.Scale(domain=[low, high], nice=True)
    points = (
        alt.Chart(dots)
        .mark_circle(size=16, opacity=0.5, color="#2a9db5")
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
    diagonal = (
        alt.Chart(line).mark_line(color="#8a8f94", strokeDash=[4, 4]).encode(x="v:Q", y="v:Q")
    )
    st.altair_chart((diagonal + points).properties(height=320), key="fit")
    extra = f" {len(pick):,} of {result.n:,} drawn." if len(pick) < result.n else ""
    st.caption(
        "Each dot was predicted by a model that never saw its block of the map; on the dashed "
        f"line it would be exactly right.{extra}"
    )
