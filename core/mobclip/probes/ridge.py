"""Ridge regression from the Gram matrices of the folds, nested choice of penalty and scaling.

The normal equations of any set of training folds are a sum of those of the folds. So everything
that costs - Gram matrices and their eigenvectors - belongs to the features and the folds alone and
is done once (`LiveRidge`); after that a probe of any target takes milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import add
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from threadpoolctl import threadpool_limits

from mobclip.probes.nested import check, choosers
from mobclip.splits import Folds

ALPHAS = np.logspace(-6, 2, 17)  # ridge penalty per unit, in units of the mean feature variance
DOUBT = 0.05  # share of the training mean in predicted probabilities
SCALINGS = (False, True)  # one scale for all dimensions; every dimension to unit variance


@dataclass(frozen=True, kw_only=True)
class RidgeFit:
    """One linear model per fold and target, fitted without the fold."""

    weights: Float64[np.ndarray, "folds d t"]
    intercepts: Float64[np.ndarray, "folds t"]
    alpha: Float64[np.ndarray, "folds t"]  # chosen
    scaled: Int64[np.ndarray, "folds t"]  # chosen: 1 where every dimension has unit variance
    lowest: Float64[np.ndarray, "folds t"]  # of the values learned from, and so of predictions
    highest: Float64[np.ndarray, "folds t"]


class LiveRidge:
    """Cross-validated ridge regression on fixed features and folds, quick for any target.

    For each outer fold, each candidate (scaling, penalty) is fitted on all training folds but one
    and scored on that one; the candidate with the least summed squared error is refitted on all
    training folds. The intercept is not penalised. Features are divided by their standard deviation
    over all units (which are known; labels are not), or by one for all; then the model with penalty
    a of `ALPHAS` is that of scikit-learn's `Ridge(alpha=a * n)`, n the units that are learned from.

    Parameters
    ----------
    features : (n, d) of the units
    folds : at least 3, so that there is something to choose on
    """

    def __init__(self, features: Float64[np.ndarray, "n d"], folds: Folds) -> None:
        check(folds)
        self.folds = folds
        # Rows of a fold side by side, so that its sums are products of slices.
        self._order = np.argsort(folds.of_unit, kind="stable")
        self._starts = np.searchsorted(folds.of_unit[self._order], np.arange(folds.count + 1))
        self._shift = features.mean(0)
        # (d, n): products with few targets then run along memory, twice as fast.
        self._x = np.empty(features.T.shape)
        for rows in self._slices():
            self._x[:, rows] = (features[self._order[rows]] - self._shift).T
        self._single = self._x.astype(np.float32)  # half the memory to run through, for scores
        self._parts = [_Moments.of(self._x[:, rows]) for rows in self._slices()]
        self._whole = _sum(self._parts)
        outer = [(i,) for i in range(folds.count)]
        pairs = list(combinations(range(folds.count), 2))
        self._apart = {held_out: self._too_near(held_out) for held_out in (*outer, *pairs)}
        # With a buffer, what is too near to the outer fold has no say in its choice either.
        self._choosers = (
            {}
            if folds.near is None
            else {
                (i, j): np.flatnonzero(choosers(folds, outer=i, inner=j)[self._order])
                for i in range(folds.count)
                for j in range(folds.count)
                if i != j
            }
        )
        scales = [_scale(self._whole, scaled) for scaled in SCALINGS]
        with threadpool_limits(1, "blas"):  # small eigenproblems: threads only wait for each other
            self._paths = {
                held_out: [_Path.of(self._training(held_out), scale) for scale in scales]
                for held_out in self._apart
            }

    def fit(
        self,
        actual: Float64[np.ndarray, "n t"],
        *,
        together: bool = False,
        alphas: Float64[np.ndarray, " alphas"] = ALPHAS,
    ) -> RidgeFit:
        """The models of all folds; `together`: one choice for all columns instead of one each.

        alphas : penalties to choose among; of one, the scaling alone is chosen
        """
        return self._fit(*self._ordered(actual), together=together, alphas=alphas)

    def _ordered(self, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(t, n) values in our order, less their mean (so that sums lose no digits), and it."""
        y = np.ascontiguousarray(actual[self._order].T)
        shift = y.mean(1)
        y -= shift[:, None]
        return y, shift

    def _fit(
        self,
        y: Float64[np.ndarray, "t n"],
        shift: Float64[np.ndarray, " t"],
        *,
        together: bool,
        alphas: Float64[np.ndarray, " alphas"] = ALPHAS,
    ) -> RidgeFit:
        parts = [_Cross.of(self._x[:, rows], y[:, rows]) for rows in self._slices()]
        near = {
            held_out: _Cross.of(self._x[:, rows], y[:, rows])
            for held_out, rows in self._apart.items()
        }
        whole = _sum(parts)

        def training(held_out: tuple[int, ...]) -> "_Cross":
            return whole - _sum([parts[i] for i in held_out]) - near[held_out]

        count, t = self.folds.count, len(y)
        errors = np.zeros((count, len(SCALINGS), len(alphas), t))
        with threadpool_limits(1, "blas"):
            for i, j in combinations(range(count), 2):
                cross = training((i, j))
                for scaled, path in enumerate(self._paths[i, j]):
                    weights, intercepts = path.models(cross, alphas)
                    # Trained without i and j: the inner score on j for outer fold i, and reversed.
                    for outer, inner in ((i, j), (j, i)):
                        rows = self._choosers.get((outer, inner))
                        part, cross_part = self._parts[inner], parts[inner]
                        if rows is not None:
                            near_x = self._x[:, rows]
                            part, cross_part = _Moments.of(near_x), _Cross.of(near_x, y[:, rows])
                        errors[outer, scaled] += _squared_error(
                            part, cross_part, weights, intercepts
                        )
            flat = errors.reshape(count, -1, t)
            best = flat.sum(2, keepdims=True).argmin(1) if together else flat.argmin(1)
            best = np.broadcast_to(best, (count, t))
            weights = np.zeros((count, len(self._x), t))
            intercepts = np.zeros((count, t))
            for i in range(count):
                cross = training((i,))
                for choice in np.unique(best[i]):
                    chosen = np.flatnonzero(best[i] == choice)
                    scaled, alpha = divmod(int(choice), len(alphas))
                    w, b = self._paths[(i,)][scaled].models(
                        cross.columns(chosen), alphas[alpha : alpha + 1]
                    )
                    weights[i][:, chosen], intercepts[i, chosen] = w[0], b[0]
        low, high = self._ranges(y)
        return RidgeFit(
            weights=weights,
            intercepts=intercepts + shift - self._shift @ weights,
            alpha=alphas[best % len(alphas)],
            scaled=best // len(alphas),
            lowest=low + shift,
            highest=high + shift,
        )

    def predict(self, fit: RidgeFit) -> Float64[np.ndarray, "n t"]:
        """Each unit by the model that saw none of its fold.

        Kept within the values learned from: a line that goes on far beyond them, for a unit unlike
        all others, would make one unit outweigh thousands.
        """
        n, t = len(self._order), fit.intercepts.shape[1]
        predicted = np.empty((n, t))
        predicted[self._order] = self._predicted(fit, self._x, less=np.zeros(t)).T
        return predicted

    def r2(self, actual: Float64[np.ndarray, "n t"]) -> Float64[np.ndarray, " t"]:
        """R² of the held-out predictions; NaN where nothing varies."""
        y, shift = self._ordered(actual)
        # Single precision moves R² by less than 1e-6.
        error = self._predicted(self._fit(y, shift, together=False), self._single, less=shift)
        error -= y.astype(np.float32)
        squared = np.array([one @ one for one in error], np.float64)
        total = np.einsum("tn,tn->t", y, y)
        return np.where(total > 0, 1 - squared / np.where(total > 0, total, 1), np.nan)

    def _predicted(
        self, fit: RidgeFit, x: Float[np.ndarray, "d n"], *, less: Float64[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t n"]:
        """Predictions in our order and the precision of `x`, less a constant for each target."""
        t, n = fit.intercepts.shape[1], len(self._order)
        predicted = np.empty((t, n), x.dtype)
        for i, rows in enumerate(self._slices()):
            here = predicted[:, rows]
            np.matmul(fit.weights[i].T.astype(x.dtype), x[:, rows], out=here)
            offset = fit.intercepts[i] + self._shift @ fit.weights[i]
            low, high = fit.lowest[i], fit.highest[i]
            offset, low, high = (
                (one - less)[:, None].astype(x.dtype) for one in (offset, low, high)
            )
            here += offset
            np.clip(here, low, high, out=here)
        return predicted

    def _ranges(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(folds, t) least and greatest of the values (in our order) learned from."""
        if self.folds.near is None:
            each = [(y[:, rows].min(1), y[:, rows].max(1)) for rows in self._slices()]
            others = [each[:i] + each[i + 1 :] for i in range(len(each))]
        else:
            learned = [y[:, self.folds.training(i)[self._order]] for i in range(self.folds.count)]
            others = [[(part.min(1), part.max(1))] for part in learned]
        low = np.stack([np.min([one for one, _ in parts], axis=0) for parts in others])
        return low, np.stack([np.max([one for _, one in parts], axis=0) for parts in others])

    def _slices(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self._starts[:-1], self._starts[1:], strict=True)]

    def _too_near(self, held_out: tuple[int, ...]) -> np.ndarray:
        """Rows (in our order) that are in no held-out fold but too near to one."""
        if self.folds.near is None:
            return np.empty(0, np.int64)
        apart = ~self.folds.training(*held_out) & ~np.isin(self.folds.of_unit, held_out)
        return np.flatnonzero(apart[self._order])

    def _training(self, held_out: tuple[int, ...]) -> "_Moments":
        left = self._whole - _sum([self._parts[i] for i in held_out])
        return left - _Moments.of(self._x[:, self._apart[held_out]])


def held_out(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    folds: Folds,
    *,
    kind: str = "number",
    learn: Bool[np.ndarray, " n"] | None = None,
    alpha: float | None = None,
) -> Float64[np.ndarray, "n t"]:
    """Prediction of each unit by a ridge regression that saw none of its fold; see `LiveRidge`.

    kind : `number`: the columns are separate targets. Otherwise they are the probabilities of one
        target (one-hot classes or shares): least squares on them, one choice for all; predictions
        below 0 are cut off, rows divided by their sum and mixed with a little of the training
        mean, since a line knows no certainty. Quick, but `logistic` is better at them.
    learn : whose labels are known at all, to learn from and to choose on; all units are predicted
    alpha : penalty per unit, as in `ALPHAS`; None: chosen
    """
    together = kind != "number"
    alphas = ALPHAS if alpha is None else np.array([alpha])
    if learn is None:
        known = np.ones(len(actual), bool)
        live = LiveRidge(features, folds)
        predicted = live.predict(live.fit(actual, together=together, alphas=alphas))
    else:
        known = learn
        near = None if folds.near is None else folds.near[known]
        live = LiveRidge(features[known], Folds(of_unit=folds.of_unit[known], near=near))
        fit = live.fit(actual[known], together=together, alphas=alphas)
        predicted = _of_folds(fit, features, folds)
    if together:
        predicted = as_probabilities(predicted)
        for fold in range(folds.count):
            usual = actual[known & folds.training(fold)].mean(0)
            here = folds.test(fold)
            predicted[here] = (1 - DOUBT) * predicted[here] + DOUBT * usual
    return predicted


def as_probabilities(predicted: Float64[np.ndarray, "n t"]) -> Float64[np.ndarray, "n t"]:
    """What is below 0 cut off, and rows that sum to 1; a row of nothing: all alike."""
    predicted = np.maximum(predicted, 0)
    total = predicted.sum(1, keepdims=True)
    return np.where(total > 0, predicted / np.where(total > 0, total, 1), 1 / predicted.shape[1])


def _of_folds(
    fit: RidgeFit, features: Float64[np.ndarray, "n d"], folds: Folds
) -> Float64[np.ndarray, "n t"]:
    """Each unit, learned from or not, by the model that saw none of its fold."""
    predicted = np.empty((len(features), fit.intercepts.shape[1]))
    for fold in range(folds.count):
        here = folds.test(fold)
        predicted[here] = np.clip(
            features[here] @ fit.weights[fold] + fit.intercepts[fold],
            fit.lowest[fold],
            fit.highest[fold],
        )
    return predicted


def fit(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    folds: Folds,
    *,
    alpha: float | None = None,
    scaled: bool | None = None,
) -> tuple[Float64[np.ndarray, "d t"], Float64[np.ndarray, " t"]]:
    """One model of all units: weights and intercepts.

    folds : for the choice of what is None: candidates are fitted on all folds but one and scored
        on that one, over all of them
    alpha : penalty per unit, as in `ALPHAS`; scaled : every dimension to unit variance first
    """
    alphas = ALPHAS if alpha is None else np.array([alpha])
    scalings = SCALINGS if scaled is None else (scaled,)
    shift_x, shift_y = features.mean(0), actual.mean(0)
    x, y = np.ascontiguousarray((features - shift_x).T), (actual - shift_y).T
    whole, whole_cross = _Moments.of(x), _Cross.of(x, y)
    with threadpool_limits(1, "blas"):
        scales = [_scale(whole, one) for one in scalings]
        paths = [_Path.of(whole, scale) for scale in scales]
        choice = np.zeros(len(y), np.int64)
        if len(alphas) * len(scalings) > 1:
            errors = np.zeros((len(scalings), len(alphas), len(y)))
            for fold in range(folds.count):
                here, learn = folds.test(fold), folds.training(fold)
                part, part_cross = _Moments.of(x[:, here]), _Cross.of(x[:, here], y[:, here])
                left, left_cross = _Moments.of(x[:, learn]), _Cross.of(x[:, learn], y[:, learn])
                for k, scale in enumerate(scales):
                    models = _Path.of(left, scale).models(left_cross, alphas)
                    errors[k] += _squared_error(part, part_cross, *models)
            choice = errors.reshape(-1, len(y)).argmin(0)
        weights = np.empty((len(x), len(y)))
        intercepts = np.empty(len(y))
        for column, one in enumerate(choice):
            k, penalty = divmod(int(one), len(alphas))
            w, b = paths[k].models(
                whole_cross.columns(np.array([column])), alphas[penalty : penalty + 1]
            )
            weights[:, column], intercepts[column] = w[0, :, 0], b[0, 0]
    return weights, intercepts + shift_y - shift_x @ weights


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Sums of features over some units. Sets add and subtract."""

    n: int
    x: np.ndarray  # (d,)
    xx: np.ndarray  # (d, d)

    @classmethod
    def of(cls, x: Float64[np.ndarray, "d m"]) -> "_Moments":
        return cls(n=x.shape[1], x=x.sum(1), xx=x @ x.T)

    def __add__(self, other: "_Moments") -> "_Moments":
        return _Moments(n=self.n + other.n, x=self.x + other.x, xx=self.xx + other.xx)

    def __sub__(self, other: "_Moments") -> "_Moments":
        return _Moments(n=self.n - other.n, x=self.x - other.x, xx=self.xx - other.xx)


@dataclass(frozen=True, kw_only=True)
class _Cross:
    """Sums of targets, and of targets with features, over some units."""

    n: int
    y: np.ndarray  # (t,)
    xy: np.ndarray  # (d, t)
    yy: np.ndarray  # (t,)

    @classmethod
    def of(cls, x: Float64[np.ndarray, "d m"], y: Float64[np.ndarray, "t m"]) -> "_Cross":
        return cls(n=x.shape[1], y=y.sum(1), xy=x @ y.T, yy=np.einsum("tm,tm->t", y, y))

    def __add__(self, other: "_Cross") -> "_Cross":
        return _Cross(
            n=self.n + other.n, y=self.y + other.y, xy=self.xy + other.xy, yy=self.yy + other.yy
        )

    def __sub__(self, other: "_Cross") -> "_Cross":
        return _Cross(
            n=self.n - other.n, y=self.y - other.y, xy=self.xy - other.xy, yy=self.yy - other.yy
        )

    def columns(self, chosen: np.ndarray) -> "_Cross":
        """Some of the targets."""
        return _Cross(n=self.n, y=self.y[chosen], xy=self.xy[:, chosen], yy=self.yy[chosen])


def _scale(m: _Moments, scaled: bool) -> Float64[np.ndarray, " d"]:
    """By what each dimension is divided, from all units; inf: it does not vary and takes no part.

    From all units and not from those that are learned from: a dimension that hardly varies in
    training and does elsewhere would be blown up, and predictions there with it.
    """
    variance = np.diag(m.xx) / m.n - (m.x / m.n) ** 2
    varies = variance > 1e-12 * variance.max()
    shared = variance[varies].mean() if varies.any() else 1.0
    return np.where(varies, np.sqrt(np.where(varies, variance if scaled else shared, 1)), np.inf)


@dataclass(frozen=True, kw_only=True)
class _Path:
    """The eigenproblem of some training units: every penalty follows from it."""

    mean: np.ndarray  # (d,) of the features
    values: np.ndarray  # (d,) eigenvalues of the covariance of the scaled features
    axes: np.ndarray  # (d, d) its eigenvectors, each row divided by the feature's scale

    @classmethod
    def of(cls, m: _Moments, scale: np.ndarray) -> "_Path":
        mean = m.x / m.n
        covariance = m.xx / m.n - np.outer(mean, mean)
        values, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
        return cls(mean=mean, values=np.maximum(values, 0), axes=axes / scale[:, None])

    def models(
        self, cross: _Cross, alphas: np.ndarray = ALPHAS
    ) -> tuple[Float64[np.ndarray, "alphas d t"], Float64[np.ndarray, "alphas t"]]:
        """Weights and intercepts for every penalty."""
        mean_y = cross.y / cross.n
        projected = self.axes.T @ (cross.xy / cross.n - np.outer(self.mean, mean_y))
        shrunk = projected / (self.values[:, None] + alphas[:, None, None])
        weights = self.axes @ shrunk
        return weights, mean_y - self.mean @ weights


def _squared_error(
    m: _Moments, cross: _Cross, weights: np.ndarray, intercepts: np.ndarray
) -> Float64[np.ndarray, "alphas t"]:
    """Summed squared error of each model on the units behind `m` and `cross`."""
    alphas, d, t = weights.shape
    side_by_side = weights.transpose(1, 0, 2).reshape(d, alphas * t)  # one product, not many
    quadratic = (side_by_side * (m.xx @ side_by_side)).sum(0).reshape(alphas, t)
    linear = (weights * cross.xy).sum(1)
    through_x = m.x @ weights
    constant = intercepts * (m.n * intercepts - 2 * cross.y + 2 * through_x)
    return cross.yy - 2 * linear + quadratic + constant


_Sums = TypeVar("_Sums", _Moments, _Cross)


def _sum(parts: Sequence[_Sums]) -> _Sums:
    return reduce(add, parts)
