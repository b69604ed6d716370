"""Zone tables -> one token per cell by area-weighted interpolation (Goodchild and Lam 1980).

What adds up (people, households, the bins of a histogram) is spread: a cell gets of each zone's
count the share of the zone's area that lies in the cell. What does not add up (a median, a rate)
is averaged, each zone weighing by its people in the cell, or by area where no population is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, UInt64
from scipy import sparse

from mobclip.errors import RecordError
from mobclip.manifest import POPULATION, HistogramSpec, SourceSpec
from mobclip.overlay import overlay
from mobclip.records import ZoneRecords
from mobclip.table import CellTable

# Less of a cell than this inside zones with people is a sliver of a border, not evidence.
MIN_COVERED = 0.1


@dataclass
class _Variable:
    """One variable over all cells, gathered from one source after the other."""

    columns: tuple[str, ...]
    amounts: np.ndarray  # (cells, columns): counts of bins, weighted sum of a mean, or a count
    weights: Float64[np.ndarray, "cells"]  # what the amounts are divided by; 0: not known


@dataclass
class _Gathered:
    variables: dict[str, _Variable] = field(default_factory=dict)
    density: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (cells,) per km², or NaN

    def add(self, name: str, variable: _Variable, source: str) -> None:
        """A variable of a further source stands only in cells that have none of it yet."""
        old = self.variables.setdefault(name, variable)
        if old is variable:
            return
        if old.columns != variable.columns:
            raise RecordError(
                f"{source}: {name} has the bins {', '.join(variable.columns)}, but another source "
                f"has {', '.join(old.columns)}. Give them the same bins, or different names."
            )
        fresh = old.weights == 0
        old.amounts[fresh] = variable.amounts[fresh]
        old.weights[fresh] = variable.weights[fresh]


def tokenize(
    zones: Sequence[ZoneRecords],
    specs: Sequence[SourceSpec],
    cells: UInt64[np.ndarray, "cells"],
) -> CellTable:
    """Tokens of all cells with people.

    Columns: ``hist_<variable>_<bin>``, which sum to 1 over the bins of a variable;
    ``mean_<name>`` for averages, in their own unit; ``log_<name>`` = log(1 + number per km² of
    the cell) for counts, ``log_population`` among them; ``has_<source>`` where a source
    does not reach all of these cells, 1 where it knows the cell.

    A cell has a token when at least a tenth of it lies in zones with people of some source. Where
    a variable is not known there (its source does not reach the cell, or has no value), its
    columns stand at the mean of the place, and its counts at that of their median; `has_` says
    so. Where two sources know the same variable, the first counts.

    Parameters
    ----------
    zones, specs : records and their entries in the manifest, in the same order
    cells : sorted, unique, one resolution
    """
    gathered = _Gathered()
    has = np.zeros((len(cells), len(zones)), bool)
    for i, (source, spec) in enumerate(zip(zones, specs, strict=True)):
        has[:, i] = _gather(source, spec, cells, gathered)
    present = has.any(axis=1)
    if not present.any():
        raise RecordError(
            f"no zone with people of {', '.join(source.source for source in zones) or 'no source'} "
            f"covers any of the {len(cells)} cells: check the area and `counts: population:`."
        )
    blocks: list[np.ndarray] = []
    columns: list[str] = []
    for variable in gathered.variables.values():
        amounts, weights = variable.amounts[present], variable.weights[present]
        known = weights > 0
        if not known.any():
            continue
        values = np.empty_like(amounts)
        values[known] = amounts[known] / weights[known, None]
        values[~known] = amounts.sum(axis=0) / weights.sum()
        blocks.append(values)
        columns += variable.columns
    for name, density in gathered.density.items():
        per_km2 = density[present]
        known = np.isfinite(per_km2)
        if known.any():
            logs = np.log1p(np.where(known, per_km2, 0))
            blocks.append(np.where(known, logs, np.median(logs[known]))[:, None])
            columns.append(f"log_{name}")
    if not columns:
        raise RecordError(
            "the sources of demographics have no counts, histograms or intensive variables: "
            "map some of their columns in data_manifest.yaml."
        )
    for source, here in zip(zones, has.T[:, present], strict=True):
        if not here.all():  # a flag that is the same everywhere says nothing
            blocks.append(here[:, None])
            columns.append(f"has_{source.source}")
    return CellTable(
        modality="demographics",
        cells=cells[present],
        values=np.concatenate(blocks, axis=1).astype(np.float32),
        columns=tuple(columns),
    )


def _gather(
    zones: ZoneRecords,
    spec: SourceSpec,
    cells: UInt64[np.ndarray, "cells"],
    gathered: _Gathered,
) -> Bool[np.ndarray, "cells"]:
    """Add the variables of one source; returns which cells it knows."""
    shared = overlay(zones, cells)
    spread = sparse.csr_array(shared.shares_of_zones().T)  # (cells, zones)
    cover = sparse.csr_array(shared.shares_of_cells().T)  # (cells, zones)
    people = None
    if POPULATION in spec.counts:
        people = np.nan_to_num(zones.values[spec.counts[POPULATION]])
        peopled = people > 0
    else:
        peopled = np.ones(len(zones), bool)
    known_cells = cover @ peopled >= MIN_COVERED

    for name, histogram in spec.histograms.items():
        counts = bin_counts(zones.values, histogram)
        counts[~np.isfinite(counts).all(axis=1)] = 0  # unknown: no weight in any bin
        if (counts < 0).any():
            raise RecordError(
                f"{zones.source}: histogram {name!r} has negative bins. Give the provider's code "
                "for 'unknown' under `missing` in data_manifest.yaml."
            )
        amounts = (spread @ counts) * known_cells[:, None]
        columns = tuple(f"hist_{name}_{label}" for label in histogram.bins)
        gathered.add(f"hist_{name}", _Variable(columns, amounts, amounts.sum(axis=1)), zones.source)

    for name, column in spec.intensive.items():
        value = zones.values[column]
        known = np.isfinite(value)
        # Weight of a zone in a cell: its people there, or its area there.
        weights = cover if people is None else spread @ sparse.diags_array(people)
        amounts = (weights @ np.where(known, value, 0.0)) * known_cells
        variable = _Variable((f"mean_{name}",), amounts[:, None], (weights @ known) * known_cells)
        gathered.add(f"mean_{name}", variable, zones.source)

    for name, column in spec.counts.items():
        value = zones.values[column]
        known = np.isfinite(value)
        per_km2 = (spread @ np.where(known, value, 0.0)) / shared.cell_area_km2
        heard = known_cells & (cover @ known > 0)
        density = gathered.density.setdefault(name, np.full(len(cells), np.nan))
        fresh = np.isnan(density) & heard
        density[fresh] = per_km2[fresh]
    return np.asarray(known_cells)


def bin_counts(
    values: Mapping[str, np.ndarray], histogram: HistogramSpec
) -> Float64[np.ndarray, "zones bins"]:
    """Count of each bin in each zone, whether the file holds counts or parts of a total."""
    bins = np.column_stack([values[column] for column in histogram.bins.values()])
    if histogram.part_scale is None:
        return bins
    assert histogram.total is not None  # required with parts; checked by the manifest
    counts: np.ndarray = bins * histogram.part_scale * values[histogram.total][:, None]
    return counts
