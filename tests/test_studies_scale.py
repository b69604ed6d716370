"""Scaling: parts are nested and whole, thinning is fair, points are what they say they are."""

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import shapely

from mobclip import grid, pipeline
from mobclip.baselines import BASELINES, Features, features, propagation
from mobclip.config import TrainConfig
from mobclip.errors import ConfigError
from mobclip.evaluation.scaling import fit_power_law
from mobclip.graph import MobilityGraph
from mobclip.place import Place
from mobclip.probes import probe_all
from mobclip.recipes import PAPER
from mobclip.storage import read_json
from mobclip.studies import scale as module
from mobclip.studies.scale import scale
from mobclip.studies.variants import fit

SEEDS = (0, 1)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Flows in 18 columns instead of 258: the probe is ten times as fast."""
    monkeypatch.setattr(features, "FLOW_DIMS", 4)


@pytest.fixture
def workspace(tmp_path, manifest_path):
    return pipeline.Workspace.open(manifest=manifest_path, data=tmp_path)


@pytest.fixture
def place(toy_place, tmp_path, monkeypatch):
    """A copy of the toy place, which stands for the manifest's synthetic country."""
    place = Place.load(shutil.copytree(toy_place.folder, tmp_path / "places" / "toy-r6"))
    monkeypatch.setattr(pipeline, "tokenize", lambda workspace, spec: place)
    monkeypatch.setattr(module, "MIN_UNITS", 25)  # of 226 cells, an eighth is 28
    return place


@pytest.fixture
def spec(workspace):
    return workspace.spec("synthetic")


def study(workspace, spec, place, recipe="pca"):
    return module._Study(
        workspace=workspace,
        spec=spec,
        place=place,
        recipe=recipe,
        seeds=SEEDS,
        config=TrainConfig(),
        targets=place.targets,
    )


def test_parts_are_nested_and_made_of_whole_blocks(toy_place):
    cells = toy_place.cells
    block = module._blocks(cells)
    parts = module._nested_parts(cells, np.random.default_rng(0))
    np.testing.assert_array_equal(parts[-1], cells)
    for fraction, (part, larger) in zip(module.FRACTIONS, pairwise(parts), strict=False):
        assert np.isin(part, larger).all()
        inside = np.isin(block, block[np.isin(cells, part)])
        np.testing.assert_array_equal(cells[inside], part)
        biggest = np.unique(block, return_counts=True)[1].max()
        assert fraction * len(cells) <= len(part) < fraction * len(cells) + biggest
    other = module._nested_parts(cells, np.random.default_rng(1))
    assert not np.array_equal(parts[0], other[0])


def test_blocks_are_as_coarse_as_many_blocks_allow(toy_place):
    cells = grid.children(toy_place.cells, 8)
    assert grid.resolution_of(module._blocks(cells)) == 6  # 226 of them; 40 at resolution 5
    assert grid.resolution_of(module._blocks(toy_place.cells)) == 5  # too small: the finest


def test_all_sizes_are_scored_on_the_units_of_the_smallest_part(workspace, spec, place):
    table = scale(workspace, spec, recipe="pca", seeds=SEEDS, axes=["cells"])
    axis = table["axes"]["cells"]
    assert [point["cells"] for point in axis["points"]] == sorted(
        point["cells"] for point in axis["points"]
    )
    # The last point by hand: vectors of the whole place, probed in the smallest part.
    for number, seed in enumerate(SEEDS):
        sweep = module._cells(study(workspace, spec, place), seed)
        made = BASELINES["pca"].fit(Features(place, seed=seed))
        rows = made.rows(sweep.cells)
        part = replace(made, cells=sweep.cells, vectors=made.vectors[rows], present={})
        (result,) = probe_all(
            part, {"kind": place.targets["kind"].restrict(place.cells, sweep.cells)}, seeds=[seed]
        )
        for protocol in ("blocks", "random"):
            found = axis["points"][-1]["per_seed"][protocol][number]
            assert found == pytest.approx(result.scores[protocol].mean, abs=1e-6)
        for (variant,) in sweep.points:
            assert np.isin(sweep.cells, variant.make().cells).all()
    assert len(axis["points"]) == 4  # a 16th has 14 units
    law = axis["law"]
    assert law["low"] <= law["b"] <= law["high"]


