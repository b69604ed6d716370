"""Ablations: rows are what a hand-made variation scores; what cannot be asked is not answered."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from mobclip import grid, pipeline
from mobclip.baselines import BASELINES, Features, features
from mobclip.config import FusionConfig, TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.fusion import FUSION_FILE, GONE, Fusion, fusion
from mobclip.place import Place, Target, load_targets, save_targets
from mobclip.probes import probe_all
from mobclip.recipes import MOBCLIP, PAPER
from mobclip.storage import read_json, write_json
from mobclip.studies import ablate as module
from mobclip.studies.ablate import ablate
from mobclip.studies.variants import fit, folder_of

SEEDS = (0, 1)


@pytest.fixture(autouse=True, scope="module")
def narrow():
    """Flows in 18 columns instead of 258: the probe is ten times as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "FLOW_DIMS", 4)
        patch.setattr(fusion, "FLOW_DIMS", 4)
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
    made = BASELINES["pca"].fit(Features(place, seed=seed, **options))
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
    made = (place.folder / "runs" / "variants" / PAPER).glob("*/seed0/trained.json")
    folders = {path.parent.parent.name for path in made}
    assert folders == {"all", "all-32", "mobility-poi", "mobility-demographics"}
    assert not list(place.folder.glob("runs/**/checkpoints"))
    assert place.runs() == []


# --- mobclip ---

FUSED = FusionConfig(dims=24, epochs=3, hidden_units=16)


@pytest.fixture(scope="module")
def fused(toy_place, tmp_path_factory, manifest_path):
    """mobclip of the toy place, ablated; the place, and the workspace it lies in."""
    data = tmp_path_factory.mktemp("fused")
    place = Place.load(shutil.copytree(toy_place.folder, data / "places" / "toy-r6"))
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DIMENSIONS", (16, 24, 32))
        table = ablate(workspace, place, recipe=MOBCLIP, seeds=[1], config=FUSED)
    return workspace, place, table


def scored_vectors(place, vectors):
    made = Embeddings(name="x", cells=place.cells, vectors=np.ascontiguousarray(vectors))
    (result,) = probe_all(made, place.targets, seeds=[1])
    return {protocol: result.scores[protocol].mean for protocol in ("blocks", "random")}


def same_scores(row, expected):
    for protocol, value in expected.items():
        assert row["per_seed"][protocol] == [pytest.approx(value, abs=1e-6)]


def test_the_network_has_no_say_where_nothing_is_hidden(fused):
    workspace, place, table = fused
    seeded = replace(FUSED, seed=1)
    trained = fit(workspace, place, "all", recipe=MOBCLIP, seed=1, config=FUSED).embeddings
    model = Fusion.load(folder_of(place, MOBCLIP, "all", 1) / FUSION_FILE)
    assert np.abs(model.network.outer).max() > 0  # it has learned something
    linear = Fusion.fit([place], seeded).embed(place)
    np.testing.assert_array_equal(trained.vectors, linear)
    same_scores(by_name(table)["full", MOBCLIP], scored_vectors(place, linear))


def test_each_idea_is_left_out_by_itself(fused):
    _, place, table = fused
    rows = by_name(table)
    seeded = replace(FUSED, seed=1)
    words = {**{(name,): what for name, what in module.DESIGN.items()}, tuple(module.DESIGN): None}
    for off, what in words.items():
        config = replace(seeded, **dict.fromkeys(off, 0.0))
        row = rows["design", what or "none of these"]
        same_scores(row, scored_vectors(place, Fusion.fit([place], config).embed(place)))
        assert row["difference"]["low"] <= row["difference"]["blocks"] <= row["difference"]["high"]
    different = {rows["design", what]["blocks"] for what in module.DESIGN.values()}
    assert len(different) == len(module.DESIGN)
    alone = Fusion.fit([place.varied("", modalities=["poi"])], seeded).embed(place)
    same_scores(rows["modality-alone", "poi"], scored_vectors(place, alone))


def test_its_first_numbers_are_an_embedding_too(fused):
    _, place, table = fused
    rows = by_name(table)
    assert [row["what"] for row in table["rows"] if row["study"] == "dims"] == [
        *("first 16", "24", "32"),
    ]
    whole = Fusion.fit([place], replace(FUSED, seed=1)).embed(place)
    same_scores(rows["dims", "first 16"], scored_vectors(place, whole[:, :16]))
    # And the same as if fewer had been asked for; more than it has are fitted anew.
    fewer = Fusion.fit([place], replace(FUSED, seed=1, dims=16)).embed(place)
    np.testing.assert_allclose(fewer, whole[:, :16], atol=1e-6)
    assert [rows["dims", what]["dims"] for what in ("first 16", "24", "32")] == [16, 24, 32]
    assert rows["dims", "24"]["per_seed"] == rows["full", MOBCLIP]["per_seed"]


def test_what_is_not_known_is_gone_with_the_network_and_without(fused):
    _, place, table = fused
    rows = by_name(table)
    model = Fusion.load(folder_of(place, MOBCLIP, "all", 1) / FUSION_FILE)
    states = {"mobility": GONE, "demographics": GONE}
    for study, one in (("known", model), ("known-linear", replace(model, network=None))):
        expected = scored_vectors(place, one.embed(place, states=states))
        found = rows[study, "1 of 3"]["each"]["poi"]
        assert found == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}
        assert rows[study, "3 of 3"]["per_seed"] == rows["full", MOBCLIP]["per_seed"]
    assert rows["known", "1 of 3"]["blocks"] != rows["known-linear", "1 of 3"]["blocks"]


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
