"""Place: a tokenized place on disk - cells, tokens, mobility graph, targets - keyed by cell."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from jaxtyping import Float64, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.chips import Chips
from mobclip.errors import ArtefactError, ConfigError
from mobclip.graph import MobilityGraph
from mobclip.manifest import TargetKind as TargetKind  # defined there, used from here
from mobclip.manifest import Transform
from mobclip.storage import (
    atomic_path,
    digest,
    read_footer,
    read_json,
    read_parquet,
    write_json,
    write_parquet,
)
from mobclip.table import CellTable

MOBILITY = "mobility"  # the modality that is a graph, not a table
IMAGERY = "imagery"  # the modality that has pictures
CHIPS = "chips"  # their folder


@runtime_checkable
class Saveable(Protocol):
    """Something that writes itself into a folder: a featurizer, which lives on a higher floor."""

    def save(self, folder: Path) -> None:
        """Write the folder."""
        ...


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be predicted from embeddings, at cells, points, or zones made of cells.

    ===========  =========================================================  ====================
    kind         values                                                     actual
    ===========  =========================================================  ====================
    number       (units,) finite, untransformed, in `unit`                  (units, 1) transformed
    binary       (units,) 0 or 1                                            (units, 2): not, is
    class        (units,) index into `classes`                              (units, classes) 0 or 1
    composition  (units, classes) shares of a whole, >= 0, each row sums    the same
                 to 1
    ===========  =========================================================  ====================
    """

    name: str
    title: str
    unit: str
    level: str  # "cell", "point", or the name of the zone source
    unit_ids: np.ndarray  # (units,) str: ids of cells or zones, row numbers of points
    values: Float64[np.ndarray, "units *classes"]  # by kind, above
    weights: sparse.csr_array  # (units, cells of the place); each row sums to 1
    kind: TargetKind = "number"
    classes: tuple[str, ...] = ()  # names of the classes, or of the parts of a composition
    transform: Transform = "none"  # of a number; declared in the manifest, never tuned
    ceiling: float | None = None  # of a number: largest R² that its noise allows, where known
    note: str = ""  # what a reader must know, e.g. that the source is weak

    def __post_init__(self) -> None:
        units = len(self.unit_ids)
        if len(self.values) != units or self.weights.shape[0] != units:
            raise ArtefactError(
                f"target {self.name!r}: {units} ids, {len(self.values)} values and "
                f"{self.weights.shape[0]} rows of weights do not fit together."
            )
        if not np.isfinite(self.values).all():
            raise ArtefactError(f"target {self.name!r} has values that are not finite.")
        named = self.kind in ("class", "composition")
        if named != bool(self.classes) or (named and len(self.classes) < 2):
            raise ConfigError(
                f"target {self.name!r}: the kind {self.kind!r} has "
                f"{'two classes or more' if named else 'no classes'}, not {list(self.classes)}."
            )
        if len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"target {self.name!r}: its classes repeat: {list(self.classes)}.")
        shape = (units, len(self.classes)) if self.kind == "composition" else (units,)
        if self.values.shape != shape:
            raise ArtefactError(
                f"target {self.name!r}: values of the kind {self.kind!r} have the shape {shape}, "
                f"not {self.values.shape}."
            )
        self._check_values()
        if self.kind != "number" and (self.transform != "none" or self.ceiling is not None):
            raise ConfigError(
                f"target {self.name!r}: a transform and a ceiling belong to the kind 'number', "
                f"not to {self.kind!r}: leave them out."
            )
        if self.transform == "log1p" and (self.values < 0).any():
            raise ConfigError(f"target {self.name!r} has negative values: log1p is not for it.")
        if self.ceiling is not None and not 0 < self.ceiling <= 1:
            raise ConfigError(
                f"target {self.name!r}: the ceiling {self.ceiling} is a largest R²: above 0, at "
                "most 1."
            )

    def _check_values(self) -> None:
        """What the kind demands of the values."""
        if self.kind == "binary":
            bad, allowed = ~np.isin(self.values, (0.0, 1.0)), "0 or 1"
        elif self.kind == "class":
            bad = ~np.isin(self.values, np.arange(len(self.classes)))
            allowed = f"a whole number from 0 to {len(self.classes) - 1}, the index of its class"
        elif self.kind == "composition":
            bad = (self.values < 0).any(axis=1) | (np.abs(self.values.sum(axis=1) - 1) > 1e-6)
            allowed = "shares of 0 or more that sum to 1"
        else:
            return
        if bad.any():
            unit = int(np.flatnonzero(bad)[0])
            raise ArtefactError(
                f"target {self.name!r}: unit {self.unit_ids[unit]} has the value "
                f"{self.values[unit].tolist()} where the kind {self.kind!r} has {allowed} "
                f"({bad.sum()} units)."
            )

    @property
    def transformed(self) -> Float64[np.ndarray, "units"]:
        """Values of a number on the scale on which they are predicted and scored."""
        if self.kind != "number":
            raise ConfigError(
                f"target {self.name!r} is of the kind {self.kind!r}, which has no scale to be "
                "transformed: use `actual`."
            )
        return np.log1p(self.values) if self.transform == "log1p" else self.values

    @property
    def actual(self) -> Float64[np.ndarray, "units outputs"]:
        """What a probe learns: the transformed number, or the probability of each class."""
        if self.kind == "number":
            return np.asarray(self.transformed)[:, None]
        if self.kind == "composition":
            return self.values
        classes = 2 if self.kind == "binary" else len(self.classes)
        return np.eye(classes)[self.values.astype(np.int64)]

    def units_of(self, per_cell: np.ndarray) -> np.ndarray:
        """Weighted mean over the cells of each unit of a (cells, ...) array."""
        return np.asarray(self.weights @ per_cell)

    def cell_of_unit(self, cells: UInt64[np.ndarray, "cells"]) -> UInt64[np.ndarray, "units"]:
        """The heaviest cell of each unit, which places the unit in a spatial block."""
        weights = self.weights
        unit = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
        heaviest_first = np.lexsort((-weights.data, unit))
        return cells[weights.indices[heaviest_first[weights.indptr[:-1]]]]

    def restrict(
        self, cells: UInt64[np.ndarray, "cells"], kept: UInt64[np.ndarray, " kept"]
    ) -> "Target":
        """The target over fewer cells: units of which half or more is left, weights rescaled.

        cells : the columns of the weights, sorted
        kept : the new columns, sorted, all among `cells`
        """
        column, known = grid.locate(cells, kept)
        if not known.all():
            raise ArtefactError(f"target {self.name!r}: some of the kept cells are not its own.")
        weights = sparse.csr_array(self.weights[:, column])
        inside = np.asarray(weights.sum(axis=1)).ravel()
        units = np.flatnonzero(inside >= 0.5)
        scaled = sparse.diags_array(1 / inside[units]) @ weights[units]
        return replace(
            self,
            unit_ids=self.unit_ids[units],
            values=self.values[units],
            weights=sparse.csr_array(scaled),
        )

    def untransformed(self, predicted: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Values on the scale of `transformed`, back in `unit`; a count is never below 0."""
        return np.maximum(np.expm1(predicted), 0) if self.transform == "log1p" else predicted

    def on_cells(
        self, values: Float64[np.ndarray, "units *outputs"] | None = None
    ) -> Float64[np.ndarray, "cells"]:
        """Value of each cell for a map, NaN without; a zone's value stands in each of its cells.

        A cell shared by several zones shows the one that it weighs most in. A composition, and
        any `values` with a column per class, shows the index of its largest part.

        values : others to be shown, one (or one row) for each unit, e.g. predictions; default:
            the measured
        """
        weights = self.weights.tocoo()
        # The heaviest unit of each cell comes last, the first of equals, and the last one stays.
        order = np.lexsort((-weights.row, weights.data, weights.col))
        shown = np.full(weights.shape[1], np.nan)
        units = self.values if values is None else values
        if units.ndim == 2:
            units = units.argmax(axis=1)
        shown[weights.col[order]] = units[weights.row[order]]
        return shown


@dataclass(frozen=True, kw_only=True)
class Place:
    """A tokenized place. Read lazily: asking for its targets does not load its tokens."""

    folder: Path
    name: str
    title: str
    resolution: int
    cells: UInt64[np.ndarray, "cells"]  # sorted: every cell of the area with some evidence
    modalities: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path | str) -> "Place":
        """Read `place.yaml` and the cells; `ArtefactError` if the place is not complete."""
        folder = Path(folder)
        try:
            header = yaml.safe_load((folder / "place.yaml").read_text("utf-8"))
            cells = read_parquet(folder / "cells.parquet", ["cell"])["cell"].to_numpy()
            if len(cells) != header["cells"]:  # the last line of place.yaml
                raise KeyError("cells")
            return cls(
                folder=folder,
                name=header["name"],
                title=header["title"],
                resolution=header["resolution"],
                cells=cells,
                modalities=tuple(header["modalities"]),
                provenance=header["provenance"],
            )
        except FileNotFoundError as error:
            raise ArtefactError(
                f"{folder} holds no place (place.yaml is missing). "
                "Make one with `mobclip tokenize <place>` or `mobclip demo`."
            ) from error
        except (yaml.YAMLError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{folder / 'place.yaml'} is damaged ({error}). Run `mobclip tokenize` again."
            ) from error

    @property
    def generated(self) -> bool:
        """Whether it is invented: made by a generator of the manifest."""
        return bool(self.provenance.get("generated"))

    @property
    def arguments(self) -> str:
        """How the command line is told of it: `synthetic --cells 600 --resolution 6`."""
        name, _, cells = self.name.rpartition("-")
        sized = self.generated and name and cells.isdigit()
        asked = f"{name} --cells {cells}" if sized else self.name
        return f"{asked} --resolution {self.resolution}"

    @cached_property
    def tables(self) -> dict[str, CellTable]:
        """Tokens of every modality that is a table."""
        return {
            name: CellTable.load(self.folder / "tokens" / f"{name}.parquet")
            for name in self.modalities
            if name != MOBILITY
        }

    @cached_property
    def graph(self) -> MobilityGraph | None:
        """The mobility graph, or None where the place has no flows."""
        return MobilityGraph.load(self.folder / MOBILITY) if MOBILITY in self.modalities else None

    @property
    def chips(self) -> Chips | None:
        """Pictures of the imagery, or None where a place has none: opened anew at each call.

        `ArtefactError` where they are not of the cells that have tokens.
        """
        folder = self.folder / CHIPS
        if IMAGERY not in self.modalities or not folder.is_dir():
            return None
        chips = Chips.load(folder)
        tokens = self._cells_on_disk(IMAGERY)
        if not np.array_equal(chips.cells, tokens):
            raise ArtefactError(
                f"{folder} has pictures of {len(chips.cells):,} cells, which are not the "
                f"{len(tokens):,} that have imagery tokens. Run `mobclip tokenize "
                f"{self.arguments}` again."
            )
        return chips

    @cached_property
    def present(self) -> dict[str, np.ndarray]:
        """modality -> (cells,) bool: which cells have evidence of it."""
        # Tokens of a nation are large: where nobody has asked for them, they are not read.
        loaded, on_disk = vars(self).get("tables"), self._cells_on_disk
        masks = {
            name: grid.locate(loaded[name].cells if loaded else on_disk(name), self.cells)[1]
            for name in self.modalities
            if name != MOBILITY
        }
        if self.graph is not None:
            masks[MOBILITY] = self.graph.present
        return {name: masks[name] for name in self.modalities}

    def _cells_on_disk(self, name: str) -> UInt64[np.ndarray, " tokens"]:
        """Cells with a token of a modality."""
        path = self.folder / "tokens" / f"{name}.parquet"
        return read_parquet(path, ["cell"])["cell"].to_numpy()

    @cached_property
    def targets(self) -> dict[str, Target]:
        """Targets by name."""
        return load_targets(self.folder, self.cells)

    def varied(
        self,
        variation: str,
        *,
        modalities: Sequence[str] | None = None,
        cells: UInt64[np.ndarray, " kept"] | None = None,
        tables: Mapping[str, CellTable] | None = None,
        graph: MobilityGraph | None = None,
    ) -> "Place":
        """The same place with other evidence, in memory: for ablations and held-out flows.

        variation : what is different, in words; it becomes part of the provenance and of its key,
            so that runs of the variation are never taken for runs of the place
        modalities : those that are kept
        cells : those that are kept (sorted); targets keep the units that lie in them by half or
            more
        tables, graph : instead of the place's own
        """
        kept = tuple(one for one in self.modalities if modalities is None or one in modalities)
        if not kept:
            raise ConfigError(
                f"{self.name} has no modality left: choose among {', '.join(self.modalities)}."
            )
        chosen = self.cells if cells is None else cells
        place = replace(
            self,
            cells=chosen,
            modalities=kept,
            provenance={
                **self.provenance,
                "key": digest({"key": self.provenance.get("key"), "variation": variation}),
                "variation": variation,
            },
        )
        # What is read lazily from disk elsewhere is set here.
        flows = graph or self.graph
        if flows is not None and cells is not None:
            flows = flows.restrict(chosen)
        place.__dict__["graph"] = flows if MOBILITY in kept else None
        given = tables or self.tables
        place.__dict__["tables"] = {
            name: given[name].restrict(chosen) for name in kept if name != MOBILITY
        }
        place.__dict__["targets"] = (
            self.targets
            if cells is None
            else {
                name: target.restrict(self.cells, chosen) for name, target in self.targets.items()
            }
        )
        return place

    def runs(self) -> list[str]:
        """Names of the runs that have embeddings of this very version of the place."""
        return sorted(
            path.parent.name
            for path in self.folder.glob("runs/*/embeddings.parquet")
            if read_footer(path)["provenance"].get("place_key") == self.provenance.get("key")
        )

    @cached_property
    def context(self) -> dict[str, Any] | None:
        """GeoJSON drawn under the cells (coast, borders, place names), or None."""
        path = self.folder / "context.geojson"
        return read_json(path) if path.is_file() else None


def save_place(
    folder: Path | str,
    *,
    name: str,
    title: str,
    resolution: int,
    cells: UInt64[np.ndarray, "cells"],
    tables: Mapping[str, CellTable],
    graph: MobilityGraph | None,
    targets: Mapping[str, Target],
    provenance: Mapping[str, Any],
    featurizers: Mapping[str, Saveable] | None = None,
    context: Mapping[str, Any] | None = None,
    chips: Path | None = None,
) -> Place:
    """Write a whole place; atomic, but for `runs/`, which a place already there keeps.

    chips : a folder of pictures (`chip_writer`), which is moved into the place
    """
    folder = Path(folder)
    with atomic_path(folder) as temporary:
        (temporary / "tokens").mkdir(parents=True)
        write_parquet(
            temporary / "cells.parquet",
            pa.table({"cell": cells, "h3": grid.to_strings(cells)}),
        )
        for table in tables.values():
            table.save(temporary / "tokens" / f"{table.modality}.parquet")
        if graph is not None:
            graph.save(temporary / MOBILITY)
        for modality, featurizer in (featurizers or {}).items():
            featurizer.save(temporary / "featurizers" / modality)
        save_targets(temporary, cells, targets)
        if chips is not None:
            shutil.move(chips, temporary / CHIPS)
        if context is not None:
            write_json(temporary / "context.geojson", context)
        modalities = [*([MOBILITY] if graph is not None else []), *tables]
        header = {
            "name": name,
            "title": title,
            "resolution": resolution,
            "modalities": modalities,
            "provenance": dict(provenance),
            "cells": len(cells),
        }
        (temporary / "place.yaml").write_text(
            yaml.safe_dump(header, sort_keys=False, allow_unicode=True), "utf-8"
        )
        if (folder / "runs").is_dir():
            (folder / "runs").rename(temporary / "runs")
    return Place.load(folder)


def save_targets(
    folder: Path, cells: UInt64[np.ndarray, "cells"], targets: Mapping[str, Target]
) -> None:
    """Write targets.json, targets.parquet and memberships.parquet (unit -> cells).

    targets.parquet has the columns target, unit_id, part and value: one row for each unit, but for
    a composition, which has one row for each unit and class, whose name is `part`.
    """
    header = {}
    values, members = [], []
    for name, target in targets.items():
        header[name] = {key: getattr(target, key) for key in _HEADER}
        parts = target.classes if target.kind == "composition" else ("",)
        units = len(target.unit_ids)
        values.append(
            pa.table(
                {
                    "target": pa.repeat(name, units * len(parts)),
                    "unit_id": pa.array(np.repeat(target.unit_ids, len(parts)), pa.string()),
                    "part": pa.array(list(parts) * units, pa.string()),
                    "value": target.values.ravel(),
                }
            )
        )
        weights = target.weights.tocoo()
        members.append(
            pa.table(
                {
                    "target": pa.repeat(name, weights.nnz),
                    "unit": pa.array(weights.row, pa.int64()),
                    "cell": cells[weights.col],
                    "weight": weights.data.astype(np.float64),
                }
            )
        )
    write_json(folder / "targets.json", header)
    write_parquet(folder / "targets.parquet", _stacked(values, _VALUES))
    write_parquet(folder / "memberships.parquet", _stacked(members, _MEMBERS))


_HEADER = ("title", "unit", "level", "kind", "classes", "transform", "ceiling", "note")
_VALUES = pa.schema(
    [
        ("target", pa.string()),
        ("unit_id", pa.string()),
        ("part", pa.string()),
        ("value", pa.float64()),
    ]
)
_MEMBERS = pa.schema(
    [
        ("target", pa.string()),
        ("unit", pa.int64()),  # row of the unit among the target's values
        ("cell", pa.uint64()),
        ("weight", pa.float64()),
    ]
)


def _stacked(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables(tables) if tables else schema.empty_table()


def load_targets(folder: Path, cells: UInt64[np.ndarray, "cells"]) -> dict[str, Target]:
    """Read what `save_targets` wrote; `ArtefactError` if an older mobclip did."""
    header = read_json(folder / "targets.json")
    values = read_parquet(folder / "targets.parquet")
    members = read_parquet(folder / "memberships.parquet")
    if "part" not in values.column_names or any(
        set(one) != set(_HEADER) for one in header.values()
    ):
        raise ArtefactError(
            f"{folder / 'targets.json'} was written by another version of mobclip, which described "
            "targets in another way. Run `mobclip tokenize` again."
        )
    targets = {}
    for name, fields in header.items():
        fields["classes"] = tuple(fields["classes"])
        rows = values.filter(pc.equal(values["target"], name))
        member = members.filter(pc.equal(members["target"], name))
        column, known = grid.locate(cells, member["cell"].to_numpy())
        if not known.all():
            raise ArtefactError(
                f"{folder / 'memberships.parquet'} names cells that the place does not have. "
                "Run `mobclip tokenize` again."
            )
        composition = fields["kind"] == "composition"
        parts = len(fields["classes"]) if composition else 1
        numbers = rows["value"].to_numpy()
        weights = sparse.csr_array(
            (member["weight"].to_numpy(), (member["unit"].to_numpy(), column)),
            shape=(len(numbers) // parts, len(cells)),
        )
        targets[name] = Target(
            name=name,
            unit_ids=rows["unit_id"].to_numpy()[::parts].astype(object),
            values=numbers.reshape(-1, parts) if composition else numbers,
            weights=weights,
            **fields,
        )
    return targets
