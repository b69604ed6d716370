"""Targets: kinds, cells and files, against naive loops."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from mobclip.errors import ArtefactError, ConfigError
from mobclip.place import Place, Target, load_targets, save_place, save_targets
from mobclip.storage import read_json, read_parquet, write_json, write_parquet


def made(
    weights: np.ndarray, values: np.ndarray, transform: str = "none", **fields: object
) -> Target:
    return Target(
        name="t",
        title="T",
        unit="things",
        level="zones",
        unit_ids=np.array([f"z{i}" for i in range(len(values))], object),
        values=values,
        weights=sparse.csr_array(weights),
        transform=transform,
        **fields,
    )


SHARES = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.1, 0.9, 0.0]])


def one_of_each_kind() -> dict[str, Target]:
    eye = np.eye(3)
    letters = ("a", "b", "c")
    return {
        "number": made(eye, np.array([0.0, 1.0, 9.0]), "log1p", ceiling=0.8),
        "binary": made(eye, np.array([0.0, 1.0, 1.0]), kind="binary"),
        "class": made(eye, np.array([2.0, 0.0, 2.0]), kind="class", classes=letters),
        "composition": made(eye, SHARES, kind="composition", classes=letters),
    }


def test_what_a_probe_learns() -> None:
    actual = {name: target.actual for name, target in one_of_each_kind().items()}
    np.testing.assert_allclose(actual["number"], np.log([[1.0], [2.0], [10.0]]))
    assert actual["binary"].tolist() == [[1, 0], [0, 1], [0, 1]]
    assert actual["class"].tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(actual["composition"], SHARES)
    assert {one.dtype for one in actual.values()} == {np.dtype(np.float64)}
    with pytest.raises(ConfigError, match=r"'class', which has no scale.*use `actual`"):
        _ = one_of_each_kind()["class"].transformed


@pytest.mark.parametrize(
    ("values", "fields", "message"),
    [
        ([0, 1, 0.5], {"kind": "binary"}, r"unit z2 has the value 0.5 .* has 0 or 1 \(1 units"),
        ([0, 1, 2], {"kind": "class", "classes": ("a", "b")}, "unit z2 .* number from 0 to 1"),
        ([0, 1, -1], {"kind": "class", "classes": ("a", "b")}, "unit z2 has the value -1"),
        ([0, 1, 0.5], {"kind": "class", "classes": ("a", "b")}, "unit z2 has the value 0.5"),
        ([0, 1, 0], {"kind": "class"}, "has two classes or more, not"),
        ([0, 0, 0], {"kind": "class", "classes": ("a",)}, "has two classes or more, not"),
        ([0, 1, 0], {"kind": "class", "classes": ("a", "a")}, "its classes repeat"),
        ([0, 1, 0], {"classes": ("a", "b")}, "has no classes, not"),
        ([0, 1, 0], {"kind": "binary", "transform": "log1p"}, "belong to the kind 'number'"),
        ([0, 1, 0], {"kind": "binary", "ceiling": 0.5}, "belong to the kind 'number'"),
        ([0, 1, -2], {"transform": "log1p"}, "log1p is not for it"),
        ([0, 1, np.nan], {}, "not finite"),
        ([0, 1, 0], {"ceiling": 1.5}, "the ceiling 1.5 is a largest R²"),
        ([0, 1, 0], {"ceiling": 0.0}, "the ceiling 0.0 is a largest R²"),
        (SHARES, {}, r"have the shape \(3,\), not \(3, 3\)"),
        (SHARES[:, 0], {"kind": "composition", "classes": ("a", "b")}, r"have the shape \(3, 2"),
        (SHARES * [1, 1, 2], {"kind": "composition", "classes": tuple("abc")}, "sum to 1"),
        (
            SHARES + 0.2 * np.array([[0, 0, 0], [1, -1, 0], [0, 0, 0]]),
            {"kind": "composition", "classes": tuple("abc")},
            "unit z1 has the value .* shares of 0 or more",
        ),
    ],
)
def test_values_that_the_kind_does_not_allow(values, fields, message) -> None:
    with pytest.raises((ArtefactError, ConfigError), match=message):
        made(np.eye(3), np.asarray(values, np.float64), **fields)


def test_targets_of_every_kind_come_back_from_disk(tmp_path: Path, toy_place) -> None:
    cells = toy_place.cells
    rng = np.random.default_rng(0)
    weights = rng.random((3, len(cells)))
    weights /= weights.sum(axis=1, keepdims=True)
    written = {
        name: made(
            weights,
            one.values,
            one.transform,
            kind=one.kind,
            classes=one.classes,
            ceiling=one.ceiling,
            note=name,
        )
        for name, one in one_of_each_kind().items()
    }
    save_targets(tmp_path, cells, written)
    read = load_targets(tmp_path, cells)
    assert list(read) == list(written)
    for name, one in read.items():
        for field in ("title", "unit", "level", "kind", "classes", "transform", "ceiling", "note"):
            assert getattr(one, field) == getattr(written[name], field)
        assert one.unit_ids.tolist() == ["z0", "z1", "z2"]
        np.testing.assert_array_equal(one.values, written[name].values)
        np.testing.assert_array_equal(one.weights.toarray(), weights)
    save_targets(tmp_path, cells, {})
    assert load_targets(tmp_path, cells) == {}


def test_targets_of_an_older_mobclip_are_refused(tmp_path: Path, toy_place) -> None:
    weights = np.eye(3, len(toy_place.cells))
    target = made(weights, np.arange(3.0))
    save_targets(tmp_path, toy_place.cells, {"t": target})
    header = read_json(tmp_path / "targets.json")
    old = {key: value for key, value in header["t"].items() if key != "kind"}
    write_json(tmp_path / "targets.json", {"t": old})
    with pytest.raises(ArtefactError, match=r"another version .* Run `mobclip tokenize` again"):
        load_targets(tmp_path, toy_place.cells)
    write_json(tmp_path / "targets.json", header)
    values = read_parquet(tmp_path / "targets.parquet")
    write_parquet(tmp_path / "targets.parquet", values.drop_columns("part"))
    with pytest.raises(ArtefactError, match="Run `mobclip tokenize` again"):
        load_targets(tmp_path, toy_place.cells)


def test_restriction_keeps_units_of_which_half_is_left() -> None:
    cells = np.arange(4, dtype=np.uint64)
    weights = np.array([[0.5, 0.5, 0, 0], [0, 0.2, 0.3, 0.5], [0, 0, 0.4, 0.6]])
    target = made(weights, SHARES, kind="composition", classes=("a", "b", "c"))
    left = target.restrict(cells, cells[1:3])
    assert left.unit_ids.tolist() == ["z0", "z1"]
    np.testing.assert_array_equal(left.values, SHARES[:2])
    np.testing.assert_allclose(left.weights.toarray(), [[1, 0], [0.4, 0.6]])
    assert (left.kind, left.classes) == ("composition", ("a", "b", "c"))
    with pytest.raises(ArtefactError, match="not its own"):
        target.restrict(cells, np.array([9], np.uint64))


def test_a_composition_shows_its_largest_part() -> None:
    kinds = one_of_each_kind()
    assert kinds["composition"].on_cells().tolist() == [2, 0, 1]
    given = np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(kinds["composition"].on_cells(given), given)
    # Predicted probabilities show the class that they favour.
    assert kinds["binary"].on_cells(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])).tolist() == [
        *(0, 1, 0)
    ]


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


def test_the_command_line_can_be_told_of_a_place(toy_place) -> None:
    assert toy_place.arguments == f"toy --resolution {toy_place.resolution}"
    made = replace(toy_place, name="synthetic-600", provenance={"generated": True})
    assert made.arguments == f"synthetic --cells 600 --resolution {toy_place.resolution}"
    numbered = replace(toy_place, name="area-51")  # a real place may end in a number
    assert numbered.arguments.startswith("area-51 ")


def test_who_has_evidence_is_known_without_reading_tokens(tmp_path: Path, toy_place) -> None:
    kept = save_place(
        tmp_path / "toy-r6",
        name="toy",
        title="Toy",
        resolution=toy_place.resolution,
        cells=toy_place.cells,
        tables=toy_place.tables,
        graph=toy_place.graph,
        targets=toy_place.targets,
        provenance={"key": "toy"},
    )
    again = Place.load(kept.folder)
    for name, mask in again.present.items():
        np.testing.assert_array_equal(mask, toy_place.present[name])
    assert "tables" not in vars(again)
    for name, table in again.tables.items():
        np.testing.assert_array_equal(again.present[name], table.aligned(again.cells)[1])
