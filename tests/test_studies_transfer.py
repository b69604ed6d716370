"""Transfer: learned in one place, tested in another."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.storage import read_json
from mobclip.studies.transfer import between, transfer


def embeddings(place, vectors, space="one"):
    return Embeddings(
        name="made",
        cells=place.cells,
        vectors=vectors.astype(np.float32),
        provenance={"space": space},
    )


def test_what_is_learned_here_is_tested_there(toy_place):
    rng = np.random.default_rng(0)
    n = len(toy_place.cells)
    target = toy_place.targets["kind"]
    here, there = (rng.normal(size=(n, 4)) * [3, 1, 1, 0.5] for _ in range(2))
    law = np.array([1.0, -1.0, 0.5, 0.0])
    learned = replace(target, values=here @ law + 0.1 * rng.normal(size=n))
    # The same law at another level.
    tested = replace(target, values=there @ law + 5 + 0.1 * rng.normal(size=n))
    [row] = between(
        embeddings(toy_place, here),
        {"kind": learned},
        embeddings(toy_place, there),
        {"kind": tested},
    )
    assert row["r2"] < 0  # the level is wrong
    assert row["r2_shifted"] > 0.98
    assert row["r2_within"] > 0.98
    model = Ridge(alpha=1e-3).fit(here, learned.values)
    predicted = model.predict(there)
    total = ((tested.values - tested.values.mean()) ** 2).sum()
    naive = 1 - ((tested.values - predicted) ** 2).sum() / total
    assert row["r2"] == pytest.approx(naive, abs=0.01)


def test_spaces_and_targets_have_to_be_the_same(toy_place):
    vectors = np.ones((len(toy_place.cells), 2))
    one, other = embeddings(toy_place, vectors), embeddings(toy_place, vectors, space="two")
    with pytest.raises(ConfigError, match="not of one space"):
        between(one, toy_place.targets, other, toy_place.targets)
    dollars = {"kind": replace(toy_place.targets["kind"], unit="dollars")}
    with pytest.raises(ConfigError, match="no target is described alike"):
        between(one, toy_place.targets, one, dollars)


def test_both_ways_and_written_where_the_report_looks(toy_place, tmp_path):
    # A second town: the same streets, another draw of the census.
    rng = np.random.default_rng(1)
    town = replace(toy_place, folder=tmp_path / "town", name="town")
    home = replace(toy_place, folder=tmp_path / "home", name="home")
    for name in ("tables", "graph", "targets"):
        for place in (town, home):
            place.__dict__[name] = getattr(toy_place, name)
    table = toy_place.tables["demographics"]
    town.__dict__["tables"] = {
        **toy_place.tables,
        "demographics": replace(
            table, values=(table.values + 0.1 * rng.normal(size=table.values.shape)).astype("f4")
        ),
    }
    rows = transfer({"home": home, "town": town})
    assert {(row["source"], row["place"]) for row in rows} == {("home", "town"), ("town", "home")}
    assert all(row["r2"] > 0.3 for row in rows)  # the kind of place shows in the census
    assert read_json(tmp_path / "town" / "evaluation" / "transfer.json") == [
        row for row in rows if row["place"] == "town"
    ]
