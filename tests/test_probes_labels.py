"""Painted labels: what is said of them, and what is not; which cells come next."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import Place
from mobclip.probes.few import Few
from mobclip.probes.labels import LabelProbe, Painted, entropy
from mobclip.probes.next_cells import START, STEP, next_cells, simulate


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells, features, and which of two kinds each cell is."""
    rng = np.random.default_rng(0)
    cells = grid.polygon_to_cells(shapely.box(-35, 38, -33, 39.5), 6)
    kind = rng.integers(0, 2, len(cells))
    features = rng.normal(size=(len(cells), 10))
    features[:, 0] += 4 * kind
    return cells, features, kind


def painted(world, rows: np.ndarray, names: tuple[str, str] = ("farm", "port")) -> Painted:
    cells, _, kind = world
    texts = grid.to_strings(cells[rows])
    labels = {text: names[kind[row]] for text, row in zip(texts, rows, strict=True)}
    return Painted.of(labels, cells, kind="class")


def test_labels_become_rows_and_classes(world) -> None:
    cells, _, kind = world
    found = painted(world, np.array([30, 4, 17]))
    assert found.rows.tolist() == [4, 17, 30]
    assert [found.classes[int(one)] for one in found.values] == [
        ("farm", "port")[kind[row]] for row in (4, 17, 30)
    ]
    names = grid.to_strings(cells[:2])
    mixed = {names[0]: "12.5", names[1]: "many", "86274a66fffffff": "3"}  # the last: elsewhere
    numbers = Painted.of(mixed, cells, kind="number")
    assert numbers.rows.tolist() == [0]
    assert numbers.values.tolist() == [12.5]
    assert len(Painted.of({}, cells, kind="class").rows) == 0


def test_what_is_missing_is_said(world) -> None:
    cells, features, kind = world
    ports, farms = np.flatnonzero(kind == 1), np.flatnonzero(kind == 0)
    few = painted(world, np.concatenate([ports[:5], farms[:3]]))
    assert few.missing == "2 more of “farm”"
    assert "second class" in painted(world, ports[:9]).missing
    assert painted(world, np.concatenate([ports[:5], farms[:5]])).missing == ""
    with pytest.raises(ConfigError, match="2 more of “farm”"):
        LabelProbe(painted=few, features=features, cells=cells)


def test_painted_classes_are_found_elsewhere(world) -> None:
    cells, features, kind = world
    rows = np.random.default_rng(1).choice(len(cells), 60, replace=False)
    probe = LabelProbe(painted=painted(world, rows), features=features, cells=cells)
    np.testing.assert_allclose(probe.predicted.sum(1), 1)
    assert (probe.predicted.argmax(1) == kind).mean() > 0.9
    score = probe.score
    assert not isinstance(score, str)
    assert score.n == 60
    assert score.right / score.n > 0.85 > score.guess / score.n
    sure = np.abs(features[:, 0] - 2) > 3
    assert probe.uncertainty[sure].mean() < 0.5 * probe.uncertainty[~sure].mean()


def test_labels_that_say_nothing_score_like_guessing(world) -> None:
    cells, features, _ = world
    rng = np.random.default_rng(2)
    rows = rng.choice(len(cells), 200, replace=False)
    texts = grid.to_strings(cells[rows])
    labels = dict(zip(texts, rng.choice(["a", "b"], 200).tolist(), strict=True))
    made = Painted.of(labels, cells, kind="class")
    score = LabelProbe(painted=made, features=features, cells=cells).score
    assert not isinstance(score, str)
    assert score.metrics["auc"] == pytest.approx(0.5, abs=0.12)


def test_no_score_is_made_up(world) -> None:
    cells, features, kind = world
    ports, farms = np.flatnonzero(kind == 1), np.flatnonzero(kind == 0)
    ten = painted(world, np.concatenate([ports[:5], farms[:5]]))
    score = LabelProbe(painted=ten, features=features, cells=cells).score
    assert isinstance(score, str)
    assert "10 more cells" in score
    # All within one corner of the map.
    lonlat = grid.centers(cells)
    corner = np.argsort(((lonlat - lonlat[0]) ** 2).sum(1))[:24]
    near = LabelProbe(painted=painted(world, corner), features=features, cells=cells).score
    if len(np.unique(kind[corner])) == 2:
        assert isinstance(near, str)
        assert "close together" in near or "one block" in near


def test_numbers_are_painted_too(world) -> None:
    cells, features, _ = world
    rows = np.random.default_rng(3).choice(len(cells), 80, replace=False)
    value = 5 * features[:, 0] + 100
    labels = {
        text: f"{value[row]:.2f}"
        for text, row in zip(grid.to_strings(cells[rows]), rows, strict=True)
    }
    probe = LabelProbe(
        painted=Painted.of(labels, cells, kind="number"), features=features, cells=cells
    )
    assert not isinstance(probe.score, str)
    assert probe.score.metrics["r2"] > 0.95
    assert np.corrcoef(probe.predicted[:, 0], value)[0, 1] > 0.98
    assert probe.uncertainty[rows].mean() < probe.uncertainty.mean()


