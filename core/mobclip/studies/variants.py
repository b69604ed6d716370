"""A variation of a place, embedded and scored: what ablations and scaling laws are made of."""

import json
import resource
import shutil
import sys
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64
from safetensors import safe_open
from threadpoolctl import threadpool_limits

from mobclip import pipeline, recipes
from mobclip.baselines import BASELINES, DIMS, Features
from mobclip.baselines.propagation import ALONG_FLOWS
from mobclip.config import LocationConfig, Settings
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.fusion import FUSION_FILE, KNOWN, Fusion, Votes
from mobclip.pipeline import Workspace
from mobclip.place import Place, Target
from mobclip.probes import HeldOut, held_out
from mobclip.splits import Protocol
from mobclip.storage import read_json

PROTOCOLS: tuple[Protocol, ...] = ("blocks", "random")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Embeddings, and what they cost."""

    embeddings: Embeddings
    seconds: float  # see SECONDS
    peak_mb: float  # see MEMORY
    parameters: int | None  # see PARAMETERS; None where they are not counted


# Both are read after "time of the" and "memory is the". Neither tokens nor files are made in it.
SECONDS = {
    "trained": "epochs, by the clock",
    "training-free": "fit, on the one processor that it uses: others on the machine do not count",
}
MEMORY = {
    "trained": "high-water mark of the whole process so far (ru_maxrss): an upper bound",
    "training-free": "most that Python and numpy held at once during the fit, beyond the evidence "
    "itself (tracemalloc)",
}
PARAMETERS = {
    recipes.PAPER: "all numbers of model.safetensors: node table, encoders, column statistics",
    recipes.MOBCLIP: "all numbers of fusion.safetensors: axes, column statistics, vectors of the "
    "partners of flows, and the network",
    "pca": "mean and scale of each column, and the axes",
    "propagated": "mean and scale of each column, the axes, and the mean and axes of the blocks of "
    "surroundings",
}


def fit(
    workspace: Workspace,
    place: Place,
    name: str,
    *,
    recipe: str,
    seed: int,
    dims: int | None = None,
    config: Settings | None = None,
    features: Features | None = None,
) -> Fit:
    """Embeddings of a variation of a place.

    A trained model is kept under `runs/variants/<name>/seed<k>`, so that an interrupted study goes
    on where it was and studies share what they can; its checkpoints are not kept. What is
    training-free takes seconds and is not written at all: a study makes a hundred of them.

    Parameters
    ----------
    name : of the variation, see `name_of`
    dims : instead of the recipe's own
    features : of this place, seed and dims, where several fits share them
    """
    recipes.check(place, recipe)
    settings = varied_settings(recipe, config)
    if settings is not None:
        if dims:
            settings = replace(settings, dims=dims)  # type: ignore[call-arg]
        folder = folder_of(place, recipe, name, seed)
        run = folder.relative_to(place.folder / "runs").as_posix()
        made = pipeline.embed(workspace, place, run, recipe=recipe, seed=seed, config=settings)
        remove_checkpoints(folder)
        lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
        return Fit(
            embeddings=made,
            seconds=sum(json.loads(line)["seconds"] for line in lines),
            peak_mb=_high_water_mb(),
            parameters=_floats_in(
                folder / (FUSION_FILE if recipe == recipes.MOBCLIP else "model.safetensors")
            ),
        )
    if features is None:
        features = Features(place, seed=seed, dims=dims or DIMS)
    _ = place.tables, place.graph, place.present  # read from disk before the clock starts
    tracemalloc.start()
    start = time.process_time()
    try:
        with threadpool_limits(1, "blas"):  # small eigenproblems: see probes
            made = BASELINES[recipe].fit(features)
        seconds = time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return Fit(
        embeddings=made,
        seconds=seconds,
        peak_mb=peak / 2**20,
        parameters=_floats_of(recipe, features, made.dims),
    )


def folder_of(place: Place, recipe: str, name: str, seed: int) -> Path:
    """Where `fit` keeps a variation that is trained."""
    return place.folder / "runs" / "variants" / recipe / name / f"seed{seed}"


def remove_checkpoints(folder: Path) -> None:
    """Of a run that is trained: nothing will go on from there."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def combined(
    fusion: Fusion,
    votes: Votes,
    states: Mapping[str, int],
    rows: Int64[np.ndarray, " rows"] | None = None,
) -> Float32[np.ndarray, "rows dims"]:
    """Embeddings of some cells (None: all) from votes that were taken before.

    states : modality -> state in which it is taken at each of the cells; KNOWN where not named
    """
    if rows is None:
        rows = np.arange(len(next(iter(votes.present.values()))))
    taken = np.array([states.get(name, KNOWN) for name in votes.modalities], np.int8)
    made = np.empty((len(rows), votes.dims), np.float32)
    for part in np.array_split(np.arange(len(rows)), max(1, len(rows) // 16_384)):
        here = np.broadcast_to(taken, (len(part), len(taken))).copy()
        made[part] = fusion.combine(votes.chosen(rows[part], here), here)
    return made


def varied_settings(recipe: str, config: Settings | None) -> Settings | None:
    """Settings of a recipe that is trained, None for the others; `ConfigError` where they are few.

    Location encoders know neither modalities nor dimensions that could be varied.
    """
    settings = pipeline.settings_of(recipe, config)
    if isinstance(settings, LocationConfig):
        raise ConfigError(f"{recipe} is a function of position: there is nothing to take from it.")
    return settings


def name_of(modalities: Sequence[str] | None = None, dims: int | None = None) -> str:
    """Name of a variation by modalities and dims; None: as the recipe has them."""
    kept = "all" if modalities is None else "-".join(modalities)
    return kept if dims is None else f"{kept}-{dims}"


def only(place: Place, modalities: Sequence[str] | None) -> Place:
    """The place with some of its modalities; None: all."""
    if modalities is None:
        return place
    return place.varied(f"only {', '.join(modalities)}", modalities=modalities)


def number_targets(place: Place) -> dict[str, Target]:
    """Number targets of a place that can be probed; `ConfigError` if there are none."""
    targets, _ = pipeline.probeable(place.name, place.targets)
    numbers = {name: target for name, target in targets.items() if target.kind == "number"}
    if not numbers:
        raise ConfigError(
            f"{place.name} has no number target that can be probed: R² needs one. "
            "Declare one in data_manifest.yaml."
        )
    return numbers


def held_out_of(embeddings: Embeddings, targets: Mapping[str, Target], seed: int) -> list[HeldOut]:
    """Held-out predictions of every target by the ridge probe, on the folds of one seed."""
    return list(held_out(embeddings, targets, seeds=[seed], protocols=PROTOCOLS))


def r2_of(
    found: Sequence[HeldOut], targets: Sequence[str]
) -> dict[Protocol, Float64[np.ndarray, " targets"]]:
    """R² of each target, in the order of `targets`."""
    by_name = {(one.protocol, one.target.name): one.metrics["r2"] for one in found}
    return {
        protocol: np.array([by_name[protocol, name] for name in targets]) for protocol in PROTOCOLS
    }


def subsets(recipe: str, modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of modalities that a recipe can be made of, few first, in the place's order.

    `mobclip-paper` aligns others to mobility: it needs mobility and one more.
    """
    needs = recipes.needs(recipe)
    return [
        chosen
        for size in range(1 if recipe != recipes.PAPER else 2, len(modalities) + 1)
        for chosen in combinations(modalities, size)
        if set(needs) <= set(chosen)
    ]


def stored(path: Path) -> dict[str, Any]:
    """What a study wrote (tables, by recipe); nothing where the file is missing or damaged."""
    try:
        tables: dict[str, Any] = read_json(path) if path.is_file() else {}
    except ArtefactError:
        return {}
    return tables


def _high_water_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _floats_in(path: Path) -> int:
    with safe_open(path, framework="numpy") as file:
        shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
    return int(sum(np.prod(shape) for shape in shapes))


def _floats_of(recipe: str, features: Features, dims: int) -> int | None:
    if recipe not in PARAMETERS:
        return None
    columns, axes = features.axes.shape
    if recipe == "pca":
        return columns * (2 + dims)
    surroundings = 3 + (len(ALONG_FLOWS) if features.place.graph is not None else 0)
    return columns * (2 + axes) + surroundings * axes * (1 + dims)
