"""The direction of a text in a space, read off cells."""

from dataclasses import replace

import numpy as np
import shapely

from mobclip import grid
from mobclip.baselines import BASELINES, Features
from mobclip.probes.words import read_off, text_map, texts_of

CELLS = grid.polygon_to_cells(shapely.box(-35, 38, -34.3, 38.7), 6)


def test_the_direction_of_a_text_is_found_below_what_is_louder():
    rng = np.random.default_rng(7)
    texts = rng.normal(size=(len(CELLS), 3)).astype(np.float32)
    # The space holds the texts in some directions, and something louder in others.
    louder = 30 * rng.normal(size=(len(CELLS), 2))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    vectors = (np.hstack([texts, louder]) @ turn).astype(np.float32)
    directions = read_off(vectors, texts, CELLS)(np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(directions, turn[:3], atol=0.02)


def test_cells_of_the_words_are_ahead_in_every_run(toy_place):
    a, b = np.eye(2, dtype=np.float32)
    has, texts = texts_of(toy_place)
    assert has.sum() == toy_place.present["poi"].sum()
    assert (texts[~has] == 0).all()
    for name in ("poi", "pca", "propagated", "mobility"):
        made = BASELINES[name].fit(Features(toy_place))
        leaning = made.vectors @ text_map(made, toy_place)(np.array([a - b]))[0]
        kind = toy_place.targets["kind"].values > 0.5
        assert leaning[has & ~kind].mean() > leaning[has & kind].mean()


def test_there_is_no_direction_without_words_or_with_those_of_one_neighbourhood(toy_place):
    made = BASELINES["pca"].fit(Features(toy_place))
    speechless = replace(toy_place, modalities=("demographics", "mobility"))
    assert text_map(made, speechless) is None
    poi = toy_place.tables["poi"]
    few = replace(poi, cells=poi.cells[:3], values=poi.values[:3])
    village = replace(toy_place)
    village.__dict__["tables"] = {**toy_place.tables, "poi": few}
    assert text_map(made, village) is None
