"""The synthetic country: whole, honest, reproducible, and with the planted effects in it."""

import dataclasses
import hashlib
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from pyproj import Transformer
from scipy import sparse

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.synthetic import bin_columns, write_country
from mobclip.synthetic.coast import HeightGrid
from mobclip.synthetic.districts import district_count, make_census, make_districts
from mobclip.synthetic.fields import fractal_field, smooth_field
from mobclip.synthetic.flows import ROUNDS, TRIPS_PER_CELL, balanced, make_flows, purposes
from mobclip.synthetic.image import pixels_per_spacing, write_image
from mobclip.synthetic.latents import SHOWN_IN, Latents, make_latents
from mobclip.synthetic.points import CATEGORIES, make_points
from mobclip.synthetic.settlements import city_count, make_settlements
from mobclip.synthetic.world import make_world

CELLS = 800


@pytest.fixture(scope="module")
def country(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "country"
    write_country(folder, cells=CELLS, seed=3)
    return folder


@pytest.fixture(scope="module")
def truth(country: Path) -> dict:
    return json.loads((country / "truth.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def latents(country: Path) -> pd.DataFrame:
    return pd.read_parquet(country / "truth.parquet")


@pytest.fixture(scope="module")
def cells(latents: pd.DataFrame) -> np.ndarray:
    return grid.from_strings(list(latents["h3"]))


def ridge_r2(features: np.ndarray, wanted: np.ndarray, alpha: float = 30.0) -> float:
    """R² of a ridge over five random folds of standardised features."""
    spread = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    fold = np.random.default_rng(0).permutation(len(wanted)) % 5
    predicted = np.empty(len(wanted))
    for k in range(5):
        train = fold != k
        X, mean = features[train], wanted[train].mean()
        weights = np.linalg.solve(
            X.T @ X + alpha * np.eye(X.shape[1]), X.T @ (wanted[train] - mean)
        )
        predicted[~train] = features[~train] @ weights + mean
    return float(1 - ((wanted - predicted) ** 2).mean() / wanted.var())


def local(wanted: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """What of a latent is not also in the cells around: its place on the map does not tell it."""
    index, neighbour = grid.disk(cells, 2)
    row, known = grid.locate(cells, neighbour)
    known &= row != index
    sums = np.bincount(index[known], wanted[row[known]], len(cells))
    return wanted - sums / np.maximum(np.bincount(index[known], minlength=len(cells)), 1)


@pytest.fixture(scope="module")
def flow_matrix(country: Path, cells: np.ndarray) -> sparse.csr_array:
    flows = pd.read_parquet(country / "flows.parquet")
    ends = [
        grid.locate(cells, grid.from_strings(list(flows[end]))) for end in ("origin", "destination")
    ]
    assert all(known.all() for _, known in ends)
    return sparse.csr_array(
        (flows["trips"].to_numpy(float), (ends[0][0], ends[1][0])), shape=(len(cells), len(cells))
    )


@pytest.fixture(scope="module")
def flow_features(flow_matrix: sparse.csr_array) -> np.ndarray:
    dense = flow_matrix.toarray()
    out, into = dense.sum(axis=1), dense.sum(axis=0)
    left, values, right = np.linalg.svd(np.log1p(dense))
    margins = np.column_stack([np.log1p(out), np.log1p(into), np.log1p(out) - np.log1p(into)])
    return np.column_stack([left[:, :40] * values[:40], right[:40].T * values[:40], margins])


@pytest.fixture(scope="module")
def poi_features(country: Path, cells: np.ndarray) -> np.ndarray:
    points = pd.read_parquet(country / "pois.parquet")
    cell = grid.points_to_cells(
        lon=points["lon"].to_numpy(), lat=points["lat"].to_numpy(), resolution=6
    )
    row, known = grid.locate(cells, cell)
    assert known.mean() > 0.99
    names = [category.name for category in CATEGORIES]
    counts = np.zeros((len(cells), len(names)))
    column = pd.Categorical(points["category"], categories=names).codes
    np.add.at(counts, (row[known], column[known]), 1)
    return np.log1p(counts)


@pytest.fixture(scope="module")
def image_features(country: Path, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each band and of two cover tests per cell; number of pixels per cell."""
    with rasterio.open(country / "imagery.tif") as image:
        # Every fourth pixel in each direction: 14 in a cell's diameter are enough for means.
        row, column = np.mgrid[0 : image.height : 4, 0 : image.width : 4]
        bands = image.read()[:, ::4, ::4].astype(float)
        x, y = image.transform @ (column.ravel() + 0.5, row.ravel() + 0.5)
        lon, lat = Transformer.from_crs(image.crs, 4326, always_xy=True).transform(x, y)
    bands = bands.reshape(4, -1)
    where, known = grid.locate(cells, grid.points_to_cells(lon=lon, lat=lat, resolution=6))
    seen = known & (bands > 0).all(axis=0)
    pixels = np.bincount(where[seen], minlength=len(cells))
    dark = (bands[2] < 40) & (bands[3] > 60)
    channels = [*bands, dark, bands.sum(axis=0) > 600]
    means = [
        np.bincount(where[seen], channel[seen], len(cells)) / np.maximum(pixels, 1)
        for channel in channels
    ]
    return np.column_stack(means), pixels


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    def hashes(folder: Path) -> dict[str, str]:
        return {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.iterdir())
        }

    write_country(tmp_path / "a", cells=300, seed=7)
    write_country(tmp_path / "b", cells=300, seed=7)
    write_country(tmp_path / "c", cells=300, seed=8)
    a, b, c = (hashes(tmp_path / name) for name in "abc")
    assert a == b
    assert set(a) == set(c)
    assert all(a[name] != c[name] for name in a if name != "README.txt")


def test_the_global_random_state_is_left_alone(tmp_path: Path) -> None:
    np.random.seed(1)  # noqa: NPY002 - the legacy state is what must not change
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    write_country(tmp_path / "a", cells=150)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("resolution", [5, 7])
def test_size_and_resolution_are_as_asked(tmp_path: Path, resolution: int) -> None:
    write_country(tmp_path / "a", cells=250, resolution=resolution)
    cells = grid.from_strings(list(pd.read_parquet(tmp_path / "a" / "truth.parquet")["h3"]))
    assert len(cells) == 250
    assert grid.resolution_of(cells) == resolution
    grid.check_cells(cells)


def test_sizes_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 100"):
        write_country(tmp_path / "a", cells=20)
    with pytest.raises(ConfigError, match="finer resolution"):
        write_country(tmp_path / "a", cells=20_000, resolution=2)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_country(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_country(tmp_path / "a", cells=150)
    before = (tmp_path / "a" / "truth.json").read_bytes()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mobclip.synthetic.country.write_image", fail)
    with pytest.raises(KeyboardInterrupt):
        write_country(tmp_path / "a", cells=150, seed=1)
    assert (tmp_path / "a" / "truth.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_it_lies_in_the_open_south_atlantic(cells: np.ndarray) -> None:
    lon, lat = grid.centers(cells).T
    assert lon.min() > -40
    assert lon.max() < 0
    assert lat.min() > -45
    assert lat.max() < -15


def test_every_file_says_that_the_country_is_invented(country: Path, truth: dict) -> None:
    context = json.loads((country / "context.geojson").read_text("utf-8"))
    assert truth["invented"]
    assert context["invented"]
    assert "invented" in (country / "README.txt").read_text("utf-8")
    with rasterio.open(country / "imagery.tif") as image:
        assert "invented" in image.tags()["NOTICE"]


def test_points_have_the_promised_columns_and_a_heavy_tail(
    country: Path, poi_features: np.ndarray
) -> None:
    points = pd.read_parquet(country / "pois.parquet")
    assert list(points.columns) == ["lon", "lat", "name", "category", "tags"]
    assert points.notna().all(axis=None)
    assert set(points["category"]) <= {category.name for category in CATEGORIES}
    assert len(CATEGORIES) == 40
    counts = np.expm1(poi_features).sum(axis=1)
    assert 0.5 * 15 < counts.mean() < 2 * 15
    assert (counts == 0).mean() > 0.03
    assert counts.max() > 8 * counts.mean()


def test_names_tell_of_the_place(country: Path, cells: np.ndarray, latents: pd.DataFrame) -> None:
    points = pd.read_parquet(country / "pois.parquet")
    row, known = grid.locate(
        cells,
        grid.points_to_cells(
            lon=points["lon"].to_numpy(), lat=points["lat"].to_numpy(), resolution=6
        ),
    )
    for word, function in {"Harbour": "port", "Foundry": "industry", "Campus": "campus"}.items():
        strength = latents[function].to_numpy()[row]
        named = points["name"].str.contains(word).to_numpy() & known
        assert strength[named].mean() > 1.3 * strength[known].mean()


def test_districts_tile_the_land_without_overlap(
    country: Path, cells: np.ndarray, latents: pd.DataFrame
) -> None:
    districts = gpd.read_parquet(country / "districts.parquet")
    assert districts.crs.to_epsg() == 4326
    assert districts["id"].is_unique
    assert districts.is_valid.all()
    flat = districts.to_crs("+proj=cea +lat_ts=-30 +units=km").geometry.to_numpy()
    union = shapely.area(shapely.union_all(flat))
    assert shapely.area(flat).sum() == pytest.approx(union, rel=1e-6)
    assert union == pytest.approx(grid.areas_km2(cells).sum(), rel=0.06)
    cities = gpd.read_parquet(country / "cities.parquet")
    city = cities.to_crs("+proj=cea +lat_ts=-30 +units=km").geometry.to_numpy()
    assert shapely.area(city).sum() == pytest.approx(union, rel=1e-6)
    # The membership of cells in the truth is the membership by polygon.
    of_cell = dict(zip(districts["id"], districts.geometry, strict=True))
    centre = shapely.points(grid.centers(cells))
    inside = [
        of_cell[name].intersects(point)
        for name, point in zip(latents["district"], centre, strict=True)
    ]
    assert np.mean(inside) > 0.99
    # The land of all districts holds the centres of the country's cells and of no others.
    assert (grid.polygon_to_cells(shapely.union_all(districts.geometry), 6) == cells).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_smallest_country_of_the_issue_has_units_enough_for_five_folds(
    tmp_path: Path, seed: int
) -> None:
    write_country(tmp_path / "a", cells=500, seed=seed)
    districts = pd.read_csv(tmp_path / "a" / "targets_districts.csv")
    cities = pd.read_csv(tmp_path / "a" / "targets_cities.csv")
    assert districts.drop(columns="id").notna().sum().min() >= 25
    assert cities["ENE"].notna().sum() >= 20
    cells = pd.read_csv(tmp_path / "a" / "targets_cells.csv").drop(columns="h3")
    assert cells.notna().sum().min() >= 20


def test_the_default_size_has_150_districts_60_cities_and_chips_of_32_pixels() -> None:
    assert district_count(20_000) == 150
    assert city_count(20_000) == 60
    assert pixels_per_spacing(20_000) * 2 / np.sqrt(3) == pytest.approx(32, abs=0.5)
    assert pixels_per_spacing(5_000) * 2 / np.sqrt(3) == pytest.approx(64, abs=1)


def test_bins_are_a_partition_of_the_people_and_some_districts_are_withheld(
    country: Path, latents: pd.DataFrame
) -> None:
    districts = gpd.read_parquet(country / "districts.parquet").set_index("id")
    assert sum(len(columns) for columns in bin_columns().values()) == 40
    withheld = districts["population"].isna()
    assert 0 < withheld.sum() < 0.3 * len(districts)
    for columns in bin_columns().values():
        assert districts.loc[withheld, columns].isna().all(axis=None)
        total = districts.loc[~withheld, columns].sum(axis=1)
        assert (total == districts.loc[~withheld, "population"]).all()
    people = latents.groupby("district")["population"].sum()
    assert (people[~withheld] == districts["population"][~withheld]).all()


def test_no_data_on_the_sea_and_in_the_swath_only(
    country: Path, latents: pd.DataFrame, image_features: tuple[np.ndarray, np.ndarray]
) -> None:
    _, pixels = image_features
    imaged = latents["imaged"].to_numpy()
    assert 0.01 < (~imaged).mean() < 0.3
    full = np.median(pixels[imaged])
    assert full > 100
    assert (pixels[~imaged] < 0.75 * full).all()
    assert (pixels[imaged] > 0.2 * full).all()
    with rasterio.open(country / "imagery.tif") as image:
        assert image.nodata == 0
        assert image.crs is not None
        assert image.dtypes == ("uint8",) * 4
        bands = image.read()
    empty = (bands == 0).any(axis=0)
    assert (bands[:, empty] == 0).all(), "a pixel is missing in all bands or in none"
    assert empty.mean() > 0.2


def test_flows_are_directed_sparse_and_heavy_tailed(
    country: Path, flow_matrix: sparse.csr_array
) -> None:
    flows = pd.read_parquet(country / "flows.parquet")
    assert list(flows.columns) == ["origin", "destination", "trips"]
    assert (flows["trips"] > 0).all()
    assert not flows.duplicated(["origin", "destination"]).any()
    degree = np.diff(flow_matrix.indptr)
    assert 20 < degree.mean() < 100
    strength = flow_matrix.sum(axis=1)
    assert strength.max() > 5 * np.median(strength)
    asymmetry = abs(flow_matrix - flow_matrix.T).sum() / (2 * flow_matrix.sum())
    assert asymmetry > 0.2
    assert (flows["origin"] == flows["destination"]).any()


def test_balancing_meets_the_totals_and_agrees_with_dense_furness() -> None:
    rng = np.random.default_rng(0)
    dense = rng.gamma(0.5, size=(30, 30)) * (rng.random((30, 30)) < 0.4) + np.eye(30)
    origins, destinations = rng.gamma(2.0, size=(2, 30))
    destinations *= origins.sum() / destinations.sum()
    got = balanced(sparse.csr_array(dense), origins, destinations).toarray()
    oracle = dense.copy()
    for _ in range(ROUNDS):
        oracle *= (origins / oracle.sum(axis=1))[:, None]
        oracle *= destinations / oracle.sum(axis=0)
    np.testing.assert_allclose(got, oracle, rtol=1e-9)
    np.testing.assert_allclose(got.sum(axis=0), destinations, rtol=1e-9)
    np.testing.assert_allclose(got.sum(axis=1), origins, rtol=0.05)
    assert not np.allclose(dense.sum(axis=1), origins, rtol=0.5), "there was something to do"


def test_trips_leave_homes_and_reach_jobs_as_many_as_the_model_says(
    country: Path, flow_matrix: sparse.csr_array
) -> None:
    streams = np.random.default_rng(3).spawn(9)
    world = make_world(streams[0], cells=CELLS, resolution=6)
    towns = make_settlements(streams[1], world)
    plans = purposes(world, make_latents(streams[2], world, towns))
    assert {"work", "school", "leisure", "freight"} < {plan.name for plan in plans}
    assert sum(plan.share for plan in plans) == pytest.approx(1)
    total = TRIPS_PER_CELL * CELLS
    for axis, attribute in ((1, "origins"), (0, "attraction")):
        planned = np.zeros(CELLS)
        for plan in plans:
            side = getattr(plan, attribute)
            planned += plan.share * total * side / side.sum()
        counted = flow_matrix.sum(axis=axis)
        # Counts scatter about their mean by 10 % or so; singly constrained ones miss by far more.
        assert abs(counted - planned).sum() / total < 0.16, attribute
        large = planned > 300
        np.testing.assert_allclose(counted[large], planned[large], rtol=0.5)


def test_targets_are_the_documented_function_plus_noise_of_the_stated_size(
    country: Path, truth: dict, latents: pd.DataFrame
) -> None:
    files = {
        "cell": pd.read_csv(country / "targets_cells.csv", index_col="h3"),
        "district": pd.read_csv(country / "targets_districts.csv", index_col="id"),
        "city": pd.read_csv(country / "targets_cities.csv", index_col="id"),
    }
    keys = {"cell": "h3", "district": "district", "city": "city"}
    assert len(truth["targets"]) == 11
    for name, recipe in truth["targets"].items():
        published = files[recipe["level"]][name]
        means = latents.groupby(keys[recipe["level"]])[list(recipe["weights"])].mean()
        means = means.loc[published.index]
        score = sum(
            weight * (means[latent] - means[latent].mean()) / (means[latent].std(ddof=0) or 1)
            for latent, weight in recipe["weights"].items()
        )
        signal = recipe["mean"] + recipe["spread"] * (score - score.mean()) / score.std(ddof=0)
        value = np.log1p(published) if recipe["transform"] == "log1p" else published
        seen = published.notna()
        assert seen.sum() == recipe["observed"]
        residual = (value - signal)[seen]
        if len(residual) > 100:  # the cut at zero only shrinks the noise
            assert residual.std() == pytest.approx(recipe["noise_sd"], rel=0.2), name
        r2 = 1 - (residual**2).mean() / value[seen].var(ddof=0)
        assert r2 == pytest.approx(recipe["ceiling"], abs=0.01), name
    missing = files["cell"].isna().mean()
    assert missing["CRI"] > 0.3
    assert missing["NTL"] > 0.5
    assert missing[["POP", "ELE", "FOR", "COS"]].max() == 0


def test_twins_have_equal_latents_and_lie_far_apart(truth: dict, latents: pd.DataFrame) -> None:
    assert len(truth["twins"]) >= 4
    table = latents.set_index("h3")
    names = list(truth["shown_in"])
    for a, b in truth["twins"]:
        assert (table.loc[a, names] == table.loc[b, names]).all()
        assert table.loc[a, "twin"] == b
        assert table.loc[b, "twin"] == a
    a, b = (
        grid.centers(grid.from_strings(list(side))) for side in zip(*truth["twins"], strict=True)
    )
    assert grid.distances_km(a, b).min() > 0.3 * np.sqrt(CELLS * 36)
    assert (latents["twin"] != "").sum() == 2 * len(truth["twins"])


def test_some_function_is_visible_in_the_flows_only(
    latents: pd.DataFrame,
    flow_features: np.ndarray,
    poi_features: np.ndarray,
    image_features: tuple[np.ndarray, np.ndarray],
) -> None:
    for name in ("commute", "ties_1", "ties_2", "ties_3", "ties_4"):
        wanted = latents[name].to_numpy()
        # Its place on the map, which all modalities betray a little, is taken out first.
        others = max(ridge_r2(poi_features, wanted), ridge_r2(image_features[0], wanted))
        assert ridge_r2(flow_features, wanted) > max(others, 0) + 0.08, name


def test_some_function_is_visible_in_the_points_only(
    latents: pd.DataFrame,
    cells: np.ndarray,
    flow_features: np.ndarray,
    poi_features: np.ndarray,
    image_features: tuple[np.ndarray, np.ndarray],
) -> None:
    busy = np.expm1(poi_features).sum(axis=1) >= 4  # where there is anything to see
    for name in ("retail_mix", "nightlife"):
        wanted = local(latents[name].to_numpy(), cells)[busy]
        seen, in_flows, in_imagery = (
            ridge_r2(features[busy], wanted, alpha=100)
            for features in (poi_features, flow_features, image_features[0])
        )
        assert seen > max(in_flows, in_imagery, 0) + 0.05, name


def test_some_function_is_visible_in_the_imagery_only(
    latents: pd.DataFrame,
    poi_features: np.ndarray,
    image_features: tuple[np.ndarray, np.ndarray],
) -> None:
    features, _ = image_features
    imaged = latents["imaged"].to_numpy()
    for name in ("forest", "elevation"):
        wanted = latents[name].to_numpy()[imaged]
        seen = ridge_r2(features[imaged], wanted)
        assert seen > ridge_r2(poi_features[imaged], wanted) + 0.1, name


def test_some_function_is_visible_in_the_demographics_only(
    country: Path, latents: pd.DataFrame, poi_features: np.ndarray
) -> None:
    districts = gpd.read_parquet(country / "districts.parquet").set_index("id")
    told = districts["population"].notna()
    columns = [column for group in bin_columns().values() for column in group]
    shares = districts[columns].div(districts["population"], axis=0)
    known = latents["district"].map(told).to_numpy()
    features = shares.loc[latents["district"]].to_numpy()[known]
    for name in ("ageing", "household"):
        wanted = latents[name].to_numpy()[known]
        # POI counts betray a little by their place on the map.
        assert ridge_r2(features, wanted) > ridge_r2(poi_features[known], wanted) + 0.15, name
    for name, column in {"ageing": "age_55_up", "household": "household_5_up"}.items():
        mean = latents.groupby("district")[name].mean()[told]
        assert np.corrcoef(shares[column][told], mean)[0, 1] > 0.6, name


def test_a_latent_changes_the_files_of_its_modalities_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The proof that a latent is in one modality only: another latent in the same country, drawn
    # with the same random numbers, leaves the other files as they are to the last byte.
    monkeypatch.setattr("mobclip.synthetic.image._TILE", 64)
    world = make_world(np.random.default_rng(0), cells=120, resolution=6)
    towns = make_settlements(np.random.default_rng(1), world)
    latents = make_latents(np.random.default_rng(2), world, towns)
    districts = make_districts(np.random.default_rng(3), world, towns)

    def files(these: Latents) -> dict[str, object]:
        image = tmp_path / "imagery.tif"
        write_image(image, np.random.default_rng(5), world, towns, these)
        census = make_census(np.random.default_rng(6), world, these, districts)
        return {
            "poi": make_points(np.random.default_rng(7), world, towns, these).to_pylist(),
            "imagery": image.read_bytes(),
            "demographics": census.drop(columns="geometry").to_csv(),
            "mobility": make_flows(np.random.default_rng(8), world, these).to_pylist(),
        }

    before = files(latents)
    shuffle = np.random.default_rng(4).permutation(len(world.cells))
    assert set(SHOWN_IN) == set(latents.values)
    for name, shown_in in SHOWN_IN.items():
        values = {**latents.values, name: latents.values[name][shuffle]}
        population = latents.population
        if name == "urban":  # the people themselves, and the imagery shows them by what they built
            population = population[shuffle]
            values["built"] = values["built"][shuffle]
        if name == "grass":  # what the other covers leave: it has no paint of its own
            values = {**latents.values, "forest": latents["forest"] * 0.5}
        changed = dataclasses.replace(latents, values=values, population=population)
        after = files(changed)
        assert {modality for modality in before if before[modality] != after[modality]} == set(
            shown_in
        ), name


def test_the_context_is_small_and_names_the_cities(country: Path) -> None:
    file = country / "context.geojson"
    assert file.stat().st_size < 300_000
    features = json.loads(file.read_text("utf-8"))["features"]
    kinds = [feature["properties"]["kind"] for feature in features]
    assert set(kinds) == {"coast", "border", "river", "road", "city"}
    cities = [f["properties"] for f in features if f["properties"]["kind"] == "city"]
    assert [city["rank"] for city in cities] == list(range(1, len(cities) + 1))
    assert cities[0]["role"] == "capital"
    assert sorted((c["population"] for c in cities), reverse=True) == [
        c["population"] for c in cities
    ]


def test_the_coast_is_exactly_where_the_height_passes_the_level() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 40))
    values[[0, -1]] = values[:, [0, -1]] = -9
    height = HeightGrid(x0=-4.0, y0=2.0, step_km=0.5, values=values)
    land = shapely.union_all(height.above(0.2))
    points = rng.uniform([-4, 2], [-4 + 39 * 0.5, 2 + 29 * 0.5], (4000, 2))
    inside = shapely.contains_xy(land, points)
    assert 0.2 < inside.mean() < 0.6
    assert (inside == (height.at(points) > 0.2)).all()


def test_a_field_has_the_variance_and_the_length_it_claims() -> None:
    rng = np.random.default_rng(0)
    spots = rng.uniform(0, 4000, (20_000, 2))
    field = smooth_field(rng, length_km=30.0, features=256)
    here, there = field(spots), field(spots + np.array([30.0, 0.0]))
    assert here.var() == pytest.approx(1, abs=0.1)
    assert np.corrcoef(here, there)[0, 1] == pytest.approx(np.exp(-0.5), abs=0.1)
    assert fractal_field(rng, length_km=200.0, finest_km=10.0)(spots).var() == pytest.approx(
        1, abs=0.15
    )
