"""Boosted trees in the probe view: a button, then progress, then their scores beside the ridge."""

import cache
import streamlit as st
from cache import PlaceFiles
from jobs import Job, scores_of
from scores import PLACES, PROTOCOLS, Scores, metric_name

from mobclip.place import Target
from mobclip.probes import ProbeResult
from mobclip.session import Selection

NAMES = {
    "ridge": "Ridge regression",
    "logistic": "Logistic regression",
    "neighbours": "Nearest neighbours",
    "boosting": "Boosted trees",
}


def show(
    selection: Selection, files: PlaceFiles, scores: Scores, result: ProbeResult, target: Target
) -> None:
    """What boosted trees make of the chosen embedding and target, or a way to find out.

    result : of the usual probe, with all labels
    """
    key = cache.probe_key(files, selection.run, result.target)
    job = st.session_state.get("job")
    if job is not None and job.finished:  # looked at before its scores are
        if not job.problem:
            del st.session_state["job"]
        elif job.key == key:
            st.info(f"Boosted trees could not be tried: {job.problem}", icon=":material/info:")
        job = None
    found = scores_of(key)
    compared = scores.probes(selection.run)
    if found is not None:
        compared.setdefault(result.probe, {one: score.mean for one, score in result.scores.items()})
        compared["boosting"] = {one: score.mean for one, score in found.items()}
    if "boosting" in compared:
        _table(compared, scores)
    if job is not None:
        _progress("" if job.key == key else f" on {job.what}")
    elif "boosting" not in compared:
        st.button(
            "Try boosted trees (LightGBM)",
            icon=":material/park:",
            key="boost",
            width="stretch",
            help="The ridge regression sees straight lines only. Boosted trees find bends and "
            "combinations too, if there are any. They take seconds for a small place and minutes "
            "for a large one, while everything else here goes on.",
            on_click=_start,
            args=(files, selection.run, target),
        )


def _start(files: PlaceFiles, run: str, target: Target) -> None:
    running = st.session_state.get("job")
    if running is not None and not running.finished:
        return  # one at a time
    st.session_state["job"] = Job(
        cache.probe_key(files, run, target.name),
        cache.load_index(files, run).embeddings,
        target,
    )


def _stop() -> None:
    job = st.session_state.pop("job", None)
    if job is not None:
        job.stop()


@st.fragment(run_every="1s")
def _progress(what: str) -> None:
    """Redrawn by itself every second, without the rest of the page."""
    job = st.session_state.get("job")
    if job is None or job.finished:
        st.rerun()
    done, total = job.step
    if job.waiting:
        text = "waiting for another job on this machine"
    elif not done:
        text = "first fold"
    else:
        text = f"{done} of {total} folds, {_duration(job.seconds_left or 0)} left"
    bar, stop = st.columns([4, 1], vertical_alignment="center", gap="small")
    bar.progress(done / total if total else 0.0, text=f"Boosted trees{what}: {text}")
    stop.button("Stop", key="stop", on_click=_stop, help="Ends it after the fold that it is at.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"


def _table(compared: dict[str, dict[str, float]], scores: Scores) -> None:
    order = [probe for probe in NAMES if probe in compared]
    columns = {
        PLACES[protocol]: [f"{compared[probe][protocol]:.3f}" for probe in order]
        for protocol in PROTOCOLS
    }
    name = metric_name(scores.metric)
    st.table(
        {f"{name}, same folds": [NAMES[probe] for probe in order], **columns},
        border="horizontal",
        hide_index=True,
    )
