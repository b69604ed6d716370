"""Map, "Compare": two embeddings, or two colourings, on two maps that move as one."""

from collections.abc import Callable

import cache
import colours
import numpy as np
import spaces
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring
from spaces import K, Other, Space

from mobclip.session import Selection
from views import frame, map_colours

SPLITS = {"side": "Side by side", "swipe": "Swipe"}
COLOURED = ("embedding", "pca")


def split_of(selection: Selection) -> str:
    """How two maps are shown: side by side unless something else was chosen."""
    return selection.split if selection.split in SPLITS else "side"


def sides(
    chosen: str, selection: Selection, files: PlaceFiles, other: Other | None
) -> tuple[Colouring, Colouring | None]:
    """The colourings of the map and of its other side, if there is one."""
    mine = Space(run=selection.run)
    if chosen == "overlap":
        if other is None or other.colour:
            st.info(
                "Choose another embedding under “Compare”: cells are then coloured by how many "
                f"of their {K} nearest cells both have in common."
            )
            return map_colours.colouring("embedding", selection, files), None
        return _kept(files, mine, other.space), None
    first = map_colours.colouring(chosen, selection, files)
    if other is None:
        return first, None
    if other.colour:
        second = map_colours.known(other.colour, files, selection)
        if second == "overlap":
            second = "embedding"
        return first, map_colours.colouring(second, selection, files)
    kind = chosen.partition(":")[0]
    dependent = kind in ("dim", "similarity", "clusters") or (
        kind == "predicted" and other.space.whole
    )
    if dependent and not (kind == "similarity" and not selection.cell):
        return first, map_colours.colouring(chosen, selection, files, other.space)
    one, turned = spaces.pair(files, mine, other.space, linear=chosen == "pca")
    if chosen in COLOURED:
        rgb = spaces.rgb(files, mine.run, linear=one.method == "pca")
        first = map_colours.of_projection(files, one, rgb, mine)
    note = "turned to fit the other map" if chosen in COLOURED else ""
    return first, map_colours.of_projection(files, turned, turned.rgb, other.space, note)


def _kept(files: PlaceFiles, mine: Space, other: Space) -> Colouring:
    found = _overlap(files, mine, other)
    cells = cache.load_index(files, mine.run).embeddings.cells
    shared = frame.on_place(files, cells, found, np.nan)
    asked = np.isfinite(found)
    sample = "" if asked.all() else f"a sample of {asked.sum():,} cells; "
    return colours.ramp(
        shared,
        title=f"Nearest {K} that “{other.title}” keeps",
        unit="share",
        note=f"{sample}mean {np.nanmean(found):.2f}",
        ends=(0.0, 1.0),
    )


def _overlap(files: PlaceFiles, mine: Space, other: Space) -> np.ndarray:
    holder = st.empty()

    def tell(done: float) -> None:
        holder.progress(done, text=f"Comparing the {K} nearest cells of each cell …")

    found = spaces.overlap(files, mine, other, tell)
    holder.empty()
    return found


def panel(chosen: str, selection: Selection, files: PlaceFiles, other: Other | None) -> None:
    """What to compare with, and how."""
    kinds = {"": "Nothing: one map", "run": "Another embedding"}
    if len(spaces.known_of(files, selection.run)) > 1:
        kinds["without"] = "This one without some modalities"
    dims = cache.load_index(files, selection.run).embeddings.dims
    if dims > 1:
        kinds["first"] = "Only the first of its numbers"
    kinds["colour"] = "Another colouring"
    runs = [one for one in state.best_first(files) if one != selection.run]
    if not runs:
        del kinds["run"]
    kind = _kind(other, selection)
    st.session_state["against"] = kind if kind in kinds else ""

    def against(text: str) -> None:
        split = split_of(selection) if text else ""
        back = {"colour": "embedding"} if not text and chosen == "overlap" else {}
        state.change(other=text, split=split, **back)

    def changed() -> None:
        known = spaces.known_of(files, selection.run)
        start = {
            "": "",
            "run": runs[0] if runs else "",
            "without": f"{selection.run}|without:{known[0] if known else ''}",
            "first": f"{selection.run}|first:{max(1, dims // 8)}",
            "colour": "|evidence",
        }
        against(start[st.session_state["against"]])

    st.selectbox(
        "Compare with",
        list(kinds),
        format_func=kinds.__getitem__,
        key="against",
        help="The map becomes two that move as one: A as it is, B the other.",
        on_change=changed,
    )
    if kind == "run":
        _run(runs, other, files, against)
    elif kind == "without":
        _without(selection, files, other, against)
    elif kind == "first":
        _first(selection, dims, other, against)
    elif kind == "colour":
        _colour(selection, files, other, against)
    if other is None:
        st.caption(
            "Two embeddings side by side show what another model, or one kind of evidence less, "
            "makes of the same place. A score tells how many neighbours each cell keeps."
        )
        return
    if chosen != "overlap":
        st.session_state["split"] = split_of(selection)
        st.segmented_control(
            "Shown",
            list(SPLITS),
            format_func=SPLITS.__getitem__,
            key="split",
            required=True,
            help="**Side by side**: two maps with one view. **Swipe**: one above the other; pull "
            "the line between them.",
            on_change=lambda: state.change(split=st.session_state["split"]),
        )
    if not other.colour:
        _score(chosen, selection, files, other)


