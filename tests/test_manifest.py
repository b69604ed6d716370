"""Every mistake in a manifest is named with its place, source, key and value, and what to write."""

from pathlib import Path

import pytest
import yaml

from mobclip.errors import ManifestError
from mobclip.manifest import load_manifest
from mobclip.synthetic.targets import RECIPES

ROOT = Path(__file__).parents[1]
INCOME = "sources.tracts.targets.income."
PROVENANCE = {
    "provider": "City",
    "licence": "CC0",
    "citation": "City, 2020",
    "date": "2020",
    "origin": "made for tests",
    "sha256": "0" * 64,
    "bytes": 10,
}


def small():
    """A manifest with one source of each kind."""
    return {
        "places": {
            "town": {
                "title": "Town",
                "resolution": 9,
                "area": {"source": "tracts"},
                "sources": {
                    "shops": {
                        "kind": "points",
                        "path": "town/shops.csv",
                        **PROVENANCE,
                        "columns": {"lon": "x", "lat": "y", "text": ["name", "tags"]},
                    },
                    "tracts": {
                        "kind": "zones",
                        "path": "town/tracts.geojson",
                        **PROVENANCE,
                        "columns": {"id": "GEOID"},
                        "counts": {"population": "pop"},
                        "histograms": {
                            "age": {
                                "unit": "percent",
                                "total": "pop",
                                "bins": {"young": "p0", "old": "p1"},
                            }
                        },
                        "targets": {"income": {"column": "inc", "unit": "dollars"}},
                    },
                    "trips": {
                        "kind": "flows",
                        "path": "town/trips.csv.gz",
                        **PROVENANCE,
                        "columns": {"origin": "from", "destination": "to", "weight": "n"},
                        "zones": "tracts",
                    },
                    "photo": {"kind": "rasters", "path": "town/photo.tif", **PROVENANCE},
                },
                "modalities": {
                    "poi": {"sources": ["shops"], "featurizer": "tfidf"},
                    "mobility": {"sources": ["trips"]},
                },
            }
        }
    }


@pytest.fixture
def load(tmp_path):
    """Load a document after setting some keys, given as dotted paths from the place."""

    def load_changed(changes=None, *, document=None):
        document = document or small()
        for dotted, value in (changes or {}).items():
            at = document["places"]["town"]
            *parents, last = dotted.split(".")
            for key in parents:
                at = at[key]
            if value is None:
                del at[last]
            else:
                at[last] = value
        path = tmp_path / "data_manifest.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
        return load_manifest(path)

    return load_changed


