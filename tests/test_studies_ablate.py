"""Ablations: rows are what a hand-made variation scores; what cannot be asked is not answered."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from mobclip import grid, pipeline
from mobclip.baselines import BASELINES, Features, features
from mobclip.config import TrainConfig
from mobclip.errors import ConfigError
from mobclip.place import Place, Target, load_targets, save_targets
from mobclip.probes import probe_all
from mobclip.recipes import PAPER
from mobclip.storage import read_json, write_json
from mobclip.studies import ablate as module
from mobclip.studies.ablate import ablate

SEEDS = (0, 1)


@pytest.fixture(autouse=True, scope="module")
def narrow():
    """Flows in 18 columns instead of 258: the probe is ten times as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "FLOW_DIMS", 4)
        yield


@pytest.fixture
def workspace(tmp_path, manifest_path):
    return pipeline.Workspace.open(manifest=manifest_path, data=tmp_path)


@pytest.fixture
def place(toy_place, tmp_path):
    return Place.load(shutil.copytree(toy_place.folder, tmp_path / "places" / "toy-r6"))


@pytest.fixture(scope="module")
def table(toy_place, tmp_path_factory, manifest_path):
    """PCA of the toy place, ablated."""
    data = tmp_path_factory.mktemp("ablate")
    place = Place.load(shutil.copytree(toy_place.folder, data / "places" / "toy-r6"))
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DIMENSIONS", (16,))
        return ablate(workspace, place, recipe="pca", seeds=SEEDS)


def by_name(table):
    return {(row["study"], row["what"]): row for row in table["rows"]}


def scored(place, seed, **options):
    """R² on blocks and random folds, the long way."""
    made = BASELINES["pca"].fit(Features(place, seed=seed, **options)).embeddings
    (result,) = probe_all(made, place.targets, seeds=[seed])
    return {protocol: result.scores[protocol].mean for protocol in ("blocks", "random")}


def test_rows_are_what_a_hand_made_variation_scores(table, toy_place):
    rows = by_name(table)
    less = {
        ("full", "pca"): (toy_place, {}),
        ("modality-removed", "poi"): (
            toy_place.varied("", modalities=["mobility", "demographics"]),
            {},
        ),
        ("modality-alone", "poi"): (toy_place.varied("", modalities=["poi"]), {}),
        ("dims", "16"): (toy_place, {"dims": 16}),
    }
    for name, (place, options) in less.items():
        for protocol, value in scored(place, SEEDS[1], **options).items():
            found = rows[name]["per_seed"][protocol][1]
            assert found == pytest.approx(value, abs=1e-6), (name, protocol)


def test_known_is_the_mean_over_all_choices(table, toy_place):
    rows = by_name(table)
    one = rows["known", "1 of 3"]
    assert set(one["each"]) == {"mobility", "poi", "demographics"}
    expected = [scored(toy_place, SEEDS[0], known=frozenset({name})) for name in one["each"]]
    for protocol, per_seed in one["per_seed"].items():
        mean = np.mean([each[protocol] for each in expected])
        assert per_seed[0] == pytest.approx(mean, abs=1e-6)
    # All of them known is the recipe as it is.
    assert rows["known", "3 of 3"]["per_seed"] == rows["full", "pca"]["per_seed"]
    assert one["blocks"] < rows["known", "3 of 3"]["blocks"]


def test_differences_are_paired_and_have_an_interval(table):
    rows = by_name(table)
    full, removed = rows["full", "pca"], rows["modality-removed", "mobility"]
    for protocol in ("blocks", "random"):
        difference = np.subtract(removed["per_seed"][protocol], full["per_seed"][protocol])
        np.testing.assert_allclose(removed["difference"]["per_seed"][protocol], difference)
        assert removed["difference"][protocol] == pytest.approx(difference.mean())
        assert removed[protocol] == pytest.approx(np.mean(removed["per_seed"][protocol]))
    assert removed["blocks_spread"] == pytest.approx(np.std(removed["per_seed"]["blocks"], ddof=1))
    assert removed["difference"]["low"] <= removed["difference"]["blocks"]
    assert removed["difference"]["blocks"] <= removed["difference"]["high"]
    assert (full["difference"]["low"], full["difference"]["high"]) == (0, 0)
    assert rows["known", "1 of 3"]["difference"]["low"] is None  # a mean over choices has none