def test_entropy_is_of_one_for_all_alike() -> None:
    rows = np.array([[1.0, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]])
    assert entropy(rows) == pytest.approx([0, 1, np.log(2) / np.log(3)], abs=1e-9)


def test_few_is_the_ridge_whose_left_out_units_are_predicted_best() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    from mobclip.probes.few import CANDIDATES

    rng = np.random.default_rng(4)
    x = rng.normal(size=(25, 8))
    y = x[:, :1] + rng.normal(size=(25, 1))
    few = Few.fit(x, y, 1.0)
    best = Ridge(alpha=few.alpha * 25).fit(x, y[:, 0])
    np.testing.assert_allclose(
        few.predict(x)[:, 0], np.clip(best.predict(x), y.min(), y.max()), atol=1e-8
    )
    errors = []
    for alpha in CANDIDATES:
        left_out = cross_val_predict(Ridge(alpha=alpha * 25), x, y[:, 0], cv=LeaveOneOut())
        errors.append(((left_out - y[:, 0]) ** 2).sum())
    assert few.alpha == CANDIDATES[int(np.argmin(errors))]
    centred = x - x.mean(0)
    inverse = np.linalg.inv(centred.T @ centred + few.alpha * 25 * np.eye(8))
    expected = 1 / 25 + np.einsum("ij,jk,ik->i", centred, inverse, centred)
    np.testing.assert_allclose(few.variance(x), expected, rtol=1e-6)


# ---- next cells --------------------------------------------------------------------------------


def test_next_cells_are_new_uncertain_unlike_and_apart(world) -> None:
    cells, features, _ = world
    labelled = np.arange(20)
    sure = np.ones(len(cells))
    sure[100:] = 0.0  # nothing is to be learned there
    found = next_cells(features, cells, labelled, sure, count=10)
    assert len(set(found.tolist())) == 10
    assert not set(found.tolist()) & set(range(20))
    equal = next_cells(features, cells, labelled, np.ones(len(cells)), count=10)
    random = np.random.default_rng(0).choice(np.arange(20, len(cells)), (200, 10))

    def closest(rows: np.ndarray, points: np.ndarray) -> float:
        apart = np.linalg.norm(points[rows][:, None] - points[rows][None], axis=2)
        return float((apart + np.where(np.eye(len(rows)), np.inf, 0)).min())

    lonlat = grid.centers(cells)
    assert closest(equal, lonlat) > np.quantile([closest(one, lonlat) for one in random], 0.99)
    assert closest(equal, features) > np.median([closest(one, features) for one in random])
    with pytest.raises(ConfigError, match="Label a cell"):
        next_cells(features, cells, np.empty(0, np.int64), sure)


def test_all_cells_are_suggested_at_most_once(world) -> None:
    cells, features, _ = world
    rows = np.arange(len(cells) - 4)
    found = next_cells(features, cells, rows, np.ones(len(cells)), count=10)
    assert sorted(found.tolist()) == list(range(len(cells) - 4, len(cells)))


def test_orders_of_labelling_start_alike_and_never_touch_the_blocks_they_are_scored_on(
    world,
) -> None:
    from mobclip.probes.scores import folds_of

    cells, features, _ = world
    actual = features[:, :1] * 2 + 1
    runs = list(simulate(features, actual, cells, kind="number", seeds=(0,), most=40))
    assert len(runs) == 10
    of_unit = folds_of(cells, protocol="blocks", seed=0)
    for one, two in zip(runs[::2], runs[1::2], strict=True):
        assert (one.strategy, two.strategy) == ("suggested", "random")
        assert one.labels == two.labels == tuple(range(START, 41, STEP))
        assert one.scores[0] == two.scores[0]
        np.testing.assert_array_equal(one.order[:START], two.order[:START])
        assert not (of_unit[one.order] == one.fold).any()
        assert len(set(one.order.tolist())) == len(one.order)


def test_the_suggested_order_beats_labelling_at_random_on_the_synthetic_country(
    country_data: Path,
) -> None:
    """On a country, and on divisions of it, that the rule was not made on."""
    place = Place.load(next(country_data.glob("places/*/place.yaml")).parent)
    embeddings = Embeddings.load(place.folder / "runs" / "mobclip" / "embeddings.parquet")
    gains = []
    for name in ("POP", "ELE", "FOR", "COS"):
        target = place.targets[name]
        runs = simulate(
            target.units_of(embeddings.vectors.astype(np.float64)),
            target.actual,
            target.cell_of_unit(embeddings.cells),
            kind=target.kind,
            seeds=(10, 11, 12),
            most=60,
        )
        scores: dict[str, list[float]] = {}
        for one in runs:
            scores.setdefault(one.strategy, []).append(float(np.mean(one.scores[1:6])))
        gains.append(np.mean(scores["suggested"]) - np.mean(scores["random"]))
    assert min(gains) > -0.05, gains
    assert np.mean(gains) > 0.05, gains
