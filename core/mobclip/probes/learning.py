"""How much a probe needs: fewer labels, and what comes of every number of them.

A budget is a share of the labels. Those of a smaller budget are among those of a larger one, so
that a slider moved to the right only ever adds labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, UInt64

from mobclip.place import TargetKind
from mobclip.probes import metrics, ridge
from mobclip.probes.scores import FOLDS, PROTOCOLS, folds_of
from mobclip.session import Selection
from mobclip.splits import Folds, Protocol

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of labels
PENALTIES = (0.0, *(float(one) for one in ridge.ALPHAS[::2]))  # 0: chosen inside the folds
LEAST = 4  # labels of every fold, however small the budget: to learn from, and to choose on
STEPS = 7  # budgets of a learning curve
SUBSETS = (0, 1, 2)  # seeds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a probe may use of what there is; as it stands here, everything."""

    share: float = 1.0  # of the labels
    dims: int = 0  # first numbers of the embedding; 0: all
    using: tuple[str, ...] = ()  # modalities that are known; empty: all
    alpha: float = 0.0  # 0: chosen

    @classmethod
    def of(cls, selection: Selection, *, units: int, dims: int, known: tuple[str, ...]) -> "Limits":
        """What a selection asks for, as far as it can be had; numbers snap to those on offer.

        units : of the target
        dims : of the embedding
        known : modalities that its model can do without; none where it cannot be asked
        """
        using = tuple(one for one in known if one in selection.using)
        return cls(
            share=_nearest(selection.budget, shares(units)),
            dims=selection.dims if 0 < selection.dims < dims else 0,
            using=() if len(using) == len(known) else using,
            alpha=_nearest(selection.alpha, PENALTIES[1:]) if selection.alpha else 0.0,
        )


def shares(units: int) -> tuple[float, ...]:
    """Budgets on offer that leave each fold labels to learn from."""
    least = budgets(units)[0]
    return tuple(one for one in SHARES if one >= least)


def _nearest(value: float, offered: Sequence[float]) -> float:
    return min(offered, key=lambda one: abs(np.log(one / value)))


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Held-out predictions of all units by models that knew a part of the labels."""

    kind: TargetKind
    labels: int  # learned from by the model of a fold, mean over folds
    folds: Folds
    actual: Float64[np.ndarray, "n t"]
    predicted: Float64[np.ndarray, "n t"]

    @property
    def metrics(self) -> dict[str, float]:
        """All scores of the kind."""
        return metrics.score(self.kind, self.actual, self.predicted)

    @property
    def score(self) -> float:
        """The main one: R² of a number."""
        return self.metrics[metrics.PRIMARY[self.kind]]


def learners(folds: Folds, *, share: float, seed: int = 0) -> Bool[np.ndarray, " n"]:
    """Units whose labels are known: `share` of every fold, but `LEAST` at least.

    Nested: those of a smaller share are among those of a larger one of the same seed.
    """
    n = len(folds.of_unit)
    order = np.random.default_rng([seed, 11]).permutation(n)
    known = np.zeros(n, bool)
    for fold in range(folds.count):
        here = order[folds.of_unit[order] == fold]
        known[here[: max(round(share * len(here)), LEAST)]] = True
    return known


def learned(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    folds: Folds,
    *,
    kind: TargetKind,
    share: float = 1.0,
    alpha: float | None = None,
    seed: int = 0,
) -> Learned:
    """Ridge regression from a share of the labels; every unit is predicted and scored.

    Nothing is chosen on labels outside of the budget, or of the fold that is predicted.

    share : of the labels, above 0 and at most 1
    alpha : penalty per unit, as in `ridge.ALPHAS`; None: chosen inside the folds
    seed : which labels
    """
    known = None if share >= 1 else learners(folds, share=share, seed=seed)
    usable = np.ones(len(actual), bool) if known is None else known
    return Learned(
        kind=kind,
        labels=round(
            np.mean([(usable & folds.training(fold)).sum() for fold in range(folds.count)])
        ),
        folds=folds,
        actual=actual,
        predicted=ridge.held_out(features, actual, folds, kind=kind, learn=known, alpha=alpha),
    )


@dataclass(frozen=True, kw_only=True)
class Point:
    """One budget of a learning curve."""

    protocol: Protocol
    share: float
    labels: int
    scores: tuple[float, ...]  # of each subset of the labels


def budgets(units: int) -> list[float]:
    """Shares that a learning curve is drawn at, evenly spaced on a logarithmic scale."""
    least = min(1.0, LEAST * FOLDS / units)
    return [float(one) for one in np.unique(np.geomspace(least, 1.0, STEPS).round(4))]


def curve(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    cells: UInt64[np.ndarray, " n"],
    *,
    kind: TargetKind,
    alpha: float | None = None,
    subsets: Sequence[int] = SUBSETS,
) -> Iterator[Point]:
    """Scores against the number of labels, budget by budget, in random folds and in blocks.

    cells : where each unit lies
    subsets : seeds of the labels that are known; folds are those of seed 0
    """
    for share in budgets(len(actual)):
        for protocol in PROTOCOLS:
            folds = Folds(of_unit=folds_of(cells, protocol=protocol, seed=0))
            found = [
                learned(features, actual, folds, kind=kind, share=share, alpha=alpha, seed=seed)
                for seed in (subsets if share < 1 else subsets[:1])
            ]
            yield Point(
                protocol=protocol,
                share=share,
                labels=found[0].labels,
                scores=tuple(one.score for one in found),
            )
