"""A table as files: CSV beside GeoParquet, made when they are asked for."""

from collections.abc import Callable

import pyarrow as pa
import streamlit as st

from mobclip import export

FORMATS: dict[str, tuple[str, str, Callable[[pa.Table], bytes]]] = {
    "CSV": ("csv", "text/csv", export.to_csv),
    "GeoParquet": ("parquet", "application/vnd.apache.parquet", export.to_geoparquet),
}


def buttons(
    csv: Callable[[], pa.Table],
    parquet: Callable[[], pa.Table],
    name: str,
    *,
    key: str,
    helps: tuple[str, str],
) -> None:
    """A button for each format.

    A file is made in a thread that has no session, and `st.session_state` is then one that all
    users share: what makes a table must not look at it.

    csv, parquet : make the table of each
    name : of the files, without their endings
    """
    for column, make, help_text, (label, (ending, mime, write)) in zip(
        st.columns(2, gap="small"), (csv, parquet), helps, FORMATS.items(), strict=True
    ):
        column.download_button(
            label,
            lambda make=make, write=write: write(make()),
            file_name=f"{name}.{ending}",
            mime=mime,
            icon=":material/download:",
            width="stretch",
            key=f"download-{key}-{ending}",
            on_click="ignore",
            help=help_text,
        )
