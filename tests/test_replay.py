"""A session again: the numbers that its parts give by themselves."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from mobclip import grid
from mobclip.baselines import BASELINES, Features
from mobclip.cli import app
from mobclip.clusters import cluster
from mobclip.config import FusionConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.explain.telling import Traits
from mobclip.fusion import FUSION_FILE, GONE, Fusion
from mobclip.place import save_place
from mobclip.probes import folds_of, learning, probe
from mobclip.replay import differences, place_of, replay
from mobclip.search import SimilarityIndex
from mobclip.session import Selection, Session
from mobclip.splits import Folds
from mobclip.storage import read_json
from mobclip.whatif import Edits, what_if


@pytest.fixture(scope="module")
def place(toy_place, tmp_path_factory):
    """The toy place with a run, in a folder of its own."""
    folder = tmp_path_factory.mktemp("replay") / "places" / "toy-r6"
    kept = save_place(
        folder,
        name="toy",
        title="Toy",
        resolution=6,
        cells=toy_place.cells,
        tables=toy_place.tables,
        graph=toy_place.graph,
        targets=toy_place.targets,
        provenance={"key": "toy", "sources": {}},
    )
    BASELINES["pca"].fit(Features(kept)).save(folder / "runs" / "pca" / "embeddings.parquet")
    return kept


@pytest.fixture
def made(place):
    return BASELINES["pca"].fit(Features(place))


def test_similar_places_are_those_of_the_index(place, made):
    cell = grid.to_strings(place.cells[[7]])[0]
    said = replay(place, Session(selection=Selection(run="pca", cell=cell, count=9, apart=20.0)))
    found = SimilarityIndex(made).like_cell(place.cells[7], 9, exclude_within_km=20.0)
    assert [one["h3"] for one in said["similar"]] == grid.to_strings(found.cells)
    np.testing.assert_allclose([one["score"] for one in said["similar"]], found.scores, atol=1e-6)
    assert "probe" not in said


def test_clusters_are_those_of_the_run_with_names_by_their_cells(place, made):
    said = replay(place, Session(selection=Selection(run="pca", colour="clusters", clusters=4)))
    found = cluster(made, 4)
    assert [one["cells"] for one in said["clusters"]] == found.sizes.tolist()
    assert [one["name"] for one in said["clusters"]] == Traits(place).name(found.labels, 4)
    assert "clusters" not in replay(place, Session(selection=Selection(run="pca")))
    assert differences(said, {**said, "clusters": said["clusters"][::-1]})


def test_an_area_holds_the_answers_inside(place):
    area = tuple(grid.to_strings(place.cells[::3]))
    selection = Selection(run="pca", cell=area[0], count=20, inside=True)
    said = replay(place, Session(selection=selection, area=area))
    assert {one["h3"] for one in said["similar"]} <= set(area)
    everywhere = replay(place, Session(selection=replace(selection, inside=False), area=area))
    assert not {one["h3"] for one in everywhere["similar"]} <= set(area)


def test_the_probe_is_that_of_the_place_and_with_sliders_that_of_the_sliders(place, made):
    said = replay(place, Session(selection=Selection(run="pca", view="probe", target="kind")))
    expected = probe(made, place.targets["kind"], seeds=(0,))
    assert said["probe"]["blocks"] == expected.scores["blocks"].mean
    assert said["probe"]["random"] == expected.scores["random"].mean
    selection = Selection(run="pca", target="kind", budget=0.35, dims=3, alpha=0.1)
    said = replay(place, Session(selection=selection))
    target = place.targets["kind"]
    folds = Folds(of_unit=folds_of(target.cell_of_unit(place.cells), protocol="blocks", seed=0))
    features = target.units_of(made.vectors[:, :3].astype(np.float64))
    by_hand = learning.learned(
        features, target.actual, folds, kind=target.kind, share=0.35, alpha=0.1
    )
    assert said["probe"]["blocks"] == by_hand.score != expected.scores["blocks"].mean
    # A link by hand snaps to what the sliders offer, as on the page.
    between = Selection(run="pca", target="kind", budget=0.3, dims=3, alpha=0.12, using=("poi",))
    assert replay(place, Session(selection=between))["probe"] == said["probe"]


def test_a_model_of_fewer_modalities_than_the_place_has_can_do_without_its_own(place):
    fewer = place.varied("poi and mobility", modalities=["poi", "mobility"])
    fusion = Fusion.fit([fewer], FusionConfig(dims=6))
    folder = place.folder / "runs" / "joint"
    folder.mkdir(parents=True, exist_ok=True)
    fusion.save(folder / FUSION_FILE)
    Embeddings(name="joint", cells=place.cells, vectors=fusion.embed(place)).save(
        folder / "embeddings.parquet"
    )
    asked = Selection(run="joint", target="kind", using=("poi",))
    said = replay(place, Session(selection=asked))["probe"]
    target = place.targets["kind"]
    vectors = fusion.embed(place, states={"mobility": GONE})
    folds = Folds(of_unit=folds_of(target.cell_of_unit(place.cells), protocol="blocks", seed=0))
    by_hand = learning.learned(
        target.units_of(vectors.astype(np.float64)), target.actual, folds, kind=target.kind
    )
    assert said["blocks"] == by_hand.score
    # All that it was given is all: nothing is hidden.
    whole = replay(place, Session(selection=replace(asked, using=("poi", "mobility"))))["probe"]
    assert whole == replay(place, Session(selection=replace(asked, using=())))["probe"]


def test_painted_labels_are_scored_or_what_is_missing_is_said(place):
    cells = grid.to_strings(place.cells)
    kind = place.targets["kind"].actual[:, 0]
    labels = {cells[row]: "high" if kind[row] > 0.5 else "low" for row in range(0, len(cells), 3)}
    said = replay(place, Session(selection=Selection(run="pca"), labels=labels))
    assert said["painted"]["cells"] == len(labels)
    assert said["painted"]["auc"] > 0.6
    few = dict(list(labels.items())[:3])
    said = replay(place, Session(selection=Selection(run="pca"), labels=few))
    assert "more of" in said["painted"]["missing"]


def test_edits_of_a_cell_are_tried_again(place, tmp_path):
    fusion = Fusion.fit([place], FusionConfig(dims=16))
    folder = place.folder / "runs" / "mobclip"
    folder.mkdir(parents=True, exist_ok=True)
    fusion.save(folder / FUSION_FILE)
    cell = place.cells[place.present["poi"]][4]
    made = Embeddings(
        name="mobclip",
        cells=place.cells,
        vectors=fusion.embed(place),
        provenance={"place_key": "toy"},
    )
    made.save(folder / "embeddings.parquet")
    edits = Edits(states={"poi": GONE})
    selection = Selection(
        run="pca", cell=grid.to_strings(np.array([cell]))[0], edits=edits.to_text()
    )
    said = replay(place, Session(selection=selection))["what_if"]
    found = what_if(fusion, place, int(cell), edits)
    assert said["cosine"] == pytest.approx(found.cosine) != 1
    assert said["predictions"]["kind"]["after"] == pytest.approx(found.predictions[0].after)
    (folder / FUSION_FILE).unlink()
    assert "mobclip train" in replay(place, Session(selection=selection))["what_if"]["missing"]


def test_what_is_not_there_is_named(place):
    with pytest.raises(ArtefactError, match="no run 'gpt'"):
        replay(place, Session(selection=Selection(run="gpt")))
    with pytest.raises(ConfigError, match="no target 'luck'"):
        replay(place, Session(selection=Selection(run="pca", target="luck")))
    data = place.folder.parents[1]
    assert place_of(Session(selection=Selection(place="toy-r6")), data) == place.folder
    for name in ("", "atlantis", "../toy-r6", "/etc"):
        with pytest.raises(ArtefactError, match="toy-r6"):
            place_of(Session(selection=Selection(place=name)), data)


def test_differences_are_named_and_rounding_is_none():
    saved = {"run": "pca", "similar": [{"h3": "a", "score": 0.5}], "probe": {"blocks": 0.4}}
    assert differences(saved, {**saved, "probe": {"blocks": 0.40005}}) == []
    assert differences(saved, {**saved, "probe": {"blocks": 0.41}}) == [
        "probe blocks: saved 0.4, now 0.41"
    ]
    (line,) = differences(saved, {**saved, "similar": [{"h3": "b", "score": 0.5}]})
    assert line == "similar 1 h3: saved a, now b"
    assert differences(saved, {"run": "pca"})[0].startswith("similar: saved")


def test_the_command_gives_the_numbers_again_and_says_when_they_are_others(place, tmp_path):
    session = Session(
        selection=Selection(place="toy-r6", run="pca", cell=grid.to_strings(place.cells[[3]])[0])
    )
    said = replay(place, session)
    file = tmp_path / "a.session.json"
    runner = CliRunner()
    arguments = ["--data", str(place.folder.parents[1]), "replay", str(file)]
    session.save(file, said=said)
    done = runner.invoke(app, [*arguments, "--out", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    assert "These are the numbers that were saved." in done.output
    assert read_json(tmp_path / "out.json") == said
    said["similar"][0]["score"] += 0.1
    session.save(file, said=said)
    done = runner.invoke(app, arguments)
    assert isinstance(done.exception, ConfigError)
    assert "similar 1 score" in str(done.exception)
