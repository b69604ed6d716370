"""YAML -> entries, with every problem in words."""

import datetime
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Literal, cast

from mobclip.manifest.entries import (
    AGGREGATES,
    HISTOGRAM_UNITS,
    KINDS,
    POPULATION,
    SUFFIXES,
    TARGET_KINDS,
    WEIGHTINGS,
    Area,
    Condition,
    Derivation,
    HistogramSpec,
    ModalitySpec,
    Per,
    PlaceSpec,
    SourceSpec,
    TargetKind,
    TargetSpec,
    Transform,
    Weighting,
)

_PLACE_KEYS = ("title", "resolution", "area", "sources", "modalities", "generator", "note")
_PROVENANCE_KEYS = (
    *("kind", "path", "provider", "licence", "citation", "date"),
    *("url", "sha256", "bytes", "origin", "note"),
)
_KIND_KEYS = {
    "points": ("crs", "member", "columns", "where", "missing", "derive", "targets"),
    "flows": ("crs", "member", "columns", "where", "missing", "id_width", "zones"),
    "zones": (
        *("crs", "member", "columns", "where", "missing", "derive", "targets"),
        *("id_width", "repeated_ids", "geometry_from", "counts", "histograms", "intensive"),
    ),
    "rasters": ("crs", "nodata"),
}
# The sets of roles of which one must be there whole; the empty one: the geometry of the file.
_ROLE_SETS: dict[str, tuple[tuple[str, ...], ...]] = {
    "points": (("lon", "lat"), ("cell",), ()),
    "zones": (("id",),),
    "flows": (
        ("origin_lon", "origin_lat", "destination_lon", "destination_lat"),
        ("origin", "destination"),
        ("origin_cell", "destination_cell"),
    ),
}
_TARGET_KEYS = (
    *("title", "unit", "kind", "column", "classes", "above", "aggregate", "weighting", "per"),
    *("transform", "ceiling", "note"),
)
# Keys of a target that only some kinds of target have.
_KINDS_OF_KEY = {
    "column": ("number", "binary"),
    "aggregate": ("number", "binary"),
    "absent": ("number", "binary"),
    "per": ("number", "binary"),
    "above": ("binary",),
    "transform": ("number",),
    "ceiling": ("number",),
}
_CLASSES = {
    "zones": "two or more of `label: column`, each its own column",
    "points": "a list of two or more categories, or how many of the most frequent ones",
}
_OPTIONAL_ROLES = {"points": ("text", "category", "weight"), "zones": (), "flows": ("weight",)}


def listed(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names)) if names else "nothing"


