"""Subsets: how near does `mobclip` come where evidence is missing, at cells it has never seen?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from mobclip import __version__, pipeline, recipes
from mobclip.config import FusionConfig
from mobclip.embeddings import unit_rows
from mobclip.errors import ConfigError
from mobclip.evaluation.bootstrap import BlockBootstrap
from mobclip.evaluation.retrieval import own_recall, pooled
from mobclip.fusion import ALONE, FUSION_FILE, GONE, HIDDEN, KNOWN, Fusion, Votes
from mobclip.fusion import WORDS as TEXT
from mobclip.pipeline import Workspace
from mobclip.place import Place, Target
from mobclip.probes import FOLDS, SEEDS, HeldOut, LiveRidge, Score, folds_of
from mobclip.probes.ridge import RidgeFit
from mobclip.probes.words import read_off, texts_of
from mobclip.recipes import MOBCLIP
from mobclip.splits import Folds
from mobclip.storage import digest, write_json
from mobclip.studies.tokens import IMAGERY, WORDS, only
from mobclip.studies.variants import combined, number_targets, remove_checkpoints, stored

FORMAT = 1
POI = "poi"
SEEN, UNSEEN = "seen", "unseen"
STATES = ("hidden", "gone", "only")  # of a modality: its token, all of it, all others


@dataclass(frozen=True, kw_only=True)
class _Missing:
    """What is not known at the tested cells, and whether the network stands in for it."""

    modality: str
    state: str  # of STATES
    network: bool

    def states(self, fusion: Fusion) -> dict[str, int]:
        """As `Fusion.embed` takes them."""
        if self.state == "only":
            return only(self.modality, KNOWN, fusion)
        return {self.modality: HIDDEN if self.state == "hidden" else GONE}


@dataclass(frozen=True, kw_only=True)
class _Query:
    """A token by itself, and how it becomes a query."""

    of: str
    way: str


def subsets(
    workspace: Workspace,
    place: Place,
    *,
    seeds: Sequence[int] = SEEDS,
    config: FusionConfig | None = None,
) -> dict[str, Any]:
    """Train `mobclip` without each fold of spatial blocks in turn, then show it the fold's cells.

    A seed sets the folds and everything random in the model. All of a model (scales of columns,
    axes, partners of flows, network) is made of the cells of the other folds: neither the cells of
    the fold nor those of any unit that is tested in it were there. A cell is then shown with its
    neighbours; its flows to cells of its own fold count in its totals, and their ends say nothing.

    =========  ================================================================================
    section    what it says
    =========  ================================================================================
    cells      R² on blocks of a model that saw all cells (`seen`, as everywhere else) and of one
               that saw none of the tested ones (`unseen`), on the same folds and probes. The
               network has no part in either: nothing is hidden
    missing    unseen cells of which a modality is `hidden` (its token is not known, its
               surroundings are), `gone` (neither is) or the `only` one that is known; with the
               network and without. `cosine` to the embedding of all evidence and `recall<k>` of
               it among all cells of the fold, over the cells that have the modality; and R² of
               probes that learned from full embeddings and are tested on these
    tokens     recall of the own cell by its words alone or its image alone, as
               `studies.tokens.own_cells` has it of runs that saw the cells
    =========  ================================================================================

    Returns
    -------
    what is written to `<place>/evaluation/subsets.json`. It is read from there when place, seeds
    and settings are the same. `random_cosine` is the mean cosine of two cells of one fold.
    """
    recipes.check(place, MOBCLIP)
    config = config or FusionConfig()
    path = place.folder / "evaluation" / "subsets.json"
    key = digest(
        {
            "format": FORMAT,
            "version": __version__,
            "place": place.provenance.get("key"),
            "seeds": list(seeds),
            "config": config.to_dict(),
        }
    )
    kept = stored(path)
    if kept.get("key") == key:
        return kept

    targets, left_out = testable(place, seeds)
    areas = BlockBootstrap(place.cells, seeds=seeds, folds=FOLDS)
    missing = [
        _Missing(modality=modality, state=state, network=network)
        for modality in place.modalities
        for state in STATES
        for network in (True, False)
        # Of one modality there is no other that could be gone.
        if len(place.modalities) > 1 or state == "hidden"
    ]
    scores: dict[str, dict[str, list[float]]] = {}  # variation -> target -> by seed
    near: dict[Any, list[list[dict[str, Any]]]] = {}  # variation or query -> by seed and fold
    random_cosine = []
    for done, seed in enumerate(seeds):
        seeded = replace(config, seed=seed)
        asked = Round.of(place, targets, seed)
        whole = Fusion.fit([place], seeded).embed(place)
        fits = asked.learn(whole)
        of_fold: dict[Any, list[dict[str, Any]]] = {}
        for k in range(FOLDS):
            workspace.on_step(f"subsets: seed {seed}, fold {k}", done * FOLDS + k, _steps(seeds))
            asked.test(SEEN, whole, fits, k)
            fusion = _without(workspace, place, seeded, k, asked.tested(k))
            full = fusion.embed(place)
            random_cosine.append(_random_cosine(full[asked.fold == k]))
            for variation, row in asked.held_out(k, fusion, full, missing):
                of_fold.setdefault(variation, []).append(row)
        for variation, rows in of_fold.items():
            near.setdefault(variation, []).append(rows)
        for name, held in asked.predictions():
            areas.add(name, held)
            by_target = scores.setdefault(name, {}).setdefault(held.target.name, [])
            by_target.append(float(held.metrics["r2"]))
    workspace.on_step("subsets done", _steps(seeds), _steps(seeds))

    names = list(targets)
    cells = [
        {"what": what, **_scored(scores[what], areas, what, SEEN, names)} for what in (SEEN, UNSEEN)
    ]
    table = {
        "key": key,
        "place": place.name,
        "recipe": MOBCLIP,
        "seeds": list(seeds),
        "folds": FOLDS,
        "targets": names,
        "left_out": left_out,
        "random_cosine": float(np.mean(random_cosine)),
        "cells": cells,
        "by_target": [
            {
                "target": name,
                **{what: float(np.mean(scores[what][name])) for what in (SEEN, UNSEEN)},
            }
            for name in names
        ],
        "missing": [
            {
                "modality": one.modality,
                "state": one.state,
                "network": one.network,
                **_means(near[one]),
                **_scored(scores[str(one)], areas, str(one), UNSEEN, names),
            }
            for one in missing
            if one in near
        ],
        "tokens": [
            {"run": MOBCLIP, "of": one.of, "way": one.way, "seen": False, **_means(parts)}
            for one, parts in near.items()
            if isinstance(one, _Query)
        ],
    }
    write_json(path, table)
    return table


def _steps(seeds: Sequence[int]) -> int:
    return FOLDS * len(seeds)


# ---- models that have not seen a fold ------------------------------------------------------------


def _without(
    workspace: Workspace,
    place: Place,
    config: FusionConfig,
    fold: int,
    tested: Bool[np.ndarray, " cells"],
) -> Fusion:
    """`mobclip` trained on the cells that are not tested; kept, so that a study can go on."""
    rest = place.varied(
        f"without the blocks of fold {fold} of {FOLDS}, seed {config.seed}",
        cells=place.cells[~tested],
    )
    run = f"variants/{MOBCLIP}/without-fold{fold}/seed{config.seed}"
    folder = pipeline.train(workspace, rest, MOBCLIP, config=config, run=run)
    remove_checkpoints(folder)
    return Fusion.load(folder / FUSION_FILE)


# ---- units and scores ------------------------------------------------------------------------


def testable(place: Place, seeds: Sequence[int]) -> tuple[dict[str, Target], dict[str, str]]:
    """Number targets that have units in every fold of every seed, and of the others why not."""
    targets = number_targets(place)
    left_out = {}
    for seed in seeds:
        fold = folds_of(place.cells, protocol="blocks", seed=seed)
        for name, target in targets.items():
            of_units = fold[_heaviest(place, target)]
            few = np.bincount(of_units, minlength=FOLDS).min()
            if few < 2:
                left_out[name] = f"{few} units in a fold of the cells of seed {seed}"
    kept = {name: target for name, target in targets.items() if name not in left_out}
    if not kept:
        raise ConfigError(
            f"no number target of {place.name} has units in every fold of its cells: {left_out}. "
            "Declare one that has more in data_manifest.yaml."
        )
    return kept, left_out


def _heaviest(place: Place, target: Target) -> Int64[np.ndarray, " units"]:
    """Row of the cell that places each unit."""
    return np.searchsorted(place.cells, target.cell_of_unit(place.cells))


@dataclass(frozen=True, kw_only=True)
class _Units:
    """Targets of the same units, and the fold of each unit: that of its heaviest cell."""

    targets: tuple[Target, ...]
    fold: Int64[np.ndarray, " units"]
    actual: Float64[np.ndarray, "units targets"]

    def of(self, vectors: Float32[np.ndarray, "cells dims"]) -> Float64[np.ndarray, "units dims"]:
        """Features of the units."""
        return self.targets[0].units_of(vectors.astype(np.float64))


@dataclass(frozen=True, kw_only=True)
class Round:
    """One seed: its folds of cells, and what is predicted of the units of each."""

    place: Place
    seed: int
    fold: Int64[np.ndarray, " cells"]
    units: tuple[_Units, ...]
    predicted: dict[str, list[np.ndarray]] = field(default_factory=dict)  # by variation and units

    @classmethod
    def of(cls, place: Place, targets: Mapping[str, Target], seed: int) -> "Round":
        fold = folds_of(place.cells, protocol="blocks", seed=seed)
        groups: dict[bytes, list[Target]] = {}
        for target in targets.values():
            parts = (target.weights.indptr, target.weights.indices, target.weights.data)
            groups.setdefault(b"".join(part.tobytes() for part in parts), []).append(target)
        units = tuple(
            _Units(
                targets=tuple(group),
                fold=fold[_heaviest(place, group[0])],
                actual=np.hstack([target.actual for target in group]),
            )
            for group in groups.values()
        )
        return cls(place=place, seed=seed, fold=fold, units=units)

    def tested(self, k: int) -> Bool[np.ndarray, " cells"]:
        """Cells of a fold, and of the units that are tested in it: some lie across its border."""
        tested = self.fold == k
        for one in self.units:
            tested[one.targets[0].weights[one.fold == k].indices] = True
        return tested

    def learn(self, vectors: Float32[np.ndarray, "cells dims"]) -> list[RidgeFit]:
        """Probes of all units, each fold held out in turn."""
        return [
            LiveRidge(one.of(vectors), Folds(of_unit=one.fold)).fit(one.actual)
            for one in self.units
        ]

    def test(
        self, name: str, vectors: Float32[np.ndarray, "cells dims"], fits: list[RidgeFit], k: int
    ) -> None:
        """Predict the units of fold k, from whatever vectors, by the probes that did not see it."""
        into = self.predicted.setdefault(
            name, [np.full(one.actual.shape, np.nan) for one in self.units]
        )
        for predicted, one, fit in zip(into, self.units, fits, strict=True):
            here = one.fold == k
            made = one.of(vectors)[here] @ fit.weights[k] + fit.intercepts[k]
            predicted[here] = np.clip(made, fit.lowest[k], fit.highest[k])

    def held_out(
        self,
        k: int,
        fusion: Fusion,
        full: Float32[np.ndarray, "cells dims"],
        missing: Sequence[_Missing],
    ) -> Iterator[tuple["_Missing | _Query", dict[str, Any]]]:
        """Test a model that has not seen fold k; nearness of what is missing and of tokens.

        full : embeddings of all evidence by this model
        """
        fits = self.learn(full)
        self.test(UNSEEN, full, fits, k)
        rows = np.flatnonzero(self.fold == k)
        tested = np.flatnonzero(self.tested(k))
        votes = fusion.votes(self.place)
        for one in missing:
            model = fusion if one.network else replace(fusion, network=None)
            vectors = full.copy()
            vectors[tested] = combined(model, votes, one.states(fusion), tested)
            self.test(str(one), vectors, fits, k)
            has = np.flatnonzero(votes.present[one.modality][rows])
            if len(has):
                made, own = vectors[rows[has]], full[rows[has]]
                cosine = (unit_rows(made) * unit_rows(own)).sum(1)
                yield one, {"cosine": float(cosine.mean()), **own_recall(made, has, full[rows])}
        for query, queries, who in _queries(self.place, fusion, votes, full, self.tested(k)):
            has = np.flatnonzero(who[rows])
            if len(has):
                yield query, own_recall(queries[rows[has]], has, full[rows])

    def predictions(self) -> Iterator[tuple[str, HeldOut]]:
        """Of every variation and target, once all folds were tested."""
        for name, of_units in self.predicted.items():
            for one, predicted in zip(self.units, of_units, strict=True):
                cells = one.targets[0].cell_of_unit(self.place.cells)
                for column, target in enumerate(one.targets):
                    yield (
                        name,
                        HeldOut(
                            target=target,
                            protocol="blocks",
                            seed=self.seed,
                            cells=cells,
                            actual=target.actual,
                            predicted=predicted[:, [column]],
                            folds=one.fold,
                        ),
                    )


def _scored(
    per_target: Mapping[str, Sequence[float]],
    areas: BlockBootstrap,
    name: str,
    against: str,
    targets: Sequence[str],
) -> dict[str, Any]:
    """Mean R² over targets with its spread over seeds, and the paired difference."""
    score = Score(per_seed=tuple(np.mean([per_target[one] for one in targets], axis=0)))
    sure = areas.difference(name, against, targets)
    return {
        "blocks": score.mean,
        "blocks_spread": score.spread,
        "per_seed": [float(one) for one in score.per_seed],
        "difference": {
            "against": against,
            "blocks": sure.value,
            "low": sure.low,
            "high": sure.high,
        },
    }


# ---- nearness ------------------------------------------------------------------------------------


def _random_cosine(vectors: Float32[np.ndarray, "cells dims"]) -> float:
    """Mean cosine of two different cells."""
    unit = unit_rows(vectors).astype(np.float64)
    n = len(unit)
    return float(((unit.sum(0) ** 2).sum() - (unit**2).sum()) / (n * (n - 1)))


def _means(per_seed: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Folds pooled, then the mean over seeds; n is of all cells, once."""
    seeds = [pooled(parts) for parts in per_seed if parts]
    means = {
        name: float(np.mean([one[name] for one in seeds]))
        for name in seeds[0]
        if name not in ("n", "candidates")
    }
    spread = {
        f"{name}_spread": Score(per_seed=tuple(one[name] for one in seeds)).spread
        for name in ("cosine", "recall10")
        if name in means
    }
    counts = {name: round(np.mean([one[name] for one in seeds])) for name in ("n", "candidates")}
    return {**means, **spread, **counts}


def _queries(
    place: Place,
    fusion: Fusion,
    votes: Votes,
    full: Float32[np.ndarray, "cells dims"],
    tested: Bool[np.ndarray, " cells"],
) -> Iterator[tuple[_Query, np.ndarray, np.ndarray]]:
    """What a token alone says of its cell: a vector for each cell, and which have the token."""
    linear = replace(fusion, network=None)
    models = {"towers": fusion, "without the network": linear}
    has, texts = texts_of(place)
    if has.any():
        for way, model in models.items():
            yield _Query(of=WORDS, way=way), combined(model, votes, only(POI, TEXT, fusion)), has
        learned = has & ~tested
        direction = read_off(full[learned], texts[learned], place.cells[learned])
        yield _Query(of=WORDS, way="direction"), direction(texts), has
    if IMAGERY in place.tables:
        states = only(IMAGERY, ALONE, fusion)
        for way, model in models.items():
            made = combined(model, votes, states)
            yield _Query(of=IMAGERY, way=way), made, votes.present[IMAGERY]