def test_a_place_that_is_too_small_for_parts_says_so(workspace, spec, place, monkeypatch):
    monkeypatch.setattr(module, "MIN_UNITS", 200)
    table = scale(workspace, spec, recipe="poi", seeds=[0], axes=["cells"])
    assert "too few" in table["left_out"]["cells"]
    less = replace(place, modalities=("demographics",))
    monkeypatch.setattr(pipeline, "tokenize", lambda workspace, spec: less)
    table = scale(workspace, spec, recipe="demographics", seeds=[0], axes=["edges", "poi"])
    assert "no mobility" in table["left_out"]["edges"]
    assert "no poi" in table["left_out"]["poi"]


def test_trips_are_thinned_one_by_one():
    cells = grid.polygon_to_cells(shapely.box(-35, 38, -34.5, 38.5), 6)
    rng = np.random.default_rng(0)
    origin, destination = rng.integers(0, len(cells), (2, 300))
    trips = MobilityGraph.from_edges(
        cells, cells[origin], cells[destination], rng.integers(1, 100, 300)
    )
    before = trips.weights.copy()
    half = module._thinned_graph(trips, 0.5, rng)
    total = float(before.sum())
    assert half.weights.sum() == pytest.approx(total / 2, abs=4 * np.sqrt(total / 4))
    assert (half.weights == np.round(half.weights)).all()
    assert (trips.matrix - half.matrix).min() >= 0
    np.testing.assert_array_equal(trips.weights, before)

    shares = replace(trips, weights=trips.weights / np.float32(3))
    part = module._thinned_graph(shares, 0.25, rng)
    kept = part.matrix.toarray()
    np.testing.assert_array_equal(kept[kept > 0], shares.matrix.toarray()[kept > 0])
    n = len(shares.weights)
    assert len(part.weights) == pytest.approx(n / 4, abs=4 * np.sqrt(n * 3 / 16))


def test_edges_are_nested_and_end_at_the_whole(workspace, spec, place):
    sweep = module._edges(study(workspace, spec, place), 0)
    graphs = [variant.make().graph for (variant,) in sweep.points]
    assert [len(graph.weights) for graph in graphs] == [point[0].x for point in sweep.points]
    for fewer, more in pairwise(graphs):
        assert (more.matrix - fewer.matrix).min() >= 0
    assert graphs[-1] is place.graph


def test_flows_that_carry_the_target_scale(workspace, spec, place):
    table = scale(workspace, spec, recipe="mobility", seeds=SEEDS, axes=["edges"])
    axis = table["axes"]["edges"]
    blocks = [point["blocks"] for point in axis["points"]]
    assert blocks[-1] > blocks[0] + 0.3
    assert axis["law"]["verdict"] == "the error falls"
    per_seed = np.array([point["per_seed"]["blocks"] for point in axis["points"]])
    law = fit_power_law(np.array([point["x"] for point in axis["points"]]), per_seed[:, :, None])
    assert axis["law"]["b"] == law.b  # one target: the mean is the target


def test_pois_that_are_all_kept_make_the_same_tokens(country_data, manifest_path):
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=country_data)
    spec = workspace.spec("synthetic", cells=600)
    place = pipeline.tokenize(workspace, spec)
    sweep = module._poi(study(workspace, spec, place), 0)
    amounts = [variant.x for (variant,) in sweep.points]
    assert amounts == sorted(amounts)
    thinned = sweep.points[0][0].make.func  # fraction -> place
    same = thinned(1.0).tables["poi"]
    np.testing.assert_array_equal(same.cells, place.tables["poi"].cells)
    assert same.columns == place.tables["poi"].columns
    np.testing.assert_allclose(same.values, place.tables["poi"].values, atol=1e-5)

    fewer = sweep.points[0][0].make()
    assert len(fewer.tables["poi"].cells) < len(place.tables["poi"].cells)
    assert fewer.tables["imagery"].columns == place.tables["imagery"].columns
    assert fewer.provenance["key"] != place.provenance["key"]
    for name, target in place.targets.items():  # targets stay those of all the data
        assert fewer.targets[name] is target


