"""Probe: how well an embedding predicts something that it was not given, and where it fails."""

import cache
import numpy as np
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring, shown
from scores import (
    PLACES,
    POSITION,
    PROTOCOLS,
    Row,
    Scores,
    bounds,
    has_interval,
    metric_help,
    metric_name,
    with_bounds,
)

from mobclip.errors import ConfigError
from mobclip.place import Target
from mobclip.probes import ProbeResult
from mobclip.session import Selection
from views import boosting, charts, frame, layers


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
        target, part = _what(selection, files)
        try:
            result = cache.load_probe(files, selection.run, target.name)
        except ConfigError as error:  # too few units, or the same value everywhere
            st.info(f"This cannot be probed here: {error}", icon=":material/info:")
            result = None
        layer = _layer(selection, target, result)
        scores = Scores.load(files, selection.run, target)
        if result is not None:
            _scores(scores, selection, result)
            boosting.show(selection, files, scores, result)
        if target.note:
            st.caption(f":material/info: {target.note}")
    frame.draw(
        left, selection, files, _colouring(layer, target, part, selection, files),
        height="max(380px, calc(100vh - 16rem))",
    )  # fmt: skip
    if result is None:
        return
    with left:
        _warning(scores, selection.run)
    ladder, fit = st.columns(2, gap="medium")
    with ladder:
        charts.ladder(scores, selection.run)
    with fit:
        if target.kind in ("binary", "class"):
            charts.confusion(target, result)
        else:
            charts.scatter(target, part, result)
    _details(scores, selection, files)


def _what(selection: Selection, files: PlaceFiles) -> tuple[Target, str]:
    """The chosen target, and which part of it where it is a composition."""
    targets = cache.load_place(files).targets
    name = selection.target if selection.target in targets else next(iter(targets))
    target = targets[name]
    parts = target.classes if target.kind == "composition" else ()
    what, which = st.columns([1.25, 1], gap="small") if parts else (st.container(), None)
    st.session_state["target"] = name
    with what:
        st.selectbox(
            "Predict what?",
            list(targets),
            format_func=lambda key: targets[key].title,
            key="target",
            help="A small model (ridge regression) learns to predict this from the embedding in "
            "one part of the place and is tested in another. The embedding itself was never "
            "given it.",
            on_change=lambda: state.change(target=st.session_state["target"], part=""),
        )
    if which is None:
        return target, ""
    part = selection.part if selection.part in parts else _largest(target)
    st.session_state["part"] = part
    with which:
        st.selectbox(
            "Part shown",
            parts,
            key="part",
            help="All parts are predicted together; this is the one on the map and in the chart. "
            "The scores are of all of them.",
            on_change=lambda: state.change(part=st.session_state["part"]),
        )
    return target, part


def _largest(target: Target) -> str:
    return target.classes[int(target.values.mean(axis=0).argmax())]


def _layer(selection: Selection, target: Target, result: ProbeResult | None) -> str:
    names = layers.names(target)
    layer = selection.layer if selection.layer in names else "predicted"
    if result is None:
        layer = "actual"
    st.session_state["layer"] = layer
    wrong = (
        "**How right**: the probability that was given to the class that was measured."
        if target.kind in ("binary", "class")
        else "**Error**: predicted minus measured; red is too high, blue too low."
    )
    st.segmented_control(
        "On the map",
        list(names),
        format_func=names.__getitem__,
        key="layer",
        required=True,
        disabled=result is None,
        help="**Predicted**: by models that never saw the area around the cell. **Measured**: "
        f"the truth. {wrong}",
        on_change=lambda: state.change(layer=st.session_state["layer"]),
    )
    return layer


def _colouring(
    layer: str, target: Target, part: str, selection: Selection, files: PlaceFiles
) -> Colouring:
    if layer == "actual":
        return layers.measured(files, target, part, prefix="Measured: ")
    draw = layers.error if layer == "error" else layers.predicted
    return draw(files, selection.run, target, part)


def _scores(scores: Scores, selection: Selection, result: ProbeResult) -> None:
    mine = scores.of(selection.run).get(scores.metric, {})
    if set(mine) < set(PROTOCOLS):
        st.info("This embedding has no scores yet. Run `mobclip probe` on this place.")
        return
    name = metric_name(scores.metric)
    how = {
        "blocks": "Whole blocks of the map are held out and predicted: as if for a district "
        f"without data. {metric_help(scores.metric)}",
        "random": "Single places are held out at random, so the neighbours of each were seen in "
        "training. Looks better than it is when neighbours are alike.",
    }
    for column, (protocol, text) in zip(st.columns(2), how.items(), strict=True):
        row = mine[protocol]
        sure = has_interval(row)
        column.metric(
            f"{name} in {PLACES[protocol].lower()}",
            f"{row['mean']:.3f}" if sure else f"{row['mean']:.3f} ± {row['spread']:.3f}",
            delta=f"95 %: {row['low']:.2f} to {row['high']:.2f}" if sure else None,
            delta_color="off",
            delta_arrow="off",
            help=f"{text} The range is {scores.ranges}.",
        )
    blocks, random = mine["blocks"], mine["random"]
    st.caption(f"{_gap(scores, result, blocks, random)} {blocks['n']:,} {_units(scores.target)}.")