def test_typed_entries(load):
    town = load().place("town")
    tracts, trips = town.sources["tracts"], town.sources["trips"]
    assert town.resolution == 9
    assert town.area.source == "tracts"
    assert town.sources["shops"].columns["text"] == ("name", "tags")
    assert tracts.value_columns == ("pop", "p0", "p1", "inc")
    assert tracts.file_columns == ("GEOID", "pop", "p0", "p1", "inc")
    assert tracts.histograms["age"].part_scale == 0.01
    assert tracts.targets["income"].level == "tracts"
    assert (trips.zones, trips.column("weight")) == ("tracts", "n")
    assert town.modalities["poi"].sources == ("shops",)
    assert list(town.targets) == ["income"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 16}, r"places.town.resolution: 16 is not allowed.*0 to 15"),
        ({"resolution": "9"}, r"resolution: '9' is not allowed"),
        ({"tittle": "x"}, r"places.town: unknown key 'tittle'. Did you mean 'title'\? Allowed: "),
        ({"sources.shops.kind": "point"}, r"'point' is not a kind.*Did you mean 'points'\?"),
        ({"sources.shops.colums": {}}, r"town.sources.shops: unknown key 'colums'. Did you mean"),
        ({"sources.shops.columns": {"lon": "x"}}, r"points need lon \+ lat or cell.*lat missing"),
        ({"sources.shops.columns": {"text": "t"}}, r"a CSV file has no geometry"),
        ({"sources.shops.columns.lon": ["a", "b"]}, r"columns.lon: one column is needed, not a, b"),
        ({"sources.shops.sha256": "abc"}, r"shops.sha256: 'abc' has 3 characters"),
        ({"sources.shops.bytes": "10"}, r"shops.bytes: '10' is not allowed"),
        ({"sources.shops.licence": None}, r"sources.shops: licence is missing"),
        ({"sources.shops.origin": None}, r"sources.shops: give a url, or say in `origin`"),
        ({"sources.shops.url": "ftp://x"}, r"shops.url: 'ftp://x' does not begin with https://"),
        ({"sources.shops.path": "/home/me/a.csv"}, r"must be relative.*MOBCLIP_MIRROR"),
        ({"sources.shops.path": "../a.csv"}, r"must be relative"),
        ({"sources.shops.path": "a.xlsx"}, r"no reader of points for 'a.xlsx'. Suffixes: .csv"),
        ({"sources.shops.path": "a.tif"}, r"no reader of points for 'a.tif'"),
        ({"sources.photo.columns": {"lon": "x"}}, r"sources.photo: unknown key 'columns'"),
        ({"sources.trips.zones": None}, r"sources.trips: flows between zone ids .* need `zones"),
        ({"sources.trips.zones": "tract"}, r"trips.zones: there is no source 'tract'.*'tracts'\?"),
        ({"sources.trips.zones": "shops"}, r"'shops' is a source of points, but zones are needed"),
        ({"sources.trips.columns": {"origin": "a"}}, r"flows need .*destination missing"),
        ({"area": {"source": "shops"}}, r"places.town.area.source: 'shops' is a source of points"),
        ({"area": {"bbox": [2, 0, 1, 1]}}, r"area.bbox: \[2, 0, 1, 1\] is not .west, south"),
        ({"area": {}}, r"area: give either bbox"),
        ({"modalities.poi.sources": ["shop"]}, r"no source 'shop'.*Did you mean 'shops'\?"),
        (
            {"sources.tracts.histograms.age.unit": "percents"},
            r"age.unit: 'percents' is not allowed",
        ),
        ({"sources.tracts.histograms.age.total": None}, r"bins in percent need `total`"),
        ({"sources.tracts.histograms.age.bins": {"a": "p0"}}, r"a histogram has two bins or more"),
        ({"sources.tracts.targets.income.unit": None}, r"targets.income: unit is missing"),
        ({"sources.tracts.targets.income.column": None}, r"needs one of column and classes"),
        ({"sources.tracts.targets.income.transform": "log"}, r"'log' is not allowed. Did you mean"),
        ({"sources.tracts.targets.income.aggregate": "count"}, r"Choose value, density"),
        ({INCOME + "kind": "numbers"}, r"income.kind: 'numbers' is not .* mean 'number'\?"),
        ({INCOME + "kind": "class"}, r"income: column is for the kinds number, binary, not for cl"),
        ({INCOME + "above": 3}, r"income: above is for the kinds binary, not for number"),
        ({INCOME + "ceiling": 1.2}, r"income.ceiling: 1.2 is not an R²"),
        (
            {INCOME + "weighting": "people"},
            r"weighting: 'people' is not allowed.*Choose area, plai",
        ),
        ({INCOME + "level": "cell"}, r"income: unknown key 'level'"),
        (
            {INCOME + "weighting": "flows", "modalities": {"poi": {"sources": ["shops"]}}},
            r"income.weighting: this place has no modality mobility",
        ),
        (
            {INCOME + "weighting": "population", "sources.tracts.counts": {"homes": "h"}},
            r"income.weighting: no zones source of this place has `counts: \{population: COLUMN\}`",
        ),
        (
            {INCOME + "per": {"count": "populatoin"}},
            r"per.count: 'populatoin' is not among the counts of 'tracts', which has population.*"
            r"Did you mean 'population'\?",
        ),
        ({INCOME + "per": {"times": 3}}, r"income.per: count is missing"),
        (
            {INCOME + "per": {"count": "population"}, INCOME + "aggregate": "density"},
            r"income.per: a density is no amount",
        ),
        (
            {"sources.tracts.targets": {"mix": {"unit": "share", "kind": "composition"}}},
            r"targets.mix: classes is missing: give two or more of `label: column`",
        ),
        (
            {
                "sources.tracts.targets": {
                    "mix": {"unit": "share", "kind": "class", "classes": {"a": "c0", "b": "c0"}}
                }
            },
            r"mix.classes: there are to be two classes or more: give two or more of `label: col",
        ),
        (
            {
                "sources.tracts.targets": {
                    "mix": {
                        **{"unit": "share", "kind": "composition", "classes": ["c0", "c1"]},
                        "transform": "log1p",
                    }
                }
            },
            r"transform is for the kinds number, not for composition",
        ),
        (
            {"sources.shops.targets": {"any": {"unit": "0 or 1", "kind": "binary"}}},
            r"targets.any: a count is not 0 or 1: say `above`",
        ),
        (
            {"sources.shops.targets": {"what": {"unit": "kind", "kind": "class", "classes": 5}}},
            r"targets.what: classes of points are their categories: name their column",
        ),
        (
            {
                "sources.shops.columns.category": "kind",
                "sources.shops.targets": {"what": {"unit": "kind", "kind": "class", "classes": 1}},
            },
            r"what.classes: 1 is not allowed: choose a whole number, 2 or more",
        ),
        (
            {
                "sources.shops.columns.category": "kind",
                "sources.shops.targets": {
                    "mix": {
                        **{"unit": "share", "kind": "composition", "classes": 5},
                        "level": "point",
                    }
                },
            },
            r"targets.mix: a point has one category, no shares: choose `kind: class`",
        ),
        (
            {"sources.shops.targets": {"n": {"unit": "shops", "weighting": "plain"}}},
            r"targets.n: weighting is for targets of zones: leave it out at level cell",
        ),
        (
            {"sources.shops.targets": {"n": {"unit": "shops", "level": "point"}}},
            r"targets.n: the aggregate 'value' needs one of column and classes",
        ),
        (
            {
                "sources.shops.targets": {
                    "n": {"unit": "m²", "level": "point", "column": "size", "aggregate": "mean"}
                }
            },
            r"n.aggregate: 'mean' is not allowed. Choose value",
        ),
        (
            {"sources.tracts.geometry_from": "nowhere"},
            r"geometry_from: there is no source 'nowhere'",
        ),
        ({"sources.shops.where": {"x": {"minimum": 0}}}, r"where.x: unknown key 'minimum'"),
        ({"sources.shops.derive": {"d": {"per": ["x"]}}}, r"derive.d: add is missing"),
        ({"sources.a b": {}}, r"'a b' is not a name"),
    ],
)
def test_mistakes(load, change, message):
    with pytest.raises(ManifestError, match=f"(?s){message}") as raised:
        load(change)
    assert "data_manifest.yaml" in str(raised.value)


