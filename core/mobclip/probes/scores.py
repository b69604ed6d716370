"""Score embeddings on targets: random folds beside spatial blocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt64
from threadpoolctl import threadpool_limits

from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import Target
from mobclip.probes.ridge import predict_held_out
from mobclip.splits import Protocol, block_folds, random_folds

FOLDS = 5
SEEDS = (0, 1, 2)
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
