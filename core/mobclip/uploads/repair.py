"""What is no number in a column of numbers: taken as not known, left out, or a problem."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mobclip.errors import RecordError
from mobclip.manifest import PlaceSpec
from mobclip.sources.preview import STRAYS, strays
from mobclip.uploads.sheet import Sheet


@dataclass(frozen=True, kw_only=True)
class Repair:
    """How the manifest has a file read where it is not as it should be."""

    missing: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # column -> not known
    limits: Mapping[str, Any] = field(default_factory=dict)  # `where` of the manifest


def repaired(sheet: Sheet, spec: PlaceSpec, notes: list[str]) -> Repair:
    """Words for “not known” among numbers, and limits; `RecordError` where neither will do.

    notes : what was done is added, in words
    """
    positions = ("lon", "lat", "origin_lon", "origin_lat", "destination_lon", "destination_lat")
    numeric = [sheet.columns[role] for role in (*positions, "weight") if role in sheet.columns]
    numeric += [name for name, use in sheet.uses.items() if use]
    if not numeric:
        return Repair()
    missing: dict[str, tuple[Any, ...]] = {}
    limits: dict[str, Any] = {}
    for column, found in strays(spec.sources[sheet.kind], sheet.path, numeric).items():
        if len(found.words) > STRAYS or found.rows > 0.5 * sheet.preview.rows:
            shown = ", ".join(repr(one) for one in found.words[:3])
            raise RecordError(
                f"the column “{column}” is to hold numbers, but holds {shown} and more "
                f"({found.rows:,} rows): choose another column."
            )
        codes: tuple[Any, ...] = found.words
        if found.words:
            shown = ", ".join(repr(one) for one in found.words[:5])
            notes.append(f"“{column}”: {shown} is taken as not known ({found.rows:,} rows).")
        counted = sheet.uses.get(column) in ("population", "count")
        if found.negative and counted:
            if len(found.negative) > 5:
                raise RecordError(
                    f"the column “{column}” has negative numbers ({found.negative[0]:g} and more): "
                    "no count. Take it as an average, or leave it out."
                )
            codes += found.negative
            shown = ", ".join(f"{one:g}" for one in found.negative)
            notes.append(f"“{column}”: {shown} is taken as not known; a count is 0 or more.")
        if codes:
            missing[column] = codes
        if found.negative and column == sheet.columns.get("weight"):
            if found.words:
                raise RecordError(
                    f"the weights in “{column}” hold both words and negative numbers: correct the "
                    "file, or choose another column."
                )
            limits[column] = {"min": 0}
            notes.append(f"“{column}”: rows with a negative weight are left out.")
    return Repair(missing=missing, limits=limits)
