"""The whole path, file to file: caching, overrides, interruption, damage, real places."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from mobclip import pipeline
from mobclip.config import FusionConfig, TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, CellError, ConfigError, FetchError, ManifestError
from mobclip.place import Place
from mobclip.probes import ladder
from mobclip.projection import Projection
from mobclip.search import SimilarityIndex, TextQuery

SMALL = {"mobclip": FusionConfig(epochs=3), "mobclip-paper": TrainConfig(epochs=3)}


@pytest.fixture
def workspace(country_data, manifest_path):
    return pipeline.Workspace.open(manifest=manifest_path, data=country_data)


@pytest.fixture
def country(workspace):
    return Place.load(workspace.folder(workspace.spec("synthetic", cells=600)))


def test_the_country_has_every_modality_and_says_that_it_is_made(country):
    assert set(country.modalities) == {"mobility", "poi", "imagery", "demographics"}
    assert country.provenance["generated"] is True
    for name, mask in country.present.items():
        assert 0.2 < mask.mean() <= 1, name
    # Missing evidence is absent, never zeros: some cells lack some modality.
    assert not all(mask.all() for mask in country.present.values())
    assert len(country.targets) == 11


def test_every_run_is_there_with_text_and_colours(country):
    assert country.runs() == sorted(pipeline.explored_runs(country))
    for run in country.runs():
        folder = country.folder / "runs" / run
        made = Embeddings.load(folder / "embeddings.parquet")
        assert made.provenance["licences"]
        np.testing.assert_array_equal(made.cells, country.cells)
        assert Projection.load(folder / "projection.parquet").method == "pca"
        assert (folder / "text.safetensors").is_file()


@pytest.mark.parametrize("run", SMALL)
def test_a_trained_run_has_a_model_card(country, run):
    card = (country.folder / "runs" / run / "README.md").read_text("utf-8")
    header = yaml.safe_load(card.split("---")[1])
    assert set(header["licences_of_the_data"]) == set(country.provenance["sources"])
    assert "The place is invented" in card
    assert re.search(r"Best epoch: \d of 3; held-out loss \d\.\d{3}\.\n- Recall", card)


def test_a_second_run_does_nothing(workspace, country):
    steps = []
    again = replace(workspace, on_step=lambda what, *_: steps.append(what))
    before = {p: p.stat().st_mtime_ns for p in country.folder.rglob("*") if p.is_file()}
    pipeline.demo(again, workspace.spec("synthetic", cells=600), SMALL)
    assert steps == []
    assert before == {p: p.stat().st_mtime_ns for p in country.folder.rglob("*") if p.is_file()}


def test_other_settings_train_anew_and_only_that(workspace, country, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(workspace.data, data)
    steps = []
    elsewhere = replace(workspace, data=data, on_step=lambda what, *_: steps.append(what))
    spec = workspace.spec("synthetic", cells=600)
    changed = replace(SMALL["mobclip-paper"], learning_rate=2e-3)
    pipeline.demo(elsewhere, spec, {**SMALL, "mobclip-paper": changed})
    assert not any("fitting" in step or "tokenizing" in step for step in steps)
    trained = {step.split(":")[0] for step in steps if step.startswith("training")}
    assert trained == {"training mobclip-paper"}


def test_settings_of_another_recipe_are_refused(workspace, country):
    with pytest.raises(ConfigError, match="mobclip takes a FusionConfig, not a TrainConfig"):
        pipeline.train(workspace, country, "mobclip", config=TrainConfig())
    with pytest.raises(ConfigError, match="pca is not trained"):
        pipeline.train(workspace, country, "pca")


def test_text_finds_places_with_such_points(workspace, country):
    # The words of a category lead to cells that have more of it than cells do on average.
    query = TextQuery(
        run=country.folder / "runs" / "pca", featurizer=country.folder / "featurizers" / "poi"
    )
    made = Embeddings.load(country.folder / "runs" / "pca" / "embeddings.parquet")
    poi = country.tables["poi"]
    column = max(
        (name for name in poi.columns if name.startswith("count_")),
        key=lambda name: (poi.column(name) > 0).mean(),
    )
    found = SimilarityIndex(made).like_vector(query(column.removeprefix("count_")), 20)
    values, _ = poi.aligned(found.cells)
    assert values[:, poi.columns.index(column)].mean() > poi.column(column).mean()


def test_probes_name_targets_that_are_too_small(workspace, country):
    table = json.loads((country.folder / "probes.json").read_text())
    kept = {row["target"] for row in table["rows"]}
    assert kept | set(table["left_out"]) == set(country.targets)
    assert ladder(table["rows"])[0]["blocks"] >= ladder(table["rows"])[-1]["blocks"]


def test_pca_does_not_replace_umap(workspace, country, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(workspace.data, data)
    elsewhere = replace(workspace, data=data)
    place = Place.load(elsewhere.folder(workspace.spec("synthetic", cells=600)))
    path = place.folder / "runs" / "pca" / "projection.parquet"
    replace(Projection.load(path), method="umap").save(path)
    assert pipeline.project(elsewhere, place, "pca").method == "umap"


def test_an_interrupted_tokenization_leaves_the_old_place(
    workspace, country, tmp_path, monkeypatch
):
    data = tmp_path / "data"
    shutil.copytree(workspace.data, data)
    elsewhere = replace(workspace, data=data)
    spec = replace(workspace.spec("synthetic", cells=600), note="changed: another key")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("mobclip.place.save_targets", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.tokenize(elsewhere, spec)
    folder = elsewhere.folder(spec)
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    assert Place.load(folder).provenance["key"] == country.provenance["key"]
    assert Place.load(folder).runs()


def test_retokenizing_keeps_runs_but_makes_them_again(workspace, country, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(workspace.data, data)
    steps = []
    elsewhere = replace(workspace, data=data, on_step=lambda what, *_: steps.append(what))
    spec = replace(workspace.spec("synthetic", cells=600), note="changed: another key")
    place = pipeline.tokenize(elsewhere, spec)
    assert (place.folder / "runs" / "pca" / "embeddings.parquet").is_file()
    assert place.runs() == []  # those are of the old version
    pipeline.embed(elsewhere, place, "pca")
    assert "fitting pca" in steps
    assert place.runs() == ["pca"]


@pytest.mark.parametrize("name", ["cells.parquet", "place.yaml", "tokens/poi.parquet"])
def test_a_truncated_place_says_what_to_do(country, tmp_path, name):
    copy = tmp_path / "place"
    shutil.copytree(country.folder, copy)
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError, match="again"):
        _ = Place.load(copy).tables


@pytest.mark.parametrize(
    "name",
    [
        "place.yaml",
        "cells.parquet",
        "tokens/poi.parquet",
        "targets.parquet",
        "mobility/indices.npy",
    ],
)
@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_place_is_made_anew(workspace, country, tmp_path, monkeypatch, name, missing):
    data = tmp_path / "data"
    folder = data / "places" / country.folder.name
    shutil.copytree(country.folder, folder)
    whole = (folder / name).read_bytes()
    if missing:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(whole[: len(whole) // 2])

    class Begun(Exception):
        pass

    def begin(*args):
        raise Begun

    monkeypatch.setattr(pipeline, "fetch", begin)
    with pytest.raises(Begun):
        pipeline.tokenize(replace(workspace, data=data), workspace.spec("synthetic", cells=600))


def test_what_cannot_be_is_refused(workspace, country):
    with pytest.raises(ManifestError, match=r"no place 'sintetic'.*Did you mean 'synthetic'"):
        workspace.spec("sintetic")
    with pytest.raises(ConfigError, match="real place"):
        workspace.spec("chicago", cells=500)
    with pytest.raises(CellError, match="choose 0 to 15"):
        workspace.spec("chicago", resolution=16)
    with pytest.raises(ConfigError, match="no run 'clip'; it can have random, coordinates"):
        pipeline.embed(workspace, country, "clip")
    with pytest.raises(ConfigError, match="choose pca or umap"):
        pipeline.project(workspace, country, "pca", method="tsne")
    with pytest.raises(ArtefactError, match="holds no place"):
        Place.load(workspace.data / "places" / "nowhere")


def test_real_files_that_are_absent_say_where_they_come_from(manifest_path, tmp_path, monkeypatch):
    monkeypatch.delenv("MOBCLIP_MIRROR", raising=False)
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=tmp_path)
    with pytest.raises(FetchError, match="MOBCLIP_MIRROR"):
        pipeline.fetch(workspace, workspace.spec("chicago"))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "resolution", "cells", "modalities"),
    [
        ("chicago", 8, 808, {"mobility", "poi", "imagery", "demographics"}),
        ("chicago", 9, 5628, {"mobility", "poi", "imagery", "demographics"}),
        ("new-york", 8, 1191, {"mobility", "poi", "demographics"}),
    ],
)
def test_real_places_run_from_manifest_to_search(
    manifest_path, mirror, tmp_path, name, resolution, cells, modalities
):
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=tmp_path, mirror=mirror)
    place = pipeline.tokenize(workspace, workspace.spec(name, resolution=resolution))
    assert len(place.cells) == cells  # Chicago: as many as the data's README counts
    assert set(place.modalities) == modalities
    made = pipeline.embed(workspace, place, "propagated")
    table = pipeline.probe(workspace, place, seeds=[0])
    scores = [row["mean"] for row in table["rows"] if row["protocol"] == "blocks"]
    assert np.mean(scores) > 0.2
    assert len(SimilarityIndex(made).like_cell(place.cells[0], 10).cells) == 10


def test_one_model_for_several_places_and_then_for_another(workspace, country, tmp_path):
    def elsewhere(name):
        folder = tmp_path / name
        shutil.copytree(country.folder, folder, ignore=shutil.ignore_patterns("runs"))
        return replace(Place.load(folder), name=name)

    places = [elsewhere("one"), elsewhere("two")]
    run = pipeline.train_together(workspace, places, config=FusionConfig(epochs=1))
    assert run == "mobclip-one-two"
    found = [
        Embeddings.load(place.folder / "runs" / run / "embeddings.parquet") for place in places
    ]
    np.testing.assert_allclose(found[0].vectors, found[1].vectors, atol=1e-5)
    # The same model again: nothing is trained, and a third place needs no training either.
    steps = []
    again = replace(workspace, on_step=lambda what, *_: steps.append(what))
    pipeline.train_together(again, places, config=FusionConfig(epochs=1))
    assert not any("training" in step for step in steps)
    third = pipeline.embed_with(workspace, elsewhere("three"), places[0].folder / "runs" / run)
    np.testing.assert_allclose(third.vectors, found[0].vectors, atol=1e-5)
    assert third.provenance["space"] == found[0].provenance["space"]
    with pytest.raises(ConfigError, match="name two or more"):
        pipeline.train_together(workspace, places[:1])
    alone = country.folder / "runs" / "mobclip"
    with pytest.raises(ConfigError, match="was trained on synthetic-600 alone"):
        pipeline.embed_with(workspace, elsewhere("four"), alone)
    with pytest.raises(ArtefactError, match="no model of mobclip"):
        pipeline.embed_with(workspace, country, tmp_path / "nothing")