def test_all_problems_come_together(load):
    with pytest.raises(ManifestError, match="has 3 problems") as raised:
        load({"resolution": 20, "sources.shops.sha256": "1", "modalities.poi.sources": ["no"]})
    assert str(raised.value).count("\n  - ") == 3


def test_classes_become_one_target_each(load):
    landuse = {"title": "Land use", "unit": "share", "classes": {"parks": "c0", 1: "c1"}}
    targets = load({"sources.tracts.targets": {"landuse": landuse}}).place("town").targets
    assert [(t.name, t.title, t.column) for t in targets.values()] == [
        ("landuse_parks", "Land use: parks", "c0"),
        ("landuse_1", "Land use: 1", "c1"),
    ]


def test_points_count_and_mean(load):
    targets = {
        "crimes": {"unit": "crimes"},
        "rent": {"unit": "dollars", "aggregate": "mean", "column": "rent", "level": "tracts"},
    }
    found = load({"sources.shops.targets": targets}).place("town").targets
    assert (found["crimes"].aggregate, found["crimes"].level) == ("count", "cell")
    assert (found["crimes"].absent, found["rent"].absent) == ("zero", "missing")
    assert found["rent"].level == "tracts"
    with pytest.raises(ManifestError, match="needs no column"):
        load({"sources.shops.targets": {"crimes": {"unit": "crimes", "column": "x"}}})


def test_kinds_of_targets_of_zones(load):
    landuse = {"unit": "share", "classes": {"parks": "c0", 1: "c1"}}
    tracts = load(
        {
            "sources.tracts.targets": {
                "mix": {**landuse, "kind": "composition"},
                "main": {**landuse, "kind": "class", "weighting": "plain"},
                "poor": {
                    **{"unit": "0 or 1", "kind": "binary", "column": "rate", "above": 0.2},
                    **{"weighting": "population", "per": {"count": "population", "times": 100}},
                },
                "income": {"unit": "dollars", "column": "inc", "ceiling": 0.9},
            }
        }
    ).place("town")
    targets = tracts.targets
    assert [(t.name, t.kind, dict(t.classes)) for t in targets.values()] == [
        ("mix", "composition", {"parks": "c0", "1": "c1"}),
        ("main", "class", {"parks": "c0", "1": "c1"}),
        ("poor", "binary", {}),
        ("income", "number", {}),
    ]
    assert (targets["mix"].weighting, targets["main"].weighting) == ("area", "plain")
    poor = targets["poor"]
    assert (poor.above, poor.weighting, poor.per.count, poor.per.times) == (
        *(0.2, "population"),
        *("population", 100),
    )
    assert (targets["income"].ceiling, poor.ceiling) == (0.9, None)
    # The columns of the classes are read from the file.
    assert {"c0", "c1", "rate", "inc"} <= set(tracts.sources["tracts"].value_columns)


def test_kinds_of_targets_of_points(load):
    targets = load(
        {
            "sources.shops.columns.category": "kind",
            "sources.shops.targets": {
                "any": {"unit": "0 or 1", "kind": "binary", "above": 0},
                "what": {"unit": "kind", "kind": "class", "classes": ["cafe", "bank"]},
                "common": {"unit": "kind", "kind": "class", "classes": 8, "level": "point"},
                "rate": {"unit": "per head", "level": "tracts", "per": {"count": "population"}},
                "size": {"unit": "m²", "level": "point", "column": "size"},
            },
        }
    )
    targets = targets.place("town").targets
    assert (targets["any"].above, targets["any"].absent) == (0, "zero")
    assert targets["what"].classes == {"cafe": "cafe", "bank": "bank"}
    assert targets["what"].absent == "missing"
    assert (targets["common"].most_frequent, dict(targets["common"].classes)) == (8, {})
    assert targets["size"].aggregate == "value"
    assert "cafe" not in load_columns(load)


