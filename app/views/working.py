"""Work in a process beside the page: a bar while it goes on, and how it ended."""

import cache
import jobs
import state
import streamlit as st
from jobs import Work

HIDDEN = "work_hidden"
OPENING = "open_when_done"  # the work after which this session wants to see what was made


def now() -> Work | None:
    """The work under way, or the last, unless this session has put its end away."""
    work = jobs.latest(cache.data_dir())
    if work is None or (not work.running and st.session_state.get(HIDDEN) == work.folder.name):
        return None
    return work


def start(job: dict, *, open_it: bool = False) -> None:
    """Begin (a callback); what hinders it is said in the next run."""
    try:
        work = jobs.start(cache.data_dir(), job)
    except jobs.Busy as error:
        st.session_state["work_refused"] = str(error)
        return
    if open_it:
        st.session_state[OPENING] = work.folder.name


def refused() -> None:
    """Why nothing was begun, once."""
    if problem := st.session_state.pop("work_refused", None):
        st.warning(problem, icon=":material/hourglass_top:")


def read_only_note(what: str) -> bool:
    """Whether this server only shows; then it is said."""
    if jobs.read_only():
        st.info(
            f"This server only shows what there is, so {what} is switched off here "
            "(MOBCLIP_READ_ONLY=1).",
            icon=":material/lock:",
        )
    return jobs.read_only()


def bar(work: Work, extra: str = "") -> None:
    """What is being done, how far it is, and a button that ends it."""
    what, done, total = work.progress
    if work.kind == "train":
        what = what.partition(": ")[2] or what  # the title names it already
    if work.state == "stopping":
        what = "stopping: it ends after what it is at"
    counted = f" · {done} of {total}" if total else ""
    share = min(done / total, 1.0) if total else 0.0
    st.markdown(f"**{work.title}**")
    column, button = st.columns([4, 1], vertical_alignment="center", gap="small")
    column.progress(share, text=f"{what}{counted}{extra}")
    if not jobs.read_only():
        button.button(
            "Stop",
            key="stop_work",
            icon=":material/stop_circle:",
            disabled=work.state == "stopping",
            help="Ends it in good order. A training goes on later where it was stopped; of a place "
            "that is being made nothing stays behind.",
            on_click=jobs.stop,
            args=(cache.data_dir(),),
        )
    st.caption("It goes on when this page is closed or reloaded. One at a time on this machine.")


def ended(work: Work) -> None:
    """How it ended, in words."""
    if work.state == "done":
        st.success(f"Done: {work.title}.", icon=":material/check_circle:")
    elif work.state == "stopped":
        st.info(f"Stopped: {work.title}.", icon=":material/stop_circle:")
    else:
        st.error(f"{work.title} has failed. {work.problem}", icon=":material/error:")
        if work.log.strip():
            with st.expander("What the process printed"):
                st.code(work.log, language=None)


def hide_button(work: Work) -> None:
    """Put the end of a work away."""
    st.button(
        "Hide this",
        key="hide_work",
        icon=":material/close:",
        type="tertiary",
        on_click=lambda: st.session_state.__setitem__(HIDDEN, work.folder.name),
    )


def open_when_done(work: Work) -> None:
    """Look at what this session has had made, as soon as it is there."""
    if work.running or st.session_state.get(OPENING) != work.folder.name:
        return
    del st.session_state[OPENING]
    if work.state == "done":
        st.session_state[HIDDEN] = work.folder.name
        state.change(**work.job["opens"])
        st.rerun()


def duration(seconds: float) -> str:
    """About how long, in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
