"""Targets that people brought along, in a session file: all that is needed to probe them again."""

from typing import Any

import numpy as np
from jaxtyping import UInt64
from scipy import sparse

from mobclip import grid
from mobclip.errors import ArtefactError, MobclipError
from mobclip.evaluation.own_targets.column import KINDS, MAX_CLASSES
from mobclip.place import Place, Target

PREFIX = "own-"  # of their names
MOST = 8  # that a session keeps of a place


def as_json(target: Target, cells: UInt64[np.ndarray, "cells"]) -> dict[str, Any]:
    """A target as plain values.

    cells : of its place, in the order of the target's weights
    """
    names = np.array(grid.to_strings(cells), object)
    ends = target.weights.indptr[1:-1]
    return {
        "name": target.name,
        "title": target.title,
        "unit": target.unit,
        "level": target.level,
        "kind": target.kind,
        "classes": list(target.classes),
        "note": target.note,
        "ids": [str(one) for one in target.unit_ids],
        "values": target.values.tolist(),
        "cells": [names[one].tolist() for one in np.split(target.weights.indices, ends)],
        "weights": [one.tolist() for one in np.split(target.weights.data, ends)],
    }


def from_json(given: Any, place: Place) -> dict[str, Target]:
    """Name -> target, of what `as_json` gave; a file is anybody's, so everything is checked.

    Raises
    ------
    ArtefactError : it is of another form, or about cells that the place does not have
    """
    try:
        targets = [_target(one, place) for one in given]
    except MobclipError as error:
        raise ArtefactError(f"a target of the session cannot be used: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtefactError(
            f"a target of the session is not whole ({type(error).__name__}: {error}). Save the "
            "session again, or bring the table along again."
        ) from error
    if len(targets) > MOST:
        raise ArtefactError(f"the session brings {len(targets)} targets; up to {MOST} are kept.")
    return {one.name: one for one in targets}


def _target(given: dict[str, Any], place: Place) -> Target:
    name, title, unit, level, note = (
        str(given[one])[:500] for one in ("name", "title", "unit", "level", "note")
    )
    if not name.startswith(PREFIX):
        raise ArtefactError(f"{name!r} is no name of a target that was brought along.")
    if given["kind"] not in KINDS or len(given["classes"]) > MAX_CLASSES:
        raise ArtefactError(f"{title!r} is of a kind that is not read here.")
    counts = [len(one) for one in given["cells"]]
    if counts != [len(one) for one in given["weights"]] or not counts or min(counts) == 0:
        raise ArtefactError(f"{title!r}: each unit has cells, and a weight for each.")
    cells = grid.from_strings([cell for row in given["cells"] for cell in row])
    column, known = grid.locate(place.cells, cells)
    if not known.all():
        raise ArtefactError(
            f"{title!r} is about {int((~known).sum()):,} cells that {place.title} does not have."
        )
    weights = np.array([one for row in given["weights"] for one in row], np.float64)
    shape = (len(counts), len(place.cells))
    members = sparse.csr_array((weights, column, np.cumsum([0, *counts])), shape=shape)
    if not (weights > 0).all() or not np.allclose(members.sum(axis=1), 1):
        raise ArtefactError(f"{title!r}: weights of a unit are above 0 and sum to 1.")
    return Target(
        name=name,
        title=title,
        unit=unit,
        level=level,
        unit_ids=np.array([str(one) for one in given["ids"]], object),
        values=np.array(given["values"], np.float64),
        weights=members,
        kind=given["kind"],
        classes=tuple(str(one) for one in given["classes"]),
        note=note,
    )