def test_gains_first_and_last(table):
    rows = by_name(table)
    gains = {gain["modality"]: gain for gain in table["gains"]}
    assert list(gains) == ["mobility", "poi", "demographics"]
    for name, gain in gains.items():
        assert gain["first"] == rows["modality-alone", name]["blocks"]
        lost = rows["full", "pca"]["blocks"] - rows["modality-removed", name]["blocks"]
        assert gain["last"] == pytest.approx(lost)
    # Flows tell the two kinds of place apart: with them first, little is left to be added.
    assert gains["mobility"]["first"] > 0.5
    assert gains["poi"]["last"] < gains["poi"]["first"]


def test_a_width_that_does_not_exist_is_not_scored_twice(workspace, place):
    table = ablate(workspace, place, recipe="poi", seeds=[0])
    rows = by_name(table)
    assert [row["dims"] for row in table["rows"] if row["study"] == "dims"] == [3]
    reasons = {(one["study"], one["what"]): one["why"] for one in table["not_applicable"]}
    assert "same 3 dimensions as 16" in reasons["dims", "128"]
    # A recipe of one modality does without the others, and not without it.
    assert rows["modality-removed", "mobility"]["difference"]["blocks"] == 0
    assert ("modality-removed", "poi") in reasons
    assert "does not look" in reasons["known", "k of 3"]


def test_the_paper_s_recipe_keeps_its_anchor(workspace, place, monkeypatch):
    monkeypatch.setattr(module, "DIMENSIONS", (16, 32))
    config = TrainConfig(epochs=1, dims=16)
    table = ablate(workspace, place, recipe=PAPER, seeds=[0], config=config)
    rows = by_name(table)
    reasons = {(one["study"], one["what"]): one["why"] for one in table["not_applicable"]}
    assert "cannot be made" in reasons["modality-removed", "mobility"]
    assert "cannot be made" in reasons["modality-alone", "mobility"]
    assert "does not look" in reasons["known", "k of 3"]
    assert "anchor" in rows["modality-alone", "poi"]["note"]
    # Of three modalities, poi alone beside the anchor is all but demographics: trained once.
    same = rows["modality-alone", "poi"]["per_seed"]
    assert same == rows["modality-removed", "demographics"]["per_seed"]
    gains = {gain["modality"]: gain for gain in table["gains"]}
    assert gains["poi"]["first"] is None  # beside another it is not the first
    assert gains["poi"]["last"] is not None
    assert [row["dims"] for row in table["rows"] if row["study"] == "dims"] == [16, 32]
    assert rows["dims", "16"]["per_seed"] == rows["full", PAPER]["per_seed"]

    # Trained runs are kept without checkpoints, out of the app's sight.
    folders = {path.parent.parent.name for path in place.folder.glob("runs/*/*/*/trained.json")}
    assert folders == {"all", "all-32", "mobility-poi", "mobility-demographics"}
    assert not list(place.folder.glob("runs/**/checkpoints"))
    assert place.runs() == []


def test_results_are_read_again_and_kept_by_recipe(workspace, place, monkeypatch):
    first = ablate(workspace, place, recipe="poi", seeds=[0])
    other = ablate(workspace, place, recipe="demographics", seeds=[0])
    path = place.folder / "evaluation" / "ablation.json"
    assert read_json(path) == {"poi": first, "demographics": other}

    def forbidden(*_, **__):
        raise AssertionError("fitted again")

    monkeypatch.setattr(module, "fit", forbidden)
    assert ablate(workspace, place, recipe="poi", seeds=[0]) == first
    with pytest.raises(AssertionError):
        ablate(workspace, place, recipe="poi", seeds=[0, 1])
    path.write_text("{", "utf-8")  # damaged: made anew
    with pytest.raises(AssertionError):
        ablate(workspace, place, recipe="poi", seeds=[0])


