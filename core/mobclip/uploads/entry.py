"""The manifest entry of a place of uploads."""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mobclip.manifest import PlaceSpec, load_manifest
from mobclip.uploads.extent import Box
from mobclip.uploads.repair import Repair
from mobclip.uploads.sheet import Sheet
from mobclip.uploads.wanted import Wanted


def document(
    sheets: Sequence[Sheet],
    wanted: Wanted,
    area: Box | None,
    repairs: Mapping[str, Repair],
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    """A whole manifest with the one place in it.

    area : its box where there are no zones; None: the world
    hashes : SHA-256 of each kind's file, where they are known
    """
    kinds = [one.kind for one in sheets]
    world = [-180.0, -90.0, 180.0, 90.0]
    entry = {
        "title": wanted.title,
        "resolution": wanted.resolution,
        "area": {"source": "zones"} if "zones" in kinds else {"bbox": list(area or world)},
        "sources": {
            one.kind: _source(
                one,
                wanted,
                repairs.get(one.kind, Repair()),
                sha256=hashes.get(one.kind, "0" * 64),
                size=max(one.path.stat().st_size, 1),
            )
            for one in sheets
        },
        "modalities": modalities(sheets),
        "note": "Made in the app from uploaded files.",
    }
    return {"places": {wanted.name: entry}}


def spec(sheets: Sequence[Sheet], wanted: Wanted, repairs: Mapping[str, Repair]) -> PlaceSpec:
    """As the manifest's own parser reads it."""
    named = Wanted(
        name="upload", title=wanted.title or "the place", resolution=wanted.resolution, licence="-"
    )
    made = document(sheets, named, None, repairs, {})
    path = sheets[0].path.parent / "data_manifest.yaml"  # beside the uploads: temporary
    path.write_text(yaml.safe_dump(made, sort_keys=False, allow_unicode=True), "utf-8")
    return load_manifest(path).place("upload")


def modalities(sheets: Sequence[Sheet]) -> dict[str, Any]:
    """What the cells will be described by."""
    found: dict[str, Any] = {}
    for sheet in sheets:
        if sheet.kind == "points":
            found["poi"] = {"sources": ["points"]}
        elif sheet.kind == "flows":
            found["mobility"] = {"sources": ["flows"]}
        elif set(sheet.uses.values()) & {"population", "count", "average"}:
            found["demographics"] = {"sources": ["zones"]}
    return found


def _source(
    sheet: Sheet,
    wanted: Wanted,
    repair: Repair,
    *,
    sha256: str,
    size: int,
) -> dict[str, Any]:
    """One file as an entry of the manifest."""
    today = datetime.date.today().isoformat()
    body: dict[str, Any] = {
        "kind": sheet.kind,
        "path": sheet.file_name,
        "provider": wanted.provider or "not stated by whoever uploaded it",
        "licence": wanted.licence,
        "citation": wanted.citation or f"{sheet.path.name}, uploaded {today}",
        "date": f"uploaded {today}",
        "sha256": sha256,
        "bytes": size,
        "origin": f"uploaded in the app as {sheet.path.name}",
        "columns": dict(sheet.columns),
    }
    if sheet.kind == "points" and not sheet.columns:
        del body["columns"]
    if sheet.crs:
        body["crs"] = sheet.crs
    if repair.missing:
        body["missing"] = {
            column: [int(one) if isinstance(one, float) and one.is_integer() else one
                     for one in codes]
            for column, codes in repair.missing.items()
        }  # fmt: skip
    if repair.limits:
        body["where"] = dict(repair.limits)
    if sheet.kind == "flows" and "origin" in sheet.columns:
        body["zones"] = "zones"
    if sheet.kind == "zones":
        used = {name: use for name, use in sheet.uses.items() if use}
        keys = _keys(list(used))
        counts = {keys[name]: name for name, use in used.items() if use == "count"}
        people = next((name for name, use in used.items() if use == "population"), None)
        if people is not None:
            counts = {"population": people, **counts}
        averages = {keys[name]: name for name, use in used.items() if use == "average"}
        targets = {
            keys[name]: {"title": name, "unit": sheet.units.get(name) or "unit not stated",
                         "column": name}
            for name, use in used.items()
            if use == "target"
        }  # fmt: skip
        roles = {"counts": counts, "intensive": averages, "targets": targets}
        body |= {key: value for key, value in roles.items() if value}
    return body


def _keys(columns: Sequence[str]) -> dict[str, str]:
    """Column -> its name in the manifest, each another one."""
    found: dict[str, str] = {}
    taken = {"population"}
    for column in columns:
        plain = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_") or "value"
        key = next(
            name
            for name in (plain, *(f"{plain}_{i}" for i in range(2, len(columns) + 3)))
            if name not in taken
        )
        taken.add(key)
        found[column] = key
    return found
