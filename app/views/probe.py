"""Probe: how well an embedding predicts something that it was not given, and where it fails."""

from collections.abc import Mapping

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
from streamlit.delta_generator import DeltaGenerator

from mobclip.errors import ConfigError
from mobclip.evaluation import own_targets
from mobclip.place import Target
from mobclip.probes import ProbeResult
from mobclip.session import Selection
from views import (
    boosting,
    charts,
    frame,
    layers,
    map_colours,
    probe_export,
    probe_learn,
    probe_own,
    probe_paint,
    probe_sliders,
)
from views import probe_work as work

# Five layers side by side in a narrow panel.
NARROW = (
    "<style>.st-key-layer button,.st-key-paint-layer button{padding-inline:.2rem}"
    ".st-key-layer button p{font-size:.85rem}.st-key-paint-layer button p{font-size:.85rem}</style>"
)
TABS = {"score": "Score", "learn": "Learn", "paint": "Paint", "own": "Your data"}
BELOW = "max(380px, calc(100vh - 16rem))"  # height of a map with charts under it


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    left, right = frame.map_and_panel()
    with right:
        tab = _tab(selection)
    st.html(NARROW)
    if tab == "paint":
        probe_paint.show(left, right, selection, files)
    elif tab == "own":
        probe_own.show(left, right, selection, files)
    else:
        _probed(left, right, selection, files, tab)


def _tab(selection: Selection) -> str:
    tab = selection.tab if selection.tab in TABS else "score"
    st.session_state["tab"] = tab
    st.segmented_control(
        "What to do",
        list(TABS),
        format_func=TABS.__getitem__,
        key="tab",
        required=True,
        width="stretch",
        label_visibility="collapsed",
        help="**Score**: how well something is predicted, with sliders for what the probe may "
        "use. **Learn**: what more labels bring, and which to give next. **Paint**: label cells "
        "on the map yourself. **Your data**: predict a table of yours.",
        on_change=lambda: state.change(tab=st.session_state["tab"]),
    )
    return tab


def _probed(
    left: DeltaGenerator,
    right: DeltaGenerator,
    selection: Selection,
    files: PlaceFiles,
    tab: str,
) -> None:
    """Score and Learn: one target, what is predicted of it, and with what."""
    place = cache.load_place(files)
    targets = work.targets(files)
    if not targets:
        with right:
            st.info(
                f"**{place.title}** has no targets to predict. Bring one along (“Your data”), "
                "paint one (“Paint”), or name some under `targets:` in data_manifest.yaml and "
                "tokenize it again.",
                icon=":material/info:",
            )
        frame.draw(left, selection, files, map_colours.embedding_or_evidence(selection, files))
        return
    with right, st.container(gap="small"):
        target, part = _what(selection, targets)
        asked = work.setting(selection, files, target)
        usual = result = None
        try:
            usual = work.result(files, target, work.Setting(run=selection.run))
            # The sliders' share leaves each fold labels: what can be probed can be so too.
            result = usual if asked.usual else work.result(files, target, asked)
        except ConfigError as error:  # too few units, or the same value everywhere
            st.info(f"This cannot be probed here: {error}", icon=":material/info:")
        layer = _layer(selection, target, result)
        scores = _table(files, selection, target, usual)
        if result is not None and usual is not None:
            said = (
                _scores(scores, selection, result) if asked.usual else _live(scores, result, usual)
            )
            if tab == "score":
                probe_sliders.show(selection, files, target, asked)
                st.caption(said)
                if asked.usual:
                    boosting.show(selection, files, scores, usual, target)
            else:
                probe_learn.panel(target, asked)
                st.caption(said)
        if target.note:
            st.caption(f":material/info: {target.note}")
        colouring = _colouring(layer, target, part, files, result, asked)
    frame.draw(left, selection, files, colouring, height=BELOW)
    if result is None:
        return
    if tab == "learn":
        probe_learn.charts_of(files, target, asked, scores)
        return
    if asked.usual:
        with left:
            _warning(scores, selection.run)
    ladder, fit = st.columns(2, gap="medium")
    with ladder:
        live = None if asked.usual else {one: s.mean for one, s in result.scores.items()}
        charts.ladder(scores, selection.run, live)
    with fit:
        if target.kind in ("binary", "class"):
            charts.confusion(target, result)
        else:
            charts.scatter(target, part, result)
    _details(scores, selection, files, target, part, result, asked)


