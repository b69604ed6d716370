"""Data: what the place knows of its cells and how good that is, and a place of one's own files."""

import os
from pathlib import Path

import cache
import colours
import numpy as np
import streamlit as st
import yaml
from cache import PlaceFiles
from colours import Colouring, shown

from mobclip.coverage import FEATURES, Coverage, Modality, Source, report
from mobclip.errors import ManifestError
from mobclip.session import Selection
from views import data_upload, frame, map_colours, working

SECTIONS = {
    "overview": "Overview",
    "columns": "Columns",
    "flows": "Mobility",
    "targets": "Targets",
    "sources": "Licences",
    "manifest": "Manifest",
    "add": "Add a place",
}


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    left, right = st.columns([1, 1.15], gap="medium")
    with right:
        work = working.now()
        if work is not None and work.kind == "place":
            working.open_when_done(work)
        section = st.segmented_control(
            "Section",
            list(SECTIONS),
            format_func=SECTIONS.__getitem__,
            default="overview",
            required=True,
            wrap=True,
            key="data_section",
            label_visibility="collapsed",
        )
        found = _report(files)
        colouring = map_colours.evidence(cache.load_place(files))
        if section == "add":
            data_upload.show()
        elif section == "columns":
            colouring = _columns(found, files)
        elif section == "flows":
            colouring = _flows(found, files)
        elif section == "targets":
            colouring = _targets(found, files)
        elif section == "sources":
            _sources(found)
        elif section == "manifest":
            _manifest(found)
        else:
            colouring = _overview(found, files)
    frame.draw(left, selection, files, colouring)


def _report(files: PlaceFiles) -> Coverage:
    versions = tuple(
        cache.stamp(files.folder / name) for name in ("place.yaml", "evaluation/results.json")
    )
    return _reported(files.folder, versions)


@st.cache_resource(max_entries=8, show_spinner="Looking through the place …")
def _reported(folder: Path, _versions: tuple[cache.Stamp | None, ...]) -> Coverage:
    files = PlaceFiles(folder=folder)
    return report(cache.load_place(files), cache.load_evaluation(files))


# ---- sections ----------------------------------------------------------------------------------


def _overview(found: Coverage, files: PlaceFiles) -> Colouring:
    cells, whole, sources = st.columns(3)
    cells.metric("Cells", f"{found.cells:,}", help="Cells of the area with some evidence.")
    whole.metric(
        "With everything",
        f"{found.complete:.0%}",
        help="Cells that have every kind of evidence. The others are filled in from their "
        "surroundings by some embeddings; “Evidence” on the map says where.",
    )
    sources.metric("Sources", len(found.sources), help="Files that the place was made from.")
    st.table(
        {
            "Evidence": [frame.modality_name(one.name) for one in found.modalities],
            "Cells": [f"{one.cells:,}" for one in found.modalities],
            "Share": [f"{one.share:.0%}" for one in found.modalities],
            "Columns": [str(len(one.columns)) if one.columns else "–" for one in found.modalities],
            "Constant": [_constant(one) for one in found.modalities],
            "Alike": [f"{one.alike:,}" if one.columns else "–" for one in found.modalities],
        },
        border="horizontal",
        hide_index=True,
    )
    st.caption(
        "Constant: columns that are the same in every cell. Alike: cells whose token another cell "
        "has too, number for number."
    )
    names = ["", *(one.name for one in found.modalities)]
    shown_name = st.selectbox(
        "On the map",
        names,
        format_func=lambda name: frame.modality_name(name) if name else "How many kinds",
        key=f"data_evidence {files.key}",
        help="Where there is evidence of which kind.",
    )
    st.markdown("**What to know of it**")
    if found.findings:
        st.markdown("\n".join(f"- {line}" for line in found.findings))
    else:
        st.caption("Nothing stands out.")
    if found.note:
        st.caption(f":material/info: {found.note}")
    if not shown_name:
        return map_colours.evidence(cache.load_place(files))
    mask = cache.load_place(files).present[shown_name]
    return map_colours.presence(mask, frame.modality_name(shown_name))


def _constant(one: Modality) -> str:
    return str(sum(column.constant for column in one.columns)) if one.columns else "–"