def test_points_of_modalities_and_dims(workspace, spec, place, monkeypatch):
    monkeypatch.setattr(module, "DIMENSIONS", (8, 16, 64, 256))
    table = scale(workspace, spec, recipe="pca", seeds=[0], axes=["modalities", "dims"])
    points = table["axes"]["modalities"]["points"]
    assert [point["x"] for point in points] == [1, 2, 3]
    alone = []
    for name in place.modalities:
        made = BASELINES["pca"].fit(Features(place.varied("", modalities=[name])))
        alone.append(next(probe_all(made, place.targets, seeds=[0])).scores["blocks"].mean)
    assert points[0]["blocks"] == pytest.approx(np.mean(alone), abs=1e-6)

    widths = [point["x"] for point in table["axes"]["dims"]["points"]]
    columns = len(Features(place).together.names)
    assert widths == [8, 16, columns]  # there are no more: 256 would be the same again
    stored = table["axes"]["parameters"]["points"]
    assert [point["x"] for point in stored] == [columns * (2 + dims) for dims in widths]
    for point in stored:
        assert point["seconds"] > 0
        assert 0 < point["peak_mb"] < 200


def test_numbers_stored_by_propagated_are_counted(workspace, place, monkeypatch):
    shapes = []

    def spied(values, dims):
        axes = real(values, dims)
        shapes.append(axes.shape)
        return axes

    real = propagation.principal_axes
    monkeypatch.setattr(propagation, "principal_axes", spied)
    for modalities in (place.modalities, ("poi", "demographics")):
        varied = place.varied("", modalities=modalities)
        evidence = Features(varied, dims=16)
        made = fit(workspace, varied, "x", recipe="propagated", seed=0, features=evidence)
        first, second = evidence.axes.shape, shapes[-1]
        columns = first[0]
        assert made.parameters == (
            2 * columns + first[0] * first[1] + second[0] + second[0] * second[1]
        )


def test_a_trained_model_is_counted_and_timed(workspace, spec, place, monkeypatch):
    monkeypatch.setattr(module, "DIMENSIONS", (8, 16, 32))
    config = TrainConfig(epochs=1, dims=16)
    table = scale(workspace, spec, recipe=PAPER, seeds=[0], axes=["dims"], config=config)
    points = table["axes"]["dims"]["points"]
    assert [point["x"] for point in points] == [8, 16, 32]
    # Node table, and more for the encoders.
    assert all(point["parameters"] > len(place.cells) * point["x"] for point in points)
    assert "ru_maxrss" in table["memory"]
    assert all(point["seconds"] > 0 and point["peak_mb"] > 50 for point in points)
    folders = {path.parent.parent.name for path in place.folder.glob("runs/*/*/*/*/trained.json")}
    assert folders == {"all", "all-8", "all-32"}


def test_axes_are_kept_and_added_to(workspace, spec, place, monkeypatch):
    monkeypatch.setattr(module, "DIMENSIONS", (2, 3))
    first = scale(workspace, spec, recipe="poi", seeds=[0], axes=["dims"])
    assert first["axes"]["dims"]["law"] is None
    assert "2 different amounts" in first["axes"]["dims"]["why"]
    assert "parameters" not in first["axes"]  # not counted for a modality alone
    path = place.folder / "evaluation" / "scaling.json"
    assert read_json(path) == {"poi": first}

    measured = []
    real = module._measure
    monkeypatch.setattr(
        module, "_measure", lambda study, name: measured.append(name) or real(study, name)
    )
    both = scale(workspace, spec, recipe="poi", seeds=[0], axes=["dims", "modalities"])
    assert measured == ["modalities"]
    assert both["axes"]["dims"] == first["axes"]["dims"]
    assert read_json(path) == {"poi": both}
    scale(workspace, spec, recipe="poi", seeds=[1], axes=["dims"])
    assert measured == ["modalities", "dims"]


def test_an_axis_that_is_none_is_named(workspace, spec, place):
    with pytest.raises(ConfigError, match=r"no axis 'pois'.*cells, edges, poi"):
        scale(workspace, spec, recipe="pca", axes=["pois"])
    with pytest.raises(ConfigError, match="imagery"):
        scale(workspace, spec, recipe="imagery")
