"""Leakage audit: does an input column hold the answer already?

A target that an input nearly repeats (population density in the census, population as target)
says nothing about an embedding: any that keeps the column wins. For every target we name the
column that alone predicts it best, and score `pca` with and without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from threadpoolctl import threadpool_limits

from mobclip.baselines import BASELINES, Features
from mobclip.baselines.features import MAGNITUDES
from mobclip.embeddings import Embeddings
from mobclip.place import MOBILITY, Target
from mobclip.probes import LiveRidge
from mobclip.splits import Folds
from mobclip.table import CellTable

NEAR_COPY = 0.8  # held-out R² of a line on one column from which on it is called a near copy
AUDITED = "pca"  # what is refitted without the columns: linear, and it keeps every column


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What one target owes to the input column that is most like it."""

    target: str
    n: int  # labelled units
    modality: str
    column: str  # predicts the target best, of all columns alone
    r2_column: float  # held-out R² of a line on it
    near_copy: bool  # whether any column reaches `NEAR_COPY`
    removed: tuple[str, ...]  # "<modality>: <column>": near copies and the rest of their
    # histograms; the single best column where there is no near copy
    r2: float  # held-out R² of `pca` of all columns
    r2_without: float  # of `pca` fitted without the removed columns


def audit(
    features: Features, targets: Mapping[str, Target], folds_of: Callable[[Target], Folds]
) -> list[Leak]:
    """Name the nearest input column of every target, and refit without it.

    Columns are those of the tables and the magnitudes of the flows, averaged over the units of
    the target as its probe averages vectors. With a near copy the other bins of its histogram go
    too, since they sum to 1 with it. A near copy is straight on the target's declared scale:
    what only a bent curve would reveal is not found. Flows lose their magnitude column alone;
    their singular vectors, which know most of it, stay.

    Parameters
    ----------
    features : of the place, all columns
    targets : those of other kinds than `number` are passed over
    folds_of : target -> its folds; spatial blocks, as everywhere
    """
    leaks = []
    fitted: dict[frozenset[tuple[str, str]], Embeddings] = {}
    histograms = _histograms(features)

    def score(without: frozenset[tuple[str, str]], target: Target, folds: Folds) -> float:
        if without not in fitted:
            fitted[without] = BASELINES[AUDITED].fit(features.varied(without=without))
        units = target.units_of(fitted[without].vectors.astype(np.float64))
        return float(LiveRidge(units, folds).r2(target.actual)[0])

    with threadpool_limits(1, "blas"):  # eigenproblems: see probes
        for target in targets.values():
            if target.kind != "number":
                continue
            folds = folds_of(target)
            alone = _alone(features, target, folds)
            (modality, column), best = max(alone.items(), key=lambda one: one[1])
            near = {pair for pair, r2 in alone.items() if r2 >= NEAR_COPY}
            removed = frozenset().union(
                *(histograms.get(pair, {pair}) for pair in near or {(modality, column)})
            )
            leaks.append(
                Leak(
                    target=target.name,
                    n=len(target.values),
                    modality=modality,
                    column=column,
                    r2_column=best,
                    near_copy=bool(near),
                    removed=tuple(f"{one}: {name}" for one, name in sorted(removed)),
                    r2=score(frozenset(), target, folds),
                    r2_without=score(removed, target, folds),
                )
            )
    return leaks


def lines_held_out(
    columns: Float64[np.ndarray, "n columns"], actual: Float64[np.ndarray, " n"], folds: Folds
) -> Float64[np.ndarray, "columns"]:
    """Held-out R² of a straight line on each column alone, pooled over folds.

    Ordinary least squares, all columns at once: the sums of each fold are matrix products. A
    column that does not vary where the line learns predicts the mean.
    """
    x = columns - columns.mean(0)
    spread = x.std(0)
    x /= np.where(spread > 0, spread, 1)
    y = actual - actual.mean()
    masks = np.column_stack(
        [folds.training(i) for i in range(folds.count)]
        + [folds.test(i) for i in range(folds.count)]
    ).astype(np.float64)

    def halves(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        learn, test = np.split(sums, 2, axis=-1)
        return learn, test

    n, n_test = halves(masks.sum(0))
    sum_x, sum_x_test = halves(x.T @ masks)
    sum_xx, sum_xx_test = halves((x**2).T @ masks)
    sum_xy, sum_xy_test = halves(x.T @ (masks * y[:, None]))
    sum_y, sum_y_test = halves(y @ masks)
    _, sum_yy_test = halves(y**2 @ masks)

    variance = sum_xx / n - (sum_x / n) ** 2
    covariance = sum_xy / n - (sum_x / n) * (sum_y / n)
    varies = variance > 1e-9
    slope = np.where(varies, covariance / np.where(varies, variance, 1), 0)
    intercept = sum_y / n - slope * sum_x / n
    squared = (
        sum_yy_test
        + n_test * intercept**2
        + slope**2 * sum_xx_test
        - 2 * intercept * sum_y_test
        - 2 * slope * sum_xy_test
        + 2 * intercept * slope * sum_x_test
    ).sum(axis=1)
    return np.asarray(1 - squared / (y**2).sum())


def _alone(features: Features, target: Target, folds: Folds) -> dict[tuple[str, str], float]:
    """(modality, column) -> held-out R² of a line on it."""
    found: dict[tuple[str, str], float] = {}
    for modality in features.place.modalities:
        part = features.of(modality)
        chosen = [
            i for i, name in enumerate(part.names) if modality != MOBILITY or name in MAGNITUDES
        ]
        units = target.units_of(part.values[:, chosen]).astype(np.float64)
        r2 = lines_held_out(units, target.actual[:, 0], folds)
        found |= {(modality, part.names[i]): float(one) for i, one in zip(chosen, r2, strict=True)}
    return found


def _histograms(features: Features) -> dict[tuple[str, str], frozenset[tuple[str, str]]]:
    """(modality, bin) -> all bins of its histogram."""
    found: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}
    for modality, table in features.place.tables.items():
        for bins in _partitions(table):
            pairs = frozenset((modality, name) for name in bins)
            found |= dict.fromkeys(pairs, pairs)
    return found


def _partitions(table: CellTable) -> list[list[str]]:
    """Runs of `hist_` columns that sum to 1 in every cell.

    Found by their sums, since a name does not say where the variable ends and the bin begins.
    """
    found: list[list[str]] = []
    run: list[str] = []
    total = np.zeros(len(table.cells))
    for name, values in zip(table.columns, table.values.T, strict=True):
        if not name.startswith("hist_"):
            continue
        run.append(name)
        total = total + values
        if np.allclose(total, 1, atol=1e-3):
            found.append(run)
            run, total = [], np.zeros(len(table.cells))
    return found