def load_columns(load):
    """Columns that are read where the classes are categories, not columns."""
    changed = {
        "sources.shops.columns.category": "kind",
        "sources.shops.targets": {
            "what": {"unit": "kind", "kind": "class", "classes": ["cafe", "bank"]}
        },
    }
    return load(changed).place("town").sources["shops"].file_columns


def test_target_names_are_unique_in_a_place(load):
    with pytest.raises(ManifestError, match="'shops' has a target of this name already"):
        load({"sources.shops.targets": {"income": {"unit": "shops"}}})


def test_borrowed_polygons_cannot_be_lent(load):
    document = small()
    sources = document["places"]["town"]["sources"]
    table = {k: v for k, v in sources["tracts"].items() if k not in ("targets", "histograms")}
    sources["table"] = {**table, "path": "t.csv", "geometry_from": "tracts"}
    load(document=document)
    with pytest.raises(ManifestError, match="'table' has no polygons of its own: name 'tracts'"):
        load({"sources.trips.zones": "table"}, document=document)


def test_a_generator_needs_no_hashes(load):
    document = small()
    document["places"]["town"]["generator"] = {"name": "synthetic", "cells": 500, "seed": 0}
    for source in document["places"]["town"]["sources"].values():
        for key in ("sha256", "bytes", "origin"):
            del source[key]
    town = load(document=document).place("town")
    assert town.sources["shops"].generator == {"name": "synthetic", "cells": 500, "seed": 0}
    document["places"]["town"]["generator"] = {"cells": 500}
    with pytest.raises(ManifestError, match="is not a mapping with a name"):
        load(document=document)


def test_repeated_keys_are_an_error(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("places:\n  a: {}\n  a: {}\n", "utf-8")
    with pytest.raises(ManifestError, match=r"the key 'a' stands twice"):
        load_manifest(path)


def test_merge_keys_may_be_overridden(tmp_path):
    document = yaml.safe_dump(small(), sort_keys=False)
    head = "x-shared: &shared\n  title: Shared\n"
    path = tmp_path / "m.yaml"
    path.write_text(head + document.replace("    title: Town", "    <<: *shared"), "utf-8")
    assert load_manifest(path).place("town").title == "Shared"


@pytest.mark.parametrize("text", ["places: [", "", "- 1", "places:\n  a: 3\n", "places: {}"])
def test_what_is_no_manifest_at_all(tmp_path, text):
    path = tmp_path / "m.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ManifestError, match=r"m.yaml"):
        load_manifest(path)


def test_missing_file_and_unknown_place(tmp_path, load):
    with pytest.raises(ManifestError, match="no manifest at"):
        load_manifest(tmp_path / "none.yaml")
    with pytest.raises(ManifestError, match=r"no place 'twon'. Did you mean 'town'\? It has town"):
        load().place("twon")


def test_the_manifest_of_the_repository():
    """Both cities: provenance whole, and no outcome among the inputs."""
    manifest = load_manifest(ROOT / "data_manifest.yaml")
    assert {"chicago", "new-york"} <= set(manifest.places)
    for place in manifest.places.values():
        for source in place.sources.values():
            assert source.generator is not None or len(source.sha256) == 64
            inputs = set(source.counts.values()) | set(source.intensive.values())
            for histogram in source.histograms.values():
                inputs |= set(histogram.bins.values())
            outcomes = {target.column for target in source.targets.values()}
            for target in source.targets.values():
                outcomes |= set(target.classes.values())
            assert not inputs & outcomes, f"{place.name}.{source.name}"
    assert "imagery" not in manifest.place("new-york").modalities


def test_the_ceilings_of_the_synthetic_country_are_those_of_its_recipes():
    """Stated twice: in the recipe that adds the noise, and where a reader looks."""
    targets = load_manifest(ROOT / "data_manifest.yaml").place("synthetic").targets
    assert {name: target.ceiling for name, target in targets.items()} == {
        recipe.name: recipe.ceiling for recipe in RECIPES
    }
    for recipe in RECIPES:  # the scale on which the ceiling holds
        assert (targets[recipe.name].transform == "log1p") == recipe.log


def test_both_cities_have_targets_of_every_kind():
    manifest = load_manifest(ROOT / "data_manifest.yaml")
    for name in ("chicago", "new-york"):
        kinds = {target.kind for target in manifest.place(name).targets.values()}
        assert kinds == {"number", "binary", "class", "composition"}
