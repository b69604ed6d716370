"""Hints for a first visit; who has put one away does not meet it again in the same browser."""

import streamlit as st

COOKIE = "mobclip_hints"
NAMES = ("map", "similar")
_YEAR = 365 * 24 * 3600


def hint(name: str, text: str) -> None:
    """A hint of `NAMES`, until it is put away."""
    if name in _gone():
        return
    with st.container(border=True):
        st.markdown(text)
        st.button("Got it", key=f"hint {name}", on_click=_remember, args=(_gone() | {name},))


def again() -> None:
    """Show every hint again: somebody else is here."""
    _remember(frozenset())


def keep() -> None:
    """Write into the browser what was put away in this session; at the end of a run."""
    if "hints_gone" in st.session_state:
        names = ".".join(sorted(_gone()))
        st.html(
            f"<script>document.cookie = '{COOKIE}={names}; path=/; SameSite=Lax; "
            f"Max-Age={_YEAR if names else 0}'</script>",
            unsafe_allow_javascript=True,
        )


def _gone() -> frozenset[str]:
    # The browser's cookies are those of when the page was opened.
    kept = st.context.cookies.get(COOKIE, "").split(".")
    gone: frozenset[str] = st.session_state.get("hints_gone", frozenset(kept).intersection(NAMES))
    return gone


def _remember(gone: frozenset[str]) -> None:
    st.session_state["hints_gone"] = gone
