"""Probe, "Your data": a table of one's own becomes a target, after a look at what it holds."""

import hashlib

import brought
import cache
import state
import streamlit as st
from cache import PlaceFiles
from streamlit.delta_generator import DeltaGenerator

from mobclip.errors import MobclipError
from mobclip.evaluation import own_targets
from mobclip.evaluation.own_targets import Key, Report, Upload
from mobclip.session import Selection
from views import frame, layers, map_colours
from views import probe_work as work

KINDS = {"number": "a number", "binary": "yes or no", "class": "a class"}
_WHERE = {"cells": "H3 cells", "lonlat": "degrees", "points": "points", "zones": ""}


def show(
    left: DeltaGenerator, right: DeltaGenerator, selection: Selection, files: PlaceFiles
) -> None:
    """The panel beside the map."""
    with right:
        _mine(files, selection)
        file = st.file_uploader(
            "A table of yours",
            type=["csv", "parquet", "geoparquet", "pq"],
            key="upload",
            max_upload_size=own_targets.MAX_BYTES >> 20,
            help="CSV, Parquet or GeoParquet, up to 50 MB and 2 million rows, with a column of H3 "
            "cells, or longitude and latitude in degrees, or the ids of this place's zones, and a "
            "column to predict. It stays in this session: nothing is written to disk.",
        )
        colouring = None
        if file is not None:
            try:
                colouring = _look(file.getvalue(), file.name, files)
            except MobclipError as error:
                st.error(str(error), icon=":material/error:")
        else:
            _formats(files)
    frame.draw(
        left, selection, files, colouring or map_colours.embedding_or_evidence(selection, files)
    )


def _mine(files: PlaceFiles, selection: Selection) -> None:
    for name, target in list(brought.targets(files).items()):
        text, go, gone = st.columns([3, 1, 0.6], vertical_alignment="center", gap="small")
        text.markdown(f"**{target.title}** · {len(target.values):,} units")
        go.button(
            "Probe",
            key=f"go-{name}",
            on_click=lambda name=name: state.change(target=name, part="", tab="score"),
            help="Predict it from the chosen embedding.",
        )
        gone.button(
            "",
            icon=":material/delete:",
            key=f"gone-{name}",
            on_click=lambda name=name: brought.targets(files).pop(name, None),
            help="Forget it.",
        )


def _formats(files: PlaceFiles) -> None:
    zones = own_targets.zones_of(cache.load_place(files))
    levels = ", ".join(f"{level} ({len(one.ids):,})" for level, one in zones.items())
    st.markdown(
        "A row of the table says **where** it is and **what** is there:\n"
        "- an H3 cell (`h3`, as 15 hexadecimal digits), or\n"
        "- `lon` and `lat` in degrees, or points of a GeoParquet, or\n"
        f"- the id of a zone of this place{': ' + levels if levels else ' (it has none)'},\n\n"
        "and a column with a number, a yes or no, or a class. What can be used, and what cannot "
        "and why, is shown before anything is done with it."
    )


def _look(data: bytes, name: str, files: PlaceFiles) -> object:
    """Columns, choices, report, and the button that takes it; what the map shows of it."""
    place = cache.load_place(files)
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    upload: Upload = work.kept(("upload", digest, name), lambda: Upload.read(data, name))
    keys: list[Key] = work.kept(("keys", digest, files.key), lambda: upload.keys(place))
    with st.expander(f"{upload.file.rows:,} rows, {len(upload.file.table.column_names)} columns"):
        st.dataframe(
            {
                "Column": list(upload.file.table.column_names),
                "Holds": list(work.kept(("holds", digest), upload.columns).values()),
            },
            hide_index=True,
        )
        if upload.file.ignored:
            st.caption(
                f"Not read, as they hold no single values: {', '.join(upload.file.ignored)}."
            )
    if not keys:
        st.error(
            f"None of its columns says where in {place.title} a row is. Give H3 cells, lon and "
            "lat in degrees, or ids of zones of this place.",
            icon=":material/error:",
        )
        return None
    where, what = st.columns(2, gap="small")
    key = where.selectbox(
        "Where",
        keys,
        format_func=lambda one: f"{' and '.join(one.columns)}: {_WHERE[one.kind]}{one.level}",
        key=f"own-key-{digest}",
        help="Which column says where a row is, and how. The way that finds most rows here "
        "comes first.",
    )
    columns = work.kept(("values", digest, str(key)), lambda: upload.value_columns(key))
    if not columns:
        st.error(
            "No other column can be predicted: it takes a number, a yes or no, or up to "
            f"{own_targets.MAX_CLASSES} classes, and values that differ.",
            icon=":material/error:",
        )
        return None
    column = what.selectbox(
        "Predict",
        columns,
        key=f"own-column-{digest}",
        help="The column with the values. Columns that cannot be predicted are left out.",
    )
    kinds = upload.kinds_of(column)
    guess = upload.kind_of(column)
    kind = st.segmented_control(
        "It is",
        kinds,
        default=guess if guess in kinds else kinds[0],
        format_func=KINDS.__getitem__,
        key=f"own-kind-{digest}-{column}",
        required=True,
        help="Guessed from the values. Numbers are predicted by ridge regression and scored by R², "
        "classes by F1, yes or no by AUC.",
    )
    report: Report = work.kept(
        ("report", digest, files.key, str(key), column, kind),
        lambda: upload.report(place, key, column, kind),
    )
    _report(report)
    if not report.used:
        return None
    title, unit = st.columns([1.6, 1], gap="small")
    named = title.text_input("Title", column, key=f"own-title-{digest}-{column}", max_chars=60)
    measure = unit.text_input("Unit", "", key=f"own-unit-{digest}-{column}", max_chars=30)
    licence = st.text_input(
        "Licence, and whose it is",
        "",
        key=f"own-licence-{digest}",
        max_chars=120,
        placeholder="CC BY 4.0, City of …",
        help="It goes with every download that is made of it. Unknown: say so.",
    )
    chosen = f"{digest}{key}{column}{kind}{named}{measure}{licence}"
    short = own_targets.PREFIX + hashlib.blake2b(chosen.encode(), digest_size=5).hexdigest()
    target = upload.target(
        place,
        key,
        column,
        kind,
        name=short,
        title=named.strip() or column,
        unit=measure.strip(),
        licence=licence.strip(),
    )

    def take() -> None:
        brought.add_targets(files, {short: target})
        state.change(target=short, part="", tab="score", layer="predicted")

    st.button(
        "Use it",
        type="primary",
        icon=":material/check:",
        key="own-use",
        width="stretch",
        disabled=not licence.strip(),
        on_click=take,
        help="Probes it like any other target. Say first under which licence it may be used.",
    )
    return layers.measured(files, target, prefix="Yours: ")


def _report(report: Report) -> None:
    text = (
        f"**{report.used:,} of {report.rows:,} rows** can be used: "
        f"{report.units:,} units, {report.cells:,} of {report.of_cells:,} cells."
    )
    if report.used == report.rows:
        st.success(text, icon=":material/check_circle:")
        return
    reasons = ", ".join(f"{count:,} {why}" for why, count in report.dropped.items())
    (st.warning if report.used else st.error)(
        f"{text} Left out: {reasons}.", icon=":material/rule:"
    )
    with st.expander("First rows that cannot be used"):
        st.dataframe(
            {
                "Row": [row for row, _, _ in report.problems],
                "Says": [what for _, what, _ in report.problems],
                "Why not": [why for _, _, why in report.problems],
            },
            hide_index=True,
        )
        st.caption("Row 1 is the first below the column names.")
