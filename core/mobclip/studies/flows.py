"""Held-out flows: runs are made anew without them, then asked for them."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mobclip import pipeline, recipes
from mobclip.baselines import Features
from mobclip.config import Settings
from mobclip.errors import ConfigError
from mobclip.evaluation.flows import co_visitation, flows, gravity, probe, radiation, score
from mobclip.graph import hold_out
from mobclip.pipeline import Workspace
from mobclip.place import Place
from mobclip.probes import SEEDS

log = logging.getLogger(__name__)

POI_COUNTS = "poi-counts"  # what embeddings are compared with: what stands there, counted
SIZES = "distance and strengths only"
METRICS = ("r2", "ndcg10", "cpc")


def flow_study(
    workspace: Workspace,
    place: Place,
    runs: Sequence[str],
    *,
    seeds: Sequence[int] = SEEDS,
    configs: Mapping[str, Settings] | None = None,
) -> list[dict[str, Any]]:
    """Scores of every run, of distance and strengths only, of gravity and of radiation.

    A seed sets which flows are held out, everything random in the runs (which are made anew, under
    `runs/flows<seed>/`), and the pairs asked for. Points of interest and other tokens are as they
    were. `poi-counts` is a row wherever the place has POIs.

    Returns
    -------
    rows of {"run", "task", "r2", "ndcg10", "cpc" (None for co-visitation), "n" and "positives"
    (means over seeds), "per_seed" and "spread" by metric}; none for a place without flows, or too
    small to hold some out
    """
    if place.graph is None:
        return []
    if POI_COUNTS in recipes.possible(place):
        runs = list(dict.fromkeys([*runs, POI_COUNTS]))
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in seeds:
        workspace.on_step(f"holding out flows, seed {seed}", 0, len(runs))
        try:
            held = hold_out(place.graph, rng=np.random.default_rng(seed))
            questions = [flows(held, seed=seed), co_visitation(held, seed=seed)]
        except ConfigError as error:
            log.warning("%s: held-out flows are not asked for. %s", place.name, error)
            return []
        seen, whole = held.seen.report["edges"], place.graph.report["edges"]
        varied = place.varied(
            f"flows held out, seed {seed}: {seen} of {whole} edges seen", graph=held.seen
        )
        features = Features(varied, seed=seed)
        for done, run in enumerate([SIZES, *runs]):
            vectors = None
            if run != SIZES:
                name = f"flows{seed}/{run}"
                vectors = pipeline.embed(
                    workspace,
                    varied,
                    name,
                    recipe=run,
                    seed=seed,
                    config=(configs or {}).get(run),
                    features=features,
                ).at(place.cells)
            workspace.on_step(f"predicting held-out flows: {run}, seed {seed}", done, len(runs))
            for question in questions:
                scored = score(question, probe(question, vectors))
                found.setdefault((run, question.task), []).append(asdict(scored))
        for question in questions:
            models = {"gravity": gravity}
            if question.task == "flows":
                models["radiation"] = radiation
            for run, model in models.items():
                scored = score(question, model(question))
                found.setdefault((run, question.task), []).append(asdict(scored))
    return [_row(run, task, scores) for (run, task), scores in found.items()]


def _row(run: str, task: str, scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds; a score that is not defined in a seed is not, on the whole."""
    row: dict[str, Any] = {"run": run, "task": task}
    spread: dict[str, float | None] = {}
    per_seed = {name: [_defined(one[name]) for one in scores] for name in METRICS}
    for name, values in per_seed.items():
        known = [value for value in values if value is not None]
        whole = len(known) == len(values)
        row[name] = float(np.mean(known)) if whole else None
        spread[name] = float(np.std(known, ddof=1)) if whole and len(known) > 1 else None
    return {
        **row,
        "n": round(np.mean([one["n"] for one in scores])),
        "positives": round(np.mean([one["positives"] for one in scores])),
        "per_seed": per_seed,
        "spread": spread,
    }


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
