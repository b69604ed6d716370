"""Power laws with known exponents are found; what does not scale is said not to."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from mobclip.errors import ConfigError
from mobclip.evaluation.scaling import NO_SCALING, fit_power_law


def planted(rng, *, b, points=5, seeds=3, targets=8, noise=0.0, own=0.0, floor=0.0):
    """R² whose error is a power of x; `own`: how much exponents differ among targets."""
    x = 100 * 2.0 ** np.arange(points)
    exponents = b + own * rng.normal(size=targets)
    error = rng.uniform(0.3, 0.9, targets) * (x[:, None, None] / x[0]) ** -exponents + floor
    return x, 1 - error * np.exp(noise * rng.normal(size=(points, seeds, targets)))


def test_an_exact_power_law_is_found():
    x = np.array([10.0, 20.0, 50.0, 400.0])
    r2 = np.broadcast_to((1 - 0.8 * x**-0.3)[:, None, None], (4, 2, 3))
    law = fit_power_law(x, r2)
    assert (law.a, law.b, law.c) == (pytest.approx(0.8), pytest.approx(0.3), 0)
    assert (law.low, law.high) == (pytest.approx(0.3), pytest.approx(0.3))
    assert law.form == "a * x^(-b)"


def test_the_line_is_that_of_numpy():
    x, r2 = planted(np.random.default_rng(0), b=0.25, noise=0.1)
    law = fit_power_law(x, r2)
    slope, intercept = np.polyfit(np.log(x), np.log((1 - r2).mean((1, 2))), 1)
    assert law.b == pytest.approx(-slope)
    assert law.a == pytest.approx(np.exp(intercept))


def test_the_interval_holds_the_exponent_about_as_often_as_it_says():
    found, seen = [], []
    for draw in range(100):
        rng = np.random.default_rng(draw)
        law = fit_power_law(*planted(rng, b=0.2, noise=0.05, own=0.05))
        found.append(law.low <= 0.2 <= law.high)
        law = fit_power_law(*planted(rng, b=0.0, noise=0.05, own=0.05))
        seen.append(law.verdict != NO_SCALING)
    assert 0.85 <= np.mean(found) <= 0.99
    assert np.mean(seen) <= 0.15


def test_an_interval_that_contains_zero_is_called_no_scaling():
    x, r2 = planted(np.random.default_rng(3), b=0.0, noise=0.05)
    law = fit_power_law(x, r2)
    assert law.low < 0 < law.high
    assert law.verdict == NO_SCALING
    assert fit_power_law(*planted(np.random.default_rng(3), b=0.3)).verdict == "the error falls"
    assert fit_power_law(*planted(np.random.default_rng(3), b=-0.1)).verdict == "the error grows"


def test_rounding_is_no_scaling():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    r2 = np.broadcast_to(np.array([0.23, 0.41]), (4, 1, 2)) + 1e-15 * np.arange(4)[:, None, None]
    assert fit_power_law(x, r2).verdict == NO_SCALING
    assert fit_power_law(x, r2[::-1]).verdict == NO_SCALING


def test_targets_that_disagree_widen_the_interval():
    wide = fit_power_law(*planted(np.random.default_rng(1), b=0.2, own=0.1))
    narrow = fit_power_law(*planted(np.random.default_rng(1), b=0.2, own=0.01))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_the_error_is_counted_from_the_ceiling():
    x = 2.0 ** np.arange(5)
    ceilings = np.array([0.9, 0.6])
    r2 = np.broadcast_to((ceilings - 0.5 * x[:, None] ** -0.4)[:, None], (5, 2, 2))
    law = fit_power_law(x, r2, ceilings=ceilings)
    assert (law.a, law.b) == (pytest.approx(0.5), pytest.approx(0.4))
    assert law.ceiling == pytest.approx(0.75)
    assert fit_power_law(x, r2).b < 0.25  # counted from 1, noise looks like error that stays
    with pytest.raises(ConfigError, match="ceiling"):
        fit_power_law(x, r2, ceilings=np.array([0.5, 0.1]))


def test_a_floor_is_found_where_there_are_points_enough():
    x, r2 = planted(np.random.default_rng(5), b=0.5, points=9, noise=0.01, floor=0.2)
    law = fit_power_law(x, r2)
    assert "+ c" in law.form
    (a, b, c), _ = curve_fit(
        lambda x, a, b, c: np.log(a * x**-b + c), x, np.log((1 - r2).mean((1, 2))), p0=[6, 0.5, 0.2]
    )
    assert law.b == pytest.approx(b, abs=0.02)
    assert law.c == pytest.approx(c, abs=0.02)
    assert law.a == pytest.approx(a, rel=0.1)
    assert law.low < 0.5 < law.high
    # The curve passes through the points, whatever its form.
    np.testing.assert_allclose(law.a * x**-law.b + law.c, (1 - r2).mean((1, 2)), rtol=0.03)

    assert fit_power_law(x[:5], r2[:5]).c == 0  # too few to tell
    assert fit_power_law(*planted(np.random.default_rng(5), b=0.5, points=9, noise=0.01)).c == 0


def test_one_seed_and_one_target_have_no_interval():
    x, r2 = planted(np.random.default_rng(0), b=0.2, seeds=1, targets=1)
    law = fit_power_law(x, r2)
    assert law.b == pytest.approx(0.2)
    assert law.low is None
    assert law.high is None
    assert "no interval" in law.verdict


def test_what_has_no_power_law_is_refused():
    x, r2 = planted(np.random.default_rng(0), b=0.2)
    with pytest.raises(ConfigError, match="2 different amounts"):
        fit_power_law(x[:2], r2[:2])
    with pytest.raises(ConfigError, match="above 0"):
        fit_power_law(np.arange(5.0), r2)
    with pytest.raises(ConfigError, match="finite"):
        fit_power_law(x, np.where(r2 < r2.max(), r2, np.nan))
