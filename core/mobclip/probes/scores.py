"""Score embeddings on targets: random folds beside spatial blocks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import Target, TargetKind
from mobclip.probes import boosting, logistic, metrics, neighbours, ridge
from mobclip.splits import Folds, Protocol, block_folds, buffered, random_folds, region_folds

FOLDS = 5
SEEDS = (0, 1, 2)
PROTOCOLS: tuple[Protocol, ...] = ("random", "blocks")

PROBES: dict[str, Callable[..., Float64[np.ndarray, "n t"]]] = {
    "ridge": ridge.held_out,
    "logistic": logistic.held_out,
    "neighbours": neighbours.held_out,
    "boosting": boosting.held_out,
}
"""Name -> held_out(features, actual, folds, *, kind): prediction of each unit by a model that saw
none of its fold. `logistic` is for classes and shares only."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one protocol over several seeds; a seed is a partition into folds."""

    per_seed: tuple[float, ...]  # pooled over the held-out predictions of all folds

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.per_seed))

    @property
    def spread(self) -> float:
        """Standard deviation over seeds (n - 1); 0 for one seed."""
        return float(np.std(self.per_seed, ddof=1)) if len(self.per_seed) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Predictions of one target by models that saw none of a unit's fold."""

    target: Target
    protocol: Protocol
    seed: int
    cells: UInt64[np.ndarray, " n"]  # where each unit lies
    actual: Float64[np.ndarray, "n t"]  # `Target.actual`
    predicted: Float64[np.ndarray, "n t"]
    folds: Int64[np.ndarray, " n"]

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics of the target's kind."""
        return metrics.score(self.target.kind, self.actual, self.predicted)


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How well one target is predicted from one embedding, on the target's declared scale."""

    run: str
    probe: str
    target: str
    kind: TargetKind
    n: int  # labelled units
    metrics: Mapping[Protocol, Mapping[str, Score]]
    unit_ids: np.ndarray  # (n,)
    actual: Float64[np.ndarray, "n *classes"]  # transformed as declared; classes and shares: rows
    predicted: Float64[np.ndarray, "n *classes"]  # by the folds that did not see the unit
    folds: Int64[np.ndarray, " n"]  # those folds: the last protocol's, first seed

    @property
    def scores(self) -> dict[Protocol, Score]:
        """The main metric of the kind: R² of a number."""
        return {
            protocol: per_metric[metrics.PRIMARY[self.kind]]
            for protocol, per_metric in self.metrics.items()
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """One plain row per protocol and metric, for probes.json."""
        return [
            {
                "run": self.run,
                "probe": self.probe,
                "target": self.target,
                "protocol": protocol,
                "metric": metric,
                "mean": score.mean,
                "spread": score.spread,
                "per_seed": list(score.per_seed),
                "n": self.n,
            }
            for protocol, per_metric in self.metrics.items()
            for metric, score in per_metric.items()
        ]


def probe(
    embeddings: Embeddings,
    target: Target,
    *,
    seeds: Sequence[int] = SEEDS,
    folds: int = FOLDS,
    probe: str = "ridge",
    protocols: Sequence[Protocol] = PROTOCOLS,
    on_step: boosting.OnStep | None = None,
) -> ProbeResult:
    """Score one target: `probe_all` of one.

    on_step : told (done, total) after each fold of each seed and protocol, by `boosting` alone;
        what it raises stops the work
    """
    settings = {}
    if on_step is not None:
        done, rounds = count(1), len(seeds) * len(protocols)
        settings["on_step"] = lambda _, of_round: on_step(next(done), rounds * of_round)
    return next(
        probe_all(
            embeddings,
            {target.name: target},
            seeds=seeds,
            folds=folds,
            probe=probe,
            protocols=protocols,
            **settings,
        )
    )


def probe_all(
    embeddings: Embeddings,
    targets: Mapping[str, Target],
    *,
    seeds: Sequence[int] = SEEDS,
    folds: int = FOLDS,
    probe: str = "ridge",
    protocols: Sequence[Protocol] = PROTOCOLS,
    **settings: Any,
) -> Iterator[ProbeResult]:
    """Score targets from embeddings, cross-validated.

    A unit of several cells (a tract, a city) is the weighted mean of its cells' vectors. Whatever
    a probe has to choose is chosen by an inner cross-validation among the training folds, which
    are blocks too when the outer ones are.

    settings : further keywords of the probe, e.g. `threads` of `boosting`

    Raises
    ------
    ConfigError : a target has too few units for the folds, or does not vary; no such probe
    """
    found: dict[str, list[HeldOut]] = {name: [] for name in targets}
    for one in held_out(
        embeddings, targets, seeds=seeds, folds=folds, probe=probe, protocols=protocols, **settings
    ):
        found[one.target.name].append(one)
    for name, target in targets.items():
        per_protocol: dict[Protocol, dict[str, Score]] = {}
        for protocol in protocols:
            rows = [one.metrics for one in found[name] if one.protocol == protocol]
            per_protocol[protocol] = {
                metric: Score(per_seed=tuple(float(row[metric]) for row in rows))
                for metric in rows[0]
            }
        shown = next(one for one in found[name] if one.protocol == protocols[-1])
        number = target.kind == "number"
        yield ProbeResult(
            run=embeddings.name,
            probe=probe,
            target=name,
            kind=target.kind,
            n=len(shown.actual),
            metrics=per_protocol,
            unit_ids=target.unit_ids,
            actual=shown.actual[:, 0] if number else shown.actual,
            predicted=shown.predicted[:, 0] if number else shown.predicted,
            folds=shown.folds,
        )


def held_out(
    embeddings: Embeddings,
    targets: Mapping[str, Target],
    *,
    seeds: Sequence[int],
    protocols: Sequence[Protocol],
    folds: int = FOLDS,
    probe: str = "ridge",
    buffer_km: float = 0.0,
    **settings: Any,
) -> Iterator[HeldOut]:
    """Held-out predictions of every target, seed and protocol, in no promised order.

    buffer_km : units nearer than this to a held-out block or region are not learned from either
    settings : further keywords of the probe
    """
    if probe not in PROBES:
        raise ConfigError(f"no probe {probe!r}: choose one of {', '.join(PROBES)}.")
    # Targets that share their units share the features, the folds and the Gram matrices.
    groups: dict[bytes, list[Target]] = {}
    for target in targets.values():
        weights = target.weights
        parts = (weights.indptr, weights.indices, weights.data)
        key = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        groups.setdefault(key, []).append(target)
    for group in groups.values():
        for target in group:
            _check(embeddings, target, folds)
        features = group[0].units_of(embeddings.vectors.astype(np.float64))
        cells = group[0].cell_of_unit(embeddings.cells)
        numbers = [target for target in group if target.kind == "number"]
        batches = [numbers, *([one] for one in group if one.kind != "number")]
        for seed in seeds:
            for protocol in protocols:
                of_unit = folds_of(cells, protocol=protocol, seed=seed, folds=folds)
                split = Folds(of_unit=of_unit)
                if buffer_km and protocol != "random":
                    split = buffered(cells, of_unit, km=buffer_km)
                for batch in filter(None, batches):
                    actual = np.hstack([target.actual for target in batch])
                    predicted = PROBES[probe](
                        features, actual, split, kind=batch[0].kind, **settings
                    )
                    width = actual.shape[1] // len(batch)
                    for k, target in enumerate(batch):
                        columns = slice(k * width, (k + 1) * width)
                        yield HeldOut(
                            target=target,
                            protocol=protocol,
                            seed=seed,
                            cells=cells,
                            actual=actual[:, columns],
                            predicted=predicted[:, columns],
                            folds=of_unit,
                        )


def shown_on_cells(
    target: Target,
    actual: Float64[np.ndarray, "n *outputs"],
    predicted: Float64[np.ndarray, "n *outputs"],
    part: str = "",
    *,
    error: bool = False,
) -> Float64[np.ndarray, " cells"]:
    """Predictions of `ProbeResult` for a map, NaN without.

    A number in the target's unit, the probability of a binary target, the index of the most
    probable class, the share of a part.

    error : instead of it, predicted minus measured (numbers: on the scale on which the target is
        predicted), or the probability given to the class that was measured
    """
    if target.kind == "number":
        units = predicted - actual if error else target.untransformed(predicted)
    elif target.kind == "composition":
        column = target.classes.index(part)
        units = predicted[:, column] - (actual[:, column] if error else 0)
    elif error:
        units = (actual * predicted).sum(axis=1)
    else:
        units = predicted[:, 1] if target.kind == "binary" else predicted
    return target.on_cells(units)


def ladder(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean R² over targets that are numbers, per run, best on blocks first.

    rows : of `ProbeResult.to_rows`, of the run's own probe
    """
    by_run: dict[str, dict[str, list[list[float]]]] = {}
    dims: dict[str, int] = {}
    for row in rows:
        if row["metric"] == "r2":
            by_run.setdefault(row["run"], {}).setdefault(row["protocol"], []).append(
                row["per_seed"]
            )
            dims[row["run"]] = row.get("dims", 0)
    lines = []
    for run, protocols in by_run.items():
        line: dict[str, Any] = {"run": run, "dims": dims[run]}
        for protocol, per_target in protocols.items():
            score = Score(per_seed=tuple(np.mean(per_target, axis=0)))  # over targets, by seed
            line[protocol], line[f"{protocol}_spread"] = score.mean, score.spread
        lines.append(line)
    return sorted(lines, key=lambda line: -line["blocks"])


def _check(embeddings: Embeddings, target: Target, folds: int) -> None:
    if target.weights.shape[1] != len(embeddings.cells):
        raise ConfigError(
            f"target {target.name!r} is about {target.weights.shape[1]} cells and "
            f"{embeddings.name!r} about {len(embeddings.cells)}: they are of different places."
        )
    n = len(target.values)
    if n < least_units(folds):
        raise ConfigError(
            f"target {target.name!r} has {n} labelled units: "
            f"{folds} folds need {least_units(folds)}."
        )
    if np.ptp(target.actual, axis=0).max() == 0:
        raise ConfigError(
            f"target {target.name!r} is {target.values[0]} everywhere: nothing to learn."
        )


def least_units(folds: int = FOLDS) -> int:
    """Units that a target must have to be probed."""
    return 4 * folds


def folds_of(
    cells: UInt64[np.ndarray, " n"], *, protocol: Protocol, seed: int, folds: int = FOLDS
) -> Int64[np.ndarray, " n"]:
    """The folds of a seed, the same for whoever is scored: fold number of each unit.

    cells : where each unit lies (`Target.cell_of_unit`)
    """
    rng = np.random.default_rng([seed, 7])
    if protocol == "blocks":
        return block_folds(cells, folds=folds, rng=rng)
    if protocol == "regions":
        return region_folds(cells, folds=folds, rng=rng)
    return random_folds(len(cells), folds=folds, rng=rng)