def nearest(word: Any, allowed: Sequence[str]) -> str:
    """` Did you mean 'columns'?`, or nothing."""
    close = difflib.get_close_matches(str(word), list(allowed), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class Parser:
    """Turns YAML into entries and collects problems instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def problem(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    # ---- pieces -------------------------------------------------------------------------------

    def mapping(
        self, value: Any, where: str, *, keys: Sequence[str], required: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A mapping with known keys only."""
        if not isinstance(value, dict):
            self.problem(where, f"{value!r} is not a mapping with the keys {listed(keys)}.")
            return {}
        for key in value:
            if key not in keys:
                self.problem(
                    where,
                    f"unknown key {key!r}.{nearest(key, keys)} Allowed: {listed(keys)}.",
                )
        for key in required:
            if value.get(key) in (None, ""):
                self.problem(where, f"{key} is missing: add it.")
        return {key: item for key, item in value.items() if key in keys and item is not None}

    def named(self, value: Any, where: str) -> dict[str, Any]:
        """A mapping from names, which become file names, to bodies."""
        if not isinstance(value, dict) or not value:
            self.problem(where, f"{value!r} is not a mapping from names to entries.")
            return {}
        good = {}
        for name, body in value.items():
            if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                good[name] = body
            else:
                self.problem(
                    where, f"{name!r} is not a name: use letters, digits, '-' and '_', in quotes."
                )
        return good

    def text(self, value: Any, where: str) -> str:
        if isinstance(value, (str, int, float, datetime.date)) and not isinstance(value, bool):
            return str(value).strip()
        self.problem(where, f"{value!r} is not text.")
        return ""

    def texts(self, value: Any, where: str) -> tuple[str, ...]:
        """One text or a list of them."""
        items = value if isinstance(value, list) else [value]
        if not items:
            self.problem(where, "the list is empty: name at least one.")
        return tuple(self.text(item, where) for item in items)

    def number(self, value: Any, where: str) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        self.problem(where, f"{value!r} is not a number.")
        return 0.0

    def whole(self, value: Any, where: str, *, low: int, high: int | None = None) -> int:
        span = f"{low} to {high}" if high is not None else f"{low} or more"
        good = isinstance(value, int) and not isinstance(value, bool)
        if good and value >= low and (high is None or value <= high):
            return int(value)
        self.problem(where, f"{value!r} is not allowed: choose a whole number, {span}.")
        return low

    def choice(self, value: Any, where: str, allowed: Sequence[str]) -> str:
        if value in allowed:
            return str(value)
        self.problem(
            where, f"{value!r} is not allowed.{nearest(value, allowed)} Choose {listed(allowed)}."
        )
        return allowed[0]

    def renaming(self, value: Any, where: str) -> dict[str, str]:
        """`label: column`, or a list of columns that are their own labels."""
        if isinstance(value, list):
            value = {item: item for item in value}
        if not isinstance(value, dict) or not value:
            self.problem(where, f"{value!r} is not a mapping from names to columns.")
            return {}
        return {
            self.text(label, where): self.text(column, f"{where}.{label}")
            for label, column in value.items()
        }

    # ---- places -------------------------------------------------------------------------------

    def place(self, name: str, body: Any) -> PlaceSpec:
        where = f"places.{name}"
        required = ("title", "resolution", "area", "sources", "modalities")
        given = self.mapping(body, where, keys=_PLACE_KEYS, required=required)
        generator = given.get("generator")
        if generator is not None and not (isinstance(generator, dict) and "name" in generator):
            self.problem(f"{where}.generator", f"{generator!r} is not a mapping with a name.")
            generator = None
        sources = {
            key: self.source(key, item, f"{where}.sources.{key}", generator)
            for key, item in self.named(given.get("sources", {}), f"{where}.sources").items()
        }
        modalities = {
            key: self.modality(key, item, f"{where}.modalities.{key}", sources)
            for key, item in self.named(given.get("modalities", {}), f"{where}.modalities").items()
        }
        self.references(where, sources, modalities)
        return PlaceSpec(
            name=name,
            title=self.text(given.get("title", name), f"{where}.title"),
            resolution=self.whole(
                given.get("resolution", 0), f"{where}.resolution", low=0, high=15
            ),
            area=self.area(given["area"], f"{where}.area", sources) if "area" in given else Area(),
            sources=sources,
            modalities=modalities,
            generator=generator,
            note=self.text(given.get("note", ""), f"{where}.note"),
        )

    def area(self, value: Any, where: str, sources: Mapping[str, SourceSpec]) -> Area:
        given = self.mapping(value, where, keys=("bbox", "source"))
        if len(given) != 1:
            self.problem(where, "give either bbox: [west, south, east, north] or source: NAME.")
        elif "source" in given:
            source = self.reference(given["source"], f"{where}.source", sources, kind="zones")
            return Area(source=source)
        elif isinstance(given["bbox"], list) and len(given["bbox"]) == 4:
            west, south, east, north = (self.number(v, f"{where}.bbox") for v in given["bbox"])
            if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                self.problem(
                    f"{where}.bbox",
                    f"{given['bbox']} is not [west, south, east, north] in degrees, with "
                    "west < east in -180..180 and south < north in -90..90.",
                )
            return Area(bbox=(west, south, east, north))
        else:
            self.problem(
                f"{where}.bbox", f"{given['bbox']!r} is not [west, south, east, north] in degrees."
            )
        return Area()

    def modality(
        self, name: str, body: Any, where: str, sources: Mapping[str, SourceSpec]
    ) -> ModalitySpec:
        given = self.mapping(
            body, where, keys=("sources", "featurizer", "options"), required=("sources",)
        )
        named = self.texts(given.get("sources", [""]), f"{where}.sources")
        options = given.get("options", {})
        if not isinstance(options, dict):
            self.problem(f"{where}.options", f"{options!r} is not a mapping.")
            options = {}
        featurizer = given.get("featurizer")
        return ModalitySpec(
            name=name,
            sources=tuple(
                self.reference(source, f"{where}.sources", sources) for source in named if source
            ),
            featurizer=None if featurizer is None else self.text(featurizer, f"{where}.featurizer"),
            options=options,
        )

    def reference(
        self, name: Any, where: str, sources: Mapping[str, SourceSpec], *, kind: str | None = None
    ) -> str:
        """The name of a source of this place, of the right kind."""
        if name not in sources:
            self.problem(
                where,
                f"there is no source {name!r} in this place.{nearest(name, list(sources))} "
                f"Its sources: {listed(list(sources))}.",
            )
        elif kind is not None and sources[name].kind != kind:
            of_kind = [key for key, source in sources.items() if source.kind == kind]
            self.problem(
                where,
                f"{name!r} is a source of {sources[name].kind}, but {kind} are needed: "
                f"choose {listed(of_kind)}.",
            )
        return str(name)

    def references(
        self,
        where: str,
        sources: Mapping[str, SourceSpec],
        modalities: Mapping[str, ModalitySpec],
    ) -> None:
        """Names that point from one source to another, and target names."""
        owners: dict[str, str] = {}
        for key, source in sources.items():
            here = f"{where}.sources.{key}"
            for name, value in (("geometry_from", source.geometry_from), ("zones", source.zones)):
                if value is None:
                    continue
                self.reference(value, f"{here}.{name}", sources, kind="zones")
                if value in sources and sources[value].geometry_from is not None:
                    self.problem(
                        f"{here}.{name}",
                        f"{value!r} has no polygons of its own: name "
                        f"{sources[value].geometry_from!r}, from which it takes them.",
                    )
            for target in source.targets.values():
                if target.level not in ("cell", "point", key):
                    level = f"{here}.targets.{target.name}.level"
                    self.reference(target.level, level, sources, kind="zones")
                self.weights(target, f"{here}.targets.{target.name}", sources, modalities)
                if target.name in owners:
                    self.problem(
                        f"{here}.targets.{target.name}",
                        f"the source {owners[target.name]!r} has a target of this name already: "
                        "names of targets are unique in a place.",
                    )
                owners[target.name] = key

    def weights(
        self,
        target: TargetSpec,
        where: str,
        sources: Mapping[str, SourceSpec],
        modalities: Mapping[str, ModalitySpec],
    ) -> None:
        """What `weighting` and `per` of a target need from elsewhere in the place."""
        peopled = any(POPULATION in source.counts for source in sources.values())
        if target.weighting == "population" and not peopled:
            self.problem(
                f"{where}.weighting",
                f"no zones source of this place has `counts: {{{POPULATION}: COLUMN}}`: add it "
                "where the people are counted, or choose another weighting.",
            )
        if target.weighting == "flows" and "mobility" not in modalities:
            self.problem(
                f"{where}.weighting",
                "this place has no modality mobility, whose flows would be the weights: add it, "
                "or choose another weighting.",
            )
        counts = sources[target.level].counts if target.level in sources else {}
        if target.per is not None and target.per.count not in counts:
            self.problem(
                f"{where}.per.count",
                f"{target.per.count!r} is not among the counts of {target.level!r}, which has "
                f"{listed(list(counts))}.{nearest(target.per.count, list(counts))} Declare it "
                f"under `counts` of {target.level!r}.",
            )

    # ---- sources ------------------------------------------------------------------------------

    def source(
        self, name: str, body: Any, where: str, generator: Mapping[str, Any] | None
    ) -> SourceSpec:
        kind = body.get("kind") if isinstance(body, dict) else None
        if kind not in KINDS:
            self.problem(
                f"{where}.kind",
                f"{kind!r} is not a kind of records.{nearest(kind, KINDS)} Choose {listed(KINDS)}.",
            )
            return SourceSpec(
                name=name, kind="points", path="", provider="", licence="", citation="", date=""
            )
        required = ["path", "provider", "licence", "citation", "date"]
        if generator is None:
            required += ["sha256", "bytes"]
        keys = _PROVENANCE_KEYS + _KIND_KEYS[kind]
        given = self.mapping(body, where, keys=keys, required=required)

        def text(key: str) -> str:
            return self.text(given.get(key, ""), f"{where}.{key}")

        url = self.texts(given["url"], f"{where}.url") if given.get("url") else ()
        for address in url:
            if not address.startswith(("https://", "http://")):
                self.problem(f"{where}.url", f"{address!r} does not begin with https://.")
        if generator is None and not url and not given.get("origin"):
            self.problem(where, "give a url, or say in `origin` where the file comes from.")
        columns = self.columns(kind, given, where)
        return SourceSpec(
            name=name,
            kind=kind,
            path=self.path(given.get("path", "x.csv"), kind, f"{where}.path"),
            provider=text("provider"),
            licence=text("licence"),
            citation=text("citation"),
            date=text("date"),
            url=url,
            sha256=self.sha256(given["sha256"], where) if given.get("sha256") else "",
            bytes=self.whole(given["bytes"], f"{where}.bytes", low=1) if "bytes" in given else 0,
            origin=text("origin"),
            note=text("note"),
            crs=text("crs") or None,
            member=text("member") or None,
            nodata=self.number(given["nodata"], f"{where}.nodata") if "nodata" in given else None,
            columns=columns,
            where=self.conditions(given.get("where", {}), f"{where}.where"),
            missing=self.missing(given.get("missing", {}), f"{where}.missing"),
            derive=self.derivations(given.get("derive", {}), f"{where}.derive"),
            id_width=(
                self.whole(given["id_width"], f"{where}.id_width", low=1, high=40)
                if "id_width" in given
                else None
            ),
            repeated_ids=cast(
                Literal["error", "merge"],
                self.choice(
                    given.get("repeated_ids", "error"), f"{where}.repeated_ids", ("error", "merge")
                ),
            ),
            geometry_from=text("geometry_from") or None,
            zones=self.flow_zones(given, columns, where) if kind == "flows" else None,
            counts=self.renaming(given["counts"], f"{where}.counts") if "counts" in given else {},
            histograms=self.histograms(given.get("histograms", {}), f"{where}.histograms"),
            intensive=(
                self.renaming(given["intensive"], f"{where}.intensive")
                if "intensive" in given
                else {}
            ),
            targets=self.targets(
                given.get("targets", {}),
                f"{where}.targets",
                kind=kind,
                level=str(given.get("geometry_from", name)) if kind == "zones" else "cell",
                categories="category" in columns,
            ),
            generator=generator,
        )

    def path(self, value: Any, kind: str, where: str) -> str:
        path = PurePosixPath(self.text(value, where))
        if path.is_absolute() or ".." in path.parts or "\\" in str(path):
            self.problem(
                where,
                f"{str(path)!r} must be relative to the data folder, with '/' and without '..': "
                "point MOBCLIP_MIRROR at the folder that holds your files.",
            )
        images = (".tif", ".tiff")
        allowed = [s for s in SUFFIXES if (s in images) == (kind == "rasters")]
        if not str(path).lower().endswith(tuple(allowed)):
            self.problem(
                where, f"no reader of {kind} for {path.name!r}. Suffixes: {listed(allowed)}."
            )
        return str(path)

    def sha256(self, value: Any, where: str) -> str:
        text = str(value).lower()
        if not re.fullmatch(r"[0-9a-f]{64}", text):
            self.problem(
                f"{where}.sha256",
                f"{value!r} has {len(text)} characters; a sha256 has 64 hexadecimal digits. "
                "`sha256sum FILE` prints it.",
            )
        return text

    def columns(self, kind: str, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        if kind == "rasters":
            return {}
        where = f"{where}.columns"
        sets = _ROLE_SETS[kind]
        roles = [role for roles in sets for role in roles] + list(_OPTIONAL_ROLES[kind])
        found = self.mapping(given.get("columns", {}), where, keys=roles)
        positions = [role for role in found if role not in _OPTIONAL_ROLES[kind]]
        if set(positions) not in [set(roles) for roles in sets]:
            ways = " or ".join(" + ".join(roles) for roles in sets if roles)
            missing = min(
                (set(roles) - set(positions) for roles in sets if set(roles) >= set(positions)),
                key=len,
                default=set(),
            )
            hint = f"; {listed(sorted(missing))} missing" if missing and positions else ""
            self.problem(where, f"{kind} need {ways} (given: {listed(positions)}{hint}).")
        if not positions and kind == "points" and ".csv" in str(given.get("path", "")):
            self.problem(where, "a CSV file has no geometry: name the columns lon and lat.")
        parsed = {role: self.texts(value, f"{where}.{role}") for role, value in found.items()}
        for role, columns in parsed.items():
            if len(columns) > 1 and role != "text":
                self.problem(f"{where}.{role}", f"one column is needed, not {listed(columns)}.")
        return parsed

    def flow_zones(
        self, given: Mapping[str, Any], columns: Mapping[str, Any], where: str
    ) -> str | None:
        zones = given.get("zones")
        if ("origin" in columns) != (zones is not None):
            self.problem(
                where,
                "flows between zone ids (columns origin and destination), and only they, "
                "need `zones: NAME` of the zones source with those ids.",
            )
        return None if zones is None else self.text(zones, f"{where}.zones")

    def conditions(self, value: Any, where: str) -> dict[str, Condition]:
        if not isinstance(value, dict):
            self.problem(where, f"{value!r} is not a mapping from columns to conditions.")
            return {}
        parsed = {}
        for column, rule in value.items():
            here = f"{where}.{column}"
            if isinstance(rule, dict):
                keys = ("min", "max", "not", "min_column", "max_column")
                given = self.mapping(rule, here, keys=keys)
                excluded = given.get("not", [])
                parsed[str(column)] = Condition(
                    excluded=tuple(excluded if isinstance(excluded, list) else [excluded]),
                    min=given.get("min"),
                    max=given.get("max"),
                    min_column=given.get("min_column"),
                    max_column=given.get("max_column"),
                )
                if not given:
                    self.problem(here, f"the condition is empty. Allowed: {listed(keys)}.")
            else:
                parsed[str(column)] = Condition(
                    allowed=tuple(rule if isinstance(rule, list) else [rule])
                )
        return parsed

    def missing(self, value: Any, where: str) -> dict[str, tuple[Any, ...]]:
        if not isinstance(value, dict):
            self.problem(where, f"{value!r} is not a mapping from columns to values.")
            return {}
        return {
            str(column): tuple(item if isinstance(item, list) else [item])
            for column, item in value.items()
        }

    def derivations(self, value: Any, where: str) -> dict[str, Derivation]:
        if not isinstance(value, dict):
            self.problem(where, f"{value!r} is not a mapping from new columns to rules.")
            return {}
        parsed = {}
        keys = ("add", "subtract", "per", "scale", "per_at_least")
        for name, rule in value.items():
            here = f"{where}.{name}"
            given = self.mapping(rule, here, keys=keys, required=("add",))
            parsed[str(name)] = Derivation(
                add=self.texts(given.get("add", [""]), f"{here}.add"),
                subtract=self.texts(given["subtract"], here) if "subtract" in given else (),
                per=self.texts(given["per"], here) if "per" in given else (),
                scale=self.number(given.get("scale", 1), f"{here}.scale"),
                per_at_least=self.number(given.get("per_at_least", 0), f"{here}.per_at_least"),
            )
        return parsed

    def histograms(self, value: Any, where: str) -> dict[str, HistogramSpec]:
        if not isinstance(value, dict):
            self.problem(where, f"{value!r} is not a mapping from names to histograms.")
            return {}
        parsed = {}
        for name, rule in value.items():
            here = f"{where}.{name}"
            given = self.mapping(
                rule, here, keys=("unit", "total", "bins"), required=("unit", "bins")
            )
            unit = self.choice(given.get("unit", "count"), f"{here}.unit", list(HISTOGRAM_UNITS))
            bins = self.renaming(given.get("bins", {"": ""}), f"{here}.bins")
            if len(set(bins.values())) < max(2, len(bins)):
                self.problem(f"{here}.bins", "a histogram has two bins or more, each its column.")
            total = given.get("total")
            if total is None and HISTOGRAM_UNITS[unit] is not None:
                self.problem(
                    here, f"bins in {unit} need `total`: the column of the count they are parts of."
                )
            parsed[str(name)] = HistogramSpec(
                bins=bins, unit=unit, total=None if total is None else str(total)
            )
        return parsed

    def targets(
        self, value: Any, where: str, *, kind: str, level: str, categories: bool
    ) -> dict[str, TargetSpec]:
        if not isinstance(value, dict):
            self.problem(where, f"{value!r} is not a mapping from names to targets.")
            return {}
        parsed: dict[str, TargetSpec] = {}
        for name, rule in value.items():
            here = f"{where}.{name}"
            keys = [*_TARGET_KEYS, *(("level", "absent") if kind == "points" else ())]
            given = self.mapping(rule, here, keys=keys, required=("unit",))
            of = self.choice(given.get("kind", "number"), f"{here}.kind", TARGET_KINDS)
            for key, kinds in _KINDS_OF_KEY.items():
                if key in given and of not in kinds:
                    self.problem(
                        here,
                        f"{key} is for the kinds {listed(kinds)}, not for {of}: leave it out.",
                    )
            target = self.target(str(name), given, here, kind=kind, of=of, level=level)
            if of in ("class", "composition"):
                classes, count = self.parts(given, here, kind=kind, categories=categories)
                expanded = [replace(target, column=None, classes=classes, most_frequent=count)]
            elif "classes" in given:
                expanded = [
                    replace(
                        target,
                        name=f"{name}_{label}",
                        title=f"{target.title}: {label}",
                        column=column,
                    )
                    for label, column in self.renaming(given["classes"], f"{here}.classes").items()
                ]
            else:
                expanded = [target]
            parsed |= {one.name: one for one in expanded}
        return parsed

    def target(
        self, name: str, given: Mapping[str, Any], where: str, *, kind: str, of: str, level: str
    ) -> TargetSpec:
        level = self.text(given.get("level", level), f"{where}.level")
        allowed = ("value",) if level == "point" else AGGREGATES.get(kind, ("value",))
        aggregate = self.choice(given.get("aggregate", allowed[0]), f"{where}.aggregate", allowed)
        # A count, and a density of points, is of the records themselves.
        wants_column = kind == "zones" or aggregate in ("sum", "mean", "value")
        numeric = of in ("number", "binary")
        if numeric and ("column" in given) + ("classes" in given) != wants_column:
            self.problem(
                where,
                f"the aggregate {aggregate!r} needs "
                + ("one of column and classes." if wants_column else "no column."),
            )
        if of == "composition" and level == "point":
            self.problem(where, "a point has one category, no shares: choose `kind: class`.")
        for key in ("weighting", "per"):
            if key in given and level in ("cell", "point"):
                self.problem(
                    where, f"{key} is for targets of zones: leave it out at level {level}."
                )
        if "absent" in given and level == "point":
            self.problem(where, "absent is for units of many records: leave it out at level point.")
        if of == "binary" and aggregate in ("count", "sum", "density") and "above" not in given:
            self.problem(where, f"a {aggregate} is not 0 or 1: say `above` which number it is so.")
        complete = kind == "points" and numeric and aggregate in ("count", "sum", "density")
        absent = "zero" if complete else "missing"
        ceiling = self.number(given["ceiling"], f"{where}.ceiling") if "ceiling" in given else None
        if ceiling is not None and not 0 < ceiling <= 1:
            self.problem(f"{where}.ceiling", f"{ceiling} is not an R²: choose above 0, at most 1.")
        return TargetSpec(
            name=name,
            title=self.text(given.get("title", name), f"{where}.title"),
            unit=self.text(given.get("unit", ""), f"{where}.unit"),
            column=self.text(given["column"], f"{where}.column") if "column" in given else None,
            aggregate=aggregate,
            level=level,
            kind=cast(TargetKind, of),
            above=self.number(given["above"], f"{where}.above") if "above" in given else None,
            weighting=cast(
                Weighting,
                self.choice(given.get("weighting", "area"), f"{where}.weighting", WEIGHTINGS),
            ),
            per=self.per(given["per"], f"{where}.per", aggregate) if "per" in given else None,
            transform=cast(
                Transform,
                self.choice(
                    given.get("transform", "none"), f"{where}.transform", ("none", "log1p")
                ),
            ),
            absent=cast(
                Literal["zero", "missing"],
                self.choice(given.get("absent", absent), f"{where}.absent", ("zero", "missing")),
            ),
            ceiling=ceiling,
            note=self.text(given.get("note", ""), f"{where}.note"),
        )

    def parts(
        self, given: Mapping[str, Any], where: str, *, kind: str, categories: bool
    ) -> tuple[dict[str, str], int]:
        """Classes by label, or how many of the most frequent ones."""
        if kind == "points" and not categories:
            self.problem(
                where,
                "classes of points are their categories: name their column under `columns` of the "
                "source, as `category`.",
            )
        value = given.get("classes")
        if kind == "points" and isinstance(value, int):
            return {}, self.whole(value, f"{where}.classes", low=2)
        if value is None:
            self.problem(where, f"classes is missing: give {_CLASSES[kind]}.")
            return {}, 0
        classes = self.renaming(value, f"{where}.classes")
        if len(set(classes.values())) < max(2, len(classes)):
            self.problem(
                f"{where}.classes", f"there are to be two classes or more: give {_CLASSES[kind]}."
            )
        return classes, 0

    def per(self, value: Any, where: str, aggregate: str) -> Per:
        given = self.mapping(value, where, keys=("count", "times", "at_least"), required=("count",))
        if aggregate not in ("count", "sum", "value"):
            self.problem(where, f"a {aggregate} is no amount that a rate is made of.")
        return Per(
            count=self.text(given.get("count", ""), f"{where}.count"),
            times=self.number(given.get("times", 1), f"{where}.times"),
            at_least=self.number(given.get("at_least", 0), f"{where}.at_least"),
        )
