"""Tokenizers: records -> a cell table, or the mobility graph. One file per modality.

To add a modality: a file with one pure function of records and cells, and an entry in
`MODALITIES` that hands it the sources which the manifest names. No modality knows another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import UInt64

from mobclip import featurizers
from mobclip.errors import ManifestError
from mobclip.featurizers import Featurizer
from mobclip.graph import MobilityGraph
from mobclip.manifest import PlaceSpec
from mobclip.modalities import demographics, imagery, mobility, poi, targets
from mobclip.records import FlowRecords, PointRecords, RasterRecords, Records, ZoneRecords
from mobclip.table import CellTable

__all__ = ["MODALITIES", "Evidence", "demographics", "imagery", "mobility", "poi", "targets"]

Cells = UInt64[np.ndarray, "cells"]
Kind = TypeVar("Kind", PointRecords, ZoneRecords, FlowRecords, RasterRecords)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one modality knows of a place: a table of tokens, or a graph."""

    cells: UInt64[np.ndarray, "present"]  # cells of which it knows something; sorted
    table: CellTable | None = None
    graph: MobilityGraph | None = None
    featurizer: Featurizer | None = None  # fitted; saved so that queries go through the same map


def _poi(records: Mapping[str, Records], place: PlaceSpec, cells: Cells) -> Evidence:
    featurizer = _featurizer(place, "poi", default="tfidf")
    points = _sources(records, place, "poi", PointRecords)
    table = poi.tokenize(points, cells, featurizer)
    return Evidence(cells=table.cells, table=table, featurizer=featurizer)


def _imagery(records: Mapping[str, Records], place: PlaceSpec, cells: Cells) -> Evidence:
    featurizer = _featurizer(place, "imagery", default="mosaiks")
    rasters = _sources(records, place, "imagery", RasterRecords)
    table = imagery.tokenize(rasters, cells, featurizer)
    return Evidence(cells=table.cells, table=table, featurizer=featurizer)


def _demographics(records: Mapping[str, Records], place: PlaceSpec, cells: Cells) -> Evidence:
    zones = _sources(records, place, "demographics", ZoneRecords)
    specs = [place.sources[name] for name in place.modalities["demographics"].sources]
    table = demographics.tokenize(zones, specs, cells)
    return Evidence(cells=table.cells, table=table)


def _mobility(records: Mapping[str, Records], place: PlaceSpec, cells: Cells) -> Evidence:
    flows = _sources(records, place, "mobility", FlowRecords)
    zones = {name: one for name, one in records.items() if isinstance(one, ZoneRecords)}
    graph = mobility.build(flows, cells, zones)
    return Evidence(cells=cells[graph.present], graph=graph)


MODALITIES: dict[str, Callable[[Mapping[str, Records], PlaceSpec, Cells], Evidence]] = {
    "poi": _poi,
    "imagery": _imagery,
    "demographics": _demographics,
    "mobility": _mobility,
}


def _featurizer(place: PlaceSpec, modality: str, *, default: str) -> Featurizer:
    spec = place.modalities[modality]
    return featurizers.make(spec.featurizer or default, **spec.options)


def _sources(
    records: Mapping[str, Records], place: PlaceSpec, modality: str, kind: type[Kind]
) -> list[Kind]:
    """Records of the sources of a modality, which must be of one kind."""
    found = []
    for name in place.modalities[modality].sources:
        one = records[name]
        if not isinstance(one, kind):
            raise ManifestError(
                f"places.{place.name}.modalities.{modality}: the source {name!r} holds "
                f"{place.sources[name].kind}, which this modality cannot use. "
                f"Name sources that are read as {kind.__name__}."
            )
        found.append(one)
    return found
