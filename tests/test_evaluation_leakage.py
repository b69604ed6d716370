"""Leakage audit: a planted copy is named, removed, and missed; lines against scikit-learn."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from mobclip.baselines import BASELINES, Features
from mobclip.evaluation.leakage import NEAR_COPY, Leak, audit, lines_held_out
from mobclip.probes import LiveRidge
from mobclip.splits import Folds, block_folds
from mobclip.table import CellTable


@pytest.fixture(scope="module")
def place(toy_place):
    """The toy place with two real histograms, age and rooms, in its census."""
    rng = np.random.default_rng(1)
    cells = toy_place.cells
    census = CellTable(
        modality="demographics",
        cells=cells,
        values=np.hstack(
            [
                rng.dirichlet([2, 2, 2], len(cells)),
                rng.dirichlet([2, 2], len(cells)),
                rng.normal(size=(len(cells), 1)),
            ]
        ).astype(np.float32),
        columns=(
            "hist_age_0_4",
            "hist_age_5_9",
            "hist_age_10_up",
            "hist_rooms_one",
            "hist_rooms_two_or_more",
            "log_population",
        ),
    )
    return toy_place.varied("census", tables={**toy_place.tables, "demographics": census})


@pytest.fixture(scope="module")
def features(place):
    return Features(place)


def folds_of(target, place):
    cells = target.cell_of_unit(place.cells)
    return Folds(of_unit=block_folds(cells, folds=5, rng=np.random.default_rng(0)))


def audited(features, **values):
    """The audit of targets made of the given values per cell."""
    kind = features.place.targets["kind"]
    targets = {
        name: replace(kind, name=name, values=np.asarray(one, np.float64))
        for name, one in values.items()
    }
    return audit(features, targets, lambda target: folds_of(target, features.place))


def test_lines_against_a_loop_over_columns_and_folds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 6)) * [1, 1e-3, 1e3, 1, 1, 1] + [0, 5, 1e4, 0, 0, 0]
    y = x[:, 0] + 400 * x[:, 1] + 0.001 * x[:, 2] + rng.normal(size=90)
    x[:, 4] = 3.0  # never varies
    of_unit = rng.permutation(90) % 5
    x[:, 5] = np.where(of_unit == 2, x[:, 5], 1.0)  # varies in one fold alone
    near = (rng.random((90, 5)) < 0.2) & (of_unit[:, None] != np.arange(5))
    for folds in (Folds(of_unit=of_unit), Folds(of_unit=of_unit, near=near)):
        found = lines_held_out(x, y, folds)
        for column in range(6):
            predicted = np.empty(90)
            for fold in range(5):
                learn, test = folds.training(fold), folds.test(fold)
                line = LinearRegression().fit(x[learn, column : column + 1], y[learn])
                predicted[test] = line.predict(x[test, column : column + 1])
            assert found[column] == pytest.approx(r2_score(y, predicted), abs=1e-8), column


def test_a_planted_copy_is_named_and_its_histogram_goes(place, features):
    rng = np.random.default_rng(2)
    age = place.tables["demographics"].column("hist_age_5_9")
    (leak,) = audited(features, young=20 + 3 * age + 0.1 * rng.normal(size=len(age)))
    assert (leak.modality, leak.column) == ("demographics", "hist_age_5_9")
    assert leak.near_copy
    assert leak.r2_column > NEAR_COPY
    # The other bins give it away: they sum to 1 with it. Rooms are another matter.
    assert leak.removed == tuple(f"demographics: hist_age_{one}" for one in ("0_4", "10_up", "5_9"))
    assert leak.r2 > 0.8
    assert leak.r2_without < 0.2
    assert leak.n == len(place.cells)
    assert asdict(leak)["target"] == "young"


def test_without_is_what_a_place_without_the_columns_gives(place, features):
    population = place.tables["demographics"].column("log_population")
    kind = place.targets["kind"]
    values = kind.values + population
    (leak,) = audited(features, both=values)
    table = place.tables["demographics"]
    kept = [
        i for i, name in enumerate(table.columns) if f"demographics: {name}" not in leak.removed
    ]
    assert len(kept) < len(table.columns)
    shorter = replace(
        table, values=table.values[:, kept].copy(), columns=tuple(table.columns[i] for i in kept)
    )
    bare = Features(place.varied("bare", tables={**place.tables, "demographics": shorter}))
    folds = folds_of(kind, place)
    for expected, one in [(leak.r2, features), (leak.r2_without, bare)]:
        made = BASELINES["pca"].fit(one).vectors.astype(np.float64)
        assert LiveRidge(made, folds).r2(values[:, None])[0] == pytest.approx(expected, abs=1e-6)


def test_where_nothing_is_a_copy_the_nearest_column_goes(place, features):
    rng = np.random.default_rng(3)
    population = place.tables["demographics"].column("log_population")
    (leak,) = audited(features, vague=population + 1.5 * rng.normal(size=len(population)))
    assert not leak.near_copy
    assert leak.removed == ("demographics: log_population",)
    assert 0.1 < leak.r2_column < 0.6
    assert leak.r2_without < leak.r2


def test_the_size_of_flows_is_a_column_too(place, features):
    (leak,) = audited(features, busy=np.log1p(place.graph.out_strength))
    assert (leak.modality, leak.column) == ("mobility", "log_outflow")
    assert leak.r2_column == pytest.approx(1, abs=1e-6)
    assert "mobility: log_outflow" in leak.removed


def test_units_of_several_cells_are_compared_with_the_mean_of_the_column(place, features):
    # Zones of three cells: the mean of the column over the zone is the target itself.
    from scipy import sparse

    n = len(place.cells) // 3
    weights = sparse.csr_array(
        (np.full(3 * n, 1 / 3), (np.repeat(np.arange(n), 3), np.arange(3 * n))),
        shape=(n, len(place.cells)),
    )
    population = place.tables["demographics"].column("log_population").astype(np.float64)
    zones = replace(
        place.targets["kind"],
        name="zones",
        unit_ids=np.arange(n).astype(str).astype(object),
        values=weights @ population,
        weights=weights,
    )
    (leak,) = audit(features, {"zones": zones}, lambda target: folds_of(target, place))
    assert leak.column == "log_population"
    assert leak.r2_column == pytest.approx(1, abs=1e-6)


def test_targets_that_are_no_number_are_passed_over(place, features):
    kind = place.targets["kind"]
    sides = replace(kind, name="side", kind="binary", values=np.round(np.clip(kind.values, 0, 1)))
    found = audit(features, {"side": sides, "kind": kind}, lambda one: folds_of(one, place))
    assert [type(one) for one in found] == [Leak]
    assert found[0].target == "kind"