def _table(
    files: PlaceFiles, selection: Selection, target: Target, usual: ProbeResult | None
) -> Scores:
    """Scores of every run: from disk, or for a target of one's own computed now."""
    if not work.is_own(files, target):
        return Scores.load(files, selection.run, target)
    rows: list[Row] = []
    if usual is not None:
        bar = st.empty()
        for done, found in work.ladder_rows(files, target, files.runs):
            rows = found
            bar.progress(done, text="Probing the other embeddings …")
        bar.empty()
    return Scores.of_rows(target, rows)


def _what(selection: Selection, targets: Mapping[str, Target]) -> tuple[Target, str]:
    """The chosen target, and which part of it where it is a composition."""
    if selection.target.startswith(own_targets.PREFIX) and selection.target not in targets:
        st.caption(
            ":material/link_off: The link is about data that somebody brought along; they stayed "
            "in that session. Upload them again under “Your data”."
        )
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
    layer = selection.layer
    layer = layer if layer in names else "predicted"
    if result is None:
        layer = "actual"
    st.session_state["layer"] = layer
    wrong = (
        "**How right**: the probability that was given to the class that was measured."
        if target.kind in ("binary", "class")
        else "**Error**: predicted minus measured; red is too high, blue too low. **Interval**: "
        "how wide the 90 % interval of each cell is."
    )
    st.segmented_control(
        "On the map",
        list(names),
        format_func=names.__getitem__,
        key="layer",
        required=True,
        width="stretch",
        disabled=result is None,
        help="**Predicted**: by models that never saw the area around the cell. **Measured**: "
        f"the truth. {wrong} **Folds**: which blocks of the map are held out together.",
        on_change=lambda: state.change(layer=st.session_state["layer"]),
    )
    return layer


def _colouring(
    layer: str,
    target: Target,
    part: str,
    files: PlaceFiles,
    result: ProbeResult | None,
    asked: work.Setting,
) -> Colouring:
    if layer == "actual" or result is None:
        return layers.measured(files, target, part, prefix="Measured: ")
    if layer == "folds":
        return layers.folds(result, target)
    if layer == "width":
        found = work.intervals(files, target, part, asked)
        low, high = work.bounds(target, found)
        held = f"{found.coverage:.0%} of units in unseen areas lay inside"
        return layers.width(low, high, target, part, held)
    draw = layers.error_of if layer == "error" else layers.predicted_by
    return draw(result, target, part)


def _live(scores: Scores, result: ProbeResult, usual: ProbeResult) -> str:
    """Both scores as the sliders have them; in words, what they say."""
    name = metric_name(scores.metric)
    for column, protocol in zip(st.columns(2), ("blocks", "random"), strict=True):
        # Both of the first seed's folds.
        now, before = (one.scores[protocol].per_seed[0] for one in (result, usual))
        column.metric(
            f"{name} in {PLACES[protocol].lower()}",
            f"{now:.3f}",
            delta=f"{now - before:+.3f}",
            help="As the sliders are, in the folds of one seed. Below: the difference from all "
            f"labels and all evidence in the same folds ({before:.3f}). "
            f"{metric_help(scores.metric)}",
        )
    gap = result.scores["random"].mean - result.scores["blocks"].mean
    return (
        f"Scattered gaps score {abs(gap):.3f} {'higher' if gap >= 0 else 'lower'} than new areas. "
        f"All {result.n:,} {_units(scores.target)} are predicted, also those whose labels were "
        "not used."
    )


def _scores(scores: Scores, selection: Selection, result: ProbeResult) -> str:
    """Both scores of the tables; in words, what they say together."""
    mine = scores.of(selection.run).get(scores.metric, {})
    if set(mine) < set(PROTOCOLS):
        return "This embedding has no scores yet. Run `mobclip probe` on this place."
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
    return f"{_gap(scores, result, blocks, random)} {blocks['n']:,} {_units(scores.target)}."


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


def _details(
    scores: Scores,
    selection: Selection,
    files: PlaceFiles,
    target: Target,
    part: str,
    result: ProbeResult,
    asked: work.Setting,
) -> None:
    """What only some readers want: the other measures, intervals of prediction, downloads."""
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
    measures, download, whole = st.columns([2.4, 1.4, 1], gap="medium")
    if mine:
        with measures.expander("All measures of this embedding and target"):
            _measures(mine)
    with download.popover(
        "Predictions", icon=":material/download:", width="stretch",
        help="Predicted and measured value of every cell, with its 90 % interval.",
    ):  # fmt: skip
        probe_export.show(selection, files, target, part, result, asked)
    if report is not None:
        whole.download_button(
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
