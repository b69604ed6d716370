"""Probe, "Paint": label cells on the map, and see at once what the embedding makes of it."""

from collections.abc import Callable

import cache
import colours
import numpy as np
import state
import streamlit as st
from cache import PlaceFiles
from colours import Colouring, shown
from map_component import Area, area_cells
from streamlit.delta_generator import DeltaGenerator

from mobclip import export, grid
from mobclip.probes.labels import LEAST_OF_CLASS, HonestScore, LabelProbe, Painted, is_number
from mobclip.probes.next_cells import next_cells
from mobclip.session import Selection
from views import frame, map_colours, probe_export
from views import probe_work as work

LAYERS = {
    "embedding": "Embedding",
    "predicted": "Predicted",
    "probability": "Probability",
    "unsure": "Unsure",
}
KINDS = {"class": "Classes", "number": "Numbers"}
NEXT = 10
MOST = 2_000  # cells painted by one stroke
TOOLS = ("click", "brush", "box", "polygon")


def show(
    left: DeltaGenerator, right: DeltaGenerator, selection: Selection, files: PlaceFiles
) -> None:
    """The panel beside the map, and what is painted on it."""
    labels = state.session().labels
    with right, st.container(gap="small"):
        kind = _kind(labels)
        label = _brush(labels, kind)
        painted = Painted.of(labels, cache.load_index(files, selection.run).embeddings.cells,
                             kind=kind)  # fmt: skip
        _counts(painted, labels, files)
        probe = None if painted.missing else _probe(files, selection, painted)
        layer = _layer(selection, painted, probe)
    rows = np.empty(0, np.int64) if probe is None else _next_rows(files, selection, probe)
    found = [] if probe is None else grid.to_strings(probe.cells[rows])
    # The map first: it follows the brush while the score is still worked out.
    frame.draw(
        left,
        selection,
        files,
        _colouring(layer, files, selection, painted, probe, label),
        results=found,
        on_click=_on_click(files, label),
        on_area=_on_area(files, label),
        tools=TOOLS,
        marks=_marks(painted, labels),
    )
    if probe is not None:
        with right, st.container(gap="small"):
            _score(probe)
            _next(files, probe, rows, label)
            _downloads(files, selection, probe)


# ---- what is painted -----------------------------------------------------------------------------


def _kind(labels: dict[str, str]) -> str:
    numbers = bool(labels) and all(is_number(one) for one in labels.values())
    st.session_state.setdefault("paint-kind", "number" if numbers else "class")
    kind: str = st.segmented_control(
        "Paint",
        list(KINDS),
        format_func=KINDS.__getitem__,
        key="paint-kind",
        required=True,
        help="**Classes**: names such as “harbour” and “suburb”, at least two. **Numbers**: a "
        "value for each cell, such as a rent.",
    )
    return kind


def _brush(labels: dict[str, str], kind: str) -> str:
    """What the next click paints; empty takes labels off; a note while there is nothing to."""
    used = sorted({one for one in labels.values() if kind == "class" or is_number(one)})
    text, erase = st.columns([2.2, 1], vertical_alignment="bottom", gap="small")
    erasing = erase.toggle(
        "Erase", key="paint-erase", help="Clicks and strokes take labels off instead."
    )
    if kind == "number":
        value = text.number_input(
            "Number to paint",
            value=None,
            key="paint-number",
            disabled=erasing,
            placeholder="e.g. 12.5",
            help="Every cell that is clicked or brushed gets this value.",
        )
        label = "" if value is None else f"{value:g}"
    else:
        label = text.text_input(
            "Class to paint",
            key="paint-class",
            disabled=erasing,
            max_chars=40,
            placeholder="e.g. harbour",
            help="Every cell that is clicked or brushed gets this class.",
        ).strip()
        if used:
            st.pills(
                "Classes so far",
                used,
                key="paint-again",
                label_visibility="collapsed",
                on_change=_again,
                help="Paint with one of these again.",
            )
    if erasing:
        return ""
    if not label:
        st.info(
            "Type what to paint, then click cells on the map, or take the brush at its top.",
            icon=":material/brush:",
        )
        return NOTHING
    return label


NOTHING = "\0"  # no label was given yet: clicks choose cells, as elsewhere


def _again() -> None:
    again = st.session_state.get("paint-again")
    if again:
        st.session_state["paint-class"] = again
        st.session_state["paint-erase"] = False
        st.session_state["paint-again"] = None


def _on_click(files: PlaceFiles, label: str) -> Callable[[str], None]:
    def clicked(cell: str) -> None:
        if label == NOTHING:
            state.choose_cell(cell)
            return
        # The same once more takes it off.
        again = label and state.session().labels.get(cell) == label
        state.paint((cell,), "" if again else label)

    return clicked


