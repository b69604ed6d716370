"""Probes: ridge regression on frozen embeddings, on random folds beside spatial blocks.

Everything follows from the Gram matrices of the folds, so that a probe of 128 dimensions takes
milliseconds however many cells there are: the normal equations of any set of training folds are a
sum of theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt64
from threadpoolctl import threadpool_limits

from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import Target
from mobclip.splits import Protocol, block_folds, random_folds

FOLDS = 5
SEEDS = (0, 1, 2)
ALPHAS = np.logspace(-6, 2, 17)  # ridge penalty per unit, in units of the mean feature variance
PROTOCOLS: tuple[Protocol, ...] = ("random", "blocks")


@dataclass(frozen=True, kw_only=True)
class Score:
    """R² of one protocol over several seeds; a seed is a partition into folds."""

    per_seed: tuple[float, ...]  # pooled R² of the held-out predictions, scored against the mean

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.per_seed))

    @property
    def spread(self) -> float:
        """Standard deviation over seeds (n - 1); 0 for one seed."""
        return float(np.std(self.per_seed, ddof=1)) if len(self.per_seed) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How well one target is predicted from one embedding, on the target's declared scale."""

    run: str
    target: str
    n: int  # labelled units
    scores: Mapping[Protocol, Score]
    unit_ids: np.ndarray  # (n,)
    actual: Float64[np.ndarray, " n"]  # transformed as declared
    predicted: Float64[np.ndarray, " n"]  # by the folds that did not see the unit: blocks, seed 0
    folds: Int64[np.ndarray, " n"]  # those folds

    def to_rows(self) -> list[dict[str, Any]]:
        """One plain row per protocol, for probes.json."""
        return [
            {
                "run": self.run,
                "target": self.target,
                "protocol": protocol,
                "mean": score.mean,
                "spread": score.spread,
                "per_seed": list(score.per_seed),
                "n": self.n,
            }
            for protocol, score in self.scores.items()
        ]


def probe(
    embeddings: Embeddings, target: Target, *, seeds: Sequence[int] = SEEDS, folds: int = FOLDS
) -> ProbeResult:
    """Score one target: `probe_all` of one."""
    return next(probe_all(embeddings, {target.name: target}, seeds=seeds, folds=folds))


def probe_all(
    embeddings: Embeddings,
    targets: Mapping[str, Target],
    *,
    seeds: Sequence[int] = SEEDS,
    folds: int = FOLDS,
) -> Iterator[ProbeResult]:
    """Score targets from embeddings by ridge regression, cross-validated.

    A unit of several cells (a tract, a city) is the weighted mean of its cells' vectors. Penalty,
    and whether every dimension is first scaled to unit variance, are chosen by an inner
    cross-validation among the training folds, which are blocks too when the outer ones are.

    Raises
    ------
    ConfigError : a target has too few units for the folds, or does not vary
    """
    # Targets that share their units share the features, the folds and the Gram matrices.
    groups: dict[bytes, list[Target]] = {}
    for target in targets.values():
        key = b"".join(
            np.ascontiguousarray(part).tobytes()
            for part in (target.weights.indptr, target.weights.indices, target.weights.data)
        )
        groups.setdefault(key, []).append(target)
    for group in groups.values():
        yield from _probe_group(embeddings, group, seeds, folds)


