"""Probes: small supervised models on frozen embeddings.

==================  =============================================================================
`scores`            `probe` and `probe_all`: held-out scores of one or all targets; the ladder
`ridge`             ridge regression from the Gram matrices of the folds: `LiveRidge`
`logistic`          multinomial logistic regression, for classes and for shares
`neighbours`        k nearest neighbours
`boosting`          gradient-boosted trees (LightGBM); the paper's protocol
`learning`          a share of the labels; learning curves
`labels`            a probe of labels that somebody painted, and what it is worth
`few`               ridge regression from tens of units
`next_cells`        which cells to label next, and what would have come of it
`pairs`             boosted trees on pairs of cells, for held-out flows
`conformal`         prediction intervals with a promised coverage
`local_intervals`   the same, wider where the probe errs more
`metrics`           R², F1, AUC, calibration, KL
`estimators`        the ridge probe as a scikit-learn estimator
`words`             which direction of a space a text grows along, for search by words
==================  =============================================================================
"""

from mobclip.probes.metrics import PRIMARY
from mobclip.probes.ridge import ALPHAS, LiveRidge
from mobclip.probes.scores import (
    FOLDS,
    PROBES,
    PROTOCOLS,
    SEEDS,
    HeldOut,
    ProbeResult,
    Score,
    folds_of,
    held_out,
    ladder,
    least_units,
    probe,
    probe_all,
    shown_on_cells,
)

__all__ = [
    "ALPHAS",
    "FOLDS",
    "PRIMARY",
    "PROBES",
    "PROTOCOLS",
    "SEEDS",
    "HeldOut",
    "LiveRidge",
    "ProbeResult",
    "Score",
    "folds_of",
    "held_out",
    "ladder",
    "least_units",
    "probe",
    "probe_all",
    "shown_on_cells",
]
