"""What the probe may use: labels, numbers of the embedding, evidence, and how cautious it is."""

import cache
import spaces
import state
import streamlit as st
from cache import PlaceFiles

from mobclip.place import Target
from mobclip.probes import learning
from mobclip.session import Selection
from views import frame
from views import probe_work as work


def show(selection: Selection, files: PlaceFiles, target: Target, asked: work.Setting) -> None:
    """The sliders; the scores and the map follow them."""
    with st.container(gap="small"):
        budget(target, asked)
        dims, alpha = st.columns(2, gap="small")
        with dims:
            _dims(files, asked)
        with alpha:
            _alpha(asked)
        _using(files, selection, asked)
        if not asked.usual:
            st.button(
                "All labels and evidence again",
                icon=":material/restart_alt:",
                key="usual",
                width="stretch",
                on_click=lambda: state.change(budget=1.0, dims=0, alpha=0.0, using=()),
                help="Sliders back to where the tables are made.",
            )


def budget(target: Target, asked: work.Setting) -> None:
    """Share of the labels."""
    allowed = learning.shares(len(target.values))
    st.session_state["budget"] = asked.share

    def worded(share: float) -> str:
        return f"{share:.1%}".replace(".0%", "%") + f" · {round(share * len(target.values)):,}"

    st.select_slider(
        "Labels it may learn from",
        allowed,
        format_func=worded,
        key="budget",
        help="Share and number of labels. The others are hidden from it, but all are predicted and "
        "scored. Fewer are always a part of more.",
        on_change=lambda: state.change(budget=st.session_state["budget"]),
    )


def _dims(files: PlaceFiles, asked: work.Setting) -> None:
    most = cache.load_index(files, asked.run).embeddings.dims
    steps = [2**i for i in range(12) if 2**i < most] + [most]
    now = asked.dims or most
    st.session_state["dims"] = min(steps, key=lambda one: abs(one - now))
    if len(steps) < 2:
        return
    st.select_slider(
        "Numbers used",
        steps,
        key="dims",
        help="Only the first so many numbers of each embedding. Of “mobclip” and “pca” the first "
        "say most; of others their order means nothing.",
        on_change=lambda: state.change(
            dims=0 if st.session_state["dims"] == most else st.session_state["dims"]
        ),
    )


def _alpha(asked: work.Setting) -> None:
    st.session_state["alpha"] = asked.alpha
    st.select_slider(
        "Penalty",
        learning.PENALTIES,
        format_func=lambda one: f"{one:g}" if one else "chosen",
        key="alpha",
        help="How strongly the ridge regression is held back from following its labels: small "
        "follows every one, large flattens towards the average. “chosen”: by cross-validation "
        "among the labels that it may use, never on what it is tested on.",
        on_change=lambda: state.change(alpha=st.session_state["alpha"]),
    )


def _using(files: PlaceFiles, selection: Selection, asked: work.Setting) -> None:
    known = spaces.known_of(files, selection.run)
    if not known:
        st.caption(
            f"Evidence cannot be hidden from “{selection.run}”: its vectors are fixed. A run of "
            "“mobclip” can be asked what it makes of a part of the evidence."
        )
        return
    st.session_state["using"] = list(asked.using or known)
    st.pills(
        "Evidence that is known",
        known,
        format_func=frame.modality_name,
        selection_mode="multi",
        key="using",
        help="The encoder embeds the place again as if nobody had the others; it was trained to do "
        "without. The first time takes seconds, then it is remembered.",
        on_change=lambda: state.change(
            # Nothing at all is known by nobody: then everything is.
            using=()
            if len(st.session_state["using"]) == len(known)
            else tuple(st.session_state["using"])
        ),
    )
