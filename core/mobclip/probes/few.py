"""Ridge regression from few units: the penalty is chosen by leaving one out, in closed form.

With tens of labels there are no folds to choose on. The leave-one-out residuals of a ridge follow
from one decomposition (Allen 1974's PRESS), so this costs less than a millisecond.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from mobclip.probes.ridge import ALPHAS

# Penalties much smaller than this fit ten labels exactly: their leave-one-out error is luck.
CANDIDATES = ALPHAS[ALPHAS >= 1e-3]


@dataclass(frozen=True, kw_only=True)
class Few:
    """A fitted ridge, and how sure it is."""

    mean: Float64[np.ndarray, " d"]
    deviation: float
    weights: Float64[np.ndarray, "d t"]  # of features less `mean`, divided by `deviation`
    intercept: Float64[np.ndarray, " t"]
    alpha: float  # chosen, per unit
    lowest: Float64[np.ndarray, " t"]
    highest: Float64[np.ndarray, " t"]
    axes: Float64[np.ndarray, "k d"]  # directions that the units differ in
    values: Float64[np.ndarray, " k"]  # squared length of the units along each
    n: int

    @classmethod
    def fit(
        cls,
        features: Float64[np.ndarray, "n d"],
        actual: Float64[np.ndarray, "n t"],
        deviation: float,
    ) -> "Few":
        """Fit two units or more; one penalty for all columns.

        deviation : by which all dimensions are divided, that of all cells (which are known)
        """
        n = len(features)
        mean, middle = features.mean(0), actual.mean(0)
        left, length, axes = np.linalg.svd((features - mean) / deviation, full_matrices=False)
        kept = length > 1e-9 * max(length.max(), 1e-300)
        left, length, axes = left[:, kept], length[kept], axes[kept]
        along = left.T @ (actual - middle)
        errors = []
        for alpha in CANDIDATES:
            shrunk = length**2 / (length**2 + alpha * n)
            leverage = 1 / n + (left**2 * shrunk).sum(1)
            residual = actual - middle - left @ (shrunk[:, None] * along)
            errors.append(((residual / np.maximum(1 - leverage, 1e-6)[:, None]) ** 2).sum())
        alpha = float(CANDIDATES[int(np.argmin(errors))])
        weights = axes.T @ ((length / (length**2 + alpha * n))[:, None] * along)
        return cls(
            mean=mean,
            deviation=deviation,
            weights=weights,
            intercept=middle,
            alpha=alpha,
            lowest=actual.min(0),
            highest=actual.max(0),
            axes=axes,
            values=length**2,
            n=n,
        )

    def predict(self, features: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, "m t"]:
        """Predictions, within the values learned from."""
        line = (features - self.mean) / self.deviation @ self.weights + self.intercept
        return np.clip(line, self.lowest, self.highest)

    def variance(self, features: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, " m"]:
        """Variance of the line at each unit, in units of that of the noise.

        1 / n + x (X'X + alpha n)^-1 x: of a Bayesian line with this penalty as its prior. It grows
        with the distance from what was learned from.
        """
        x = (features - self.mean) / self.deviation
        prior = self.alpha * self.n
        inside = x @ self.axes.T
        outside = (x**2).sum(1) - (inside**2).sum(1)
        known = (inside**2 / (self.values + prior)).sum(1)
        return np.asarray(1 / self.n + known + np.maximum(outside, 0) / prior)
