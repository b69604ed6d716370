"""Evaluation of a place: every run on every target, in the same folds, and how sure that is."""

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, UInt64
from scipy import sparse

from mobclip import __version__, grid, pipeline, recipes
from mobclip.baselines import BASELINES, Features
from mobclip.config import LocationConfig, Settings
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.evaluation.bootstrap import BlockBootstrap
from mobclip.evaluation.external import read_external
from mobclip.evaluation.leakage import audit
from mobclip.evaluation.report import write_report
from mobclip.evaluation.retrieval import (
    Prompts,
    hierarchical_ap,
    text_recall,
    text_ways,
    twin_recall,
)
from mobclip.manifest import PlaceSpec
from mobclip.pipeline import Workspace
from mobclip.place import Place, Target
from mobclip.probes import FOLDS, PROBES, SEEDS, Score, boosting, folds_of, held_out, ladder
from mobclip.probes.conformal import intervals
from mobclip.probes.metrics import PRIMARY
from mobclip.recipes import MOBCLIP, PAPER, TRAINED
from mobclip.splits import Folds, Protocol
from mobclip.storage import digest, read_json, write_json
from mobclip.studies.flows import flow_study
from mobclip.studies.tokens import own_cells, towers_of_words

PROTOCOLS: tuple[Protocol, ...] = ("blocks", "random", "regions")
FORMAT = 1  # raised when a section changes for the same input
RETRIEVAL = 3  # the same of that section alone
BOOSTED_UNITS = 5000  # boosted trees on more units than this take too long to be a default


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of the ladder: where its vectors come from, and which probe they are made for."""

    name: str
    about: str
    probe: str
    training_free: bool
    embeddings: Callable[[int], Embeddings]  # of a seed, over all cells of the place
    external: bool = False


def evaluate(
    workspace: Workspace,
    spec: PlaceSpec,
    place: Place,
    *,
    seeds: Sequence[int] = SEEDS,
    configs: Mapping[str, Settings] | None = None,
    external: Sequence[Path] = (),
    buffer_km: float = 0.0,
    quick: bool = False,
) -> dict[str, Any]:
    """Make every run anew for every seed, score it, and write `<place>/evaluation/`.

    `results.json` (all numbers), `report.html` (one self-contained page), `tables.md`. Sections
    that take long are kept in `parts/` and made again only when what they depend on has changed.

    Parameters
    ----------
    seeds : a seed sets the folds and everything random in a run, training included
    external : files of other people's embeddings (see `evaluation.external`); every row is then
        scored on the units that all of them cover
    buffer_km : units nearer than this to a held-out block or region are not learned from either
    quick : leave out what takes long: held-out flows, boosted trees, the paper's protocol
    """
    pipeline.probeable(place.name, place.targets)  # says so where there is none
    runs = _runs(workspace, place, configs or {})
    covered = np.ones(len(place.cells), bool)
    for path in external:
        run, here = _external(path, place)
        if run.name in runs:
            raise ConfigError(
                f"{path} would be the run {run.name!r}, which is there already: rename the file."
            )
        runs[run.name] = run
        covered &= here
    # Every row is scored where all of them are.
    targets, left_out = pipeline.probeable(place.name, _restricted(place, covered))
    evaluation = _Evaluation(
        workspace=workspace,
        place=place,
        runs=runs,
        seeds=tuple(seeds),
        configs=configs or {},
        covered=covered,
        targets=targets,
        buffer_km=buffer_km,
    )
    results: dict[str, Any] = {
        "place": place.name,
        "title": place.title,
        "resolution": place.resolution,
        "cells": len(place.cells),
        "generated": place.generated,
        "mobclip": __version__,
        "date": datetime.date.today().isoformat(),
        "seeds": list(seeds),
        "folds": FOLDS,
        "buffer_km": buffer_km,
        "targets": {name: _described(one) for name, one in evaluation.targets.items()},
        "left_out": left_out,
        "licences": {
            name: source["licence"] for name, source in place.provenance["sources"].items()
        },
        "coverage": float(covered.mean()),
        **evaluation.ladder(),
    }
    best = [line["run"] for line in results["ladder"] if not runs[line["run"]].external]
    shown = list(dict.fromkeys([*best[:2], *(one for one in (MOBCLIP, PAPER) if one in runs)]))
    results["conformal"] = evaluation.part("conformal", shown, evaluation.conformal)
    results["leakage"] = evaluation.part("leakage", ["pca"], lambda _: evaluation.leakage())
    results["retrieval"] = evaluation.part(
        "retrieval",
        list(runs),
        lambda names: evaluation.retrieval(names, _twins(workspace, spec)),
        RETRIEVAL,
    )
    results["probes"] = evaluation.part(
        "probes", shown, lambda names: evaluation.other_probes(names, quick=quick), quick
    )
    if not quick:
        results["flows"] = evaluation.part("flows", list(runs), evaluation.flows)
        compared = list(
            dict.fromkeys(
                [*best[:1], *(one for one in (MOBCLIP, PAPER) if one in runs), "coordinates"]
            )
        )
        results["paper"] = evaluation.part("paper", compared, evaluation.paper)
    folder = place.folder / "evaluation"
    for name in (
        "ablation",
        "subsets",
        "scaling",
        "transfer",
    ):  # studies of their own, if they were run
        if (folder / f"{name}.json").is_file():
            results[name] = read_json(folder / f"{name}.json")
    results = _defined(results)
    write_json(folder / "results.json", results)
    write_report(results, folder)
    return results


def _defined(value: Any) -> Any:
    """The same, with None for numbers that are not defined: JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {key: _defined(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _runs(workspace: Workspace, place: Place, configs: Mapping[str, Settings]) -> dict[str, Run]:
    features: dict[int, Features] = {}

    def embedded(name: str) -> Callable[[int], Embeddings]:
        def of(seed: int) -> Embeddings:
            if seed not in features:
                features[seed] = Features(place, seed=seed)
            explored = seed == 0 and name in pipeline.explored_runs(place)
            return pipeline.embed(
                workspace,
                place,
                name if explored else f"seed{seed}/{name}",
                recipe=name,
                seed=seed,
                config=configs.get(name),
                features=features[seed],
            )

        return of

    runs = {}
    for name in recipes.possible(place):
        baseline = BASELINES.get(name)
        runs[name] = Run(
            name=name,
            about=recipes.about(name),
            probe=baseline.probe if baseline else "ridge",
            training_free=baseline is not None,
            embeddings=embedded(name),
        )
    return runs


def _external(path: Path, place: Place) -> tuple[Run, Bool[np.ndarray, "cells"]]:
    read = read_external(path, place.cells)
    run = Run(
        name=read.embeddings.name,
        about=f"vectors read from {path.name}",
        probe="ridge",
        training_free=False,
        external=True,
        embeddings=lambda seed: read.embeddings,
    )
    return run, read.covered


def _restricted(place: Place, covered: Bool[np.ndarray, "cells"]) -> Mapping[str, Target]:
    """Targets over the covered cells alone."""
    if covered.all():
        return place.targets
    kept = place.cells[covered]
    return {name: one.restrict(place.cells, kept) for name, one in place.targets.items()}


def _described(target: Target) -> dict[str, Any]:
    return {
        "title": target.title,
        "unit": target.unit,
        "level": target.level,
        "kind": target.kind,
        "classes": list(target.classes),
        "n": len(target.unit_ids),
        "transform": target.transform,
        "ceiling": target.ceiling,
        "note": target.note,
    }


def _twins(workspace: Workspace, spec: PlaceSpec) -> UInt64[np.ndarray, "pairs 2"] | None:
    """Pairs of cells that were planted alike, in a country that we made."""
    truth = workspace.data / "raw" / f"{spec.name}-r{spec.resolution}" / "truth.json"
    if spec.generator is None or not truth.is_file():
        return None
    pairs = read_json(truth)["twins"]
    return grid.from_strings([one for pair in pairs for one in pair]).reshape(-1, 2)


@dataclass(kw_only=True)
class _Evaluation:
    """What all sections share."""

    workspace: Workspace
    place: Place
    runs: dict[str, Run]
    seeds: tuple[int, ...]
    configs: Mapping[str, Settings]
    covered: Bool[np.ndarray, "cells"]
    targets: dict[str, Target]
    buffer_km: float
    _keys: dict[str, str] = field(default_factory=dict, init=False)

    def part(
        self, name: str, runs: Sequence[str], make: Callable[[Sequence[str]], Any], *more: Any
    ) -> Any:
        """A section, from `parts/` where nothing that it depends on has changed."""
        path = self.place.folder / "evaluation" / "parts" / f"{name}.json"
        key = digest(
            {
                "format": FORMAT,
                "version": __version__,
                "place": self.place.provenance.get("key"),
                "configs": {name: one.to_dict() for name, one in self.configs.items()},
                "seeds": self.seeds,
                "runs": [[run, self.key(run)] for run in runs],
                "covered": np.packbits(self.covered).tobytes().hex(),
                "more": more,
            }
        )
        if path.is_file() and (kept := read_json(path))["key"] == key:
            return kept["rows"]
        self.workspace.on_step(f"evaluating: {name}", 0, 0)
        rows = make(runs)
        write_json(path, {"key": key, "rows": rows})
        return rows

    def key(self, run: str) -> str:
        """What the vectors of a run (of the first seed) are known by; read once."""
        if run not in self._keys:
            provenance = self.runs[run].embeddings(self.seeds[0]).provenance
            self._keys[run] = provenance.get("key") or digest(dict(provenance))
        return self._keys[run]

    def embeddings(self, run: str, seed: int) -> Embeddings:
        """Vectors of a run over the covered cells."""
        whole = self.runs[run].embeddings(seed)
        if self.covered.all():
            return whole
        return replace(
            whole,
            cells=whole.cells[self.covered],
            vectors=whole.vectors[self.covered],
            present={name: mask[self.covered] for name, mask in whole.present.items()},
        )

    @property
    def numbers(self) -> dict[str, Target]:
        """Targets that are numbers: those that R² and the ladder are about."""
        return {name: one for name, one in self.targets.items() if one.kind == "number"}

    # ---- the ladder ------------------------------------------------------------------------

    def ladder(self) -> dict[str, Any]:
        """`runs`, `scores`, `ladder`, `differences` and `warnings`."""
        cells = self.place.cells[self.covered]
        bootstraps = {
            protocol: BlockBootstrap(cells, seeds=self.seeds, folds=FOLDS) for protocol in PROTOCOLS
        }
        scores: list[dict[str, Any]] = []
        runs: dict[str, Any] = {}
        for done, run in enumerate(self.runs.values()):
            found: dict[tuple[str, str, str], dict[str, Any]] = {}
            for seed in self.seeds:
                embeddings = self.embeddings(run.name, seed)
                self.workspace.on_step(f"scoring {run.name}, seed {seed}", done, len(self.runs))
                for one in held_out(
                    embeddings,
                    self.targets,
                    seeds=[seed],
                    protocols=PROTOCOLS,
                    probe=run.probe,
                    buffer_km=self.buffer_km,
                ):
                    if one.target.kind == "number":
                        bootstraps[one.protocol].add(run.name, one)
                    for metric, value in one.metrics.items():
                        row = found.setdefault(
                            (one.target.name, one.protocol, metric),
                            {
                                "run": run.name,
                                "probe": run.probe,
                                "target": one.target.name,
                                "protocol": one.protocol,
                                "metric": metric,
                                "per_seed": [],
                                "n": len(one.actual),
                                "dims": embeddings.dims,
                            },
                        )
                        row["per_seed"].append(float(value))
            for (target, protocol, metric), row in found.items():
                score = Score(per_seed=tuple(row["per_seed"]))
                row["mean"], row["spread"] = score.mean, score.spread
                sure = (
                    bootstraps[protocol].r2(run.name, target)  # type: ignore[index]
                    if metric == "r2"
                    else None
                )
                row["low"], row["high"] = (sure.low, sure.high) if sure else (None, None)
            scores += found.values()
            runs[run.name] = {
                "dims": embeddings.dims,
                "about": run.about,
                "training_free": run.training_free,
                "probe": run.probe,
                "external": run.external,
                # So that the app sees when a run has been made anew since.
                "key": self.key(run.name),
            }
        lines = ladder(scores)
        names = list(self.numbers)
        for line in lines:
            for protocol, bootstrap in bootstraps.items():
                sure = bootstrap.mean_r2(line["run"], names)
                line[f"{protocol}_low"], line[f"{protocol}_high"] = sure.low, sure.high
        differences = list(self._differences(lines, bootstraps, names))
        return {
            "runs": runs,
            "scores": scores,
            "ladder": lines,
            "differences": differences,
            "warnings": _warnings(lines, differences, self.runs),
        }

    def _differences(
        self,
        lines: Sequence[Mapping[str, Any]],
        bootstraps: Mapping[Protocol, BlockBootstrap],
        names: Sequence[str],
    ) -> Iterator[dict[str, Any]]:
        """Each run against the best training-free one that is not itself."""
        for protocol, bootstrap in bootstraps.items():
            ranked = sorted(lines, key=lambda line: -line[protocol])
            free = [line["run"] for line in ranked if self.runs[line["run"]].training_free]
            for line in ranked:
                against = next((name for name in free if name != line["run"]), None)
                if against is not None:
                    sure = bootstrap.difference(line["run"], against, names)
                    yield {
                        "run": line["run"],
                        "against": against,
                        "protocol": protocol,
                        "difference": sure.value,
                        "low": sure.low,
                        "high": sure.high,
                    }

    # ---- sections --------------------------------------------------------------------------

    def conformal(self, runs: Sequence[str]) -> list[dict[str, Any]]:
        """Coverage of 90 % intervals, calibrated on blocks."""
        rows = []
        for run in runs:
            embeddings = self.embeddings(run, 0)
            for name, target in self.numbers.items():
                features = target.units_of(embeddings.vectors.astype(np.float64))
                found = intervals(features, target.actual[:, 0], _blocks(target, embeddings.cells))
                rows.append(
                    {
                        "run": run,
                        "target": name,
                        "level": found.level,
                        "coverage": found.coverage,
                        "width": float(2 * np.median(found.half_width)),
                        "n": len(features),
                    }
                )
        return rows

    def other_probes(self, runs: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
        """The same embeddings under other probes, on blocks and random folds of seed 0."""
        rows = []
        for run in runs:
            embeddings = self.embeddings(run, 0)
            for probe in PROBES:
                asked = {
                    name: target
                    for name, target in self.targets.items()
                    if not (probe == "logistic" and target.kind == "number")
                    and not (probe == "boosting" and (quick or len(target.values) > BOOSTED_UNITS))
                }
                # All at once: targets of the same units share the search and the Gram matrices.
                for one in held_out(
                    embeddings, asked, seeds=[0], protocols=["blocks", "random"], probe=probe
                ):
                    metric = PRIMARY[one.target.kind]
                    rows.append(
                        {
                            "run": run,
                            "probe": probe,
                            "target": one.target.name,
                            "protocol": one.protocol,
                            "metric": metric,
                            "mean": float(one.metrics[metric]),
                            "spread": 0.0,
                        }
                    )
        return rows

    def retrieval(
        self, runs: Sequence[str], twins: UInt64[np.ndarray, "pairs 2"] | None
    ) -> dict[str, Any]:
        """Does search find what it should?"""
        found: dict[str, Any] = {"text": [], "ways": [], "own": [], "twins": [], "hierarchy": []}
        prompts = Prompts.of(self.place)
        found["not_applicable"] = []
        for run in runs:
            embeddings = self.runs[run].embeddings(0)
            if not self.runs[run].external:  # a run's embeddings are named after its folder
                folder = self.place.folder / "runs" / embeddings.name
                of_text = text_recall(self.place, folder, prompts)
                found["text"] += [{**row, "run": run} for row in of_text]
                ways = text_ways(folder, prompts, towers_of_words(self.place, folder, run))
                found["ways"] += [{**row, "run": run} for row in ways]
                rows, why_not = own_cells(self.place, folder, run)
                found["own"] += rows
                found["not_applicable"] += why_not
            if twins is not None:
                found["twins"].append({**twin_recall(embeddings, twins), "run": run})
            nested = hierarchical_ap(embeddings, rng=np.random.default_rng(0))
            found["hierarchy"].append({**nested, "run": run})
        return found

    def leakage(self) -> list[dict[str, Any]]:
        """Input columns that nearly hold the answer, and what is left without them."""
        whole, _ = pipeline.probeable(self.place.name, self.place.targets)
        leaks = audit(Features(self.place), whole, lambda target: _blocks(target, self.place.cells))
        return [asdict(leak) for leak in leaks]

    def flows(self, runs: Sequence[str]) -> list[dict[str, Any]]:
        """Held-out flows between cells, from the embeddings of a place without them.

        Not of location encoders, which would be trained anew to learn nothing of flows.
        """
        kept = [
            run
            for run in runs
            if not self.runs[run].external
            and not (run in TRAINED and TRAINED[run].settings is LocationConfig)
        ]
        return flow_study(self.workspace, self.place, kept, seeds=self.seeds, configs=self.configs)

    def paper(self, runs: Sequence[str]) -> list[dict[str, Any]]:
        """The paper's own protocol, once: one random split, one seed."""
        rows = []
        for run in runs:
            vectors = self.embeddings(run, 0).vectors.astype(np.float64)
            for done, (name, target) in enumerate(self.numbers.items()):
                self.workspace.on_step(
                    f"the paper's protocol: {run}, {name}", done, len(self.numbers)
                )
                level = _paper_level(target)
                units = _plain_mean(target) @ vectors
                score = boosting.paper_protocol(units, target.actual[:, 0], level=level)
                rows.append({"run": run, "target": name, "level": level, **score})
        return rows


def _blocks(target: Target, cells: UInt64[np.ndarray, "cells"]) -> Folds:
    """The spatial blocks of seed 0, on which sections of one seed stand."""
    return Folds(of_unit=folds_of(target.cell_of_unit(cells), protocol="blocks", seed=0))


def _plain_mean(target: Target) -> sparse.csr_array:
    """Weights of the paper: the plain mean of the cells of which half or more is in the unit."""
    weights = target.weights
    largest = weights.max(axis=1).toarray().ravel()
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    member = (weights.data >= largest[rows] / 2).astype(np.float64)
    plain = sparse.csr_array((member, weights.indices, weights.indptr), shape=weights.shape)
    return sparse.csr_array(sparse.diags_array(1 / plain.sum(axis=1)) @ plain)


def _paper_level(target: Target) -> Literal["grid", "county", "city"]:
    """Cells are the paper's grid; few zones are its cities, many its counties."""
    if target.level in ("cell", "point"):
        return "grid"
    return "city" if len(target.unit_ids) < 300 else "county"


def _warnings(
    lines: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
    runs: Mapping[str, Run],
) -> list[str]:
    """What a reader must not overlook: a training-free row that beats a trained one."""
    score = {line["run"]: line["blocks"] for line in lines}
    beaten: dict[str, list[str]] = {}
    for row in differences:
        if row["protocol"] != "blocks" or runs[row["run"]].training_free or row["difference"] >= 0:
            continue
        sure = "" if row["high"] < 0 else ", an interval that touches zero"
        beaten.setdefault(row["against"], []).append(
            f"{row['run']} {score[row['run']]:.3f} (difference {-row['difference']:.3f} "
            f"[{-row['high']:.3f}, {-row['low']:.3f}]{sure})"
        )
    return [
        f"{name}, which is not trained, has a mean R² of {score[name]:.3f} on spatial blocks and "
        f"beats {'; '.join(others)}."
        for name, others in beaten.items()
    ]
