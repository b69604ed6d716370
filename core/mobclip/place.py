"""Place: a tokenized place on disk - cells, tokens, mobility graph, targets - keyed by cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from jaxtyping import Float64, UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import ArtefactError, ConfigError
from mobclip.graph import MobilityGraph
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

Transform = Literal["none", "log1p"]
MOBILITY = "mobility"  # the modality that is a graph, not a table


@runtime_checkable
class Saveable(Protocol):
    """Something that writes itself into a folder: a featurizer, which lives on a higher floor."""

    def save(self, folder: Path) -> None:
        """Write the folder."""
        ...


@dataclass(frozen=True, kw_only=True)
class Target:
    """A quantity to be predicted from embeddings, at cells or at zones made of cells."""

    name: str
    title: str
    unit: str
    level: str  # "cell", or the name of the zone source
    unit_ids: np.ndarray  # (units,) str: cell or zone ids
    values: Float64[np.ndarray, "units"]  # finite, untransformed, in `unit`
    weights: sparse.csr_array  # (units, cells of the place); each row sums to 1
    transform: Transform = "none"  # declared in the manifest, never chosen on a test fold
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
        if self.transform == "log1p" and (self.values < 0).any():
            raise ConfigError(f"target {self.name!r} has negative values: log1p is not for it.")

    @property
    def transformed(self) -> Float64[np.ndarray, "units"]:
        """Values on the scale on which they are predicted and scored."""
        return np.log1p(self.values) if self.transform == "log1p" else self.values

    def units_of(self, per_cell: np.ndarray) -> np.ndarray:
        """Weighted mean over the cells of each unit of a (cells, ...) array."""
        return np.asarray(self.weights @ per_cell)

    def cell_of_unit(self, cells: UInt64[np.ndarray, "cells"]) -> UInt64[np.ndarray, "units"]:
        """The heaviest cell of each unit, which places the unit in a spatial block."""
        weights = self.weights
        heaviest = [
            weights.indices[start + int(np.argmax(weights.data[start:stop]))]
            for start, stop in zip(weights.indptr[:-1], weights.indptr[1:], strict=True)
        ]
        return cells[np.asarray(heaviest, np.int64)]

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
        self, values: Float64[np.ndarray, "units"] | None = None
    ) -> Float64[np.ndarray, "cells"]:
        """Value of each cell for a map, NaN without; a zone's value stands in each of its cells.

        A cell shared by several zones shows the one that it weighs most in.

        values : others to be shown, one for each unit, e.g. predictions; default: the measured
        """
        weights = self.weights.tocoo()
        # The heaviest unit of each cell comes last, the first of equals, and the last one stays.
        order = np.lexsort((-weights.row, weights.data, weights.col))
        shown = np.full(weights.shape[1], np.nan)
        units = self.values if values is None else values
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

    @cached_property
    def present(self) -> dict[str, np.ndarray]:
        """modality -> (cells,) bool: which cells have evidence of it."""
        masks = {name: table.aligned(self.cells)[1] for name, table in self.tables.items()}
        if self.graph is not None:
            masks[MOBILITY] = self.graph.present
        return {name: masks[name] for name in self.modalities}

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
) -> Place:
    """Write a whole place; atomic, but for `runs/`, which a place already there keeps."""
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
    """Write targets.parquet (target, unit_id, value) and memberships.parquet (unit -> cells)."""
    header = {}
    values, members = [], []
    for name, target in targets.items():
        header[name] = {
            key: getattr(target, key) for key in ("title", "unit", "level", "transform", "note")
        }
        values.append(
            pa.table(
                {
                    "target": pa.repeat(name, len(target.values)),
                    "unit_id": pa.array(target.unit_ids, pa.string()),
                    "value": target.values,
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


_VALUES = pa.schema([("target", pa.string()), ("unit_id", pa.string()), ("value", pa.float64())])
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
    """Read what `save_targets` wrote."""
    header = read_json(folder / "targets.json")
    values = read_parquet(folder / "targets.parquet")
    members = read_parquet(folder / "memberships.parquet")
    targets = {}
    for name, fields in header.items():
        value = values.filter(pc.equal(values["target"], name))
        member = members.filter(pc.equal(members["target"], name))
        column, known = grid.locate(cells, member["cell"].to_numpy())
        if not known.all():
            raise ArtefactError(
                f"{folder / 'memberships.parquet'} names cells that the place does not have. "
                "Run `mobclip tokenize` again."
            )
        weights = sparse.csr_array(
            (member["weight"].to_numpy(), (member["unit"].to_numpy(), column)),
            shape=(value.num_rows, len(cells)),
        )
        targets[name] = Target(
            name=name,
            unit_ids=value["unit_id"].to_numpy().astype(object),
            values=value["value"].to_numpy(),
            weights=weights,
            **fields,
        )
    return targets
