"""What is telling about cells: planted clusters are named for what was planted in them."""

from pathlib import Path

import numpy as np
import pytest

from mobclip import grid
from mobclip.explain.telling import Telling, Traits, names
from mobclip.featurizers.tfidf import Tfidf
from mobclip.place import Place
from mobclip.table import CellTable

CELLS = np.sort(
    grid.disk(grid.points_to_cells(lon=np.array([10.0]), lat=np.array([50.0]), resolution=7), 15)[1]
)
GROUPS = 4  # of which the last two have nothing of their own
COUNTS = ("office", "cafe", "brewery", "farm_shop")
BINS = ("hist_age_men_20_29", "hist_age_men_30_up", "hist_vehicles_none", "hist_vehicles_two_up")


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).choice(GROUPS, size=len(CELLS), p=[0.06, 0.06, 0.44, 0.44])


def table(modality, values, columns, *, cells=CELLS):
    return CellTable(
        modality=modality, cells=cells, values=np.asarray(values, np.float32), columns=columns
    )


def place_of(tables, folder="nowhere"):
    place = Place(
        folder=Path(folder),
        name="planted",
        title="Planted",
        resolution=7,
        cells=CELLS,
        modalities=tuple(tables),
    )
    place.__dict__["tables"] = tables
    place.__dict__["graph"] = None
    return place


@pytest.fixture(scope="module")
def planted(labels):
    """Group 0: cafes, and a few breweries; group 1: young men and no cars."""
    rng = np.random.default_rng(1)
    n = len(CELLS)
    counts = rng.poisson(1.0, (n, 4)).astype(float)
    counts[:, 2] = rng.random(n) < np.where(labels == 0, 0.25, 0.01)
    counts[labels == 0, 1] += rng.poisson(8, (labels == 0).sum())
    counts[:, 3] = rng.random(n) < np.where(labels == 1, 0.06, 0.0)  # too seldom to tell
    young = np.clip(0.3 + 0.03 * rng.normal(size=n) + 0.2 * (labels == 1), 0, 1)
    carless = np.clip(0.5 + 0.1 * rng.normal(size=n) + 0.15 * (labels == 1), 0, 1)
    people = np.column_stack([young, 1 - young, carless, 1 - carless])
    known = rng.random(n) < 0.8
    return (
        place_of(
            {
                "poi": table(
                    "poi",
                    np.log1p(np.column_stack([counts, counts.sum(1)])),
                    (*(f"count_{one}" for one in COUNTS), "log_total"),
                ),
                "demographics": table("demographics", people[known], BINS, cells=CELLS[known]),
            }
        ),
        counts,
        people,
        known,
    )


def test_planted_clusters_are_named_for_what_was_planted(planted, labels):
    place, *_ = planted
    told = Traits(place).tell(labels, GROUPS)
    assert names(told) == [
        "cafes, breweries",
        "many men aged 20–29, many with no vehicles",
        "mixed",
        "mixed (2)",
    ]
    assert {one.trait.label for one in told[0]} >= {"cafes", "breweries"}
    # Of two bins that make a whole, one is said.
    assert {one.trait.label for one in told[1]} == {"men aged 20–29", "with no vehicles"}
    assert told[2] == told[3] == ()


def test_what_is_told_is_what_the_cells_have(planted, labels):
    place, counts, people, known = planted
    told = Traits(place).tell(labels, GROUPS)
    (cafes,) = (one for one in told[0] if one.trait.label == "cafes")
    here, elsewhere = counts[labels == 0, 1].mean(), counts[labels != 0, 1].mean()
    assert cafes.here == pytest.approx(here, rel=1e-4)
    assert cafes.elsewhere == pytest.approx(elsewhere, rel=1e-4)
    assert cafes.times == pytest.approx(here / elsewhere, rel=1e-4)
    # People are known at some cells: the others do not count as 0.
    (young,) = (one for one in told[1] if one.trait.label == "men aged 20–29")
    inside = (labels == 1) & known
    assert young.here == pytest.approx(100 * people[inside, 0].mean(), rel=1e-4)
    outside = (labels != 1) & known
    assert young.elsewhere == pytest.approx(100 * people[outside, 0].mean(), rel=1e-4)
    deviation = people[known, 0].std()
    by_hand = (people[inside, 0].mean() - people[outside, 0].mean()) / deviation
    assert young.difference == pytest.approx(by_hand, rel=1e-3)
    assert young.phrase == "many men aged 20–29"


def test_log_odds_are_those_of_having_any(planted, labels):
    place, counts, *_ = planted
    (found,) = (
        one for one in Traits(place).tell(labels, GROUPS)[0] if one.trait.label == "breweries"
    )
    a, c = (counts[labels == 0, 2] > 0).sum() + 0.5, (counts[labels != 0, 2] > 0).sum() + 0.5
    b, d = (labels == 0).sum() + 1 - a, (labels != 0).sum() + 1 - c
    assert found.difference == pytest.approx(np.log(a * d / b / c) * np.sqrt(3) / np.pi, rel=1e-6)


