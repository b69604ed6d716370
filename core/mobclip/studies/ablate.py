"""Ablations: what each modality, the dimensions and the resolution are worth to a recipe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64

from mobclip import __version__, pipeline, recipes
from mobclip.baselines import DIMS, Features
from mobclip.config import FusionConfig, Settings
from mobclip.embeddings import Embeddings
from mobclip.evaluation.bootstrap import BlockBootstrap, Interval
from mobclip.fusion import FUSION_FILE, GONE, KNOWN, Fusion, Votes
from mobclip.manifest import PlaceSpec
from mobclip.pipeline import Workspace
from mobclip.place import MOBILITY, Place, Target
from mobclip.probes import FOLDS, SEEDS, Score, least_units
from mobclip.recipes import MOBCLIP
from mobclip.splits import Protocol
from mobclip.storage import digest, write_json
from mobclip.studies.variants import (
    PROTOCOLS,
    combined,
    fit,
    folder_of,
    held_out_of,
    name_of,
    number_targets,
    only,
    r2_of,
    stored,
    subsets,
    varied_settings,
)

FORMAT = 1
DIMENSIONS = (16, 32, 64, 128, 256)
MAX_FINER = 50_000  # cells; a finer resolution has seven times as many as the place
HIDING = ("pca", "propagated", MOBCLIP)  # recipes that can hide a modality at inference
DESIGN = {  # settings of `mobclip` that are switched off by 0, and what it is then without
    "near": "no smoothing over neighbours",
    "fill": "what a cell lacks is not filled in from around it",
    "wide": "no wide surroundings",
    "thin": "tokens of few points or trips trusted like others",
    "persistence": "axes chosen without regard to what neighbours share",
    "presence": "not told which modalities a cell has",
    "emphasis": "first dimensions not stretched",
}

R2 = Mapping[Protocol, Float64[np.ndarray, "seeds targets"]]


@dataclass(frozen=True, kw_only=True)
class _Variation:
    """One thing that is different; rows of the same study and words are averaged."""

    study: str
    what: str
    modalities: tuple[str, ...] | None = None  # those that are kept; None: all
    dims: int | None = None  # None: the recipe's own
    known: tuple[str, ...] | None = None  # those shown at inference; None: all
    network: bool = False  # of `mobclip`: whether it stands in for what is not known
    off: tuple[str, ...] = ()  # settings of `mobclip` that are 0
    note: str = ""

    @property
    def evidence(self) -> tuple[Any, ...]:
        """What the vectors depend on: variations of other studies may share it."""
        return self.modalities, self.dims, self.known, self.network, self.off


@dataclass(frozen=True, kw_only=True)
class _Scored:
    r2: R2
    dims: int  # of the vectors that came out
    interval: Interval | None = None  # of the difference from the whole recipe, on blocks


def ablate(
    workspace: Workspace,
    given: PlaceSpec | Place,
    *,
    recipe: str,
    seeds: Sequence[int] = SEEDS,
    config: Settings | None = None,
) -> dict[str, Any]:
    """Score a recipe with less than it has; mean R² over the number targets of the place.

    A seed sets the folds and everything random in the recipe, training included; differences from
    the whole recipe are paired, seed by seed. The cells, the targets and the folds are the same
    throughout, but for the resolution: there only units that every resolution has (zones and
    points, not cells, which are other places) are scored, and spatial blocks follow the cells.

    Where nothing is hidden the network of `mobclip` has no say: its embedding is exactly that of
    its linear part (`fusion.Network`), which is therefore fitted alone. `known` trains it.

    ==================  ======================================================================
    study               what is scored
    ==================  ======================================================================
    full                the recipe as it is
    modality-removed    all but one modality: its difference is what is lost without it
    modality-alone      one modality, and mobility beside it where the recipe needs that
    dims                16 to 256 dimensions; of `mobclip` fewer than it has are its first ones
    design              `mobclip`: one of its ideas left out, then all of them
    known               fitted on all modalities, and k of them known at inference; mean over
                        the choices of k
    known-linear        `mobclip`: the same without the network, which shows what training adds
    resolution          tokens made anew one resolution coarser and, up to 50,000 cells, finer;
                        the difference is from the place's own resolution, on the same units
    ==================  ======================================================================

    ``gains`` says of each modality what it adds first (alone, against knowing nothing, which is
    R² 0) and last (to all others), on spatial blocks. What overlaps counts in each first and in
    no last. ``not_applicable`` says what this recipe or place cannot be asked, and why.

    Parameters
    ----------
    given : a place; or its manifest entry, which the resolution needs too
    recipe : see `mobclip.recipes`
    config : of a recipe that is trained; its seed and, in the study of dims, its dims are set here

    Returns
    -------
    what is written, under the recipe's name, to `<place>/evaluation/ablation.json`. It is read
    from there when place, recipe, seeds and settings are the same.
    """
    spec = given if isinstance(given, PlaceSpec) else None
    place = given if isinstance(given, Place) else pipeline.tokenize(workspace, given)
    recipes.check(place, recipe)
    config = varied_settings(recipe, config)
    own_dims = getattr(config, "dims", DIMS)
    path = place.folder / "evaluation" / "ablation.json"
    key = digest(
        {
            "format": FORMAT,
            "version": __version__,
            "place": place.provenance.get("key"),
            "recipe": recipe,
            "seeds": list(seeds),
            "config": config and config.to_dict(),
            "resolutions": spec is not None,
        }
    )
    known = stored(path).get(recipe, {})
    if known.get("key") == key:
        return known

    targets = number_targets(place)
    variations, not_applicable = _plan(place, recipe, own_dims)
    scored = _score_all(workspace, place, variations, targets, recipe, seeds, config)
    full = scored[_Variation(study="full", what=recipe).evidence]
    rows = [_row("full", recipe, full, full)]
    widths: dict[int, str] = {}  # dimensions that came out -> what was asked for
    for study, what, group in _grouped(variations[1:]):
        found = _mean([scored[one.evidence] for one in group])
        if study == "dims":
            if found.dims in widths:
                why = f"the same {found.dims} dimensions as {widths[found.dims]}: there are no more"
                not_applicable.append(_not_applicable(study, what, why))
                continue
            widths[found.dims] = what
        row = _row(study, what, found, full)
        if len(group) > 1:
            row["each"] = {
                "+".join(one.known or place.modalities): _mean_r2(scored[one.evidence].r2)
                for one in group
            }
        if group[0].note:
            row["note"] = group[0].note
        rows.append(row)
    more, why_not = _resolutions(workspace, spec, place, recipe, seeds, config)
    rows += more
    not_applicable += why_not

    table = {
        "key": key,
        "place": place.name,
        "recipe": recipe,
        "seeds": list(seeds),
        "folds": FOLDS,
        "targets": list(targets),
        "rows": rows,
        "gains": _gains(place, rows),
        "not_applicable": not_applicable,
    }
    write_json(path, {**stored(path), recipe: table})
    return table


def _not_applicable(study: str, what: str, why: str) -> dict[str, str]:
    return {"study": study, "what": what, "why": why}


def _plan(
    place: Place, recipe: str, own_dims: int
) -> tuple[list[_Variation], list[dict[str, str]]]:
    """The variations of one place, the whole recipe first, and what cannot be asked."""
    everything = place.modalities
    possible = subsets(recipe, everything)
    plan = [_Variation(study="full", what=recipe)]
    impossible = []
    for name in everything:
        rest = tuple(one for one in everything if one != name)
        if rest in possible:
            plan.append(_Variation(study="modality-removed", what=name, modalities=rest))
        else:
            why = f"{recipe} cannot be made of {' and '.join(rest) or 'nothing'}"
            impossible.append(_not_applicable("modality-removed", name, why))
    for name in everything:
        alone, beside = (name,), tuple(one for one in everything if one in (name, MOBILITY))
        if alone in possible:
            plan.append(_Variation(study="modality-alone", what=name, modalities=alone))
        elif beside in possible and name != MOBILITY:
            note = f"with mobility, the anchor that {recipe} needs"
            plan.append(_Variation(study="modality-alone", what=name, modalities=beside, note=note))
        else:
            why = f"{recipe} cannot be made of {name} alone"
            impossible.append(_not_applicable("modality-alone", name, why))
    for dims in DIMENSIONS:
        first = recipe == MOBCLIP and dims < own_dims
        plan.append(
            _Variation(study="dims", what=f"first {dims}" if first else str(dims), dims=dims)
        )
    if recipe == MOBCLIP:
        plan += [
            _Variation(study="design", what=words, off=(name,), note=f"{name}=0")
            for name, words in DESIGN.items()
        ]
        plan.append(_Variation(study="design", what="none of these", off=tuple(DESIGN)))
    if recipe in HIDING:
        plan += [
            _Variation(
                study=study, what=f"{k} of {len(everything)}", known=known, network=study == "known"
            )
            for study in (("known", "known-linear") if recipe == MOBCLIP else ("known",))
            for k in range(1, len(everything) + 1)
            for known in combinations(everything, k)
        ]
    else:
        why = f"{recipe} does not look at its modalities at inference"
        impossible.append(_not_applicable("known", f"k of {len(everything)}", why))
    # None where a variation says what the recipe does anyway: it is then not computed again.
    return [
        replace(
            one,
            modalities=None if one.modalities == everything else one.modalities,
            known=None if one.known == everything else one.known,
            network=one.network and recipe == MOBCLIP and one.known != everything,
            dims=None if one.dims == own_dims else one.dims,
        )
        for one in plan
    ], impossible


def _score_all(
    workspace: Workspace,
    place: Place,
    variations: Sequence[_Variation],
    targets: Mapping[str, Target],
    recipe: str,
    seeds: Sequence[int],
    config: Settings | None,
) -> dict[tuple[Any, ...], _Scored]:
    """Evidence -> scores; what several studies ask is computed once."""
    unique = {one.evidence: one for one in variations}
    r2: dict[tuple[Any, ...], list[dict[Protocol, np.ndarray]]] = {key: [] for key in unique}
    dims: dict[tuple[Any, ...], int] = {}
    areas = BlockBootstrap(place.cells, seeds=seeds, folds=FOLDS)
    steps = len(unique) * len(seeds)
    for seed in seeds:
        maker = _maker(workspace, place, recipe, seed, config)
        for key, one in unique.items():  # full comes first: others build on it
            done = sum(map(len, r2.values()))
            workspace.on_step(f"ablating {recipe}: {one.study} {one.what}", done, steps)
            made = maker.made(one)
            found = held_out_of(made, targets, seed)
            for one_target in found:
                if one_target.protocol == "blocks":
                    areas.add(str(key), one_target)
            r2[key].append(r2_of(found, list(targets)))
            dims[key] = made.dims
    workspace.on_step(f"{recipe} ablated", steps, steps)
    full = str(variations[0].evidence)
    return {
        key: _Scored(
            r2=_stacked(r2[key]),
            dims=dims[key],
            interval=areas.difference(str(key), full, targets),
        )
        for key in unique
    }


def _maker(
    workspace: Workspace, place: Place, recipe: str, seed: int, config: Settings | None
) -> "_Fused | _Fitted":
    if recipe == MOBCLIP:
        assert isinstance(config, FusionConfig)
        return _Fused(workspace, place, replace(config, seed=seed))
    return _Fitted(workspace, place, recipe, seed, config)


@dataclass
class _Fitted:
    """Variations of one seed, each fitted, or trained, by itself."""

    workspace: Workspace
    place: Place
    recipe: str
    seed: int
    config: Settings | None

    @cached_property
    def _shared(self) -> Features:
        return Features(self.place, seed=self.seed)

    def made(self, one: _Variation) -> Embeddings:
        """Embeddings of a variation."""
        features = None
        if self.config is None and one.modalities is None:
            known = None if one.known is None else frozenset(one.known)
            same = one.dims is None and known is None
            features = (
                self._shared if same else self._shared.varied(dims=one.dims or DIMS, known=known)
            )
        return fit(
            self.workspace,
            only(self.place, one.modalities),  # made anew for each seed: a copy of the tokens
            name_of(one.modalities, one.dims),
            recipe=self.recipe,
            seed=self.seed,
            dims=one.dims,
            config=self.config,
            features=features,
        ).embeddings


@dataclass
class _Fused:
    """Variations of `mobclip` of one seed, by its linear part; trained where evidence is hidden."""

    workspace: Workspace
    place: Place
    config: FusionConfig  # with the seed

    def made(self, one: _Variation) -> Embeddings:
        """Embeddings of a variation."""
        place = only(self.place, one.modalities)
        if one.known is not None:
            fusion, votes = self._trained
            gone = [name for name in place.modalities if name not in one.known]
            vectors = combined(
                fusion if one.network else replace(fusion, network=None),
                votes,
                dict.fromkeys(gone, GONE),
            )
        elif one.modalities is None and not one.off and (one.dims or 0) <= self.config.dims:
            vectors = self._whole[:, : one.dims]
        else:
            settings = self.config.to_dict() | dict.fromkeys(one.off, 0.0)
            changed = FusionConfig.from_dict(settings | {"dims": one.dims or self.config.dims})
            vectors = Fusion.fit([place], changed).embed(place)
        return Embeddings(name=MOBCLIP, cells=place.cells, vectors=vectors, present=place.present)

    @cached_property
    def _whole(self) -> np.ndarray:
        return Fusion.fit([self.place], self.config).embed(self.place)

    @cached_property
    def _trained(self) -> tuple[Fusion, Votes]:
        fit(
            self.workspace,
            self.place,
            name_of(),
            recipe=MOBCLIP,
            seed=self.config.seed,
            config=self.config,
        )
        folder = folder_of(self.place, MOBCLIP, name_of(), self.config.seed)
        fusion = Fusion.load(folder / FUSION_FILE)
        return fusion, fusion.votes(self.place, {KNOWN})


def _stacked(per_seed: Sequence[Mapping[Protocol, np.ndarray]]) -> R2:
    return {protocol: np.stack([one[protocol] for one in per_seed]) for protocol in PROTOCOLS}


# ---- resolution ------------------------------------------------------------------------------


def _resolutions(
    workspace: Workspace,
    spec: PlaceSpec | None,
    place: Place,
    recipe: str,
    seeds: Sequence[int],
    config: Settings | None,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The same place in coarser and finer cells, scored on the units that all have."""
    own = place.resolution
    if spec is None:
        why = "tokens are made anew from the raw files: name the place by its manifest entry"
    elif spec.generator is not None:
        why = "another resolution of a generated country is another country"
    elif not any(target.level != "cell" for target in number_targets(place).values()):
        why = "all targets are about cells, which are other places at another resolution"
    else:
        resolutions = [own - 1, own] + ([own + 1] if len(place.cells) * 7 < MAX_FINER else [])
        places = {
            one: place
            if one == own
            else pipeline.tokenize(workspace, replace(spec, resolution=one))
            for one in resolutions
        }
        targets, left_out = _shared_targets(places)
        if targets[own]:
            return _score_resolutions(workspace, places, own, targets, recipe, seeds, config)
        why = f"no target has units enough at resolutions {resolutions}: {left_out}"
    return [], [_not_applicable("resolution", "coarser and finer", why)]


