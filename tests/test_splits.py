"""Regions, buffers and splitters: against naive loops, scipy and scikit-learn."""

from itertools import combinations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2
from scipy.optimize import linprog
from sklearn.linear_model import Ridge
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, cross_validate

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.splits import (
    BlockKFold,
    Folds,
    RandomKFold,
    RegionKFold,
    block_folds,
    buffered,
    random_folds,
    region_folds,
)

CELLS = grid.polygon_to_cells(shapely.box(5, 50, 6.2, 50.8), 7)


def on_sphere(cells: np.ndarray) -> np.ndarray:
    lon, lat = np.radians(grid.centers(cells)).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


# ---- regions -----------------------------------------------------------------------------------


def separable(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a plane lies between two sets of points."""
    points = np.concatenate([one, other])
    points = (points - points.mean(axis=0)) / points.std(axis=0).max()
    side = np.repeat([1.0, -1.0], [len(one), len(other)])
    rows = -side[:, None] * np.column_stack([points, np.ones(len(points))])
    return bool(
        linprog(np.zeros(4), A_ub=rows, b_ub=-np.ones(len(points)), bounds=(None, None)).success
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), folds=st.integers(2, 6))
def test_regions_are_whole_and_none_reaches_into_another(seed, folds):
    rng = np.random.default_rng(seed)
    cells = rng.choice(CELLS, 200)  # some repeat
    region = region_folds(cells, folds=folds, rng=np.random.default_rng(seed))
    assert set(region.tolist()) == set(range(folds))
    points = on_sphere(cells)
    for one, other in combinations(range(folds), 2):
        assert separable(points[region == one], points[region == other])
    again = region_folds(cells, folds=folds, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(region, again)
    for cell in np.unique(cells):
        assert len(np.unique(region[cells == cell])) == 1


def test_regions_are_nearly_as_compact_as_those_of_scipy_and_differ_by_seed():
    points = on_sphere(CELLS)

    def spread(region: np.ndarray) -> float:
        means = np.stack([points[region == one].mean(axis=0) for one in range(5)])
        return float(((points - means[region]) ** 2).sum())

    ours = [region_folds(CELLS, folds=5, rng=np.random.default_rng(s)) for s in range(6)]
    theirs = [
        kmeans2(points, 5, iter=100, minit="++", rng=np.random.default_rng(s))[1] for s in range(6)
    ]
    assert np.median([*map(spread, ours)]) <= 1.25 * np.median([*map(spread, theirs)])
    assert min(np.bincount(one).min() for one in ours) > 0.04 * len(CELLS)
    # What k-means without random weights fails: its seeds agree to 0.9 and more in small places.
    agreement = [adjusted_rand_score(a, b) for a, b in combinations(ours, 2)]
    assert np.mean(agreement) < 0.8


def test_far_apart_islands_are_regions():
    islands = [
        grid.disk(grid.points_to_cells(lon=np.array([lon]), lat=np.array([lat]), resolution=6), 3)[
            1
        ]
        for lon, lat in [(179.9, -17.0), (-179.0, 10.0), (0.0, 89.0)]  # date line and pole
    ]
    cells = np.concatenate(islands)
    region = region_folds(cells, folds=3, rng=np.random.default_rng(0))
    for start in range(0, len(cells), 37):
        assert len(set(region[start : start + 37].tolist())) == 1


def test_as_many_regions_as_cells_and_not_more():
    few = np.repeat(CELLS[:4], 3)
    region = region_folds(few, folds=4, rng=np.random.default_rng(0))
    assert sorted(set(region.tolist())) == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match="at 4 different cells cannot make 5 regions"):
        region_folds(few, folds=5, rng=np.random.default_rng(0))
    with pytest.raises(ConfigError, match="1 folds of 12 units"):
        region_folds(few, folds=1, rng=np.random.default_rng(0))


# ---- buffers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("partition", ["blocks", "random"])
def test_a_buffer_agrees_with_a_naive_loop(partition):
    rng = np.random.default_rng(1)
    cells = rng.choice(CELLS, 200)
    of_unit = (
        block_folds(cells, folds=4, rng=rng)
        if partition == "blocks"
        else random_folds(200, folds=4, rng=rng)
    )
    km = 1.5 if partition == "random" else 4.0
    folds = buffered(cells, of_unit, km=km)
    centres = grid.centers(cells)
    assert folds.near is not None
    assert folds.near.any()
    for unit in range(200):
        away = grid.distances_km(centres, centres[unit])
        for fold in range(4):
            expected = of_unit[unit] != fold and (away[of_unit == fold] <= km).any()
            assert folds.near[unit, fold] == expected
    for fold in range(4):
        learning = folds.training(fold)
        assert not learning[folds.test(fold)].any()
        for unit in np.flatnonzero(learning):
            away = grid.distances_km(centres[folds.test(fold)], centres[unit])
            assert away.min() > km
    # Two folds held out: both buffers count.
    both = folds.training(0, 2)
    np.testing.assert_array_equal(both, folds.training(0) & folds.training(2))


def test_a_buffer_reaches_over_the_date_line():
    cells = grid.points_to_cells(
        lon=np.array([179.95, -179.95, 170.0]), lat=np.array([0.0, 0.0, 0.0]), resolution=6
    )
    near = buffered(cells, np.array([0, 1, 2]), km=40.0).near
    assert near is not None
    assert near[:, :2].tolist() == [[False, True], [True, False], [False, False]]


def test_buffers_that_cannot_be():
    of_unit = block_folds(CELLS, folds=3, rng=np.random.default_rng(0))
    for km in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ConfigError, match="choose a finite width"):
            buffered(CELLS, of_unit, km=km)
    with pytest.raises(ConfigError, match=r"500.0 km leaves no unit to learn from .* narrower"):
        buffered(CELLS, of_unit, km=500.0)
    with pytest.raises(ConfigError, match="leaves no unit"):
        buffered(CELLS, of_unit, km=1e6)  # more than around the earth


def test_folds_without_a_buffer():
    folds = Folds(of_unit=np.array([0, 1, 2, 0]))
    assert folds.count == 3
    assert folds.training(0, 1).tolist() == [False, False, True, False]


# ---- scikit-learn ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "splitter",
    [
        RandomKFold(folds=4, seed=3),
        BlockKFold(folds=4, seed=3),
        BlockKFold(folds=4, buffer_km=3.0, seed=3),
        RegionKFold(folds=4, seed=3),
        RegionKFold(folds=4, buffer_km=3.0, seed=3),
    ],
)
def test_splitters_work_in_scikit_learn(splitter):
    rng = np.random.default_rng(0)
    cells = rng.choice(CELLS, 240)
    x = np.column_stack([grid.centers(cells), rng.normal(size=(240, 2))])
    y = x @ [1.0, -2.0, 0.5, 0.0] + 0.1 * rng.normal(size=240)
    found = cross_validate(Ridge(), x, y, cv=splitter, groups=cells, return_indices=True)
    of_unit = {
        RandomKFold: lambda: random_folds(240, folds=4, rng=np.random.default_rng(3)),
        BlockKFold: lambda: block_folds(cells, folds=4, rng=np.random.default_rng(3)),
        RegionKFold: lambda: region_folds(cells, folds=4, rng=np.random.default_rng(3)),
    }[type(splitter)]()
    km = getattr(splitter, "buffer_km", 0.0)
    folds = buffered(cells, of_unit, km=km) if km else Folds(of_unit=of_unit)
    for fold, (train, test) in enumerate(
        zip(found["indices"]["train"], found["indices"]["test"], strict=True)
    ):
        np.testing.assert_array_equal(train, np.flatnonzero(folds.training(fold)))
        np.testing.assert_array_equal(test, np.flatnonzero(of_unit == fold))
        model = Ridge().fit(x[train], y[train])
        assert found["test_score"][fold] == model.score(x[test], y[test])
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 10.0]}, cv=splitter).fit(x, y, groups=cells)
    assert search.n_splits_ == splitter.get_n_splits() == 4


def test_splitters_say_what_groups_are():
    x = np.zeros((len(CELLS), 1))
    with pytest.raises(ConfigError, match="pass groups=cells"):
        next(BlockKFold().split(x))
    with pytest.raises(ConfigError, match=r"groups are int64 .* uint64 H3 cell"):
        next(RegionKFold().split(x, groups=np.arange(len(CELLS))))
    with pytest.raises(ConfigError, match="of the shape"):
        next(BlockKFold().split(x[1:], groups=CELLS))
    train, test = next(RandomKFold(folds=2).split([0, 1, 2, 3]))
    assert sorted([*train, *test]) == [0, 1, 2, 3]
