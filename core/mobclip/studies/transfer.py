"""Transfer: a probe learned in one place and tested in another, in a space that both share."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np

from mobclip.baselines.shared import shared
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import Place, Target
from mobclip.probes import folds_of, least_units, metrics, ridge
from mobclip.splits import Folds
from mobclip.storage import read_json, write_json


def transfer(places: Mapping[str, Place]) -> list[dict[str, Any]]:
    """Every pair of the places, both ways, with the training-free shared space.

    Rows go into `evaluation/transfer.json` of the place that is tested, where `evaluate` finds
    them.
    """
    spaces = shared(places)
    rows = []
    for source, test in permutations(places, 2):
        found = between(spaces[source], places[source].targets, spaces[test], places[test].targets)
        found = [{"source": source, "place": test, **row} for row in found]
        path = places[test].folder / "evaluation" / "transfer.json"
        kept = [
            row for row in (read_json(path) if path.is_file() else []) if row["source"] != source
        ]
        write_json(path, kept + found)
        rows += found
    return rows


def between(
    source: Embeddings,
    source_targets: Mapping[str, Target],
    test: Embeddings,
    test_targets: Mapping[str, Target],
) -> list[dict[str, Any]]:
    """Ridge learned on all units of one place, tested on all units of the other.

    For each number target that both places describe alike (name, title, unit, transform: land
    use of class 3 is another thing in another city, and its title has to say so):
    `r2` against the mean of the place that is tested, so that 0 is what knowing that mean would
    give; `r2_shifted` after the mean error is taken off (is the pattern right where the level is
    not?); `spearman`; and `r2_within`, the block cross-validation inside the place that is tested.

    Raises
    ------
    ConfigError : the embeddings are not of one space, or no target is in both
    """
    space = source.provenance.get("space")
    if space is None or space != test.provenance.get("space"):
        raise ConfigError(
            f"{source.name!r} and {test.name!r} are not of one space: a probe learned on the one "
            "means nothing to the other. Use embeddings of one model for several places."
        )
    both = [
        name
        for name, target in source_targets.items()
        if name in test_targets and _alike(target, test_targets[name])
    ]
    if not both:
        raise ConfigError(
            "no target is described alike in both places (name, title, unit, transform): "
            f"{', '.join(source_targets)} against {', '.join(test_targets)}."
        )
    rows = []
    for name in both:
        learned, tested = source_targets[name], test_targets[name]
        weights, intercept = ridge.fit(
            learned.units_of(source.vectors.astype(np.float64)),
            learned.actual,
            _blocks(learned, source),
        )
        features, actual = tested.units_of(test.vectors.astype(np.float64)), tested.actual[:, 0]
        predicted = (features @ weights + intercept)[:, 0]
        scores = metrics.regression(actual, predicted)
        shifted = metrics.regression(actual, predicted - predicted.mean() + actual.mean())
        within = ridge.held_out(features, tested.actual, _blocks(tested, test))
        rows.append(
            {
                "run": source.name,
                "target": name,
                "r2": scores["r2"],
                "r2_shifted": shifted["r2"],
                "spearman": scores["spearman"],
                "r2_within": metrics.regression(actual, within[:, 0])["r2"],
                "n_source": len(learned.unit_ids),
                "n": len(tested.unit_ids),
            }
        )
    return rows


def _alike(one: Target, other: Target) -> bool:
    enough = min(len(one.unit_ids), len(other.unit_ids)) >= least_units()
    number = one.kind == other.kind == "number"
    told = [(each.title, each.unit, each.transform) for each in (one, other)]
    return enough and number and told[0] == told[1]


def _blocks(target: Target, embeddings: Embeddings) -> Folds:
    cells = target.cell_of_unit(embeddings.cells)
    return Folds(of_unit=folds_of(cells, protocol="blocks", seed=0))