def _shared_targets(
    places: Mapping[int, Place],
) -> tuple[dict[int, dict[str, Target]], dict[str, str]]:
    """Resolution -> targets at the units that every resolution has; and those that have too few."""
    everywhere = [number_targets(place) for place in places.values()]
    shared: dict[int, dict[str, Target]] = {one: {} for one in places}
    left_out = {}
    for name, target in everywhere[0].items():
        if target.level == "cell" or not all(name in targets for targets in everywhere):
            continue
        same = [targets[name] for targets in everywhere]
        ids = sorted(set.intersection(*(set(one.unit_ids.tolist()) for one in same)))
        if len(ids) < least_units():
            left_out[name] = f"{len(ids)} units; {FOLDS} folds need {least_units()}"
            continue
        for resolution, one in zip(places, same, strict=True):
            row = {unit: number for number, unit in enumerate(one.unit_ids.tolist())}
            rows = np.array([row[unit] for unit in ids])
            shared[resolution][name] = replace(
                one, unit_ids=one.unit_ids[rows], values=one.values[rows], weights=one.weights[rows]
            )
    return shared, left_out


def _score_resolutions(
    workspace: Workspace,
    places: Mapping[int, Place],
    own: int,
    targets: Mapping[int, Mapping[str, Target]],
    recipe: str,
    seeds: Sequence[int],
    config: Settings | None,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    scored = {}
    for resolution, place in places.items():
        per_seed = []
        for seed in seeds:
            workspace.on_step(f"ablating {recipe}: resolution {resolution}", 0, 0)
            whole = _Variation(study="resolution", what=str(resolution))
            made = _maker(workspace, place, recipe, seed, config).made(whole)
            found = held_out_of(made, targets[resolution], seed)
            per_seed.append(r2_of(found, list(targets[resolution])))
        scored[resolution] = _Scored(r2=_stacked(per_seed), dims=made.dims)
    return [
        {
            **_row("resolution", f"H3 {resolution}", one, scored[own]),
            "cells": len(places[resolution].cells),
            "targets": list(targets[own]),
        }
        for resolution, one in scored.items()
    ], []


# ---- rows ------------------------------------------------------------------------------------


def _grouped(
    variations: Sequence[_Variation],
) -> Iterator[tuple[str, str, list[_Variation]]]:
    """Variations of one row of the table, in the order of the plan."""
    groups: dict[tuple[str, str], list[_Variation]] = {}
    for one in variations:
        groups.setdefault((one.study, one.what), []).append(one)
    for (study, what), group in groups.items():
        yield study, what, group


def _mean(scored: Sequence[_Scored]) -> _Scored:
    r2 = {protocol: np.mean([one.r2[protocol] for one in scored], axis=0) for protocol in PROTOCOLS}
    # The interval of a mean is not the mean of the intervals.
    interval = scored[0].interval if len(scored) == 1 else None
    return _Scored(r2=r2, dims=scored[0].dims, interval=interval)


def _row(study: str, what: str, scored: _Scored, against: _Scored) -> dict[str, Any]:
    """A plain row: mean R² over targets with its spread over seeds, and paired differences."""
    row: dict[str, Any] = {"study": study, "what": what, "dims": scored.dims}
    per_seed = {protocol: scored.r2[protocol].mean(1) for protocol in PROTOCOLS}
    difference = {
        protocol: per_seed[protocol] - against.r2[protocol].mean(1) for protocol in PROTOCOLS
    }
    for protocol, values in per_seed.items():
        score = Score(per_seed=tuple(values))
        row[protocol], row[f"{protocol}_spread"] = score.mean, score.spread
    row["n_targets"] = scored.r2["blocks"].shape[1]
    row["per_seed"] = {protocol: values.tolist() for protocol, values in per_seed.items()}
    row["difference"] = {
        **{protocol: float(values.mean()) for protocol, values in difference.items()},
        "per_seed": {protocol: values.tolist() for protocol, values in difference.items()},
        # 95 % on blocks, areas and seeds drawn anew; of a mean over choices there is none.
        "low": None if scored.interval is None else scored.interval.low,
        "high": None if scored.interval is None else scored.interval.high,
    }
    return row


def _mean_r2(r2: R2) -> dict[str, float]:
    return {protocol: float(r2[protocol].mean()) for protocol in PROTOCOLS}


def _gains(place: Place, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each modality adds first and last, on spatial blocks; None where it cannot be asked."""
    by_name = {(row["study"], row["what"]): row for row in rows}
    gains = []
    for name in place.modalities:
        alone = by_name.get(("modality-alone", name))
        removed = by_name.get(("modality-removed", name))
        gain: dict[str, Any] = {"modality": name, "first": None, "last": None}
        if alone is not None and "note" not in alone:  # beside another it is not the first
            gain["first"], gain["first_spread"] = alone["blocks"], alone["blocks_spread"]
        if removed is not None:
            lost = -np.array(removed["difference"]["per_seed"]["blocks"])
            score = Score(per_seed=tuple(lost))
            gain["last"], gain["last_spread"] = score.mean, score.spread
        gains.append(gain)
    return gains