def test_an_area_of_few_cells_needs_more_than_an_accident(planted, labels):
    place, *_ = planted
    traits = Traits(place)
    alone = np.full(len(CELLS), -1)
    alone[np.flatnonzero(labels == 2)[:2]] = 0
    assert traits.tell(alone, 1) == [()]
    half = np.where(labels == 0, 0, -1)  # the others are in no group, and still compared with
    assert traits.tell(half, 1)[0] == traits.tell(labels, GROUPS)[0]
    assert traits.tell(np.zeros(len(CELLS), int), 1) == [()]  # there is no rest


def test_correlates_are_those_of_numpy(planted):
    place, counts, people, _ = planted
    rng = np.random.default_rng(3)
    values = (np.log1p(counts[:, 1]) + 0.1 * rng.normal(size=len(CELLS))).astype(np.float32)
    values[:5] = np.nan
    found = Traits(place).correlates(values, top=3)
    assert found[0][0].label == "cafes"
    by_hand = np.corrcoef(values[5:], np.log1p(counts[5:, 1]))[0, 1]
    assert found[0][1] == pytest.approx(by_hand, abs=1e-4)
    nothing = rng.normal(size=len(CELLS))
    assert Traits(place).correlates(nothing) == []
    mirrored = {trait.label: r for trait, r in Traits(place).correlates(-people[:, 0])}
    assert mirrored["men aged 20–29"] == pytest.approx(-1, abs=1e-3)
    assert mirrored["men aged 30 or more"] == pytest.approx(1, abs=1e-3)


def test_what_is_known_where_is_told_too(labels):
    only = CELLS[labels == 0]
    values = np.random.default_rng(0).normal(size=(len(only), 1))
    place = place_of({"imagery": table("imagery", values, ("image_000",), cells=only)})
    (told, *_) = Traits(place).tell(labels, GROUPS)
    assert names([told]) == ["with imagery"]
    assert told[0].here == 100
    assert told[0].elsewhere == 0
    assert told[0].times is None  # not infinitely many


def test_codes_are_no_words_but_names_of_venues_are(labels, tmp_path):
    rng = np.random.default_rng(0)
    words = np.array(["grill", "brunch", "church", "school", "market", "pizza"])
    texts = [" ".join(rng.choice(words if group else words[:2], 6)) for group in labels]
    featurizer = Tfidf(dims=5).fit(texts)
    featurizer.save(tmp_path / "featurizers" / "poi")
    vectors = featurizer(texts)
    columns = (*featurizer.columns, "count_4bf58dd8d48988d1e0931735", "log_total")
    amounts = np.log1p(rng.poisson(3, (len(CELLS), 2)))
    place = place_of({"poi": table("poi", np.hstack([vectors, amounts]), columns)}, folder=tmp_path)
    (told, *_) = Traits(place).tell(labels, GROUPS)
    assert {"the word “grill”", "the word “brunch”"} >= {
        one.trait.label for one in told if one.difference > 0
    }
    assert "4bf58" not in str(told)
    assert told[0].times is None  # weights are no counts
    # Without the featurizer there is nothing to read words from.
    bare = place_of({"poi": place.tables["poi"]}, folder=tmp_path / "nothing")
    assert Traits(bare).tell(labels, GROUPS)[0] == ()


@pytest.mark.parametrize(
    ("category", "many"),
    [
        ("cafe", "cafes"), ("fast_food", "fast food"), ("Brewery", "Breweries"),
        ("church", "churches"), ("Deli / Bodega", "Delis / Bodegas"), ("gas", "gas"),
        ("Subway Tracks", "Subway Tracks"), ("day", "days"),
    ],
)  # fmt: skip
def test_categories_in_the_plural(category, many):
    values = np.arange(len(CELLS), dtype=float)
    place = place_of({"poi": table("poi", values[:, None], (f"count_{category}",))})
    ((trait, _), *_) = Traits(place).correlates(values)
    assert trait.label == many


def test_names_say_one_thing_each(planted, labels):
    place, *_ = planted
    one = Traits(place).tell(labels, GROUPS, top=12)
    given = names([one[0], one[0], one[2]])
    assert len(set(given)) == 3
    assert given[2] == "mixed"
    assert all(isinstance(each, Telling) for each in one[0])


def test_a_name_does_not_say_the_same_twice(labels):
    rng = np.random.default_rng(0)
    # Strongest first: size, rent, then the other size and little of a wage.
    larger = 0.1 * rng.normal(size=len(CELLS)) + (labels == 0)
    columns = ("mean_household_size", "mean_family_size", "mean_rent", "mean_wage")
    rent, other, wage = rng.normal(size=(3, len(CELLS))) * [[0.3], [0.6], [1.0]]
    less = np.column_stack([rent, other, wage]) + (labels == 0)[:, None]
    values = np.column_stack([larger, less[:, 1], -less[:, 0], less[:, 2]])
    place = place_of({"demographics": table("demographics", values, columns)})
    (name, *_) = names(Traits(place).tell(labels, GROUPS))
    assert name == "high household size, low rent"
