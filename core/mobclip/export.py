"""Tables keyed by cell, with where they came from, as CSV, GeoParquet and PMTiles."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import shapely
from jaxtyping import UInt64

from mobclip import __version__, grid
from mobclip.errors import ConfigError
from mobclip.storage import atomic_path

KEY = b"mobclip"  # in the metadata of a table: its provenance as JSON
DECIMALS = 6


def results_table(
    cells: UInt64[np.ndarray, " n"],
    columns: Mapping[str, np.ndarray | Sequence[Any]],
    provenance: Mapping[str, Any],
) -> pa.Table:
    """Columns keyed by cell: ``h3`` (text), ``lon``, ``lat`` of its centre, then `columns`.

    Parameters
    ----------
    cells : in the order of the rows; the same cell may stand in several
    columns : name -> one value for each row, or one vector (n, dims), such as embeddings
    provenance : JSON-able; what is None is left out. The version of mobclip is added
    """
    lonlat = grid.centers(cells)
    whole: dict[str, Any] = {
        "h3": pa.array(grid.to_strings(cells), pa.string()),
        "lon": lonlat[:, 0],
        "lat": lonlat[:, 1],
    }
    for name, values in columns.items():
        if name in (*whole, "geometry"):
            raise ConfigError(f"a column {name!r} is there already: call it something else.")
        if len(values) != len(cells):
            raise ConfigError(f"{name!r} has {len(values)} values for {len(cells)} rows.")
        if isinstance(values, np.ndarray) and values.ndim == 2:
            flat = pa.array(np.ascontiguousarray(values).ravel())
            whole[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        else:
            whole[name] = pa.array(values)
    kept = {name: one for name, one in provenance.items() if one is not None}
    header = json.dumps({"mobclip": __version__, **kept}, ensure_ascii=False)
    return pa.table(whole).replace_schema_metadata({KEY: header.encode()})


def provenance_of(table: pa.Table) -> dict[str, Any]:
    """What was said of where a table came from."""
    header: dict[str, Any] = json.loads((table.schema.metadata or {}).get(KEY, b"{}"))
    return header


def to_csv(table: pa.Table) -> bytes:
    """UTF-8 text; its first lines, which begin with #, are the provenance, one entry each.

    Numbers have up to 6 decimals; what is not known is empty; a vector has a column for each of
    its numbers.
    """
    out = io.BytesIO()
    for name, value in provenance_of(table).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        out.write(f"# {name}: {' '.join(text.split())}\n".encode())
    plain = {name: _plain(column) for name, column in _flat(table).items()}
    out.write((",".join(_quoted(name) for name in plain) + "\n").encode())
    pyarrow.csv.write_csv(
        pa.table(plain),
        out,
        pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed"),
    )
    return out.getvalue()


def to_geoparquet(table: pa.Table) -> bytes:
    """A whole GeoParquet file (1.1): the table, and the outline of each cell as its geometry.

    The provenance stands under the key ``mobclip`` of its metadata.
    """
    cells = grid.from_strings(table["h3"].to_pylist())
    outlines = grid.boundaries(cells)
    kinds = sorted({one.geom_type for one in outlines.tolist()})
    geo: dict[str, Any] = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": kinds}},
    }
    if len(outlines):
        geo["columns"]["geometry"]["bbox"] = shapely.total_bounds(outlines).tolist()
    whole = table.append_column("geometry", pa.array(shapely.to_wkb(outlines), pa.binary()))
    metadata = {**(table.schema.metadata or {}), b"geo": json.dumps(geo).encode()}
    out = io.BytesIO()
    pq.write_table(whole.replace_schema_metadata(metadata), out, compression="zstd")
    return out.getvalue()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As it is to be written: rounded; a number that is not known, empty."""
    if not pa.types.is_floating(column.type):
        return column
    known = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    # As doubles: a float32 that is rounded is written with digits that it does not have.
    return pc.round(known.cast(pa.float64()), DECIMALS)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(one in name for one in ',"\n') else name


def to_pmtiles(table: pa.Table, path: Path | str, *, title: str) -> None:
    """Vector tiles of the cells in one file (PMTiles 3), for maps on the web; atomic.

    The finest zoom shows a cell some 25 pixels wide; of coarser ones GDAL leaves out cells where
    a tile would grow too large. A vector has a column for each of its numbers; what cannot be
    known of a cell is left out there. The provenance is the description of the file.

    path : ends in .pmtiles
    """
    import pyogrio  # brings GDAL: only for tiles

    cells = grid.from_strings(table["h3"].to_pylist())
    zoom = round(8 + 1.4 * (grid.resolution_of(cells) - 6))
    outlines = shapely.force_2d(grid.boundaries(cells))
    flat = {name: column for name, column in _flat(table).items() if name not in ("lon", "lat")}
    flat["geometry"] = pa.chunked_array([pa.array(shapely.to_wkb(outlines), pa.binary())])
    with atomic_path(path) as temporary:
        pyogrio.write_arrow(
            pa.table(flat),
            temporary,
            driver="PMTiles",
            layer="cells",
            geometry_name="geometry",
            geometry_type="Unknown",
            crs="EPSG:4326",
            MINZOOM=0,
            MAXZOOM=min(max(zoom, 0), 15),
            NAME=title,
            DESCRIPTION=json.dumps(provenance_of(table), ensure_ascii=False),
        )


def _flat(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Columns by name; a vector has one for each of its numbers."""
    flat: dict[str, pa.ChunkedArray] = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_fixed_size_list(column.type):
            dims = column.type.list_size
            values = column.combine_chunks().flatten().to_numpy().reshape(-1, dims)
            flat |= {f"{name}_{i:03d}": pa.chunked_array([values[:, i]]) for i in range(dims)}
        else:
            flat[name] = column
    return flat