def _kind(other: Other | None, selection: Selection) -> str:
    if other is None:
        return ""
    if other.colour:
        return "colour"
    if other.space.without:
        return "without"
    return "first" if other.space.first else "run"


def _run(
    runs: list[str], other: Other | None, files: PlaceFiles, against: Callable[[str], None]
) -> None:
    assert other is not None
    ranking = cache.ranking(files)
    st.session_state["other_run"] = other.space.run
    st.selectbox(
        "Embedding B",
        runs,
        format_func=lambda run: frame.run_name(run, ranking),
        key="other_run",
        label_visibility="collapsed",
        on_change=lambda: against(st.session_state["other_run"]),
    )


def _without(
    selection: Selection, files: PlaceFiles, other: Other | None, against: Callable[[str], None]
) -> None:
    assert other is not None
    known = spaces.known_of(files, selection.run)
    st.session_state["gone"] = list(other.space.without)

    def changed() -> None:
        gone = [one for one in known if one in st.session_state["gone"]]
        if 0 < len(gone) < len(known):
            against(f"{selection.run}|without:{','.join(gone)}")

    st.multiselect(
        "Without",
        known,
        format_func=frame.modality_name,
        key="gone",
        max_selections=len(known) - 1,
        help="The model is asked again as if it knew nothing of these, here and around. One at "
        "least is taken away, and one at least stays.",
        on_change=changed,
    )


def _first(
    selection: Selection, dims: int, other: Other | None, against: Callable[[str], None]
) -> None:
    assert other is not None
    st.session_state["first"] = other.space.first
    st.slider(
        "First numbers",
        1,
        dims - 1,
        key="first",
        help=f"B keeps only so many of the {dims} numbers of each cell. In “mobclip” and “pca” "
        "the first say most.",
        on_change=lambda: against(f"{selection.run}|first:{st.session_state['first']}"),
    )


def _colour(
    selection: Selection, files: PlaceFiles, other: Other | None, against: Callable[[str], None]
) -> None:
    assert other is not None
    entries = {
        name: label
        for name, label in map_colours.options(files, selection).items()
        if name not in ("overlap", "dim")
    }
    entries |= {
        f"predicted:{name}": f"Predicted: {one.title}"
        for name, one in cache.load_place(files).targets.items()
    }
    st.session_state["other_colour"] = (
        other.colour if other.colour in entries else next(iter(entries))
    )
    st.selectbox(
        "Colouring B",
        list(entries),
        format_func=entries.__getitem__,
        key="other_colour",
        label_visibility="collapsed",
        on_change=lambda: against(f"|{st.session_state['other_colour']}"),
    )


def _score(chosen: str, selection: Selection, files: PlaceFiles, other: Other) -> None:
    mine = Space(run=selection.run)
    if chosen != "overlap":
        st.button(
            f"How many of the {K} nearest stay?",
            icon=":material/hub:",
            width="stretch",
            help=f"For every cell: of the {K} cells most like it in A, how many are also among "
            f"the {K} most like it in B? Exact; takes seconds to a minute the first time.",
            on_click=lambda: state.change(colour="overlap"),
        )
        return
    found = _overlap(files, mine, other.space)
    mean = float(np.nanmean(found))
    st.metric(
        f"Of the {K} nearest cells, both have",
        f"{mean * K:.1f}",
        help=f"Mean over cells; by chance it would be {K * K / len(found):.2g}.",
    )
    st.caption(f"{_meaning(mean)} By chance it would be {K * K / max(len(found), 1):.2g}.")
    st.button(
        "Back to the two maps",
        icon=":material/splitscreen_right:",
        width="stretch",
        on_click=lambda: state.change(colour="embedding"),
    )


def _meaning(mean: float) -> str:
    """What a mean share of neighbours says, in words."""
    if mean >= 0.6:
        return "The two agree on most of which cells are alike."
    if mean >= 0.3:
        return (
            "The two agree in part on which cells are alike; the dark cells are where they differ."
        )
    return "The two differ on which cells are alike, most of all in the dark cells."
