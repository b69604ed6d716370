"""Probes: small supervised models on frozen embeddings.

==============  =============================================================================
`scores`        `probe` and `probe_all`: held-out scores of one or all targets; the ladder
`ridge`         ridge regression from the Gram matrices of the folds
==============  =============================================================================
"""

from mobclip.probes.ridge import ALPHAS, predict_held_out
from mobclip.probes.scores import FOLDS, SEEDS, ProbeResult, Score, ladder, probe, probe_all

__all__ = [
    "ALPHAS",
    "FOLDS",
    "SEEDS",
    "ProbeResult",
    "Score",
    "ladder",
    "predict_held_out",
    "probe",
    "probe_all",
]
