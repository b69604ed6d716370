"""Tokenizers: the records of a place -> the evidence of one modality at its cells.

To add a modality: a file with the tokenizer, and here a function that hands it its records and a
line in `MODALITIES`. Model, loss and batches take whatever modalities a place has.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


def _poi(records: Mapping[str, Records], spec: PlaceSpec, cells: np.ndarray) -> Evidence:
    featurizer = _featurizer("poi", spec, "tfidf")
    table = poi.tokenize(_of_kind("poi", PointRecords, records, spec), cells, featurizer)
    return Evidence(cells=table.cells, table=table, featurizer=featurizer)


def _imagery(records: Mapping[str, Records], spec: PlaceSpec, cells: np.ndarray) -> Evidence:
    featurizer = _featurizer("imagery", spec, "mosaiks")
    table = imagery.tokenize(_of_kind("imagery", RasterRecords, records, spec), cells, featurizer)
    return Evidence(cells=table.cells, table=table, featurizer=featurizer)


def _demographics(records: Mapping[str, Records], spec: PlaceSpec, cells: np.ndarray) -> Evidence:
    zones = _of_kind("demographics", ZoneRecords, records, spec)
    specs = [spec.sources[zone.source] for zone in zones]
    table = demographics.tokenize(zones, specs, cells)
    return Evidence(cells=table.cells, table=table)


def _mobility(records: Mapping[str, Records], spec: PlaceSpec, cells: np.ndarray) -> Evidence:
    zones = {name: one for name, one in records.items() if isinstance(one, ZoneRecords)}
    graph = mobility.build(_of_kind("mobility", FlowRecords, records, spec), cells, zones)
    return Evidence(cells=cells[graph.present], graph=graph)


MODALITIES: dict[str, Callable[[Mapping[str, Records], PlaceSpec, np.ndarray], Evidence]] = {
    "mobility": _mobility,
    "poi": _poi,
    "imagery": _imagery,
    "demographics": _demographics,
}
"""Modality name -> tokenizer(records of the place, its manifest entry, its candidate cells)."""

__all__ = ["MODALITIES", "Evidence", "demographics", "imagery", "mobility", "poi", "targets"]