def _columns(found: Coverage, files: PlaceFiles) -> Colouring:
    tables = [one for one in found.modalities if one.columns]
    if not tables:
        st.info("This place has no tables of tokens: only flows.", icon=":material/info:")
        return map_colours.evidence(cache.load_place(files))
    by_name = {one.name: one for one in tables}
    which, what = st.columns([1, 1.4], gap="small")
    name = which.selectbox(
        "Evidence",
        list(by_name),
        format_func=frame.modality_name,
        key=f"data_modality {files.key}",
        help="Which tokens.",
    )
    one = by_name[name]
    columns = [c.name for c in one.columns]
    telling = [one for one in columns if not one.startswith(FEATURES)]
    column = what.selectbox(
        "On the map",
        columns,
        index=columns.index("log_total" if "log_total" in columns else (telling or columns)[0]),
        key=f"data_column {files.key} {name}",
        help="This column of the tokens, in every cell that has one.",
    )
    st.dataframe(
        {
            "Column": [c.name for c in one.columns],
            "Least": [c.least for c in one.columns],
            "Median": [c.middle for c in one.columns],
            "Most": [c.most for c in one.columns],
            "Zeros": [100 * c.zeros for c in one.columns],
            "Extreme": [c.extreme for c in one.columns],
            "Remark": [_remark(c.constant, c.same_as) for c in one.columns],
        },
        hide_index=True,
        height=330,
        key=f"data_table {files.key} {name}",
        column_config={
            "Column": st.column_config.TextColumn(width="medium"),
            "Least": st.column_config.NumberColumn(format="%.4g"),
            "Median": st.column_config.NumberColumn(format="%.4g"),
            "Most": st.column_config.NumberColumn(format="%.4g"),
            "Zeros": st.column_config.NumberColumn(format="%.0f %%", help="Share of cells with 0."),
            "Extreme": st.column_config.NumberColumn(
                help="Cells further than 8 robust standard deviations from the median."
            ),
        },
    )
    st.caption(
        f"{one.cells:,} cells have a token of {len(one.columns)} numbers. hist_: shares of a "
        "histogram; mean_: averages in their own unit; log_ and count_: log(1 + number); text_ and "
        "image_: features that only mean something together."
    )
    table = cache.load_place(files).tables[name]
    values = frame.on_place(files, table.cells, table.column(column).astype(float), np.nan)
    return colours.ramp(values, title=column)


def _remark(constant: bool, same_as: str) -> str:
    return "constant" if constant else f"same as {same_as}" if same_as else ""


def _flows(found: Coverage, files: PlaceFiles) -> Colouring:
    flows = found.flows
    if flows is None:
        st.info("This place has no flows.", icon=":material/info:")
        return map_colours.evidence(cache.load_place(files))
    graph = cache.load_place(files).graph
    assert graph is not None
    returned = "–" if flows.returned is None else f"{flows.returned:.0%}"
    rows = {
        "Edges (pairs of cells with flow)": f"{flows.edges:,}",
        "Cells without any flow": f"{flows.isolated:,} ({flows.isolated / found.cells:.0%})",
        "Destinations of a cell, median": f"{flows.partners:.0f}",
        "Flow that was read": shown(flows.weight),
        "… between two cells (edges)": f"{flows.kept:.1%}",
        "… inside one cell (self loops, left out)": f"{flows.inside:.1%}",
        "… with an end outside the place": f"{flows.outside:.1%}",
        "… with an end in no known zone": f"{flows.unmatched:.1%}",
        "Flow that comes back the same way": returned,
        "Heaviest edge, of all edges": f"{flows.largest:.2%}",
    }
    st.table({"Mobility": list(rows), " ": list(rows.values())}, border="horizontal",
             hide_index=True)  # fmt: skip
    st.caption(
        "Symmetry: of what goes from one cell to another, the share that is matched by flow in the "
        "other direction; 100 % means that every pair is in balance. On the map: flow that leaves "
        "or arrives."
    )
    strength = graph.out_strength.astype(float) + graph.in_strength
    strength[strength == 0] = np.nan
    return colours.ramp(strength, title="Flow in and out", logarithmic=True)


