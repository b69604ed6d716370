"""What a manifest says, read and checked: a dataclass for each kind of entry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["points", "rasters", "zones", "flows"]
TargetKind = Literal["number", "binary", "class", "composition"]
Transform = Literal["none", "log1p"]
Weighting = Literal["area", "plain", "population", "flows"]
KINDS = ("points", "rasters", "zones", "flows")
HISTOGRAM_UNITS = {"count": None, "people": None, "households": None, "percent": 0.01, "share": 1.0}
POPULATION = "population"  # the conventional name of the count of people
TARGET_KINDS = ("number", "binary", "class", "composition")
WEIGHTINGS = ("area", "plain", "population", "flows")
AGGREGATES = {"points": ("count", "sum", "mean", "density"), "zones": ("value", "density")}
SUFFIXES = (
    *(".csv", ".csv.gz", ".parquet", ".geojson", ".geojson.gz", ".shp", ".gpkg", ".zip"),
    *(".tif", ".tiff"),
)


@dataclass(frozen=True, kw_only=True)
class Area:
    """The part of the world that a place covers: a box, or the union of a zones source."""

    bbox: tuple[float, float, float, float] | None = None  # west, south, east, north, degrees
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class HistogramSpec:
    """Bins that partition a total."""

    bins: Mapping[str, str]  # label -> column
    unit: str  # one of HISTOGRAM_UNITS
    total: str | None = None  # column of the total; required where the bins are parts of it

    @property
    def part_scale(self) -> float | None:
        """Turns a bin into a part of `total` (0.01 for percent); None where bins are counts."""
        return HISTOGRAM_UNITS[self.unit]


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """A column made of others: scale x (sum of add - sum of subtract) / sum of per."""

    add: tuple[str, ...]
    subtract: tuple[str, ...] = ()
    per: tuple[str, ...] = ()
    scale: float = 1.0
    per_at_least: float = 0.0  # below this the result is not known: too few to speak of a share


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the value of one column must be for a row to stay. A row without value goes."""

    allowed: tuple[Any, ...] | None = None
    excluded: tuple[Any, ...] = ()
    min: Any = None
    max: Any = None
    min_column: str | None = None
    max_column: str | None = None


@dataclass(frozen=True, kw_only=True)
class Per:
    """Denominator of a rate: times x number / count of the zone."""

    count: str  # a name in the `counts` of the level
    times: float = 1.0
    at_least: float = 0.0  # below this the rate is not known


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """One quantity to be predicted from embeddings."""

    name: str
    title: str
    unit: str
    column: str | None  # None for a count of points, and where there are `classes`
    aggregate: str  # one of AGGREGATES[kind of the source]; "value" at level "point"
    level: str  # "cell", "point", or the name of the zones source whose zones are the units
    kind: TargetKind = "number"
    classes: Mapping[str, str] = field(default_factory=dict)  # label -> column, or -> category
    most_frequent: int = 0  # instead of classes: so many of the most frequent categories
    above: float | None = None  # of a binary target: it is so above this number
    weighting: Weighting = "area"  # of zones
    per: Per | None = None
    transform: Transform = "none"
    absent: Literal["zero", "missing"] = "missing"  # what a unit without any record means
    ceiling: float | None = None  # largest R² that the noise allows
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """One file of one provider: provenance, and what its columns mean."""

    name: str
    kind: Kind
    path: str
    provider: str
    licence: str
    citation: str
    date: str
    url: tuple[str, ...] = ()
    sha256: str = ""  # empty only for a generator
    bytes: int = 0  # 0 only for a generator
    origin: str = ""
    note: str = ""
    crs: str | None = None
    member: str | None = None
    nodata: float | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # role -> columns
    where: Mapping[str, Condition] = field(default_factory=dict)
    missing: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    derive: Mapping[str, Derivation] = field(default_factory=dict)
    id_width: int | None = None
    repeated_ids: Literal["error", "merge"] = "error"
    geometry_from: str | None = None
    zones: str | None = None
    counts: Mapping[str, str] = field(default_factory=dict)
    histograms: Mapping[str, HistogramSpec] = field(default_factory=dict)
    intensive: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, TargetSpec] = field(default_factory=dict)
    generator: Mapping[str, Any] | None = None

    def column(self, role: str) -> str | None:
        """The one column that plays `role`, or None."""
        return self.columns[role][0] if role in self.columns else None

    @property
    def value_columns(self) -> tuple[str, ...]:
        """Numeric columns that the records carry: of the file, or of `derive`."""
        named = [*self.counts.values(), *self.intensive.values()]
        for histogram in self.histograms.values():
            named += [*histogram.bins.values(), *([histogram.total] if histogram.total else [])]
        for target in self.targets.values():
            named += [target.column] if target.column else []
            named += target.classes.values() if self.kind == "zones" else []
        return tuple(dict.fromkeys(named))

    @property
    def file_columns(self) -> tuple[str, ...]:
        """Columns that the file must have."""
        named = [column for columns in self.columns.values() for column in columns]
        for column, condition in self.where.items():
            ends = (condition.min_column, condition.max_column)
            named += [column, *(end for end in ends if end)]
        for name in self.value_columns:
            rule = self.derive.get(name)
            named += [name] if rule is None else [*rule.add, *rule.subtract, *rule.per]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, kw_only=True)
class ModalitySpec:
    """The sources that make the tokens of one modality."""

    name: str
    sources: tuple[str, ...]
    featurizer: str | None = None  # None: the default of the modality
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PlaceSpec:
    """One place: its grid, area, files and modalities."""

    name: str
    title: str
    resolution: int
    area: Area
    sources: Mapping[str, SourceSpec]
    modalities: Mapping[str, ModalitySpec]
    generator: Mapping[str, Any] | None = None
    note: str = ""

    @property
    def targets(self) -> dict[str, TargetSpec]:
        """Targets of all sources, by name."""
        return {
            name: target
            for source in self.sources.values()
            for name, target in source.targets.items()
        }
