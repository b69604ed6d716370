"""Position encodings against scipy, pyproj, naive loops and what a sphere demands."""

import math

import numpy as np
import pyproj
import pytest
from scipy.special import sph_harm_y

from mobclip import grid
from mobclip.errors import ConfigError
from mobclip.positions import (
    POSITIONS,
    Cartesian,
    Components,
    Fourier,
    Grid,
    Harmonics,
    SphereC,
    SphereCPlus,
    SphereM,
    SphereMPlus,
    Theory,
    equal_earth,
    finest,
)
from mobclip.positions.fourier import SCALE

SEAMLESS_AT_DATE_LINE = {"cartesian", "wrap", "harmonics"}
SEAMLESS_AT_POLES = {"cartesian", "harmonics"}


@pytest.fixture(scope="module")
def anywhere():
    """40 positions all over the sphere, the poles and points near them included."""
    rng = np.random.default_rng(0)
    lonlat = np.column_stack(
        [rng.uniform(-180, 180, 36), np.degrees(np.arcsin(rng.uniform(-1, 1, 36)))]
    )
    return np.vstack([lonlat, [[10, 90], [-60, -90], [120, 89.9999], [-179, -89.9]]])


# ---- what every encoding keeps to --------------------------------------------------------------


@pytest.mark.parametrize("name", POSITIONS)
def test_an_encoding_is_as_wide_as_it_says(name, anywhere):
    position = POSITIONS[name]()
    features = position(anywhere)
    assert features.shape == (len(anywhere), position.dims)
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(position(anywhere[7:9]), features[7:9])  # row by row


@pytest.mark.parametrize("name", POSITIONS)
def test_the_date_line_is_seamless_where_it_is_said_to_be(name):
    position = POSITIONS[name]()
    lat = np.linspace(-80, 80, 9)
    east, west = (position(np.column_stack([np.full(9, lon), lat])) for lon in (180.0, -180.0))
    jump = np.abs(east - west).max()
    assert (jump < 1e-10) if name in SEAMLESS_AT_DATE_LINE else (jump > 0.1)


@pytest.mark.parametrize("name", POSITIONS)
def test_a_pole_is_one_point_where_it_is_said_to_be(name):
    position = POSITIONS[name]()
    lon = np.linspace(-180, 150, 12)
    for pole in (90.0, -90.0):
        around = position(np.column_stack([lon, np.full(12, pole)]))
        jump = np.abs(around - around[0]).max()
        assert (jump < 1e-10) if name in SEAMLESS_AT_POLES else (jump > 0.1)


# ---- spherical harmonics -----------------------------------------------------------------------


def test_harmonics_against_scipy_to_degree_100(anywhere):
    ours = Harmonics(degrees=100)(anywhere)
    lon, lat = np.radians(anywhere).T
    for degree in range(100):
        m = np.arange(degree + 1)
        # scipy's are complex, with the phase of Condon and Shortley, (-1)^m.
        theirs = sph_harm_y(degree, m[:, None], np.pi / 2 - lat, lon) * ((-1.0) ** m)[:, None]
        theirs[1:] *= np.sqrt(2)
        centre = degree**2 + degree
        np.testing.assert_allclose(ours[:, centre + m].T, theirs.real, atol=1e-10)
        np.testing.assert_allclose(ours[:, centre - m[1:]].T, theirs.imag[1:], atol=1e-10)


def test_harmonics_are_orthonormal():
    degrees = 14
    # Gauss and Legendre integrate the products exactly along latitude, equal steps along longitude.
    x, weight = np.polynomial.legendre.leggauss(degrees)
    lon = np.arange(2 * degrees) * 360 / (2 * degrees)
    lonlat = np.column_stack([np.tile(lon, degrees), np.repeat(np.degrees(np.arcsin(x)), len(lon))])
    features = Harmonics(degrees=degrees)(lonlat)
    area = np.repeat(weight, len(lon))[:, None] * (2 * np.pi / len(lon))
    np.testing.assert_allclose(features.T @ (area * features), np.eye(degrees**2), atol=1e-12)


def test_the_harmonics_of_a_degree_have_the_same_length_everywhere(anywhere):
    features = Harmonics(degrees=60)(anywhere)
    for degree in (0, 1, 7, 59):  # Unsöld's theorem
        square = (features[:, degree**2 : (degree + 1) ** 2] ** 2).sum(axis=1)
        np.testing.assert_allclose(square, (2 * degree + 1) / (4 * np.pi), rtol=1e-11)


