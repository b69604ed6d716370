"""Probe, "Learn": what more labels bring, and what came of giving them in a clever order."""

from collections.abc import Callable
from typing import Any

import streamlit as st
from cache import PlaceFiles
from scores import Scores

from mobclip.errors import ConfigError
from mobclip.place import Target
from mobclip.probes.next_cells import MOST, START, STEP
from views import charts, probe_sliders
from views import probe_work as work


def panel(target: Target, asked: work.Setting) -> None:
    """The budget, and what the charts are about."""
    probe_sliders.budget(target, asked)
    st.caption(
        "The curve below is drawn for this target and embedding, with the numbers, the penalty and "
        "the evidence that are set under “Score”."
    )


def charts_of(files: PlaceFiles, target: Target, asked: work.Setting, scores: Scores) -> None:
    """Both charts, each with its progress."""
    curve, order = st.columns(2, gap="medium")
    with curve:
        points = _watched(
            "Learning from more and more labels …",
            lambda tell: work.curve(files, target, asked, tell),
        )
        now = round(asked.share * max(one.labels for one in points))
        charts.curve(points, scores.metric, now, _best_other(scores, asked.run))
    with order:
        _order(files, target, asked, scores)


def _best_other(scores: Scores, run: str) -> tuple[str, float] | None:
    others = (row for one, row in scores.primary("blocks").items() if one != run)
    best = next(others, None)
    return None if best is None else (best["run"], best["mean"])


def _order(files: PlaceFiles, target: Target, asked: work.Setting, scores: Scores) -> None:
    st.markdown("**What if you had labelled in the suggested order?**")
    key = repr(work.what_if_key(files, target, asked))
    asking = st.empty()
    if key not in st.session_state.get("probe_kept", {}):
        with asking.container():
            st.caption(
                f"Starts from {START} random labels and adds {STEP} at a time, up to {MOST}: once "
                "those that “Paint” would suggest (uncertain, unlike the others, far from them), "
                "once random ones. Takes about half a minute."
            )
            wanted = st.button(
                "Try it",
                icon=":material/play_arrow:",
                key="what-if",
                help="Labels of this target are hidden and given ten at a time in either order; "
                "the score is that of blocks of the map in which none was given.",
            )
        if not wanted:
            return
        asking.empty()
    try:
        found = _watched("Labelling …", lambda tell: work.what_if(files, target, asked, tell))
    except ConfigError as error:
        st.info(f"This cannot be tried here: {error}", icon=":material/info:")
        return
    charts.orders(found, scores.metric)


def _watched(text: str, make: Callable[[Callable[[float], None]], Any]) -> Any:
    bar = st.empty()
    found = make(lambda share: bar.progress(share, text=text))
    bar.empty()
    return found
