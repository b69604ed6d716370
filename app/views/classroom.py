"""Classroom: one lesson at a time beside the map; a prediction comes before what is so."""

import hints
import state
import streamlit as st
from cache import PlaceFiles
from lessons import Lesson, lessons

from mobclip.session import Selection

LARGE = (
    "<style>html{font-size:18.5px}[data-testid=stRadio] label p{font-size:1.05rem}"
    "[data-testid=stMarkdownContainer] p{line-height:1.45}</style>"
)


def show(selection: Selection, files: PlaceFiles) -> None:
    """The lesson that the selection is at; nothing while the class is off."""
    if not selection.lesson:
        return
    st.html(LARGE)
    offered = lessons(files, selection.run)
    if not offered:
        st.sidebar.info(
            "This place has too little evidence for a lesson. Choose another one above.",
            icon=":material/school:",
        )
        return
    number = min(selection.lesson, len(offered))
    lesson = offered[number - 1]
    with st.sidebar:
        st.caption(f":material/school: Lesson {number} of {len(offered)}")
        st.markdown(f"#### {lesson.title}")
        st.markdown(lesson.look)
        _ask(lesson, f"{files.key} {selection.run} {lesson.title}")
        _walk(number, offered)


def _ask(lesson: Lesson, key: str) -> None:
    st.markdown(f"**{lesson.question}**")
    revealed = key in st.session_state.setdefault("revealed", {})
    chosen = st.radio(
        "Your prediction",
        lesson.choices,
        index=None,
        key=f"prediction {key}",
        label_visibility="collapsed",
        disabled=revealed,
    )
    if not revealed:
        if st.button(
            "Reveal",
            key="reveal",
            type="primary",
            icon=":material/visibility:",
            disabled=chosen is None,
            help="Choose an answer first: a guess makes the surprise worth more.",
        ):
            with st.spinner("Working it out …"):
                st.session_state["revealed"][key] = lesson.reveal()
            st.rerun()
        return
    answer = st.session_state["revealed"][key]
    right = lesson.choices[answer.right]
    if chosen == right:
        st.success(f"Predicted: **{right}**. {answer.says}", icon=":material/check_circle:")
    else:
        st.info(f"You said {chosen}; it is **{right}**. {answer.says}", icon=":material/lightbulb:")
    st.markdown(f"**To discuss.** {lesson.discuss}")


def _walk(number: int, offered: list[Lesson]) -> None:
    back, on = st.columns(2, gap="small")
    back.button(
        "Back",
        key="lesson_back",
        icon=":material/arrow_back:",
        width="stretch",
        disabled=number == 1,
        on_click=open_lesson,
        args=(number - 1, offered),
    )
    on.button(
        "Next",
        key="lesson_next",
        icon=":material/arrow_forward:",
        width="stretch",
        disabled=number == len(offered),
        on_click=open_lesson,
        args=(number + 1, offered),
    )
    st.button(
        "Start again",
        key="lesson_reset",
        icon=":material/restart_alt:",
        width="stretch",
        help="Forgets the predictions and all that was chosen, for the next group, which meets the "
        "hints for a first visit again.",
        on_click=_reset,
        args=(offered,),
    )


def open_lesson(number: int, offered: list[Lesson]) -> None:
    """Go to a lesson, and to what is to be looked at in it."""
    state.change(lesson=number, **offered[number - 1].opens)


def _reset(offered: list[Lesson]) -> None:
    st.session_state["revealed"] = {}
    for key in [one for one in st.session_state if str(one).startswith("prediction ")]:
        del st.session_state[key]
    hints.again()
    state.forget()
    open_lesson(1, offered)


def switch(selection: Selection, files: PlaceFiles) -> None:
    """The button in the bar that opens the class, and closes it."""

    def switched() -> None:
        if selection.lesson:
            state.change(lesson=0)
        elif offered := lessons(files, selection.run):
            open_lesson(1, offered)
        else:
            state.change(lesson=1)

    st.button(
        "",
        key="class",
        icon=":material/school:",
        type="primary" if selection.lesson else "secondary",
        help="**Class**: guided questions. Predict first, then see. Large type, and a button that "
        "starts everything again. Needs no network.",
        on_click=switched,
    )
