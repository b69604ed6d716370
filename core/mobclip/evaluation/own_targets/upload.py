"""Rows joined to the units of a place, and the target that they make."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import shapely
from jaxtyping import Float64
from scipy import sparse

from mobclip import grid
from mobclip.errors import RecordError
from mobclip.evaluation.external import CELL_NAMES, GEOMETRIES, LATITUDES, LONGITUDES
from mobclip.evaluation.own_targets.column import MAX_CLASSES, Column, cells_of
from mobclip.evaluation.own_targets.table_file import TableFile
from mobclip.evaluation.own_targets.zones import members_of, zones_of
from mobclip.place import Place, Target, TargetKind

SHOWN = 5  # problem rows that are named
BROKEN = "another number of values than columns"
SAMPLE = 2000  # rows by which a key is guessed


@dataclass(frozen=True, kw_only=True)
class Key:
    """How rows are joined to a place."""

    kind: Literal["cells", "lonlat", "points", "zones"]
    columns: tuple[str, ...]
    level: str = ""  # of zones: whose
    share: float = 0.0  # of the first rows that it finds in the place

    def __str__(self) -> str:
        named = " and ".join(f"“{one}”" for one in self.columns)
        what = {
            "cells": "H3 cells in",
            "lonlat": "longitude and latitude in",
            "points": "points in",
            "zones": f"zones ({self.level}) in",
        }[self.kind]
        return f"{what} {named}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a file becomes, before it is used."""

    rows: int
    used: int
    units: int  # cells or zones with a value
    cells: int  # of the place that they cover
    of_cells: int
    dropped: Mapping[str, int]  # reason -> rows
    problems: Sequence[tuple[int, str, str]]  # row (1 is the first below the header), what, why


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A table that becomes a target."""

    file: TableFile

    @classmethod
    def read(cls, data: bytes, name: str) -> "Upload":
        """Of a file's bytes; `RecordError` in words if it is too large, or of another kind."""
        return cls(file=TableFile.read(data, name))

    def columns(self) -> dict[str, str]:
        """Column -> what it holds, in words."""
        return {name: self._texts(name).worded for name in self.file.table.column_names}

    def _texts(self, column: str) -> Column:
        return Column(self.file.table.column(column))

    # ---- which columns

    def keys(self, place: Place) -> list[Key]:
        """Ways in which rows can be joined to a place, the one that finds most first."""
        plain = {
            name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in self.file.table.column_names
        }
        found: list[Key] = []
        for name, short in plain.items():
            usual = short in CELL_NAMES or re.fullmatch(r"h3(res|r)?\d{1,2}", short)
            if usual or self._looks_like_cells(name):
                found.append(Key(kind="cells", columns=(name,)))
        lon, lat = (
            next((name for one in names for name, short in plain.items() if short == one), None)
            for names in (LONGITUDES, LATITUDES)
        )
        if lon is not None and lat is not None:
            found.append(Key(kind="lonlat", columns=(lon, lat)))
        found += [
            Key(kind="points", columns=(name,))
            for name, short in plain.items()
            if pa.types.is_binary(self.file.table.schema.field(name).type)
            and (short in GEOMETRIES or len(plain) > 0)
        ]
        levels = zones_of(place)
        for name in self.file.table.column_names:
            kind = self.file.table.schema.field(name).type
            if pa.types.is_string(kind) or pa.types.is_integer(kind):
                found += [Key(kind="zones", columns=(name,), level=level) for level in levels]
        head = replace(self.file, table=self.file.table.slice(0, SAMPLE))
        scored = []
        for key in found:
            try:
                unit, _ = Upload(file=head)._units(key, place)
            except RecordError:
                continue
            share = float((unit >= 0).mean()) if len(unit) else 0.0
            if share > 0 or key.kind != "zones":
                scored.append(Key(kind=key.kind, columns=key.columns, level=key.level, share=share))
        return sorted(scored, key=lambda key: -key.share)

    def _looks_like_cells(self, column: str) -> bool:
        kind = self.file.table.schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_uint64(kind) or pa.types.is_int64(kind)):
            return False
        cells, known = cells_of(self.file.table.column(column).slice(0, 50))
        return bool(known.sum() > 0 and grid.is_cell(cells[known]).mean() > 0.9)

    def value_columns(self, key: Key | None) -> list[str]:
        """Columns that can be predicted, those that vary and are no key first."""
        taken = set(key.columns) if key else set()
        names = [
            name
            for name in self.file.table.column_names
            if name not in taken and not pa.types.is_binary(self.file.table.schema.field(name).type)
        ]
        likely = [name for name in names if self.kind_of(name) is not None]
        # Ids and numbers of rows come last: a number that is another one in every row.
        return sorted(likely, key=self._like_an_id)

    def _like_an_id(self, column: str) -> bool:
        return self._texts(column).like_an_id

    def kind_of(self, column: str) -> TargetKind | None:
        """What a column most probably is; None: nothing that can be predicted."""
        return self._texts(column).kind

    def kinds_of(self, column: str) -> list[TargetKind]:
        """What a column may be taken as."""
        one = self._texts(column)
        found: list[TargetKind] = []
        if one.is_numeric:
            found.append("number")
        if one.is_binary:
            found.append("binary")
        if 2 <= one.distinct <= MAX_CLASSES:
            found.append("class")
        return found

    # ---- joining

    def _units(self, key: Key, place: Place) -> tuple[np.ndarray, "_Units"]:
        """Unit of each row, -1 where it has none (see `_Units.why`), and the units."""
        if key.kind == "zones":
            return self._zones(key, place)
        why = np.full(self.file.rows, "", object)
        if key.kind == "cells":
            cells, known = cells_of(self.file.table.column(key.columns[0]))
            why[~known] = "no cell"
            wrong = known & ~grid.is_cell(cells)
            why[wrong] = "not an H3 cell"
            known &= ~wrong
        else:
            lon, lat = self._positions(key)
            known = np.isfinite(lon) & np.isfinite(lat)
            why[~known] = "no position"
            wrong = known & ((np.abs(lat) > 90) | (lon < -180) | (lon > 360))
            why[wrong] = "not degrees: swapped, or in a projected CRS?"
            known &= ~wrong
            cells = np.zeros(self.file.rows, np.uint64)
            cells[known] = grid.points_to_cells(
                lon=lon[known], lat=lat[known], resolution=place.resolution
            )
        at = cells.copy()
        finer = (at >> np.uint64(52)) & np.uint64(15)
        for resolution in np.unique(finer[known]).tolist():
            if resolution > place.resolution:
                here = known & (finer == resolution)
                at[here] = grid.parents(at[here], place.resolution)
        names, members = members_of(np.unique(at[known]), place)
        unit, there = grid.locate(names, at)
        there &= known
        why[known & ~there] = "outside of the place"
        found = np.where(there, unit, -1)
        ids = np.array(grid.to_strings(names), object)
        return found, _Units(ids=ids, members=members, why=why, level="cell")

    def _positions(self, key: Key) -> tuple[np.ndarray, np.ndarray]:
        if key.kind == "lonlat":
            lon, lat = (self._texts(one).numbers for one in key.columns)
            return lon, lat
        if self.file.crs:
            raise RecordError(
                f"{self.file.name} has positions in {self.file.crs}: only degrees WGS84 "
                "(EPSG:4326) are read. Reproject it first."
            )
        column = self.file.table.column(key.columns[0])
        try:
            shapes = shapely.from_wkb(np.asarray(column.to_pylist(), dtype=object))
        except shapely.errors.ShapelyError as error:
            raise RecordError(f"“{key.columns[0]}” is no geometry ({error}).") from error
        other = (shapely.get_type_id(shapes) > 0) & ~shapely.is_missing(shapes)
        if other.any():
            raise RecordError(
                f"the geometry of {self.file.name} is a {shapes[other][0].geom_type} in "
                f"{int(other.sum()):,} rows; points are read. Give points, cells, or zone ids."
            )
        return shapely.get_x(shapes), shapely.get_y(shapes)

    def _zones(self, key: Key, place: Place) -> tuple[np.ndarray, "_Units"]:
        zones = zones_of(place)[key.level]
        ids = self._texts(key.columns[0]).ids
        width = {len(one) for one in zones.ids}
        if len(width) == 1:  # leading zeros that a spreadsheet has eaten
            ids = np.array([one.zfill(next(iter(width))) if one else one for one in ids], object)
        row_of = {one: row for row, one in enumerate(zones.ids)}
        unit = np.array([row_of.get(one, -1) for one in ids], np.int64)
        why = np.full(self.file.rows, "", object)
        why[unit < 0] = "not a zone of this place"
        why[ids == ""] = "no zone id"
        return unit, _Units(ids=zones.ids, members=zones.members, why=why, level=key.level)

    def _joined(
        self, place: Place, key: Key, column: str, kind: TargetKind
    ) -> tuple[np.ndarray, Float64[np.ndarray, " rows"], tuple[str, ...], "_Units", np.ndarray]:
        """Unit (or -1) and value of each row, class names, units, and why a row has none."""
        unit, units = self._units(key, place)
        values, classes, bad = self._texts(column).as_kind(kind)
        why = units.why.copy()
        nothing = (unit >= 0) & np.isnan(values)
        why[nothing] = "no value"
        why[nothing & bad] = "not a number" if kind == "number" else "neither yes nor no"
        unit = np.where(nothing, -1, unit)
        return unit, values, classes, units, why

    def report(self, place: Place, key: Key, column: str, kind: TargetKind) -> Report:
        """What `target` would use and leave out."""
        unit, _, _, units, why = self._joined(place, key, column, kind)
        used = unit >= 0
        bad = np.flatnonzero(~used)
        reasons, counts = np.unique(why[bad].astype(str), return_counts=True)
        order = np.argsort(-counts)
        there = np.unique(unit[used])
        broken = self.file.broken
        return Report(
            rows=self.file.rows + len(broken),
            used=int(used.sum()),
            units=len(there),
            cells=len(np.unique(units.members[there].indices)),
            of_cells=len(place.cells),
            dropped={
                **({BROKEN: len(broken)} if broken else {}),
                **{str(reasons[one]): int(counts[one]) for one in order},
            },
            problems=[
                *((row, text[:80], BROKEN) for row, text in broken[:SHOWN]),
                *self._named(bad[: max(SHOWN - len(broken), 0)], [*key.columns, column], why),
            ],
        )

    def _named(
        self, rows: np.ndarray, columns: Sequence[str], why: np.ndarray
    ) -> list[tuple[int, str, str]]:
        return [
            (
                int(row) + 1,
                ", ".join(f"{one} = {self._shown(one, int(row))}" for one in columns),
                str(why[row]),
            )
            for row in rows
        ]

    def _shown(self, column: str, row: int) -> str:
        value = self.file.table.column(column)[row].as_py()
        text = "(geometry)" if isinstance(value, bytes) else "" if value is None else str(value)
        return text if len(text) <= 40 else text[:39] + "…"

    def target(
        self,
        place: Place,
        key: Key,
        column: str,
        kind: TargetKind,
        *,
        name: str,
        title: str,
        unit: str = "",
        licence: str = "",
    ) -> Target:
        """The table as a target of the place."""
        of_row, values, classes, units, _ = self._joined(place, key, column, kind)
        used = of_row >= 0
        if not used.any():
            raise RecordError(
                f"no row of {self.file.name} can be used: choose another key or value column."
            )
        there, row = np.unique(of_row[used], return_inverse=True)
        given = values[used]
        if kind == "class":
            counts = np.zeros((len(there), len(classes)))
            np.add.at(counts, (row, given.astype(np.int64)), 1)
            made = counts.argmax(1).astype(np.float64)
            # A class that no unit is left with cannot be learned.
            left, made = np.unique(made, return_inverse=True)
            classes = tuple(classes[int(one)] for one in left)
            made = made.astype(np.float64)
            if len(classes) < 2:
                raise RecordError(
                    f"“{column}” has the class “{classes[0]}” alone here: nothing to learn."
                )
        else:
            made = np.bincount(row, given) / np.bincount(row)
            if kind == "binary":
                made = (made >= 0.5).astype(np.float64)
        return Target(
            name=name,
            title=title,
            unit=unit,
            level=units.level,
            unit_ids=units.ids[there],
            values=made,
            weights=sparse.csr_array(units.members[there]),
            kind=kind,
            classes=classes,
            note=f"Your own: column “{column}” of {self.file.name}. "
            f"Licence: {licence or 'not said'}.",
        )


@dataclass(frozen=True, kw_only=True)
class _Units:
    ids: np.ndarray  # (units,) object str
    members: sparse.csr_array  # (units, cells), rows sum to 1
    why: np.ndarray  # (rows of the file,) object str: why a row has no unit
    level: str