def _on_area(files: PlaceFiles, label: str) -> Callable[[Area], None]:
    def drawn(area: Area) -> None:
        if label == NOTHING:
            return
        place = cache.load_place(files)
        found = area_cells(place.cells, area, cache.load_centres(files))
        if len(found) > MOST:
            st.session_state["paint-note"] = (
                f"{len(found):,} cells at once are not painted: up to {MOST:,} are. Draw a smaller "
                "shape."
            )
            return
        state.paint(tuple(grid.to_strings(found)), label)

    return drawn


def _counts(painted: Painted, labels: dict[str, str], files: PlaceFiles) -> None:
    note = st.session_state.pop("paint-note", "")
    if note:
        st.warning(note, icon=":material/warning:")
    if not labels:
        st.caption(
            f"Nothing is painted yet. From {LEAST_OF_CLASS} cells of each of two classes on, the "
            "whole map is predicted."
        )
        return
    if painted.kind == "class":
        tints = _tints(painted)
        parts = [
            f"<span style='color:{tints[name]}'>⬢</span> {_escaped(name)} {count:,}"
            for name, count in painted.counts.items()
        ]
        st.html(f"<div style='font-size:.9rem'>{' &nbsp; '.join(parts)}</div>")
    else:
        st.caption(f"{len(painted.rows):,} cells have a number.")
    lost = len(labels) - len(painted.rows)
    if lost:
        why = "are no numbers or lie" if painted.kind == "number" else "lie"
        st.caption(f"{lost:,} labels {why} outside of this place; they are kept and not used.")
    undo, clear = st.columns(2, gap="small")
    undo.button(
        "Undo",
        icon=":material/undo:",
        key="paint-undo",
        width="stretch",
        on_click=state.undo,
        help="Takes the last stroke back.",
    )
    clear.button(
        "Clear all",
        icon=":material/delete:",
        key="paint-clear",
        width="stretch",
        on_click=lambda: state.paint(tuple(labels), ""),
        help="Takes all labels off. Undo brings them back.",
    )
    if painted.missing:
        st.info(f"Still to paint: {painted.missing}.", icon=":material/brush:")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _tints(painted: Painted) -> dict[str, str]:
    last = len(colours.CLASSES) - 1
    return {name: colours.CLASSES[min(i, last)] for i, name in enumerate(painted.classes)}


def _marks(painted: Painted, labels: dict[str, str]) -> dict[str, str]:
    """A mark for every painted cell of the place, in the colour of its class."""
    if painted.kind == "number":
        return {cell: "#e4572e" for cell, label in labels.items() if is_number(label)}
    tints = _tints(painted)
    return {cell: tints[label.strip()] for cell, label in labels.items() if label.strip() in tints}


# ---- what follows from it ------------------------------------------------------------------------


@st.cache_resource(max_entries=3, show_spinner=False)
def _features(folder: object, version: object, path: object, changed: object) -> np.ndarray:
    files = PlaceFiles(folder=folder)
    found = work.features(files, work.Setting(run=path.parent.name))
    found.setflags(write=False)
    return found


def _probe(files: PlaceFiles, selection: Selection, painted: Painted) -> LabelProbe:
    where = cache.probe_key(files, selection.run, "")[:4]
    key = ("painted", where, painted.kind, painted.classes, painted.rows.tobytes(),
           painted.values.tobytes())  # fmt: skip
    return work.kept(
        key,
        lambda: LabelProbe(
            painted=painted,
            features=_features(*where),
            cells=cache.load_index(files, selection.run).embeddings.cells,
        ),
    )


def _layer(selection: Selection, painted: Painted, probe: LabelProbe | None) -> str:
    names = dict(LAYERS)
    if painted.kind == "number":
        del names["probability"]
    layer = selection.layer if selection.layer in names else "predicted"
    if probe is None:
        layer = "embedding"
    st.session_state["paint-layer"] = layer
    st.segmented_control(
        "On the map",
        list(names),
        format_func=names.__getitem__,
        key="paint-layer",
        required=True,
        width="stretch",
        disabled=probe is None,
        help="**Predicted**: the class or number that the probe gives each cell. **Probability**: "
        "of the class that is painted now. **Unsure**: where it hesitates most.",
        on_change=lambda: state.change(layer=st.session_state["paint-layer"]),
    )
    return layer


def _colouring(
    layer: str,
    files: PlaceFiles,
    selection: Selection,
    painted: Painted,
    probe: LabelProbe | None,
    label: str,
) -> Colouring:
    if probe is None or layer == "embedding":
        return map_colours.embedding_or_evidence(selection, files)

    def placed(values: np.ndarray) -> np.ndarray:
        return frame.on_place(files, probe.cells, values.astype(np.float64), np.nan)

    if layer == "unsure":
        return colours.ramp(
            placed(probe.uncertainty),
            title="How unsure the probe is",
            note="0: one class is certain; 1: all are alike"
            if painted.kind == "class"
            else "standard deviation of the prediction, relative",
            ends=(0.0, 1.0) if painted.kind == "class" else None,
        )
    if painted.kind == "number":
        return colours.ramp(placed(probe.predicted[:, 0]), title="Predicted from your numbers")
    if layer == "probability":
        which = painted.classes.index(label) if label in painted.classes else 0
        return colours.ramp(
            placed(probe.predicted[:, which]),
            title=f"Probability of “{painted.classes[which]}”",
            ends=(0.0, 1.0),
        )
    chosen = placed(probe.predicted.argmax(1))
    # In the order of their names, so that a class keeps its colour while others grow.
    order = np.repeat(np.arange(len(painted.classes)), np.arange(len(painted.classes), 0, -1))
    return colours.classes(
        chosen,
        painted.classes,
        measured=order.astype(np.float64),
        title="Predicted from your labels",
        note="the most probable class",
    )