def _units(target: Target) -> str:
    return "cells" if target.level == "cell" else f"units ({target.level})"


def _gap(scores: Scores, result: ProbeResult, in_blocks: Row, in_random: Row) -> str:
    """What the two numbers say together."""
    blocks, random = in_blocks["mean"], in_random["mean"]
    same = scores.metric == "f1" and len(np.unique(result.predicted.argmax(axis=1))) == 1
    if same and in_blocks["spread"] == 0:
        return (
            "In new areas every place is given the same class, the largest one: this score takes "
            "no knowledge at all."
        )
    nothing = {"r2": 0.0, "skill": 0.0, "auc": 0.5}.get(scores.metric)
    if nothing is not None and blocks <= nothing:
        without = "guessing" if scores.metric == "auc" else "the average would"
        return (
            f"In new areas this embedding predicts no better than {without}: what random folds "
            "show is knowledge about neighbours."
            if random > nothing + 0.05
            else f"This embedding does not predict it: no better than {without}."
        )
    gap = random - blocks
    if gap < 0.03:
        return f"The gap is small ({gap:.3f}): what was learned carries over to new areas."
    return (
        f"The gap is {gap:.3f}: that much of the score in scattered gaps comes from having seen "
        "the neighbours. Trust the number for new areas."
    )


def _warning(scores: Scores, run: str) -> None:
    """Said wherever something simpler does the job better."""
    simpler = scores.simpler(run)
    if not simpler:
        return
    name = metric_name(scores.metric)
    lines = []
    for protocol, mine, rivals in simpler:
        others = []
        for rival in rivals:
            what = "position alone" if rival["run"] in POSITION else "not trained"
            touch = ", the ranges overlap" if bounds(rival)[0] <= bounds(mine)[1] else ""
            others.append(f"`{rival['run']}` ({what}) {with_bounds(rival)}{touch}")
        lines.append(
            f"- {PLACES[protocol]}: `{run}` has {name} {with_bounds(mine)}; {'; '.join(others)}."
        )
    st.warning(
        "\n".join([*lines, "", f"Ranges are {scores.ranges}."]),
        title="Something simpler does better here",
    )


def _details(scores: Scores, selection: Selection, files: PlaceFiles) -> None:
    """What only some readers want: the other measures, intervals of prediction, the report."""
    held = scores.coverage(selection.run)
    if held is not None:
        unit = scores.target.unit
        scale = f"log(1 + {unit})" if scores.target.transform == "log1p" else unit
        st.caption(
            f":material/straighten: {100 * held['level']:.0f} % intervals of prediction, "
            f"calibrated on other areas, held {100 * held['coverage']:.0f} % of {held['n']:,} "
            f"units in unseen areas. Half of them are narrower than {shown(held['width'])} {scale}."
        )
    mine = scores.of(selection.run)
    report = cache.report_file(files)
    measures, download = st.columns([3, 1], gap="medium")
    if mine:
        with measures.expander("All measures of this embedding and target"):
            _measures(mine)
    if report is not None:
        download.download_button(
            "Evaluation report",
            report.read_bytes,
            file_name=f"mobclip-{files.key}.html",
            mime="text/html",
            icon=":material/download:",
            width="stretch",
            on_click="ignore",
            help="One page with every embedding, target and protocol, as `mobclip evaluate` "
            f"made it; `evaluation/{report.name}` in the folder of the place.",
        )


def _measures(mine: dict[str, dict[str, Row]]) -> None:
    protocols = [one for one in PLACES if any(one in rows for rows in mine.values())]
    st.dataframe(
        {
            "Measure": [metric_name(metric) for metric in mine],
            **{
                PLACES[protocol]: [
                    with_bounds(rows[protocol]) if protocol in rows else "–"
                    for rows in mine.values()
                ]
                for protocol in protocols
            },
            "What it says": [metric_help(metric) for metric in mine],
        },
        hide_index=True,
        column_config={
            "Measure": st.column_config.TextColumn(width=100),
            **{PLACES[one]: st.column_config.TextColumn(width=150) for one in protocols},
            "What it says": st.column_config.TextColumn(width="large"),
        },
    )
