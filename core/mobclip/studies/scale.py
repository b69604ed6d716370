"""Scaling laws: how a recipe's error falls with cells, edges, POIs, modalities and dimensions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt64
from scipy import sparse

from mobclip import __version__, grid, pipeline, recipes, sources
from mobclip.baselines import DIMS
from mobclip.config import Settings
from mobclip.errors import ConfigError
from mobclip.evaluation.scaling import MIN_POINTS, fit_power_law
from mobclip.graph import MobilityGraph
from mobclip.manifest import PlaceSpec
from mobclip.modalities import MODALITIES
from mobclip.pipeline import Workspace
from mobclip.place import MOBILITY, Place, Target
from mobclip.probes import FOLDS, SEEDS, Score
from mobclip.records import PointRecords
from mobclip.splits import Protocol, block_of
from mobclip.storage import digest, write_json
from mobclip.studies.variants import (
    MEMORY,
    PARAMETERS,
    PROTOCOLS,
    SECONDS,
    fit,
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
FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
DIMENSIONS = (8, 16, 32, 64, 128, 256)
BLOCKS = 128  # H3 parents of which parts of a place are made: at least so many where it has them
MIN_UNITS = 200  # in the smallest part; on fewer the probe itself fails, whatever the vectors


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What all axes share."""

    workspace: Workspace
    spec: PlaceSpec
    place: Place
    recipe: str
    seeds: Sequence[int]
    config: Settings | None
    targets: Mapping[str, Target]

    @property
    def own_dims(self) -> int:
        """Dimensions of the recipe as it is."""
        return int(getattr(self.config, "dims", DIMS))


@dataclass(frozen=True, kw_only=True)
class _Variant:
    """One place to be embedded and scored; those of one point are averaged."""

    x: int  # amount of what the axis is about
    name: str  # see `variants.name_of`
    make: Callable[[], Place]  # called when it is its turn: a variation is a copy of the tokens
    dims: int | None = None  # None: the recipe's own