def test_resolutions_are_compared_on_the_units_that_all_have(workspace, place, monkeypatch):
    spec = replace(workspace.spec("new-york"), resolution=6)

    def zones(cells, ids):
        """Noisy longitude of H3 parents of resolution 5, as zones named by `ids`."""
        parents, zone = np.unique(grid.parents(cells, 5), return_inverse=True)
        weights = sparse.csr_array(
            (1 / np.bincount(zone)[zone], (zone, np.arange(len(cells)))),
            shape=(len(parents), len(cells)),
        )
        strings = np.array(grid.to_strings(parents), object)
        kept = np.flatnonzero([ids(one) for one in strings])
        values = (grid.centers(parents)[:, 0] * 10 + parents.astype(float) % 7)[kept]
        return Target(
            name="zoned",
            title="Zoned",
            unit="1",
            level="zones",
            unit_ids=strings[kept],
            values=values,
            weights=weights[kept],
        )

    cell_level = load_targets(place.folder, place.cells)
    save_targets(place.folder, place.cells, {**cell_level, "zoned": zones(place.cells, bool)})
    place = Place.load(place.folder)
    coarser_cells = np.unique(grid.parents(place.cells, 5))
    dropped = grid.to_strings(coarser_cells[:3])
    coarser = replace(place, resolution=5, cells=coarser_cells, modalities=("poi",))
    coarser.__dict__["graph"] = None
    coarser.__dict__["tables"] = {
        "poi": replace(
            place.tables["poi"],
            cells=coarser_cells,
            values=grid.centers(coarser_cells)[:, [0, 1, 0]].astype(np.float32),
        )
    }
    coarser.__dict__["targets"] = {"zoned": zones(coarser_cells, lambda one: one not in dropped)}
    made = {6: place, 5: coarser}
    monkeypatch.setattr(module, "MAX_FINER", 0)
    monkeypatch.setattr(pipeline, "tokenize", lambda workspace, spec: made[spec.resolution])
    table = ablate(workspace, spec, recipe="poi", seeds=[0])
    rows = [row for row in table["rows"] if row["study"] == "resolution"]
    assert [row["what"] for row in rows] == ["H3 5", "H3 6"]
    assert [row["targets"] for row in rows] == [["zoned"], ["zoned"]]
    assert [row["cells"] for row in rows] == [len(coarser_cells), len(place.cells)]
    assert rows[1]["difference"]["blocks"] == 0
    shared, _ = module._shared_targets(made)
    np.testing.assert_array_equal(shared[5]["zoned"].unit_ids, shared[6]["zoned"].unit_ids)
    np.testing.assert_array_equal(shared[5]["zoned"].values, shared[6]["zoned"].values)
    assert not set(dropped) & set(shared[6]["zoned"].unit_ids)


def test_a_generated_country_has_one_resolution(table, workspace, place):
    assert "manifest entry" in table["not_applicable"][-1]["why"]
    spec = workspace.spec("synthetic")
    rows, reasons = module._resolutions(workspace, spec, place, "pca", [0], TrainConfig())
    assert rows == []
    assert "another country" in reasons[0]["why"]


def test_a_recipe_that_the_place_cannot_have_is_named(workspace, place):
    with pytest.raises(ConfigError, match="imagery"):
        ablate(workspace, place, recipe="imagery", seeds=[0])
    write_json(place.folder / "targets.json", {})
    with pytest.raises(ConfigError, match="target"):
        ablate(workspace, Place.load(place.folder), recipe="pca", seeds=[0])