def test_degrees_that_cannot_be():
    with pytest.raises(ConfigError, match="1 to 100"):
        Harmonics(degrees=101)


# ---- Space2Vec, Sphere2Vec ---------------------------------------------------------------------


def scale_of(s, scales, shortest, longest):
    return shortest * (longest / shortest) ** (s / (scales - 1))


def test_grid_against_a_loop(anywhere):
    ours = Grid(scales=5, shortest=0.1, longest=360.0)(anywhere)
    for row, (lon, lat) in zip(ours, anywhere, strict=True):
        naive = [
            wave(angle / scale_of(s, 5, 0.1, 360))
            for angle, wave in [(lon, math.sin), (lon, math.cos), (lat, math.sin), (lat, math.cos)]
            for s in range(5)
        ]
        np.testing.assert_allclose(row, naive, atol=1e-9)


def test_theory_does_not_prefer_one_of_its_three_directions(anywhere):
    position = Theory(scales=4, shortest=1.0, longest=90.0)
    turn = 2 * np.pi / 3
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    ours = position(anywhere).reshape(-1, 2, 3, 4)  # sine and cosine, direction, scale
    turned = position(anywhere @ rotation.T).reshape(-1, 2, 3, 4)
    np.testing.assert_allclose(turned[:, :, 1], ours[:, :, 0], atol=1e-9)
    np.testing.assert_allclose(turned[:, :, 0], ours[:, :, 2], atol=1e-9)
    # Along the first direction it is Grid's longitude.
    grid_lon = Grid(scales=4, shortest=1.0, longest=90.0)(anywhere)[:, :4]
    np.testing.assert_allclose(ours[:, 0, 0], grid_lon, atol=1e-12)


def test_sphere2vec_at_scale_one_is_the_point_on_the_sphere(anywhere):
    x, y, z = Cartesian()(anywhere).T
    np.testing.assert_allclose(
        SphereC(scales=1, shortest=1.0)(anywhere), np.column_stack([z, x, y]), atol=1e-15
    )


@pytest.mark.parametrize(
    ("position", "terms"),
    [
        (SphereC, lambda a, b, a_s, b_s: {math.sin(b_s), *crossed(a_s, b_s)}),
        (SphereCPlus, lambda a, b, a_s, b_s: {*alone(a_s, b_s), *crossed(a_s, b_s)}),
        (
            SphereM,
            lambda a, b, a_s, b_s: {math.sin(b_s), *crossed(a, b_s), *crossed(a_s, b)},
        ),
        (
            SphereMPlus,
            lambda a, b, a_s, b_s: {*alone(a_s, b_s), *crossed(a, b_s), *crossed(a_s, b)},
        ),
    ],
)
def test_sphere2vec_against_a_loop(position, terms, anywhere):
    ours = position(scales=4, shortest=0.02)(anywhere)
    for row, (lon, lat) in zip(ours, np.radians(anywhere), strict=True):
        naive = set()
        for s in range(4):
            scale = scale_of(s, 4, 0.02, 1.0)
            naive |= terms(lon, lat, lon / scale, lat / scale)
        # The same numbers, in whatever order; at r = 1 some terms of M and M+ coincide.
        np.testing.assert_allclose(sorted(set(row.round(9))), sorted({round(v, 9) for v in naive}))


def crossed(lon, lat):
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon)


def alone(lon, lat):
    return math.sin(lat), math.cos(lat), math.sin(lon), math.cos(lon)


# ---- Equal Earth, random Fourier features ------------------------------------------------------


def test_equal_earth_against_proj(anywhere):
    theirs = np.column_stack(pyproj.Proj("+proj=eqearth +R=1")(*anywhere.T))
    np.testing.assert_allclose(equal_earth(anywhere), theirs, atol=1e-13)
    # GeoCLIP's factor brings the ends of the equator to ±1.
    np.testing.assert_allclose(equal_earth(np.array([[180.0, 0.0]])) * SCALE, [[1, 0]], atol=1e-4)


