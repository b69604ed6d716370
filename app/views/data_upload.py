"""Add a place: files, what their columns are, a report before anything is written, the work."""

import shutil
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cache
import jobs
import streamlit as st
import yaml
from cache import PlaceFiles

from mobclip import grid
from mobclip.errors import MobclipError
from views import working

if TYPE_CHECKING:
    from mobclip.uploads import Check, Sheet, Wanted

MEGABYTES = 200
WHAT = {
    "points": (
        "Points: shops, stops, sights …",
        "CSV, Parquet, GeoParquet or GeoJSON: longitude and latitude, an H3 cell or a point "
        "geometry, and a category or a name. They become points of interest.",
    ),
    "flows": (
        "Flows: trips, commuters …",
        "CSV or Parquet: origin, destination and, if you like, a weight. The ends are H3 cells, "
        "longitudes and latitudes, or ids of the zones beside them. They become mobility.",
    ),
    "zones": (
        "Zones: districts with numbers",
        "GeoJSON or GeoParquet: polygons with an id and columns of numbers. They become "
        "demographics, or targets to be predicted, and set the area of the place.",
    ),
}
TYPES = {"points": ["csv", "parquet", "geojson"], "flows": ["csv", "parquet"]}
TYPES["zones"] = ["geojson", "parquet"]
ROLES = {
    "points": {
        "lon": "Longitude",
        "lat": "Latitude",
        "cell": "H3 cell",
        "category": "Category",
        "text": "Name or text",
        "weight": "Weight",
    },
    "flows": {
        "origin": "Origin, zone id",
        "destination": "Destination, zone id",
        "weight": "Weight",
        "origin_cell": "Origin, H3 cell",
        "destination_cell": "Destination, H3 cell",
        "origin_lon": "Origin, longitude",
        "origin_lat": "Origin, latitude",
        "destination_lon": "Destination, longitude",
        "destination_lat": "Destination, latitude",
    },
    "zones": {"id": "Id"},
}
ENDS = {
    "zone ids": ("origin", "destination"),
    "H3 cells": ("origin_cell", "destination_cell"),
    "longitude and latitude": ("origin_lon", "origin_lat", "destination_lon", "destination_lat"),
}
USES = {
    "": "not used",
    "population": "people (population)",
    "count": "a count, which adds up",
    "average": "an average or a rate",
    "target": "a target to predict",
}


def show() -> None:
    """The section, in the data view or alone where there is no place yet."""
    st.markdown("#### Add a place from your own files")
    working.refused()
    if working.read_only_note("adding a place"):
        return
    work = working.now()
    if work is not None and work.running:
        _watch()
        return
    if work is not None and work.kind == "place":
        working.ended(work)
        working.hide_button(work)
    st.caption(
        f"Up to {MEGABYTES} MB each. They stay on the machine that runs this page, and nothing is "
        "written to its data folder before you press “Make the place”."
    )
    sheets = [sheet for kind in WHAT if (sheet := _file(kind)) is not None]
    if not sheets:
        return
    wanted = _wanted()
    checked = _checked(sheets, wanted)
    if checked is not None:
        _report(checked, wanted)
    _make(sheets, wanted, checked)


@st.fragment(run_every="2s")
def _watch() -> None:
    work = jobs.latest(cache.data_dir())
    if work is None or not work.running:
        st.rerun()
    working.bar(work)


# ---- files -------------------------------------------------------------------------------------


def _folder() -> Path:
    """Of this session, for what it uploads; gone when the session is."""
    kept = st.session_state.get("upload_folder")
    if kept is None:
        kept = _Folder()
        st.session_state["upload_folder"] = kept
    return kept.path


