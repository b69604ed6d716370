"""Clusters: planted ones are found, the same every time, and touching ones get unlike colours."""

from itertools import permutations

import numpy as np
import pytest

from mobclip import grid
from mobclip.clusters import cluster, matched, most_central, spread, touching
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError

CENTRE = grid.points_to_cells(lon=np.array([10.0]), lat=np.array([50.0]), resolution=7)


@pytest.fixture(scope="module")
def planted():
    """400 cells or so around three directions, in shares of 1/2, 1/3 and 1/6, of any length."""
    cells = np.sort(grid.disk(CENTRE, 11)[1])
    rng = np.random.default_rng(0)
    kind = rng.choice(3, size=len(cells), p=[1 / 2, 1 / 3, 1 / 6])
    vectors = np.eye(3)[kind] @ rng.normal(size=(3, 8)) * 3 + 0.3 * rng.normal(size=(len(kind), 8))
    vectors *= rng.uniform(0.1, 10, size=(len(kind), 1))
    return Embeddings(name="planted", cells=cells, vectors=vectors.astype(np.float32)), kind


def test_planted_clusters_are_found_largest_first(planted):
    embeddings, kind = planted
    found = cluster(embeddings, 3)
    np.testing.assert_array_equal(found.labels, kind)
    assert (np.diff(found.sizes) <= 0).all()
    assert found.sizes.sum() == len(kind)
    unit = embeddings.unit()
    for one, row in enumerate(found.central):
        away = np.linalg.norm(unit - unit[kind == one].mean(0), axis=1)
        assert row == np.flatnonzero(kind == one)[away[kind == one].argmin()]


def test_clusters_are_the_same_every_time(planted, monkeypatch):
    embeddings, _ = planted
    one, again = cluster(embeddings, 7), cluster(embeddings, 7)
    np.testing.assert_array_equal(one.labels, again.labels)
    # Of many cells the starts are tried on a sample: here too.
    monkeypatch.setattr("mobclip.clusters.SAMPLE", 100)
    monkeypatch.setattr("mobclip.clusters.AT_ONCE", 64)
    np.testing.assert_array_equal(cluster(embeddings, 3).labels, cluster(embeddings, 3).labels)
    np.testing.assert_array_equal(cluster(embeddings, 3).labels, planted[1])


def test_fewer_different_cells_give_fewer_clusters(planted):
    embeddings, kind = planted
    twins = Embeddings(
        name="twins", cells=embeddings.cells, vectors=np.eye(3, dtype=np.float32)[kind]
    )
    found = cluster(twins, 9)
    assert len(found.centres) == 3
    np.testing.assert_array_equal(found.labels, kind)


@pytest.mark.parametrize("count", [1, 21])
def test_a_count_that_no_map_shows_is_refused(planted, count):
    with pytest.raises(ConfigError, match="2 to 20"):
        cluster(planted[0], count)


def test_the_most_central_stand_nearest_to_the_mean(planted):
    embeddings, kind = planted
    rows = np.flatnonzero(kind == 1)
    unit = embeddings.unit()
    found = most_central(unit, rows, 5)
    scores = unit @ unit[rows].mean(0)
    assert set(found) <= set(rows)
    assert scores[found].min() >= np.sort(scores[rows])[-5]
    assert len(most_central(unit, rows[:2], 5)) == 2


def test_touching_counts_borders():
    cells = np.sort(grid.disk(CENTRE, 1)[1])
    labels = (cells != CENTRE[0]).astype(int)
    found = touching(cells, labels, 3)
    assert found[0, 1] == found[1, 0] == 6
    assert found.sum() == 12
    labels[0] = -1  # in no cluster
    assert touching(cells, labels, 3).sum() in (0, 10)


def test_touching_clusters_get_unlike_colours():
    rng = np.random.default_rng(4)
    at = np.array([0.0, 0.05, 0.5, 0.55, 1.0])  # two pairs of colours are hard to tell apart
    apart = np.abs(at[:, None] - at)
    borders = np.triu(rng.integers(0, 50, (5, 5)), 1)
    borders = (borders + borders.T).astype(float)
    given = spread(borders, apart)
    assert sorted(given) == list(range(5))

    def cost(order):
        far = apart[np.ix_(order, order)] + np.eye(5)
        return (np.sqrt(2 * borders) * np.where(np.eye(5) == 1, 0, 1 / far**2)).sum()

    least = min(cost(np.array(order)) for order in permutations(range(5)))
    assert cost(given) <= 1.05 * least
    assert cost(given) < cost(np.arange(5))


def test_clusters_of_two_embeddings_are_paired_by_their_cells():
    one = np.array([0, 0, 0, 1, 1, 2, -1])
    other = np.array([2, 2, 0, 0, 0, 1, 3])
    assert matched(one, other, 3, 4).tolist() == [1, 2, 0, -1]
    assert matched(other, one, 4, 3).tolist() == [2, 0, 1]