def test_equal_earth_keeps_areas(anywhere):
    step = 1e-4
    inside = anywhere[np.abs(anywhere[:, 1]) < 89]
    east, north = (
        (equal_earth(inside + d) - equal_earth(inside - d)) / np.radians(2 * step)
        for d in (np.array([step, 0]), np.array([0, step]))
    )
    area = east[:, 0] * north[:, 1] - east[:, 1] * north[:, 0]
    np.testing.assert_allclose(area, np.cos(np.radians(inside[:, 1])), rtol=1e-5)


def test_fourier_features_make_a_gaussian_kernel():
    position = Fourier(bandwidths=(1.0, 16.0), frequencies=4000, seed=3)
    np.testing.assert_allclose(position.directions.std(axis=(1, 2)), [1, 16], rtol=0.03)
    lonlat = np.column_stack([np.linspace(0, 6, 13), np.full(13, 20.0)])
    features = position(lonlat).reshape(13, 2, 8000)
    plane = equal_earth(lonlat) * SCALE
    square = ((plane - plane[0]) ** 2).sum(axis=1)
    for block, bandwidth in enumerate((1.0, 16.0)):  # E cos(2π B(p - q)) = exp(-2 π² σ² |p - q|²)
        kernel = features[:, block] @ features[0, block] / 4000
        np.testing.assert_allclose(
            kernel, np.exp(-2 * (np.pi * bandwidth) ** 2 * square), atol=0.05
        )


def test_fourier_frequencies_follow_from_the_seed(anywhere):
    same, again, other = (Fourier(frequencies=8, seed=s)(anywhere) for s in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert np.abs(same - other).max() > 0.5


# ---- seen from a place -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def city():
    """5,000 positions within 20 km: more than are encoded at once."""
    rng = np.random.default_rng(1)
    return np.column_stack([rng.uniform(-87.8, -87.6, 5000), rng.uniform(41.8, 42.0, 5000)])


def test_components_tell_the_cells_of_a_city_apart(city):
    position = Harmonics(degrees=20)
    even = Components.over(position, city, spread=2.0)
    seen = even(city)
    assert seen.shape == (len(city), even.dims)
    # 400 harmonics, but a city varies in few directions; those are uncorrelated, of one variance.
    assert 3 <= even.dims < 20
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.cov(seen.T, bias=True), 4 * np.eye(even.dims), atol=1e-5)
    # All of the harmonics is in them but what is as small as they say.
    centred = position(city) - position(city).mean(axis=0)
    weights = np.linalg.lstsq(seen, centred, rcond=None)[0]
    assert np.var(centred - seen @ weights) < 1e-8 * np.var(centred)
    # A position is encoded the same way whoever stands beside it.
    np.testing.assert_allclose(even(city[4090:4100]), seen[4090:4100], atol=1e-9)
    assert even(city[:0]).shape == (0, even.dims)


def test_components_as_they_are_keep_distances(city):
    position = Grid(scales=4)
    plain = Components.over(position, city)
    features, seen = position(city[:30]), plain(city[:30])
    before, after = (np.linalg.norm(one[:, None] - one[None], axis=-1) for one in (features, seen))
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)
    assert (np.diff(plain(city).std(axis=0)) < 0).all()  # the widest first
    np.testing.assert_allclose(
        Components.over(position, city, most=2)(city), plain(city)[:, :2], atol=1e-12
    )


def test_components_of_few_positions_and_of_many_are_the_same(city):
    position = Harmonics(degrees=12)  # 144 features
    few = city[:140]
    many = np.vstack([few, few])  # the same mean and covariance
    a, b = (Components.over(position, places, spread=1.0) for places in (few, many))
    np.testing.assert_allclose(a.mean, b.mean, atol=1e-12)
    np.testing.assert_allclose(a(city)[:, :4], b(city)[:, :4], atol=1e-3)


def test_the_finest_scale_is_two_cells():
    cells = grid.points_to_cells(lon=np.array([0.1, 0.2]), lat=np.array([0.1, 0.3]), resolution=7)
    _, neighbours = grid.disk(cells[:1], 1)
    ring = neighbours[neighbours != cells[0]]
    apart = grid.distances_km(grid.centers(ring), grid.centers(cells[:1])[0]).mean()
    assert finest(7) * 2 * np.pi * 111.195 == pytest.approx(2 * apart, rel=0.2)
    assert finest(8) < finest(7)
