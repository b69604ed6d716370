"""Targets on cells: against a naive loop."""

import numpy as np
from scipy import sparse

from mobclip.place import Target


def made(weights: np.ndarray, values: np.ndarray, transform: str = "none") -> Target:
    return Target(
        name="t",
        title="T",
        unit="things",
        level="zones",
        unit_ids=np.array([f"z{i}" for i in range(len(values))], object),
        values=values,
        weights=sparse.csr_array(weights),
        transform=transform,
    )


def test_a_cell_shows_the_unit_that_it_weighs_most_in() -> None:
    rng = np.random.default_rng(3)
    weights = rng.random((7, 40)) * (rng.random((7, 40)) < 0.3)
    weights[:2, 5] = 0.9  # equals: the first stays
    values, others = rng.normal(size=(2, 7))
    target = made(weights, values)
    for given, shown in ((values, target.on_cells()), (others, target.on_cells(others))):
        for cell, value in enumerate(shown):
            if weights[:, cell].any():
                assert value == given[np.argmax(weights[:, cell])]
            else:
                assert np.isnan(value)
    assert target.on_cells()[5] == values[0]


def test_untransformed_is_the_way_back() -> None:
    values = np.array([0.0, 3.0, 250.0])
    target = made(np.eye(3), values, "log1p")
    np.testing.assert_allclose(target.untransformed(target.transformed), values, atol=1e-12)
    assert target.untransformed(np.array([-2.0]))[0] == 0
    plain = made(np.eye(3), -values)
    np.testing.assert_array_equal(plain.untransformed(plain.transformed), -values)


def test_a_varied_place_has_other_evidence_and_another_key(toy_place):
    kept = toy_place.cells[: len(toy_place.cells) // 2]
    varied = toy_place.varied("half of it", cells=kept)
    assert varied.provenance["key"] != toy_place.provenance["key"]
    np.testing.assert_array_equal(varied.cells, kept)
    assert varied.graph.matrix.shape == (len(kept), len(kept))
    for name, table in varied.tables.items():
        assert np.isin(table.cells, kept).all()
        assert len(table.cells) == np.isin(toy_place.tables[name].cells, kept).sum()
    for target in varied.targets.values():
        assert target.weights.shape == (len(target.values), len(kept))
        np.testing.assert_allclose(np.asarray(target.weights.sum(axis=1)).ravel(), 1)
    assert set(varied.present) == set(toy_place.present)
    alone = toy_place.varied("no mobility", modalities=["poi"])
    assert alone.graph is None
    assert set(alone.tables) == {"poi"}
    assert alone.runs() == []  # runs of the whole place are not its own