class _Folder:
    """A temporary folder that lives as long as this."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mobclip-upload-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _file(kind: str) -> "Sheet | None":
    """One file, and what its columns are read as; None without one, or where it cannot be read."""
    label, text = WHAT[kind]
    number = st.session_state.get("uploads_made", 0)  # new widgets after a place was made
    given = st.file_uploader(
        label,
        type=TYPES[kind],
        key=f"upload {kind} {number}",
        max_upload_size=MEGABYTES,
        help=text,
    )
    if given is None:
        return None
    from mobclip import uploads  # brings geopandas: only when there is a file

    folder = _folder() / kind / str(given.file_id)
    path = folder / Path(given.name).name
    try:
        if not path.is_file():
            shutil.rmtree(folder.parent, ignore_errors=True)
            folder.mkdir(parents=True)
            with st.spinner("Receiving the file …"), path.open("wb") as file:
                shutil.copyfileobj(given, file)
        seen = _preview(path, cache.stamp(path))
    except (MobclipError, OSError) as error:
        st.error(str(error).replace(str(path), path.name), icon=":material/error:")
        return None
    guessed = uploads.guess(kind, seen)
    with st.expander(
        f"{path.name}: {seen.format}, {seen.rows:,} rows, {len(seen.columns)} columns",
        expanded=True,
    ):
        return _choices(guessed, f"{kind} {given.file_id}")


@st.cache_data(max_entries=16, show_spinner="Looking into the file …")
def _preview(path: Path, _version: cache.Stamp | None) -> Any:
    from mobclip.uploads import preview

    return preview(path)


def _choices(guessed: "Sheet", key: str) -> "Sheet":
    seen = guessed.preview
    names = [one.name for one in seen.columns]
    stated = f"CRS {seen.crs}" if seen.crs else "no CRS stated"
    if seen.geometry:
        st.caption(f"Geometry: {seen.geometry}; {stated}.")
    kinds = {one.name: one for one in seen.columns}

    def about(name: str) -> str:
        return f"{name} · {kinds[name].kind}" if name else "none"

    roles, columns = _roles(guessed, key), {}
    for start in range(0, len(roles), 2):
        for place, role in zip(st.columns(2, gap="small"), roles[start : start + 2], strict=False):
            options = ["", *names]
            default = guessed.columns.get(role, "")
            chosen = place.selectbox(
                ROLES[guessed.kind][role],
                options,
                index=options.index(default) if default in options else 0,
                format_func=about,
                key=f"{key} {role}",
                help="Which column this is; the proposal goes by names and contents.",
            )
            if chosen:
                columns[role] = chosen
    sheet = replace(guessed, columns=columns)
    if guessed.kind == "zones":
        sheet = _uses(sheet, key)
    else:
        _columns_table(guessed)
    positions = any(role.endswith("lon") for role in columns)
    if positions or (seen.geometry and not seen.crs):
        crs = st.text_input(
            "Coordinate reference system",
            placeholder="EPSG:4326 (longitude and latitude in degrees)",
            key=f"{key} crs",
            help="Only where the positions are not longitude and latitude in degrees (WGS84): the "
            "code of the system, such as EPSG:32616.",
        )
        sheet = replace(sheet, crs=crs.strip())
    return sheet


def _roles(guessed: "Sheet", key: str) -> list[str]:
    """Which roles are asked for."""
    if guessed.kind == "flows":
        proposed = next(
            (name for name, ends in ENDS.items() if set(ends) <= set(guessed.columns)), "zone ids"
        )
        ends = st.segmented_control(
            "The ends are",
            list(ENDS),
            default=proposed,
            required=True,
            key=f"{key} ends",
            wrap=True,
            help="How the file says where a flow begins and where it ends.",
        )
        return [*ENDS[ends or proposed], "weight"]
    if guessed.kind == "zones":
        return ["id"]
    if guessed.preview.geometry:
        return ["category", "text", "weight"]
    if st.toggle(
        "Positions are H3 cells",
        value="cell" in guessed.columns,
        key=f"{key} cells",
        help="Instead of longitude and latitude.",
    ):
        return ["cell", "weight", "category", "text"]
    return ["lon", "lat", "category", "text", "weight"]


def _columns_table(guessed: "Sheet") -> None:
    columns = guessed.preview.columns
    st.dataframe(
        {
            "Column": [one.name for one in columns],
            "Holds": [one.kind for one in columns],
            "For example": [", ".join(one.examples) for one in columns],
            "Empty": [100 * one.missing for one in columns],
        },
        hide_index=True,
        height=min(38 + 35 * len(columns), 220),
        column_config={
            "Empty": st.column_config.NumberColumn(
                format="%.0f %%", help="Share without a value, of the first rows."
            )
        },
    )


def _uses(sheet: "Sheet", key: str) -> "Sheet":
    """What the numbers of the zones are: a table to be edited."""
    named = [one for one in sheet.preview.columns if one.name in sheet.uses]
    if not named:
        st.caption("This file has no columns of numbers.")
        return sheet
    import pandas as pd

    back = {text: use for use, text in USES.items()}
    edited = st.data_editor(
        pd.DataFrame(
            {
                "Column": [one.name for one in named],
                "Is": [USES[sheet.uses[one.name]] for one in named],
                "Unit": ["" for _ in named],
                "For example": [", ".join(one.examples) for one in named],
            }
        ),
        key=f"{key} uses",
        hide_index=True,
        disabled=["Column", "For example"],
        height=min(38 + 35 * len(named), 250),
        column_config={
            "Column": st.column_config.TextColumn(width=190),
            "Is": st.column_config.SelectboxColumn(
                width=170,
                options=list(back),
                required=True,
                help="Counts are spread over the cells of a zone, averages are not. A target is "
                "not shown to the model: it is there to be predicted.",
            ),
            "Unit": st.column_config.TextColumn(width=90, help="Of a target, e.g. euros a month."),
        },
    )
    return replace(
        sheet,
        uses={row["Column"]: back[row["Is"]] for row in edited.to_dict("records")},
        units={row["Column"]: str(row["Unit"] or "") for row in edited.to_dict("records")},
    )


# ---- the place ---------------------------------------------------------------------------------


def _wanted() -> "Wanted":
    from mobclip.uploads import Wanted

    st.markdown("**The place**")
    short, long = st.columns([1, 1.4], gap="small")
    name = short.text_input(
        "Name", key="upload_name", max_chars=40, placeholder="my-town",
        help="Small letters, digits and “-”: the name of its folder and of its manifest entry.",
    )  # fmt: skip
    title = long.text_input(
        "Title", key="upload_title", max_chars=80, placeholder="My town",
        help="What people call it; shown everywhere.",
    )  # fmt: skip
    size, licence = st.columns([1, 1.4], gap="small")
    resolution = size.number_input(
        "H3 resolution", min_value=3, max_value=12, value=8, key="upload_resolution",
        help="The size of the cells; one step up makes them seven times smaller.",
    )  # fmt: skip
    size.caption(f"Edges of about {grid.edge_km(int(resolution)):.2g} km.")
    granted = licence.text_input(
        "Licence of the files", key="upload_licence", max_chars=200,
        placeholder="CC BY 4.0, ODbL 1.0, own data …",
        help="Required: it stands beside everything that is made of the place.",
    )  # fmt: skip
    with st.expander("Provider, citation, area"):
        provider = st.text_input("Provider", key="upload_provider", max_chars=200,
                                 help="Who publishes the files.")  # fmt: skip
        citation = st.text_input("Citation", key="upload_citation", max_chars=400,
                                 help="How the provider wants to be named.")  # fmt: skip
        trimmed = st.checkbox(
            "Leave out the outermost hundredth of the positions on each side",
            key="upload_trimmed",
            help="Where there are no zones, the area is the box around all positions. A few lost "
            "ones far away would make it huge.",
        )
    return Wanted(
        name=name.strip(),
        title=title.strip(),
        resolution=int(resolution),
        licence=granted.strip(),
        provider=provider.strip(),
        citation=citation.strip(),
        trimmed=trimmed,
    )


def _checked(sheets: "list[Sheet]", wanted: "Wanted") -> "Check | None":
    """The report on these very choices, or None until it is asked for."""
    chosen = (wanted.resolution, wanted.trimmed, repr(sheets))
    kept = st.session_state.get("upload_check")
    current = kept[1] if kept is not None and kept[0] == chosen else None
    if st.button(
        "Check the files",
        key="check_files",
        icon=":material/fact_check:",
        type="secondary" if current is not None else "primary",
        help="Reads all rows with these choices and reports; nothing is written.",
    ):
        from mobclip import uploads

        with st.spinner("Reading all rows …"):
            current = uploads.check(sheets, wanted)
        st.session_state["upload_check"] = (chosen, current)
        st.rerun()  # the button is no longer what comes next
    if current is None and kept is not None:
        st.caption("Something was chosen anew since the last report: check the files again.")
    return current


def _report(found: "Check", wanted: "Wanted") -> None:
    for problem in found.problems:
        st.error(problem, icon=":material/error:")
    if found.files:
        st.table(
            {
                "File": [one.kind.capitalize() for one in found.files],
                "Rows": [f"{one.rows:,}" for one in found.files],
                "Used": [f"{one.used:,}" for one in found.files],
                "Cells": [f"{one.cells:,}" for one in found.files],
                "Longitude, latitude": [_extent(one.extent) for one in found.files],
            },
            border="horizontal",
            hide_index=True,
        )
    bad = [(one.kind, *left) for one in found.files for left in one.dropped]
    if bad:
        st.markdown("**Rows that cannot be used** (the first below the header is row 1)")
        st.table(
            {
                "File": [kind.capitalize() for kind, *_ in bad],
                "Why": [why for _, why, _, _ in bad],
                "Rows": [f"{rows:,}" for _, _, rows, _ in bad],
                "The first": [", ".join(f"{row:,}" for row in first) for *_, first in bad],
            },
            border="horizontal",
            hide_index=True,
        )
    notes = [f"- {one.kind.capitalize()}: {note}" for one in found.files for note in one.notes]
    if notes:
        st.markdown("\n".join(notes))
    if found.good:
        st.success(
            f"{found.cells:,} cells of resolution {wanted.resolution} will have something in them.",
            icon=":material/check_circle:",
        )


def _extent(box: tuple[float, float, float, float] | None) -> str:
    if box is None:
        return "as the zones"
    west, south, east, north = box
    return f"{west:.2f} to {east:.2f}, {south:.2f} to {north:.2f}"


def _make(sheets: "list[Sheet]", wanted: "Wanted", checked: "Check | None") -> None:
    problems = wanted.problems(_taken())
    ready = checked is not None and checked.good and not problems
    st.button(
        "Make the place",
        key="make_place",
        icon=":material/add_location_alt:",
        type="primary" if ready else "secondary",
        disabled=not ready,
        help="Copies the files, writes their manifest entry, and makes tokens, embeddings and "
        "colours beside this page. It opens when it is done.",
        on_click=_begin,
        args=(sheets, wanted, checked),
    )
    if checked is not None and checked.good:
        for problem in problems:
            st.caption(f":material/info: {problem}")
    elif checked is None:
        st.caption("The report comes first: check the files.")


def _taken() -> list[str]:
    """Names that places have, here and in the manifests."""
    names = [cache.load_place(PlaceFiles(folder=one.folder)).name for one in cache.places()]
    names += [path.name for path in cache.data_dir().glob("uploads/*") if path.is_dir()]
    for path in (Path("data_manifest.yaml"), Path(__file__).parents[2] / "data_manifest.yaml"):
        names += _manifest_names(path, cache.stamp(path))
    return names


@st.cache_data(max_entries=4, show_spinner=False)
def _manifest_names(path: Path, version: cache.Stamp | None) -> list[str]:
    if version is None:
        return []
    try:
        return list((yaml.safe_load(path.read_text("utf-8")) or {}).get("places") or {})
    except (yaml.YAMLError, AttributeError):
        return []


def _begin(sheets: "list[Sheet]", wanted: "Wanted", checked: "Check") -> None:
    """Write the upload and start the work (a callback)."""
    from mobclip import uploads

    data = cache.data_dir().resolve()
    try:
        folder = uploads.save(data, sheets, wanted, checked)
    except (MobclipError, OSError) as error:
        st.session_state["work_refused"] = f"The place was not made: {error}"
        return
    key = f"{wanted.name}-r{wanted.resolution}"
    job = {
        "kind": "place",
        "title": f"Making {wanted.title}",
        "name": wanted.name,
        "data": str(data),
        "manifest": str(folder / "data_manifest.yaml"),
        "mirror": str(folder),
        "undo": [str(folder), str(data / "places" / key)],
        "opens": {"view": "map", "place": key, "run": "", "cell": "", "target": ""},
    }
    working.start(job, open_it=True)
    if "work_refused" in st.session_state:
        shutil.rmtree(folder, ignore_errors=True)
        return
    st.session_state.pop("upload_check", None)
    st.session_state["uploads_made"] = st.session_state.get("uploads_made", 0) + 1
