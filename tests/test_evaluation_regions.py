"""Region benchmarks: their protocol against loops, and planted classes that our rows must find."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from mobclip import grid
from mobclip.baselines import BASELINES, ENCODINGS, Features
from mobclip.errors import ConfigError, RecordError
from mobclip.evaluation.regions import RegionBenchmark, compare, evaluate, place_of
from mobclip.probes import region_protocol
from mobclip.probes.region_protocol import region_clustering, region_regression

R, CLASSES = 60, 3


def planted(seed=0):
    """60 regions of 3 kinds: flows go to one's own kind, points of interest know nothing."""
    rng = np.random.default_rng(seed)
    kind = rng.permutation(R) % CLASSES
    rate = np.where(kind[:, None] == kind, 30.0, 2.0) * rng.uniform(0.5, 2, R)[:, None]
    x, y = np.meshgrid(np.arange(10), np.arange(6))
    west, south = -74 + 0.02 * x.ravel(), 40.7 + 0.015 * y.ravel()
    return RegionBenchmark(
        name="planted",
        mobility=rng.poisson(rate).astype(float),
        features={"poi": rng.poisson(2.0, (R, 5)).astype(float)},
        labels={"crime": 50.0 + 40 * kind + rng.normal(size=R), "noise": rng.normal(size=R)},
        clusters=kind,
        polygons=shapely.box(west, south, west + 0.02, south + 0.015),
    )


@pytest.fixture(scope="module")
def benchmark():
    return planted()


# --- their protocol ---


def test_regression_is_ridge_of_consecutive_folds_term_by_term():
    rng = np.random.default_rng(1)
    vectors, labels = rng.normal(size=(23, 4)), rng.normal(0.5, 2, 23)
    found = region_regression(vectors, labels, folds=5)
    predicted, parts = np.empty(23), np.array_split(np.arange(23), 5)
    for part in parts:
        rest = np.setdiff1d(np.arange(23), part)
        x, y = vectors[rest], labels[rest]
        centred = x - x.mean(0)
        weight = np.linalg.solve(centred.T @ centred + np.eye(4), centred.T @ (y - y.mean()))
        predicted[part] = np.maximum((vectors[part] - x.mean(0)) @ weight + y.mean(), 0)
    assert (predicted == 0).any()  # clipped
    error = labels - predicted
    assert found["mae_pooled"] == pytest.approx(np.abs(error).mean())
    assert found["rmse_pooled"] == pytest.approx(np.sqrt((error**2).mean()))
    assert found["r2_pooled"] == pytest.approx(
        1 - (error**2).sum() / ((labels - labels.mean()) ** 2).sum()
    )
    assert found["mae_mean"] == pytest.approx(np.mean([np.abs(error[p]).mean() for p in parts]))
    assert found["rmse_mean"] == pytest.approx(
        np.mean([np.sqrt((error[p] ** 2).mean()) for p in parts])
    )
    assert found["r2_mean"] == pytest.approx(
        np.mean(
            [1 - (error[p] ** 2).sum() / ((labels[p] - labels[p].mean()) ** 2).sum() for p in parts]
        )
    )
    with pytest.raises(ConfigError, match="12 folds of 23"):
        region_regression(vectors, labels, folds=12)


def test_clusters_that_are_there_are_found_and_others_are_not():
    rng = np.random.default_rng(2)
    classes = rng.integers(0, 4, 200)
    names = np.array([7, 3, 12, 1])[classes]  # names do not matter
    found = region_clustering(np.eye(4)[classes] + 0.05 * rng.normal(size=(200, 4)), names)
    perfect = {"nmi": 1, "nmi_spread": 0, "ari": 1, "ari_spread": 0}
    assert found == pytest.approx(perfect, abs=1e-9)
    none = region_clustering(rng.normal(size=(200, 4)), names)
    assert none["nmi"] < 0.1
    assert abs(none["ari"]) < 0.05
    assert none["nmi_spread"] > 0
    assert region_clustering(np.ones((200, 2)), names)["ari"] == 0
    with pytest.raises(ConfigError, match="1 classes"):
        region_clustering(np.ones((9, 2)), np.zeros(9, int))


# --- a benchmark as a place ---


