"""A saved session again, without a page: the numbers that it showed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobclip import explain, grid
from mobclip.baselines import BASELINES
from mobclip.clusters import cluster
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.explain.telling import Traits
from mobclip.fusion import FUSION_FILE, GONE, Fusion
from mobclip.place import Place, Target, TargetKind
from mobclip.probes import PROTOCOLS, folds_of, learning, metrics, probe
from mobclip.probes.labels import LabelProbe, Painted, is_number
from mobclip.probes.learning import Limits
from mobclip.search import ImageQuery
from mobclip.session import Selection, Session
from mobclip.splits import Folds

TOLERANCE = 1e-4  # of a score between two machines: sums are added in another order


def replay(
    place: Place,
    session: Session,
    *,
    own: Mapping[str, Target] | None = None,
    image: ImageQuery | None = None,
) -> dict[str, Any]:
    """What a session says of a place.

    own : targets that somebody brought along, by name
    image : that is searched for, in the space of the run

    Returns
    -------
    JSON-able: ``place``, ``run``; ``clusters``, a list of {name, cells}, where they colour the
    map; ``similar``, a list of {h3, score}, where it asks for places;
    ``probe`` of its target, where it has one or is at the probe: the main score in random folds
    and in blocks, with the labels, numbers and evidence that it leaves; ``painted``, where cells
    were labelled: classes, cells, and the score on blocks or why there is none; ``what_if`` of
    the edits of its cell: the cosine before and after, and what is predicted before and after

    Raises
    ------
    ArtefactError : the place has no such run
    ConfigError : no such target, or too few units of it
    """
    selection = session.selection
    path = place.folder / "runs" / selection.run / "embeddings.parquet"
    if not selection.run or not path.is_file():
        has = ", ".join(place.runs()) or "none"
        raise ArtefactError(
            f"{place.name} has no run {selection.run!r}; it has {has}. Make it: `mobclip embed`."
        )
    embeddings = Embeddings.load(path)
    said: dict[str, Any] = {"place": place.folder.name, "run": selection.run}
    if selection.colour == "clusters":
        said["clusters"] = _clusters(place, embeddings, selection.clusters)
    found = explain.answer(place, selection, session.area, image)
    if found is not None:
        said["similar"] = [
            {"h3": cell, "score": float(score)}
            for cell, score in zip(grid.to_strings(found.cells), found.scores, strict=True)
        ]
    targets = {**place.targets, **(own or {})}
    if targets and (selection.target or selection.view == "probe"):
        said["probe"] = _probe(place, embeddings, selection, targets)
    painted = _painted(place, embeddings, session)
    if painted:
        said["painted"] = painted
    if selection.cell and selection.edits:
        said["what_if"] = _what_if(place, selection)
    return said


def differences(saved: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    """Where two replays say different things, in words; scores within 1e-4 are the same."""
    lines = []
    for name in ("place", "run", "clusters", "similar", "probe", "painted", "what_if"):
        lines += _unlike(name, saved.get(name), again.get(name))
    return lines


def _unlike(name: str, saved: Any, again: Any) -> list[str]:
    if isinstance(saved, Mapping) and isinstance(again, Mapping):
        pairs = {key: (saved.get(key), again.get(key)) for key in [*saved, *again]}
        return [line for key, pair in pairs.items() for line in _unlike(f"{name} {key}", *pair)]
    if isinstance(saved, list) and isinstance(again, list) and len(saved) == len(again):
        ranked = enumerate(zip(saved, again, strict=True), 1)
        return [line for rank, pair in ranked for line in _unlike(f"{name} {rank}", *pair)]
    numbers = isinstance(saved, int | float) and isinstance(again, int | float)
    if numbers and abs(saved - again) <= TOLERANCE:
        return []
    return [] if saved == again else [f"{name}: saved {saved}, now {again}"]


def _clusters(place: Place, embeddings: Embeddings, count: int) -> list[dict[str, Any]]:
    found = cluster(embeddings, count)
    labels = np.full(len(place.cells), -1)
    labels[np.searchsorted(place.cells, embeddings.cells)] = found.labels
    names = Traits(place).name(labels, len(found.sizes))
    return [
        {"name": name, "cells": cells}
        for name, cells in zip(names, found.sizes.tolist(), strict=True)
    ]


def _probe(
    place: Place, embeddings: Embeddings, selection: Selection, targets: Mapping[str, Target]
) -> dict[str, Any]:
    name = selection.target or next(iter(targets))
    if name not in targets:
        raise ConfigError(
            f"{place.name} has no target {name!r}; it has {', '.join(targets)}. A target that "
            "somebody brought along is in a session file that was saved while it was there, and "
            "in no link."
        )
    target = targets[name]
    model = place.folder / "runs" / selection.run / FUSION_FILE
    fusion = Fusion.load(model) if model.is_file() else None
    # A model of several places was given fewer modalities than one of them may have.
    known = tuple(one for one in place.modalities if fusion and one in fusion.modalities)
    limits = Limits.of(selection, units=len(target.values), dims=embeddings.dims, known=known)
    if limits == Limits():
        recipe = BASELINES.get(selection.run)
        kind = recipe.probe if recipe else "ridge"
        result = probe(embeddings, target, seeds=(0,), probe=kind)
        scores = {str(one): result.scores[one].mean for one in PROTOCOLS}
    else:
        vectors = embeddings.vectors
        if fusion and limits.using:
            gone = [one for one in known if one not in limits.using]
            vectors = fusion.embed(place, states=dict.fromkeys(gone, GONE))
        scores = _limited(place, vectors, target, limits)
    return {"target": name, "metric": metrics.PRIMARY[target.kind], **scores}


def _limited(place: Place, vectors: np.ndarray, target: Target, limits: Limits) -> dict[str, float]:
    """Scores with the labels and numbers that are left."""
    features = target.units_of(vectors[:, : limits.dims or None].astype(np.float64))
    cells = target.cell_of_unit(place.cells)
    return {
        protocol: learning.learned(
            features,
            target.actual,
            Folds(of_unit=folds_of(cells, protocol=protocol, seed=0)),
            kind=target.kind,
            share=limits.share,
            alpha=limits.alpha or None,
        ).score
        for protocol in PROTOCOLS
    }


def _painted(place: Place, embeddings: Embeddings, session: Session) -> dict[str, Any]:
    if not session.labels:
        return {}
    kind: TargetKind = "number" if all(map(is_number, session.labels.values())) else "class"
    painted = Painted.of(session.labels, place.cells, kind=kind)
    said: dict[str, Any] = {"kind": kind, "cells": len(painted.rows), "classes": painted.counts}
    if kind == "number":
        del said["classes"]
    if painted.missing:
        return {**said, "missing": painted.missing}
    vectors = embeddings.vectors.astype(np.float64)
    score = LabelProbe(painted=painted, features=vectors, cells=place.cells).score
    if isinstance(score, str):
        return {**said, "missing": score}
    return {**said, **score.metrics}


def _what_if(place: Place, selection: Selection) -> dict[str, Any]:
    """As the view Modalities has it: by the model of the run, else by that of `mobclip`."""
    from mobclip.whatif import Bench, Edits, model_of  # brings pandas: only when a cell is edited

    run = model_of(place, selection.run)
    if run is None:
        return {"missing": f"{place.name} has no run of `mobclip`: run `mobclip train` first"}
    folder = place.folder / "runs" / run
    embeddings = Embeddings.load(folder / "embeddings.parquet")
    bench = Bench(Fusion.load(folder / FUSION_FILE), place, embeddings)
    cell = int(grid.from_strings([selection.cell])[0])
    found = bench.what_if(cell, Edits.from_text(selection.edits))
    return {
        "cosine": found.cosine,
        "predictions": {
            one.target.name: {"before": one.before.tolist(), "after": one.after.tolist()}
            for one in found.predictions
        },
    }


def place_of(session: Session, data: Path) -> Path:
    """Folder of the place that a session is about; `ArtefactError` if it is not in `data`."""
    name = session.selection.place
    folder = data / "places" / name
    if not name or Path(name).name != name or not (folder / "place.yaml").is_file():
        there = ", ".join(sorted(one.parent.name for one in data.glob("places/*/place.yaml")))
        raise ArtefactError(
            f"the session is about the place {name!r}, which is not in {data / 'places'} "
            f"({there or 'it is empty'}). Make it, or give its folder: `mobclip --data ... replay`."
        )
    return folder