def _score(probe: LabelProbe) -> None:
    score = probe.score
    if not isinstance(score, HonestScore):
        st.caption(f":material/info: No honest score yet: {score}.")
        return
    if probe.painted.kind == "number":
        name, value = "R²", score.metrics["r2"]
        more = f"Rank correlation {score.metrics['spearman']:.2f}."
    else:
        name, value = "F1", score.metrics["f1"]
        more = (
            f"{score.right} of {score.n} cells right; always saying the largest class: "
            f"{score.guess}."
        )
    st.metric(
        f"{name} in blocks left out",
        f"{value:.2f}",
        help="Each block of the map that you painted in is left out in turn and predicted from the "
        "others. Cells that you painted side by side in one block do not help each other.",
    )
    st.caption(
        f"{more} From {score.n} painted cells in {score.blocks} blocks: it is of cells such as you "
        "chose to paint, and uncertain while they are few."
    )


def _next_rows(files: PlaceFiles, selection: Selection, probe: LabelProbe) -> np.ndarray:
    where = cache.probe_key(files, selection.run, "")[:4]
    key = ("next", where, probe.painted.classes, probe.painted.rows.tobytes(),
           probe.painted.values.tobytes())  # fmt: skip
    return work.kept(
        key,
        lambda: next_cells(
            probe.features, probe.cells, probe.painted.rows, probe.uncertainty, count=NEXT
        ),
    )


def _next(files: PlaceFiles, probe: LabelProbe, rows: np.ndarray, label: str) -> None:
    """The list of cells to label next, which the map rings."""
    cells = grid.to_strings(probe.cells[rows])
    st.markdown(
        "**Label next**",
        help="Uncertain, unlike the cells that are labelled, and far from them on the ground: "
        "ringed on the map. “Learn” shows for known targets what this order is worth.",
    )
    with st.container(height=230, gap="small"):
        for rank, (cell, row) in enumerate(zip(cells, rows, strict=True), 1):
            look, said, give = st.columns([0.7, 2, 1.6], vertical_alignment="center", gap="small")
            look.button(
                str(rank),
                key=f"next-look-{rank}",
                on_click=_look,
                args=(files, cell),
                help=f"Shows cell {cell} on the map.",
            )
            said.caption(_guess(probe, int(row)))
            give.button(
                "Label this",
                key=f"next-give-{rank}",
                disabled=label in ("", NOTHING),
                on_click=state.paint,
                args=((cell,), label),
                width="stretch",
                help="Paints it with the label that is set above, if that is what it is.",
            )


def _look(files: PlaceFiles, cell: str) -> None:
    state.choose_cell(cell)
    frame.fly_to(files, cell)


def _guess(probe: LabelProbe, row: int) -> str:
    if probe.painted.kind == "number":
        return f"perhaps {shown(probe.predicted[row, 0])}"
    best = int(probe.predicted[row].argmax())
    name = probe.painted.classes[best]
    return f"{name if len(name) < 18 else name[:17] + '…'}? {probe.predicted[row, best]:.0%}"


def _downloads(files: PlaceFiles, selection: Selection, probe: LabelProbe) -> None:
    def table() -> object:
        painted = np.full(len(probe.cells), "", object)
        names = probe.painted.classes
        painted[probe.painted.rows] = [
            names[int(one)] if names else f"{one:g}" for one in probe.painted.values
        ]
        columns: dict[str, object] = {"painted": painted}
        if names:
            columns["predicted"] = np.array(names, object)[probe.predicted.argmax(1)]
            columns |= {
                f"probability {name}": probe.predicted[:, i] for i, name in enumerate(names)
            }
        else:
            columns["predicted"] = probe.predicted[:, 0]
        columns["uncertainty"] = probe.uncertainty
        score = probe.score
        return export.results_table(
            probe.cells,
            columns,
            {
                "place": cache.load_place(files).name,
                "run": selection.run,
                "what": "predicted from labels painted in the app",
                "labels": len(probe.painted.rows),
                "score": dict(score.metrics) if isinstance(score, HonestScore) else score,
            },
        )

    with st.popover("Download", icon=":material/download:", width="stretch"):
        probe_export.buttons(table, f"mobclip-{files.key}-painted", "painted predictions")