@dataclass(frozen=True, kw_only=True)
class _Sweep:
    """One axis at one seed, least first, the whole place last."""

    points: Sequence[Sequence[_Variant]]
    targets: Mapping[str, Target]
    cells: UInt64[np.ndarray, "cells"]  # that the targets are about; every point has them


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """A kind of amount, and how there can be less of it."""

    unit: str
    how: str
    sweep: Callable[[_Study, int], _Sweep]


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One variant at one seed, scored."""

    x: int
    cells: int
    edges: int
    dims: int
    seconds: float
    peak_mb: float
    parameters: int | None
    r2: Mapping[Protocol, Float64[np.ndarray, " targets"]]


class _LeftOut(Exception):
    """This axis cannot be measured at this place; the message says why."""


def scale(
    workspace: Workspace,
    spec: PlaceSpec,
    *,
    recipe: str,
    seeds: Sequence[int] = SEEDS,
    axes: Sequence[str] | None = None,
    config: Settings | None = None,
) -> dict[str, Any]:
    """Score a recipe with ever less of one thing, and fit error = a * x^(-b) (+ c).

    =============  ==========================================================================
    axis           what there is less of, and what stays the same
    =============  ==========================================================================
    cells          the place: nested parts of whole H3 blocks drawn at random, with the flows
                   inside them. Scored on the units of the smallest part, in its folds: what
                   grows is what the recipe learns from and sees around them, not the labels.
                   The smallest part is 1/16, or 1/8 or 1/4 if most targets have less than 200
                   units in it
    edges          flows: where all weights are counts, each trip is kept with probability p
                   (binomial thinning), elsewhere each edge whole; x counts edges left
    poi            records: each is kept with probability p, and POI tokens are made anew
    modalities     kinds of evidence: mean over all choices of k
    dims           width of the vectors
    parameters     the runs of `dims`, against what their models store
    =============  ==========================================================================

    Parts are nested: what is in 1/16 is in 1/8. Edges, poi, modalities and dims are scored on all
    units, and all targets are those of the whole data. A seed draws the parts, the folds and
    everything random in the recipe. The error is the ceiling - R² on spatial blocks, with a
    ceiling of 1 where the target does not know its own; the interval of b resamples seeds and
    targets (`evaluation.scaling`).

    Parameters
    ----------
    recipe : see `mobclip.recipes`
    axes : some of `AXES`; default all
    config : of a recipe that is trained; its seed and, along dims, its dims are set here

    Returns
    -------
    what is written, under the recipe's name, to `<place>/evaluation/scaling.json`. Axes that are
    there for the same place, recipe, seeds and settings are not measured again.
    """
    wanted = list(AXES) if axes is None else list(axes)
    for axis in wanted:
        if axis not in AXES:
            raise ConfigError(f"no axis {axis!r}: choose among {', '.join(AXES)}.")
    place = pipeline.tokenize(workspace, spec)
    recipes.check(place, recipe)
    study = _Study(
        workspace=workspace,
        spec=spec,
        place=place,
        recipe=recipe,
        seeds=seeds,
        config=varied_settings(recipe, config),
        targets=number_targets(place),
    )
    path = place.folder / "evaluation" / "scaling.json"
    key = digest(
        {
            "format": FORMAT,
            "version": __version__,
            "place": place.provenance.get("key"),
            "recipe": recipe,
            "seeds": list(seeds),
            "config": study.config and study.config.to_dict(),
        }
    )
    table = stored(path).get(recipe, {})
    if table.get("key") != key:
        way = "trained" if study.config else "training-free"
        table = {
            "key": key,
            "place": place.name,
            "recipe": recipe,
            "seeds": list(seeds),
            "folds": FOLDS,
            "seconds": SECONDS[way],
            "memory": MEMORY[way],
            "parameters": PARAMETERS.get(recipe, "not counted for this recipe"),
            "axes": {},
            "left_out": {},
        }
    for name in wanted:
        if name in table["axes"] or name in table["left_out"]:
            continue
        try:
            table["axes"] |= _measure(study, name)
        except _LeftOut as reason:
            table["left_out"][name] = str(reason)
        write_json(path, {**stored(path), recipe: table})  # axis by axis: each takes minutes
    return table


# ---- one axis --------------------------------------------------------------------------------


def _measure(study: _Study, name: str) -> dict[str, Any]:
    """Points and law of an axis; along dims, of the parameters too."""
    axis = AXES[name]
    sweeps = {seed: axis.sweep(study, seed) for seed in study.seeds}
    # Parts drawn by different seeds may leave units enough to different targets.
    targets = [one for one in study.targets if all(one in s.targets for s in sweeps.values())]
    if not targets:
        raise _LeftOut("no target has units enough in the parts of every seed")
    count = min(len(sweep.points) for sweep in sweeps.values())
    points: list[dict[str, Any]] = []
    r2: list[np.ndarray] = []
    for number in range(count):
        runs = []
        for done, (seed, sweep) in enumerate(sweeps.items()):
            what = f"scaling {study.recipe} by {name}"
            study.workspace.on_step(what, number * len(sweeps) + done, count * len(sweeps))
            runs.append(
                [
                    _run(study, sweep, variant, targets, seed)
                    for variant in sweep.points[number - count]  # all end at the whole place
                ]
            )
        point, per_target = _point(runs)
        if name == "dims" and points and point["x"] == points[-1]["x"]:
            break  # no wider than the narrower one: there are no more
        points.append(point)
        r2.append(per_target)
    study.workspace.on_step(f"{study.recipe} scaled by {name}", count, count)

    units = [len(sweep.targets[one].values) for sweep in sweeps.values() for one in targets]
    ceilings = np.array([study.targets[one].ceiling or 1.0 for one in targets])
    common = {"targets": targets, "n_units": float(np.mean(units))}

    def described(unit: str, how: str, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
        x = np.array([point["x"] for point in points], np.float64)
        law = _law(x, np.stack(r2), ceilings)
        return {"unit": unit, "how": how, **common, "points": points, **law}

    found = {name: described(axis.unit, axis.how, points)}
    if name == "dims" and points[0]["parameters"] is not None:
        stored = [{**point, "x": point["parameters"]} for point in points]
        found["parameters"] = described("stored numbers", "the runs of dims", stored)
    return found


def _run(
    study: _Study, sweep: _Sweep, variant: _Variant, targets: Sequence[str], seed: int
) -> _Run:
    place = variant.make()
    made = fit(
        study.workspace,
        place,
        variant.name,
        recipe=study.recipe,
        seed=seed,
        dims=variant.dims,
        config=study.config,
    )
    embeddings = made.embeddings
    if len(sweep.cells) < len(embeddings.cells):
        embeddings = replace(
            embeddings, cells=sweep.cells, vectors=embeddings.at(sweep.cells), present={}
        )
    found = held_out_of(embeddings, {one: sweep.targets[one] for one in targets}, seed)
    return _Run(
        x=variant.x if variant.dims is None else embeddings.dims,
        cells=len(place.cells),
        edges=0 if place.graph is None else len(place.graph.weights),
        dims=embeddings.dims,
        seconds=made.seconds,
        peak_mb=made.peak_mb,
        parameters=made.parameters,
        r2=r2_of(found, targets),
    )


def _point(
    runs: Sequence[Sequence[_Run]],
) -> tuple[dict[str, Any], Float64[np.ndarray, "seeds targets"]]:
    """A plain point of the curve, and R² on blocks per seed and target.

    runs : of each seed, one or more, which are averaged
    """
    flat = [run for of_seed in runs for run in of_seed]
    point: dict[str, Any] = {"x": float(np.mean([run.x for run in flat]))}
    per_target = {
        protocol: np.stack([np.mean([run.r2[protocol] for run in one], axis=0) for one in runs])
        for protocol in PROTOCOLS
    }
    for protocol, values in per_target.items():
        over_seeds = Score(per_seed=tuple(values.mean(1)))
        point[protocol] = over_seeds.mean
        point["spread" if protocol == "blocks" else f"{protocol}_spread"] = over_seeds.spread
    counted = flat[0].parameters is not None
    point |= {
        "per_seed": {protocol: values.mean(1).tolist() for protocol, values in per_target.items()},
        "cells": int(np.mean([run.cells for run in flat])),
        "edges": int(np.mean([run.edges for run in flat])),
        "dims": max(run.dims for run in flat),
        "seconds": float(np.mean([run.seconds for run in flat])),
        "peak_mb": max(run.peak_mb for run in flat),
        "parameters": int(np.mean([run.parameters or 0 for run in flat])) if counted else None,
    }
    return point, per_target["blocks"]


def _law(
    x: Float64[np.ndarray, " points"],
    r2: Float64[np.ndarray, "points seeds targets"],
    ceilings: Float64[np.ndarray, " targets"],
) -> dict[str, Any]:
    """The fitted law as plain values, or None and why."""
    try:
        return {"law": asdict(fit_power_law(x, r2, ceilings=ceilings))}
    except ConfigError as error:
        return {"law": None, "why": str(error)}


# ---- less of each ----------------------------------------------------------------------------


def _whole(study: _Study, x: int) -> _Variant:
    """The place as it is: every axis ends here, and the run is shared."""
    return _Variant(x=x, name=name_of(), make=lambda: study.place)


def _cells(study: _Study, seed: int) -> _Sweep:
    place = study.place
    parts = _nested_parts(place.cells, np.random.default_rng([seed, 11]))
    # The smallest part has to hold units enough, for half of the targets or more.
    for parts_used in range(len(parts), MIN_POINTS - 1, -1):
        smallest = parts[-parts_used]
        targets = _scorable(study.targets, place.cells, smallest)
        if 2 * len(targets) >= len(study.targets):
            break
    else:
        raise _LeftOut(
            f"{len(place.cells):,} cells are too few: a quarter of them holds less than "
            f"{MIN_UNITS} units of most targets"
        )
    points = [
        _Variant(
            x=len(part),
            name=f"cells-{round(1 / fraction)}th",
            make=partial(place.varied, f"{fraction:g} of the cells, draw {seed}", cells=part),
        )
        for fraction, part in zip(FRACTIONS, parts, strict=True)
    ]
    points = [*points[-parts_used:-1], _whole(study, len(place.cells))]
    return _Sweep(points=[[one] for one in points], targets=targets, cells=smallest)


def _nested_parts(
    cells: UInt64[np.ndarray, "cells"], rng: np.random.Generator
) -> list[UInt64[np.ndarray, " part"]]:
    """For each fraction, that share of the cells in whole blocks, each inside the next."""
    names, block = np.unique(_blocks(cells), return_inverse=True)
    turn = rng.permutation(len(names))[block]  # blocks join in random order
    size = np.cumsum(np.bincount(turn))
    last = np.searchsorted(size, np.array(FRACTIONS) * len(cells))
    return [cells[turn <= one] for one in last]


def _blocks(cells: UInt64[np.ndarray, "cells"]) -> UInt64[np.ndarray, "cells"]:
    """The coarsest parents of which there are `BLOCKS`; of a small place, the finest."""
    resolution = grid.resolution_of(cells)
    for coarser in range(resolution):
        blocks = grid.parents(cells, coarser)
        if len(np.unique(blocks)) >= BLOCKS:
            return blocks
    return grid.parents(cells, resolution - 1)


def _scorable(
    targets: Mapping[str, Target],
    cells: UInt64[np.ndarray, "cells"],
    part: UInt64[np.ndarray, " part"],
) -> dict[str, Target]:
    """Targets that have units, values and blocks enough in a part of a place, restricted to it."""
    kept = {}
    for name, target in targets.items():
        inside = target.restrict(cells, part)
        if len(inside.values) < MIN_UNITS or np.ptp(inside.values) == 0:
            continue
        if len(np.unique(block_of(inside.cell_of_unit(part), folds=FOLDS))) >= FOLDS:
            kept[name] = inside
    return kept


def _edges(study: _Study, seed: int) -> _Sweep:
    place = study.place
    if place.graph is None:
        raise _LeftOut(f"{place.name} has no {MOBILITY}")
    rng = np.random.default_rng([seed, 12])
    graphs = [place.graph]  # each thinned from the one before
    for larger, fraction in zip(FRACTIONS[:0:-1], FRACTIONS[-2::-1], strict=True):
        graphs.append(_thinned_graph(graphs[-1], fraction / larger, rng))
    points = [
        _Variant(
            x=len(graph.weights),
            name=f"edges-{round(1 / fraction)}th",
            make=partial(place.varied, f"{fraction:g} of the flows, draw {seed}", graph=graph),
        )
        for fraction, graph in zip(FRACTIONS, reversed(graphs), strict=True)
    ]
    points[-1] = _whole(study, points[-1].x)
    return _Sweep(points=[[one] for one in points], targets=study.targets, cells=place.cells)


def _thinned_graph(graph: MobilityGraph, share: float, rng: np.random.Generator) -> MobilityGraph:
    """A graph with that share of its trips, or of its edges where weights are not counts."""
    weights = np.asarray(graph.weights, np.float64)
    if (weights == np.round(weights)).all():
        kept = rng.binomial(weights.astype(np.int64), share).astype(np.float64)
    else:
        kept = np.where(rng.random(len(weights)) < share, weights, 0.0)
    n = len(graph.cells)
    # from_matrix drops zeros in place: these arrays are not to be the graph's own.
    matrix = sparse.csr_array((kept, graph.indices, graph.indptr), shape=(n, n), copy=True)
    return MobilityGraph.from_matrix(graph.cells, matrix, graph.report)


def _poi(study: _Study, seed: int) -> _Sweep:
    place, spec = study.place, study.spec
    if "poi" not in place.modalities:
        raise _LeftOut(f"{place.name} has no poi")
    names = spec.modalities["poi"].sources
    paths = pipeline.fetch(study.workspace, spec)
    needed = {
        name: path
        for name, path in paths.items()
        if name in names or spec.sources[name].kind == "zones"  # polygons that others borrow
    }
    read = sources.read_place(spec, needed)
    points = {name: one for name in names if isinstance(one := read[name], PointRecords)}
    rng = np.random.default_rng([seed, 13])
    luck = {name: rng.random(len(one)) for name, one in points.items()}

    def thinned(fraction: float) -> Place:
        less = {name: _thinned_points(one, luck[name] < fraction) for name, one in points.items()}
        table = MODALITIES["poi"](less, spec, place.cells, None).table
        assert table is not None
        variation = f"{fraction:g} of the POIs, draw {seed}"
        return place.varied(variation, tables={**place.tables, "poi": table})

    variants = [
        _Variant(
            x=sum(int((one < fraction).sum()) for one in luck.values()),
            name=f"poi-{round(1 / fraction)}th",
            make=partial(thinned, fraction),
        )
        for fraction in FRACTIONS
    ]
    variants[-1] = _whole(study, variants[-1].x)
    return _Sweep(points=[[one] for one in variants], targets=study.targets, cells=place.cells)


def _thinned_points(points: PointRecords, kept: np.ndarray) -> PointRecords:
    return replace(
        points,
        lon=points.lon[kept],
        lat=points.lat[kept],
        text=None if points.text is None else points.text[kept],
        category=None if points.category is None else points.category[kept],
        weight=points.weight[kept],
        values={name: column[kept] for name, column in points.values.items()},
    )


def _modalities(study: _Study, seed: int) -> _Sweep:
    place = study.place
    points: dict[int, list[_Variant]] = {}
    for chosen in subsets(study.recipe, place.modalities):
        kept = None if chosen == place.modalities else chosen
        points.setdefault(len(chosen), []).append(
            _Variant(x=len(chosen), name=name_of(kept), make=partial(only, place, kept))
        )
    return _Sweep(points=list(points.values()), targets=study.targets, cells=place.cells)


def _dims(study: _Study, seed: int) -> _Sweep:
    place = study.place
    points = [
        _Variant(
            x=dims,
            name=name_of(dims=None if dims == study.own_dims else dims),
            make=lambda: place,
            dims=dims,
        )
        for dims in DIMENSIONS
    ]
    return _Sweep(points=[[one] for one in points], targets=study.targets, cells=place.cells)


AXES: dict[str, _Axis] = {
    "cells": _Axis(
        unit="cells",
        how="nested parts of whole H3 blocks, scored on the units of the smallest",
        sweep=_cells,
    ),
    "edges": _Axis(
        unit="edges",
        how="flows thinned trip by trip where weights are counts, else edge by edge",
        sweep=_edges,
    ),
    "poi": _Axis(unit="POI records", how="records thinned, tokens made anew", sweep=_poi),
    "modalities": _Axis(unit="modalities", how="mean over all choices", sweep=_modalities),
    "dims": _Axis(unit="dimensions", how="narrower and wider vectors", sweep=_dims),
}
"""Name -> how there can be less of it."""
