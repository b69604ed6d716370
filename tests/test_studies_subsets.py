"""Subsets: models without a fold are what a hand-made one is; nothing of the fold is in them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from mobclip import pipeline
from mobclip.config import FusionConfig
from mobclip.embeddings import Embeddings, unit_rows
from mobclip.errors import ConfigError
from mobclip.evaluation.retrieval import own_recall
from mobclip.fusion import FUSION_FILE, GONE, HIDDEN, Fusion, fusion
from mobclip.place import Place
from mobclip.probes import FOLDS, folds_of, held_out, ridge
from mobclip.splits import Folds
from mobclip.storage import read_json
from mobclip.studies import subsets as module
from mobclip.studies.subsets import subsets
from mobclip.studies.tokens import among_blocks, own_cells

SEED = 1
CONFIG = FusionConfig(dims=24, epochs=3, hidden_units=16)


@pytest.fixture(autouse=True, scope="module")
def narrow():
    """Flows in 18 columns instead of 258: everything is ten times as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion, "FLOW_DIMS", 4)
        yield


@pytest.fixture(scope="module")
def studied(toy_place, tmp_path_factory, manifest_path):
    """The study of the toy place, and where it lies."""
    data = tmp_path_factory.mktemp("subsets")
    place = Place.load(shutil.copytree(toy_place.folder, data / "places" / "toy-r6"))
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=data)
    return workspace, place, subsets(workspace, place, seeds=[SEED], config=CONFIG)


def model(place, fold):
    folder = place.folder / "runs" / "variants" / "mobclip" / f"without-fold{fold}"
    return Fusion.load(folder / f"seed{SEED}" / FUSION_FILE)


def folds(place):
    # Each unit of the toy place is a cell.
    return folds_of(place.cells, protocol="blocks", seed=SEED)


def row_of(table, **wanted):
    [found] = [
        row
        for section in ("cells", "missing", "tokens")
        for row in table[section]
        if all(row.get(name) == value for name, value in wanted.items())
    ]
    return found


def by_hand(place, states):
    """R² where each fold is embedded by its own model, in some states at the tested cells."""
    target, fold = place.targets["kind"], folds(place)
    predicted = np.full(len(place.cells), np.nan)
    for k in range(FOLDS):
        vectors = model(place, k).embed(place)
        learned = target.units_of(vectors.astype(np.float64))
        tested = target.units_of(model(place, k).embed(place, states=states).astype(np.float64))
        live = ridge.LiveRidge(learned, Folds(of_unit=fold))
        fit = live.fit(target.actual)
        made = tested @ fit.weights[k] + fit.intercepts[k]
        predicted[fold == k] = np.clip(made, fit.lowest[k], fit.highest[k])[fold == k, 0]
    actual = target.actual[:, 0]
    return 1 - ((actual - predicted) ** 2).sum() / ((actual - actual.mean()) ** 2).sum()


def test_models_have_nothing_of_the_cells_they_are_tested_at(studied):
    _, place, _ = studied
    fold = folds(place)
    for k in range(FOLDS):
        found = model(place, k)
        assert not np.isin(found.flow_map.cells, place.cells[fold == k]).any()
        rest = place.varied("the rest", cells=place.cells[fold != k])
        linear = Fusion.fit([rest], replace(CONFIG, seed=SEED))
        for name, axes in linear.axes.items():
            np.testing.assert_array_equal(found.axes[name], axes)
        for name, reader in linear.readers.items():
            np.testing.assert_array_equal(found.readers[name].mean, reader.mean)
    assert place.runs() == []
    assert not list(place.folder.glob("runs/**/checkpoints"))


def test_cells_of_zones_across_a_border_are_not_learned_from(studied):
    _, place, _ = studied
    fold = folds(place)
    target = place.targets["kind"]
    other = int(np.flatnonzero(fold != fold[0])[0])
    weights = target.weights.tolil()
    weights[0, [0, other]] = [0.6, 0.4]  # a unit of two cells, in two folds
    across = replace(target, weights=weights.tocsr())
    asked = module.Round.of(place, {"across": across}, SEED)
    assert asked.units[0].fold[0] == fold[0]
    expected = fold == fold[0]
    expected[other] = True
    np.testing.assert_array_equal(asked.tested(int(fold[0])), expected)


def test_seen_and_unseen_cells_are_scored_on_the_same_folds(studied):
    _, place, table = studied
    seen, unseen = row_of(table, what="seen"), row_of(table, what="unseen")
    whole = Embeddings(
        name="x",
        cells=place.cells,
        vectors=Fusion.fit([place], replace(CONFIG, seed=SEED)).embed(place),
    )
    [expected] = held_out(whole, place.targets, seeds=[SEED], protocols=["blocks"])
    assert seen["blocks"] == pytest.approx(expected.metrics["r2"], abs=1e-6)
    assert unseen["blocks"] == pytest.approx(by_hand(place, {}), abs=1e-6)
    difference = unseen["difference"]
    assert difference["against"] == "seen"
    assert difference["blocks"] == pytest.approx(unseen["blocks"] - seen["blocks"])
    assert difference["low"] <= difference["blocks"] <= difference["high"]
    assert table["by_target"] == [
        {"target": "kind", "seen": seen["blocks"], "unseen": unseen["blocks"]}
    ]


