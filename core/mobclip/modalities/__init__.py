"""Tokenizers: the records of a place -> the evidence of one modality at its cells.

To add a modality: a file with the tokenizer, and here a function that hands it its records and a
line in `MODALITIES`. Model, loss and batches take whatever modalities a place has.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt64

from mobclip import featurizers
from mobclip.errors import ManifestError
from mobclip.graph import MobilityGraph
from mobclip.manifest import PlaceSpec
from mobclip.modalities import demographics, imagery, mobility, poi, targets
from mobclip.records import FlowRecords, PointRecords, RasterRecords, Records, ZoneRecords
from mobclip.table import CellTable

Kind = TypeVar("Kind", PointRecords, ZoneRecords, FlowRecords, RasterRecords)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one modality knows of a place: a table of tokens, or the graph."""

    cells: UInt64[np.ndarray, "cells"]  # sorted: the cells with evidence
    table: CellTable | None = None
    graph: MobilityGraph | None = None
    featurizer: featurizers.Featurizer | None = None  # the fitted one that made the table
    chips: Path | None = None  # folder with pictures of the imagery: `mobclip.chips`


def _of_kind(
    name: str, kind: type[Kind], records: Mapping[str, Records], spec: PlaceSpec
) -> Sequence[Kind]:
    """The modality's sources, all of one kind."""
    found = [records[source] for source in spec.modalities[name].sources]
    for one in found:
        if not isinstance(one, kind):
            raise ManifestError(
                f"{spec.name}: {name} is made of {kind.__name__}, but its source {one.source!r} "
                f"holds {type(one).__name__}. Name other sources for it in the manifest."
            )
    return [one for one in found if isinstance(one, kind)]


def _featurizer(name: str, spec: PlaceSpec, default: str) -> featurizers.Featurizer:
    modality = spec.modalities[name]
    return featurizers.make(modality.featurizer or default, **modality.options)


def _poi(
    records: Mapping[str, Records],
    spec: PlaceSpec,
    cells: np.ndarray,
    _scratch: Path | None = None,
) -> Evidence:
    featurizer = _featurizer("poi", spec, "tfidf")
    table = poi.tokenize(_of_kind("poi", PointRecords, records, spec), cells, featurizer)
    return Evidence(cells=table.cells, table=table, featurizer=featurizer)


def _imagery(
    records: Mapping[str, Records],
    spec: PlaceSpec,
    cells: np.ndarray,
    scratch: Path | None = None,
) -> Evidence:
    featurizer = _featurizer("imagery", spec, "mosaiks")
    rasters = _of_kind("imagery", RasterRecords, records, spec)
    chips = scratch / "chips" if scratch else None
    table = imagery.tokenize(rasters, cells, featurizer, pictures=chips)
    return Evidence(cells=table.cells, table=table, featurizer=featurizer, chips=chips)


def picture(
    records: Mapping[str, Records], spec: PlaceSpec, cells: np.ndarray, folder: Path
) -> None:
    """Make the folder of pictures of a place whose imagery has been tokenized without."""
    imagery.picture(_of_kind("imagery", RasterRecords, records, spec), cells, folder)


def _demographics(
    records: Mapping[str, Records],
    spec: PlaceSpec,
    cells: np.ndarray,
    _scratch: Path | None = None,
) -> Evidence:
    zones = _of_kind("demographics", ZoneRecords, records, spec)
    specs = [spec.sources[zone.source] for zone in zones]
    table = demographics.tokenize(zones, specs, cells)
    return Evidence(cells=table.cells, table=table)


def _mobility(
    records: Mapping[str, Records],
    spec: PlaceSpec,
    cells: np.ndarray,
    _scratch: Path | None = None,
) -> Evidence:
    zones = {name: one for name, one in records.items() if isinstance(one, ZoneRecords)}
    graph = mobility.build(_of_kind("mobility", FlowRecords, records, spec), cells, zones)
    return Evidence(cells=cells[graph.present], graph=graph)


Tokenizer = Callable[[Mapping[str, Records], PlaceSpec, np.ndarray, Path | None], Evidence]

MODALITIES: dict[str, Tokenizer] = {
    "mobility": _mobility,
    "poi": _poi,
    "imagery": _imagery,
    "demographics": _demographics,
}
"""Modality name -> tokenizer(records, manifest entry of the place, candidate cells, scratch).

scratch : an empty folder for what is too large for memory, to be moved into the place; or None
"""

__all__ = [
    "MODALITIES",
    "Evidence",
    "demographics",
    "imagery",
    "mobility",
    "picture",
    "poi",
    "targets",
]