def test_a_benchmark_becomes_a_place_with_its_own_flows_and_tables(benchmark):
    regions = place_of(benchmark)
    place = regions.place
    assert len(np.unique(regions.cells)) == R
    middle = shapely.get_coordinates(shapely.centroid(benchmark.polygons))
    coarser = grid.points_to_cells(
        lon=middle[:, 0], lat=middle[:, 1], resolution=place.resolution - 1
    )
    assert len(np.unique(coarser)) < R  # the coarsest that keeps them apart
    np.testing.assert_array_equal(
        regions.cells,
        grid.points_to_cells(lon=middle[:, 0], lat=middle[:, 1], resolution=place.resolution),
    )
    row = grid.locate(place.cells, regions.cells)[0]
    flows = place.graph.matrix.toarray()[np.ix_(row, row)]
    np.testing.assert_array_equal(flows, benchmark.mobility * (1 - np.eye(R)))
    table = place.tables["poi"]
    assert table.columns == ("count_0", "count_1", "count_2", "count_3", "count_4", "log_total")
    counts = benchmark.features["poi"]
    np.testing.assert_allclose(table.values[row, 2], np.log1p(counts[:, 2]), rtol=1e-6)
    np.testing.assert_allclose(table.values[row, 5], np.log1p(counts.sum(1)), rtol=1e-6)
    assert place.targets == {}
    assert place.context is None
    assert set(regions.left_out) == {"neighbours"}


def test_vectors_go_with_their_regions_in_whatever_order(benchmark):
    order = np.random.default_rng(3).permutation(R)
    shuffled = RegionBenchmark(
        name="shuffled",
        mobility=benchmark.mobility[np.ix_(order, order)],
        features={"poi": benchmark.features["poi"][order]},
        polygons=benchmark.polygons[order],
    )
    for name in ("pca", "propagated"):
        made = []
        for one in (benchmark, shuffled):
            regions = place_of(one)
            fitted = BASELINES[name].fit(Features(regions.place))
            made.append(fitted.at(regions.cells))
        np.testing.assert_array_equal(made[1], made[0][order])


def test_without_polygons_no_two_regions_are_near_and_space_is_left_out(benchmark):
    n = 700  # more than there are coarsest cells
    wide = RegionBenchmark(
        name="no polygons",
        mobility=np.random.default_rng(4).poisson(1.0, (n, n)).astype(float),
        features={"other": np.random.default_rng(5).normal(size=(n, 2))},
    )
    regions = place_of(wide)
    assert grid.adjacency(regions.place.cells, 3).nnz == 0
    assert set(regions.left_out) == {"coordinates", *ENCODINGS, "neighbours", "propagated"}
    assert "no polygons" in regions.left_out["propagated"]
    table = regions.place.tables["other"]
    assert table.columns == ("value_0", "value_1")
    row = grid.locate(regions.place.cells, regions.cells)[0]
    np.testing.assert_allclose(table.values[row], wide.features["other"], rtol=1e-6)


# --- the table ---


def test_planted_classes_are_found_where_they_are_visible(benchmark, monkeypatch):
    monkeypatch.setattr(region_protocol, "CLUSTER_SEEDS", 2)  # of 10, for speed
    external = {"theirs": np.eye(CLASSES)[benchmark.clusters], "nothing": np.ones((R, 2))}
    rows = compare(replace(benchmark, vectors=external), folds=(5,))
    by = {(row["run"], row["task"]): row for row in rows}
    runs = {run for run, _ in by}
    assert {"random", "poi", "mobility", "line", "pca", "propagated", "theirs"} <= runs
    assert "neighbours" not in runs
    assert {run for run in runs if by[run, "crime"]["external"]} == {"theirs", "nothing"}
    for run in ("mobility", "pca", "theirs"):
        assert by[run, "crime"]["r2_pooled"] > 0.9, run
        assert by[run, "clusters"]["nmi"] > 0.9, run
        assert by[run, "noise"]["r2_pooled"] < 0.2, run
    for run in ("random", "poi", "coordinates", "nothing"):
        assert by[run, "crime"]["r2_pooled"] < 0.3, run
        assert by[run, "clusters"]["nmi"] < 0.3, run
    assert by["mobility", "clusters"]["classes"] == CLASSES
    assert len(rows) == len(by)
    json.dumps(rows)
    both = evaluate(benchmark, "theirs", external["theirs"])
    assert [row.get("folds") for row in both] == [5, 10, 5, 10, None]
    with pytest.raises(ConfigError, match="59 vectors for 60 regions"):
        evaluate(benchmark, "short", external["theirs"][1:])


# --- files ---


def written(folder, benchmark):
    folder.mkdir()
    np.save(folder / "mobility.npy", benchmark.mobility.astype(np.int32))
    np.savetxt(
        folder / "features_poi.csv",
        benchmark.features["poi"],
        delimiter=",",
        header="a,b,c,d,e",
        comments="",
    )
    np.savetxt(folder / "label_crime.csv", benchmark.labels["crime"])
    np.save(folder / "label_noise.npy", benchmark.labels["noise"][:, None])
    np.save(folder / "clusters.npy", benchmark.clusters.astype(float))
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(polygon)}
        for polygon in benchmark.polygons
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (folder / "regions.geojson").write_text(text)
    return folder