def test_what_is_missing_is_missing_at_the_tested_cells_alone(studied):
    _, place, table = studied
    asked = {"hidden": {"poi": HIDDEN}, "gone": {"poi": GONE}}
    asked["only"] = {"mobility": GONE, "demographics": GONE}
    fold = folds(place)
    for state, states in asked.items():
        row = row_of(table, modality="poi", state=state, network=True)
        assert row["blocks"] == pytest.approx(by_hand(place, states), abs=1e-5)
        unseen = row_of(table, what="unseen")["blocks"]
        assert row["difference"]["blocks"] == pytest.approx(row["blocks"] - unseen)
        cosine, recall, n = 0.0, 0.0, 0
        for k in range(FOLDS):
            here = fold == k
            has = place.present["poi"][here]
            full = model(place, k).embed(place)[here]
            made = model(place, k).embed(place, states=states)[here][has]
            cosine += (unit_rows(made) * unit_rows(full[has])).sum()
            recall += has.sum() * own_recall(made, np.flatnonzero(has), full)["recall1"]
            n += has.sum()
        assert row["n"] == n == place.present["poi"].sum()
        assert row["cosine"] == pytest.approx(cosine / n, abs=1e-6)
        assert row["recall1"] == pytest.approx(recall / n)
        without = row_of(table, modality="poi", state=state, network=False)
        assert without["cosine"] != row["cosine"]
    # What is hidden of a cell is known from around it: nearer than where all of it is gone.
    assert (
        row_of(table, modality="poi", state="hidden", network=False)["cosine"]
        > row_of(table, modality="poi", state="only", network=False)["cosine"]
    )


def test_two_cells_of_a_fold_by_chance(studied):
    _, place, table = studied
    cosines = []
    for k in range(FOLDS):
        unit = unit_rows(model(place, k).embed(place)[folds(place) == k])
        off_diagonal = ~np.eye(len(unit), dtype=bool)
        cosines.append((unit @ unit.T)[off_diagonal].mean())
    assert table["random_cosine"] == pytest.approx(np.mean(cosines), abs=1e-6)


def test_words_alone_are_asked_for_their_cell(studied):
    _, place, table = studied
    fold = folds(place)
    assert [(row["of"], row["way"]) for row in table["tokens"]] == [
        ("words", "towers"),
        ("words", "without the network"),
        ("words", "direction"),
    ]
    table_of_poi = place.tables["poi"]
    values, has = table_of_poi.aligned(place.cells)
    hits = 0.0
    for k in range(FOLDS):
        here = fold == k
        queries = model(place, k).of_token("poi", values[has & here, :2], words=True)
        full = model(place, k).embed(place)[here]
        hits += len(queries) * own_recall(queries, np.flatnonzero(has[here]), full)["recall10"]
    row = row_of(table, of="words", way="towers")
    assert row["recall10"] == pytest.approx(hits / has.sum())
    assert not row["seen"]


def test_a_run_is_asked_as_it_is_in_the_same_blocks(studied):
    workspace, place, _ = studied
    made = pipeline.embed(workspace, place, "pca")
    folder = place.folder / "runs" / "pca"
    rows, why_not = own_cells(place, folder, "pca")
    assert [(row["of"], row["way"], row["seen"]) for row in rows] == [
        ("words", "direction", True),
    ]
    assert why_not == []
    fold = folds_of(place.cells, protocol="blocks", seed=0)
    assert rows[0]["n"] == place.present["poi"].sum()
    assert rows[0]["candidates"] == pytest.approx(len(place.cells) / FOLDS, rel=0.3)
    everyone = np.ones(len(place.cells), bool)
    assert among_blocks(made.vectors, everyone, made.vectors, fold)["recall1"] == 1
    pipeline.embed(workspace, place, "coordinates")
    rows, why_not = own_cells(place, place.folder / "runs" / "coordinates", "coordinates")
    assert [row["of"] for row in rows] == ["words"]  # positions were asked where words are
    assert why_not == []


def test_results_are_read_again(studied, monkeypatch):
    workspace, place, table = studied
    assert read_json(place.folder / "evaluation" / "subsets.json") == table

    def forbidden(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "_without", forbidden)
    assert subsets(workspace, place, seeds=[SEED], config=CONFIG) == table
    with pytest.raises(AssertionError):
        subsets(workspace, place, seeds=[0, SEED], config=CONFIG)


def test_targets_of_too_few_units_are_left_out(studied):
    _, place, _ = studied
    few = place.targets["kind"]
    rows = np.flatnonzero(folds(place) != 0)
    few = replace(
        few, unit_ids=few.unit_ids[rows], values=few.values[rows], weights=few.weights[rows]
    )
    lame = replace(place)
    lame.__dict__["targets"] = {"few": few, "kind": place.targets["kind"]}
    kept, left_out = module.testable(lame, [SEED])
    assert set(kept) == {"kind"}
    assert "0 units in a fold" in left_out["few"]
    lame.__dict__["targets"] = {"few": few}
    with pytest.raises(ConfigError, match="units in every fold"):
        module.testable(lame, [SEED])
