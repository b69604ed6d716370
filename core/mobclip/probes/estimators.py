"""The ridge probe as a scikit-learn estimator, for `cross_validate`, `GridSearchCV`, pipelines."""

from typing import Any

import numpy as np
from jaxtyping import Float64, UInt64
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from mobclip.probes import ridge
from mobclip.splits import Folds, block_folds, random_folds


class RidgeProbe(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression that chooses penalty and scaling by cross-validation in its training set.

    Parameters
    ----------
    alpha : one of `ridge.ALPHAS` or any other penalty per unit; None: chosen
    scaled : every dimension to unit variance first; None: chosen
    folds : of the inner cross-validation
    seed : of its partition
    """

    def __init__(
        self,
        *,
        alpha: float | None = None,
        scaled: bool | None = None,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.scaled = scaled
        self.folds = folds
        self.seed = seed

    def fit(self, X: Any, y: Any, *, cells: UInt64[np.ndarray, " n"] | None = None) -> "RidgeProbe":
        """Learn from (n, d) features and (n,) or (n, t) targets.

        cells : where each unit lies; the inner folds are then spatial blocks, else random
        """
        X, y = validate_data(
            self,
            X,
            y,
            multi_output=True,
            y_numeric=True,
            dtype=np.float64,
            ensure_min_samples=self.folds,
        )
        rng = np.random.default_rng([self.seed, 11])
        of_unit = (
            random_folds(len(X), folds=self.folds, rng=rng)
            if cells is None
            else block_folds(np.asarray(cells, np.uint64), folds=self.folds, rng=rng)
        )
        columns = y[:, None] if y.ndim == 1 else y
        weights, intercept = ridge.fit(
            X,
            columns.astype(np.float64),
            Folds(of_unit=of_unit),
            alpha=self.alpha,
            scaled=self.scaled,
        )
        self.coef_ = weights[:, 0] if y.ndim == 1 else weights.T
        self.intercept_ = float(intercept[0]) if y.ndim == 1 else intercept
        return self

    def predict(self, X: Any) -> Float64[np.ndarray, "n *t"]:
        """Predictions of (n, d) features."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(X @ self.coef_.T + self.intercept_)