def test_a_folder_of_arrays_comes_back(tmp_path, benchmark):
    read = RegionBenchmark.load(written(tmp_path / "city", benchmark))
    assert read.name == "city"
    np.testing.assert_array_equal(read.mobility, benchmark.mobility)
    np.testing.assert_array_equal(read.features["poi"], benchmark.features["poi"])
    assert list(read.labels) == ["crime", "noise"]
    for name, values in read.labels.items():
        np.testing.assert_allclose(values, benchmark.labels[name])
    np.testing.assert_array_equal(read.clusters, benchmark.clusters)
    assert shapely.equals(read.polygons, benchmark.polygons).all()


def test_what_cannot_be_read_is_said(tmp_path, benchmark):
    for number, (name, content, words) in enumerate(
        [
            ("mobility.npy", pickle.dumps([1]), "is not an array"),
            ("mobility.npy", np.ones((R, R, 2)), "Sum a third axis"),
            ("mobility.npy", -np.ones((R, R)), "negative flows"),
            ("mobility.npy", np.array([[None]]), "is not an array"),
            ("label_crime.npy", np.ones(R), "is there twice"),
            ("label_more.npy", np.ones((R, 2)), "Choose a column"),
            ("label_more.npy", np.ones(R - 1), "59 rows and mobility 60"),
            ("label_more.npy", np.full(R, np.nan), "not finite"),
            ("features_mobility.npy", np.ones((R, 2)), "are the flows"),
            ("clusters.npy", np.full(R, 0.5), "not whole"),
            ("label_more.csv", b"a\nb\nc\n", "is not an array"),
            ("regions.geojson", b'{"features": [{}]}', "is not a GeoJSON"),
            (
                "regions.geojson",
                b'{"features": [{"geometry": {"type": "Point", "coordinates": [1, 2]}}]}',
                "has a Point",
            ),
        ]
    ):
        folder = written(tmp_path / str(number), benchmark)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            np.save(folder / name, content, allow_pickle=content.dtype == object)
        with pytest.raises(RecordError, match=words):
            RegionBenchmark.load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="no mobility"):
        RegionBenchmark.load(tmp_path / "empty")
    same = RegionBenchmark(
        name="same", mobility=np.ones((2, 2)), polygons=benchmark.polygons[[0, 0]]
    )
    with pytest.raises(ConfigError, match="regions 0 and 1 have the same centroid"):
        place_of(same)


# --- real data ---


@pytest.mark.real
def test_manhattan_tracts(mirror):
    """Flows know what a tract is used for better than chance does, and than its few OSM POIs."""
    folder = mirror / "nyc"
    demography = pq.read_table(
        folder / "demographics_tracts.parquet", columns=["GEOID", "Total Population", "geometry"]
    ).to_pydict()
    use = pq.read_table(folder / "target_landuse_share_tract.parquet")
    shares = np.column_stack([use[f"class_{i}"].to_numpy() for i in range(11)])
    use_row = {one: row for row, one in enumerate(use["GEOID"].to_pylist())}
    poi = pq.read_table(folder / "pois_osm_counts_tracts.parquet")
    poi_row = {one: row for row, one in enumerate(poi["GEOID"].to_pylist())}
    counts = [poi[one].to_numpy() for one in poi.column_names if one.startswith("osm_")]
    rows = [
        row
        for row, one in enumerate(demography["GEOID"])
        if one.startswith("36061")
        and one in poi_row
        and one in use_row
        and np.nansum(shares[use_row[one]]) > 0
    ]
    ids = [demography["GEOID"][row] for row in rows]
    number = {one: region for region, one in enumerate(ids)}
    flows = pq.read_table(folder / "mobility_lodes2018_tract_od.parquet").to_pydict()
    mobility = np.zeros((len(ids), len(ids)))
    for home, work, jobs in zip(
        flows["home_geoid"], flows["work_geoid"], flows["jobs"], strict=True
    ):
        if home in number and work in number:
            mobility[number[home], number[work]] += jobs
    benchmark = RegionBenchmark(
        name="manhattan",
        mobility=mobility,
        features={"poi": np.column_stack(counts)[[poi_row[one] for one in ids]].astype(float)},
        labels={
            "population": np.array([demography["Total Population"][row] for row in rows], float)
        },
        clusters=np.nan_to_num(shares[[use_row[one] for one in ids]]).argmax(1),
        polygons=shapely.from_wkb(np.array([demography["geometry"][row] for row in rows], object)),
    )
    assert len(benchmark) == 271
    regions = place_of(benchmark)
    rows = []
    for name in ("random", "poi", "mobility", "pca"):
        made = BASELINES[name].fit(Features(regions.place)).at(regions.cells)
        rows += evaluate(benchmark, name, made, folds=(10,))
    by = {(row["run"], row["task"]): row for row in rows}
    assert by["mobility", "population"]["r2_pooled"] > 0.4  # 0.64 when it was written
    assert by["pca", "clusters"]["nmi"] > 0.15 > by["poi", "clusters"]["nmi"]  # 0.22, 0.04
    assert by["random", "population"]["r2_pooled"] < 0
