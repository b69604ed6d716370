"""Power laws: does the error of a probe fall as a power of the amount of data, and how surely?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from mobclip.errors import ConfigError

MIN_POINTS = 3  # a line through two points always fits
FLOOR_POINTS = 6  # fewer cannot tell a floor from a small exponent (AICc has no value for them)
RESAMPLES = 1000
NEGLIGIBLE = 1e-6  # exponents nearer to 0 are rounding: the scores are the same
NO_SCALING = "no scaling seen"

_EXPONENTS = np.arange(0.01, 4.005, 0.01)
_FLOORS = np.concatenate([[0.0], np.logspace(-2, 3, 60)])  # c / a at the largest x


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """error = a * x^(-b) + c, where error = ceiling - R²."""

    a: float  # error at x = 1, above the floor
    b: float  # exponent: doubling x divides the error above the floor by 2^b
    c: float  # floor; 0 in the pure form
    low: float | None  # 95 % interval of b; None with one seed and one target
    high: float | None
    form: str  # which of the two forms, in words
    ceiling: float  # mean over targets of the largest R² that noise allows; 1 where not known
    verdict: str  # what the interval allows to be said, in words


def fit_power_law(
    x: Float64[np.ndarray, " points"],
    r2: Float64[np.ndarray, "points seeds targets"],
    *,
    ceilings: Float64[np.ndarray, " targets"] | None = None,
    seed: int = 0,
) -> PowerLaw:
    """Fit the mean error over seeds and targets by least squares in log space.

    The interval of the exponent resamples seeds and targets, each with replacement and
    independently (the pigeonhole bootstrap of crossed factors: Owen 2007, "The pigeonhole
    bootstrap"), and keeps the curve of a seed and target whole: what is asked is whether other
    targets and other seeds would show it too. Percentiles of few targets or seeds are somewhat
    too narrow: with 8 targets about 9 of 10 intervals hold the truth, with 1 target and 3 seeds 7.

    A floor c is fitted only where a pure power law is seen to fall, from 6 points on, and where
    AICc prefers it: with few points a floor and a small exponent look alike.

    Parameters
    ----------
    x : amounts, above 0, at least 3 different
    r2 : the same seeds and targets at every point
    ceilings : largest R² that noise allows for each target; default 1
    seed : of the resampling

    Raises
    ------
    ConfigError : too few points, an amount that is not above 0, a score that is not finite, or a
        mean R² at or above the ceiling, which has no logarithm
    """
    if len(np.unique(x)) < MIN_POINTS:
        raise ConfigError(
            f"{len(np.unique(x))} different amounts: a power law needs {MIN_POINTS} or more. "
            "Choose a larger place."
        )
    if not (np.isfinite(x) & (x > 0)).all():
        raise ConfigError(f"amounts {x.tolist()}: a power law is of amounts above 0.")
    if not np.isfinite(r2).all():
        raise ConfigError("scores that are not finite have no power law: leave the target out.")
    seeds, targets = r2.shape[1:]
    limit = np.ones(targets) if ceilings is None else ceilings
    errors = limit - r2
    mean = errors.mean((1, 2))
    if (mean <= 0).any():
        raise ConfigError(
            f"mean R² {r2.mean((1, 2)).max():.3f} reaches the ceiling {limit.mean():.3f}: "
            "the ceiling is too low, or this place is solved."
        )
    ratio = np.log(x / x.max())
    samples = _resampled(errors, np.random.default_rng(seed)) if seeds * targets > 1 else None

    level, slope, misfit = _line(ratio, np.log(mean)[None])
    interval = None if samples is None else np.quantile(-_line(ratio, samples)[1], [0.025, 0.975])
    falls = interval is not None and interval[0] > NEGLIGIBLE
    a, b, c, form = float(np.exp(level[0])), float(-slope[0]), 0.0, "a * x^(-b)"
    if falls and len(x) >= FLOOR_POINTS:
        floored = _with_floor(ratio, np.log(mean)[None])
        if floored.c[0] > 0 and _aicc(floored.misfit[0], len(x), 4) < _aicc(misfit[0], len(x), 3):
            assert samples is not None
            a, b, c = float(floored.a[0]), float(floored.b[0]), float(floored.c[0])
            form = "a * x^(-b) + c"
            interval = np.quantile(_with_floor(ratio, samples).b, [0.025, 0.975])
    low, high = (None, None) if interval is None else map(float, interval)
    return PowerLaw(
        a=a * float(x.max()) ** b,
        b=b,
        c=c,
        low=low,
        high=high,
        form=form,
        ceiling=float(limit.mean()),
        verdict=_verdict(low, high),
    )


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "one seed and one target: no interval"
    if low > NEGLIGIBLE:
        return "the error falls"
    return "the error grows" if high < -NEGLIGIBLE else NO_SCALING


def _resampled(
    errors: Float64[np.ndarray, "points seeds targets"], rng: np.random.Generator
) -> Float64[np.ndarray, "resamples points"]:
    """Logarithm of the mean error under seeds and targets drawn anew; all that have one."""
    _, seeds, targets = errors.shape
    seed_share = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    target_share = rng.multinomial(targets, np.full(targets, 1 / targets), RESAMPLES) / targets
    mean = np.einsum("bs,pst,bt->bp", seed_share, errors, target_share, optimize=True)
    return np.log(mean[(mean > 0).all(axis=1)])


def _line(
    ratio: Float64[np.ndarray, " points"], logs: Float64[np.ndarray, "n points"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intercepts, slopes and sums of squared residuals of `n` lines through log error."""
    centred = ratio - ratio.mean()
    slope = logs @ centred / (centred @ centred)
    intercept = logs.mean(1) - slope * ratio.mean()
    residual = logs - intercept[:, None] - slope[:, None] * ratio
    return intercept, slope, (residual**2).sum(1)


@dataclass(frozen=True, kw_only=True)
class _Floored:
    a: np.ndarray  # (n,) at the largest x
    b: np.ndarray  # (n,)
    c: np.ndarray  # (n,)
    misfit: np.ndarray  # (n,) sum of squared residuals in log error


def _with_floor(
    ratio: Float64[np.ndarray, " points"], logs: Float64[np.ndarray, "n points"]
) -> _Floored:
    """Best exponent and floor of each row among a grid; given these, a has a closed form.

    A grid cannot stop at a local optimum, and one grid serves all rows.
    """
    b, floor = (one.ravel() for one in np.meshgrid(_EXPONENTS, _FLOORS))
    shape = np.log(np.exp(-b[:, None] * ratio) + floor[:, None])
    level = shape.mean(1)
    shape -= level[:, None]
    size = (shape**2).sum(1)
    best = np.empty(len(logs), np.int64)
    for start in range(0, len(logs), 50):  # 50 × 24,400 numbers at a time
        rows = logs[start : start + 50]
        best[start : start + 50] = (size - 2 * rows @ shape.T).argmin(1)
    centred = logs - logs.mean(1, keepdims=True)
    a = np.exp(logs.mean(1) - level[best])
    return _Floored(
        a=a,
        b=b[best],
        c=a * floor[best],
        misfit=((centred - shape[best]) ** 2).sum(1),
    )


def _aicc(misfit: float, points: int, parameters: int) -> float:
    """Akaike's criterion with the correction for few points (Hurvich & Tsai 1989)."""
    exact = 1e-12  # an exact fit has no finite logarithm
    correction = 2 * parameters * (parameters + 1) / (points - parameters - 1)
    return points * np.log(max(misfit / points, exact)) + 2 * parameters + correction