def ladder(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Mean over targets per run, best on blocks first: `run, dims, blocks, random` and spreads."""
    by_run: dict[str, dict[str, list[list[float]]]] = {}
    dims: dict[str, int] = {}
    for row in table["rows"]:
        by_run.setdefault(row["run"], {}).setdefault(row["protocol"], []).append(row["per_seed"])
        dims[row["run"]] = row.get("dims", 0)
    lines = []
    for run, protocols in by_run.items():
        line: dict[str, Any] = {"run": run, "dims": dims[run]}
        for protocol, per_target in protocols.items():
            per_seed = np.mean(per_target, axis=0)  # mean over targets, seed by seed
            line[protocol] = float(per_seed.mean())
            line[f"{protocol}_spread"] = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else 0.0
        lines.append(line)
    return sorted(lines, key=lambda line: -line["blocks"])


def _probe_group(
    embeddings: Embeddings, targets: list[Target], seeds: Sequence[int], folds: int
) -> Iterator[ProbeResult]:
    first = targets[0]
    if first.weights.shape[1] != len(embeddings.cells):
        raise ConfigError(
            f"target {first.name!r} is about {first.weights.shape[1]} cells and "
            f"{embeddings.name!r} about {len(embeddings.cells)}: they are of different places."
        )
    n = len(first.values)
    if n < 4 * folds:
        raise ConfigError(
            f"target {first.name!r} has {n} labelled units: {folds} folds need {4 * folds}."
        )
    features = first.units_of(embeddings.vectors.astype(np.float64))
    features -= features.mean(0)
    actual = np.column_stack([target.transformed for target in targets])
    for target, column in zip(targets, actual.T, strict=True):
        if np.ptp(column) == 0:
            raise ConfigError(
                f"target {target.name!r} is {column[0]} everywhere: nothing to learn."
            )
    located = first.cell_of_unit(embeddings.cells)

    r2: dict[Protocol, list[np.ndarray]] = {protocol: [] for protocol in PROTOCOLS}
    shown: tuple[np.ndarray, np.ndarray] | None = None
    # Small eigenproblems: on busy cores, threads that wait for each other take 100 times as long.
    with threadpool_limits(1, "blas"):
        for seed in seeds:
            for protocol in PROTOCOLS:
                fold = _folds(protocol, located, folds, np.random.default_rng([seed, 7]))
                predicted = predict_held_out(features, actual, fold)
                residual = ((actual - predicted) ** 2).sum(0)
                r2[protocol].append(1 - residual / ((actual - actual.mean(0)) ** 2).sum(0))
                if protocol == "blocks" and shown is None:
                    shown = predicted, fold
    assert shown is not None
    for column, target in enumerate(targets):
        yield ProbeResult(
            run=embeddings.name,
            target=target.name,
            n=n,
            scores={
                protocol: Score(per_seed=tuple(float(one[column]) for one in r2[protocol]))
                for protocol in PROTOCOLS
            },
            unit_ids=target.unit_ids,
            actual=actual[:, column],
            predicted=shown[0][:, column],
            folds=shown[1],
        )


def _folds(
    protocol: Protocol, cells: UInt64[np.ndarray, " n"], folds: int, rng: np.random.Generator
) -> Int64[np.ndarray, " n"]:
    if protocol == "blocks":
        return block_folds(cells, folds=folds, rng=rng)
    return random_folds(len(cells), folds=folds, rng=rng)


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Sums over some units, enough for their normal equations. Sets add and subtract."""

    n: int
    x: np.ndarray  # (d,) sum of features
    y: np.ndarray  # (t,) sum of targets
    xx: np.ndarray  # (d, d)
    xy: np.ndarray  # (d, t)
    yy: np.ndarray  # (t,)

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> "_Moments":
        return cls(n=len(x), x=x.sum(0), y=y.sum(0), xx=x.T @ x, xy=x.T @ y, yy=(y**2).sum(0))

    def __sub__(self, other: "_Moments") -> "_Moments":
        return _Moments(
            n=self.n - other.n,
            x=self.x - other.x,
            y=self.y - other.y,
            xx=self.xx - other.xx,
            xy=self.xy - other.xy,
            yy=self.yy - other.yy,
        )


def predict_held_out(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    fold: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n t"]:
    """Ridge prediction of each unit by a model that saw none of its fold.

    For each outer fold, each candidate (scaling, penalty) is fitted on all training folds but one
    and scored on that one; the candidate with the least summed squared error is refitted on all
    training folds. The intercept is not penalised.
    """
    names = np.unique(fold)
    # Centred once: differences of sums then lose no digits.
    shift = actual.mean(0)
    y = actual - shift
    parts = [_Moments.of(features[fold == name], y[fold == name]) for name in names]
    whole = _Moments.of(features, y)
    errors = np.zeros((len(names), 2, len(ALPHAS), y.shape[1]))
    for i in range(len(names)):
        for j in range(i):
            # Trained without i and j: inner score on j for outer fold i, and the other way round.
            training = whole - parts[i] - parts[j]
            for scaled in (0, 1):
                weights, intercepts = _ridge_path(training, bool(scaled))
                errors[i, scaled] += _squared_error(parts[j], weights, intercepts)
                errors[j, scaled] += _squared_error(parts[i], weights, intercepts)
    predicted = np.empty_like(y)
    for i, name in enumerate(names):
        here = fold == name
        paths = [_ridge_path(whole - parts[i], bool(scaled)) for scaled in (0, 1)]
        best = errors[i].reshape(-1, y.shape[1]).argmin(0)
        for target, choice in enumerate(best):
            weights, intercepts = paths[choice // len(ALPHAS)]
            alpha = choice % len(ALPHAS)
            predicted[here, target] = (
                features[here] @ weights[alpha, :, target] + intercepts[alpha, target]
            )
    return predicted + shift


def _ridge_path(m: _Moments, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights (alphas, d, t) and intercepts (alphas, t) for every penalty, by one eigenproblem."""
    mean_x, mean_y = m.x / m.n, m.y / m.n
    covariance = m.xx / m.n - np.outer(mean_x, mean_x)
    cross = m.xy / m.n - np.outer(mean_x, mean_y)
    variance = np.diag(covariance)
    varies = variance > 1e-12 * variance.max()
    shared = np.full(len(variance), np.sqrt(variance[varies].mean()))
    # A dimension that does not vary takes no part.
    scale = np.where(varies, np.sqrt(np.maximum(variance, 0)) if scaled else shared, np.inf)
    values, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    projected = axes.T @ (cross / scale[:, None])
    shrunk = projected / (np.maximum(values, 0)[:, None] + ALPHAS[:, None, None])
    weights = (axes @ shrunk) / scale[:, None]
    return weights, mean_y - np.einsum("d,adt->at", mean_x, weights)


def _squared_error(
    m: _Moments, weights: np.ndarray, intercepts: np.ndarray
) -> Float64[np.ndarray, "alphas t"]:
    """Summed squared error of each model on the units behind `m`."""
    quadratic = (weights * (m.xx @ weights)).sum(1)
    linear = (weights * m.xy).sum(1)
    through_x = np.einsum("d,adt->at", m.x, weights)
    return m.yy - 2 * linear + quadratic + intercepts * (m.n * intercepts - 2 * m.y + 2 * through_x)