def _targets(found: Coverage, files: PlaceFiles) -> Colouring:
    if not found.targets:
        st.info("This place has no targets to predict.", icon=":material/info:")
        return map_colours.evidence(cache.load_place(files))
    audited = any(one.nearest for one in found.targets)
    st.dataframe(
        {
            "Target": [one.title for one in found.targets],
            "Unit": [one.unit for one in found.targets],
            "Cells": [100 * one.cells for one in found.targets],
            "Values": [one.summary for one in found.targets],
            "Nearest input": [_nearest(one.nearest, one.nearest_r2) for one in found.targets],
            "Units": [one.units for one in found.targets],
            "Of": [one.level for one in found.targets],
        },
        hide_index=True,
        height=min(40 + 35 * len(found.targets), 400),
        key=f"data_targets {files.key}",
        column_config={
            "Target": st.column_config.TextColumn(width=170),
            "Unit": st.column_config.TextColumn(width=110),
            "Values": st.column_config.TextColumn(
                width=200, help="Least to most and the median, or the most frequent classes."
            ),
            "Cells": st.column_config.NumberColumn(
                format="%.0f %%", help="Share of the place's cells where it is known."
            ),
            "Units": st.column_config.NumberColumn(help="Cells, zones or points with a value."),
            "Nearest input": st.column_config.TextColumn(
                help="The input column that alone predicts it best, and its held-out R². From 0.8 "
                "on it nearly holds the answer."
            ),
        },
    )
    if not audited:
        st.caption(
            "Which input nearly holds a target is found by `mobclip evaluate "
            f"{cache.load_place(files).arguments}`, which has not been run here."
        )
    by_name = {one.name: one for one in found.targets}
    name = st.selectbox(
        "On the map: where it is known",
        list(by_name),
        format_func=lambda one: by_name[one].title,
        key=f"data_target {files.key}",
        help="Cells that lie in a unit with a value.",
    )
    if by_name[name].note:
        st.caption(f":material/info: {by_name[name].note}")
    covered = np.zeros(found.cells, bool)
    covered[cache.load_place(files).targets[name].weights.indices] = True
    return map_colours.presence(covered, f"Known: {by_name[name].title}")


def _nearest(column: str, r2: float | None) -> str:
    return f"{column} ({r2:.2f})" if r2 is not None else "–"


def _sources(found: Coverage) -> None:
    st.markdown("**Attribution**, to stand beside what you make of this place:")
    st.code(
        found.attribution or "No source is recorded.",
        language=None,
        wrap_lines=True,
        height=260 if len(found.attribution) > 700 else "content",
    )
    for one in found.sources:
        with st.expander(f"{one.name} · {one.provider or 'provider not stated'}"):
            _source(one)


def _source(one: Source) -> None:
    lines = {
        "Kind": one.kind,
        "Date": one.date,
        "Licence": one.licence or "not stated",
        "Citation": one.citation,
        "Note": one.note,
    }
    st.markdown("\n".join(f"- **{name}**: {text}" for name, text in lines.items() if text))
    if one.dropped:
        st.table(
            {
                "Rows left out": [f"{rows:,}" for rows in one.dropped.values()],
                "Why": list(one.dropped),
            },
            border="horizontal",
            hide_index=True,
        )
    else:
        st.caption("No row was left out.")


def _manifest(found: Coverage) -> None:
    st.caption(
        f"Made by mobclip {found.version or 'of an unknown version'} from inputs with the key "
        f"`{found.key or 'none'}`. A place with another key was made from other files or settings; "
        "its embeddings are not those of this one."
    )
    for path in manifests(cache.data_dir(), found.name):
        text = _entry(path, cache.stamp(path), found.name)
        if text:
            st.code(text, language="yaml", height=460, wrap_lines=True)
            st.caption(f"As it stands in `{path}` now.")
            if path.parent.parent.name == "uploads":
                st.caption(
                    "Made in the app. On the command line, with any other command at the end:"
                )
                st.code(
                    f"mobclip --manifest {path} --mirror {path.parent} probe {found.name}",
                    language="bash",
                    wrap_lines=True,
                )
            return
    st.info(
        f"No manifest on this machine has an entry for “{found.name}”. Its sources are under "
        "“Licences”.",
        icon=":material/info:",
    )


def manifests(data: Path, name: str) -> list[Path]:
    """Where the entry of a place may stand: of an upload, of this folder, that of mobclip."""
    app = Path(__file__).parents[1]
    places = (
        data / "uploads" / name / "data_manifest.yaml",
        Path(os.getcwd()) / "data_manifest.yaml",
        app / "data_manifest.yaml",
        app.parent / "data_manifest.yaml",
    )
    return [path for path in places if path.is_file()]


@st.cache_data(max_entries=16, show_spinner="Reading the manifest …")
def _entry(path: Path, _version: cache.Stamp | None, name: str) -> str:
    """The entry of a place as YAML, aliases written out; empty where there is none."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        body = document["places"][name]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ManifestError):
        return ""
    return yaml.dump(
        {"places": {name: body}}, Dumper=_Written, sort_keys=False, allow_unicode=True, width=90
    )


class _Written(yaml.SafeDumper):
    """Aliases of the manifest written out: an entry has to stand alone."""

    def ignore_aliases(self, data: object) -> bool:
        return True
