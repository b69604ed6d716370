"""The stages wired together, file to file. The single place that knows their order.

====================  ==========================  =============================================
stage                 reads                       writes, under `<data>/`
====================  ==========================  =============================================
`fetch`               the manifest                `raw/<path>`, verified
`tokenize`            raw records                 `places/<place>/`: cells, tokens, graph, targets,
                                                  pictures of the imagery
`train`               a place                     `.../runs/<run>/`: model, metrics
`embed`               a place (and its model)     `.../runs/<run>/embeddings.parquet`
`project`             embeddings                  `.../runs/<run>/projection.parquet`
`distil`              embeddings                  `.../runs/<run>/distilled/`: a network
`probe`               embeddings and targets      `.../probes.json`
====================  ==========================  =============================================

What takes many of them (evaluation, ablations, scaling) is in `mobclip.studies`.

Every output carries the key of its inputs (a hash). A stage whose output has the key already is
not run again.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import yaml
from threadpoolctl import threadpool_limits

from mobclip import __version__, fusion, grid, recipes
from mobclip.baselines import BASELINES, Features
from mobclip.config import FusionConfig, Settings
from mobclip.embeddings import Embeddings
from mobclip.errors import (
    ArtefactError,
    ConfigError,
    ManifestError,
    MobclipError,
    RecordError,
)
from mobclip.fusion import FUSION_FILE
from mobclip.manifest import Manifest, PlaceSpec, load_manifest
from mobclip.place import CHIPS, IMAGERY, MOBILITY, Place, Target, save_place
from mobclip.probes import FOLDS, SEEDS, least_units, probe_all
from mobclip.probes.words import text_map
from mobclip.projection import Projection, pca_projection, umap_projection
from mobclip.recipes import MOBCLIP, TRAINED
from mobclip.records import RasterRecords, Records, ZoneRecords
from mobclip.storage import atomic_path, digest, read_footer, read_json, read_parquet, write_json

log = logging.getLogger(__name__)

FORMAT = 2  # raised when a stage's output changes for the same input

OnStep = Callable[
    [str, int, int], None
]  # what is being done, steps done, steps in all (0: unknown)


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where things are on this machine."""

    manifest: Manifest
    data: Path  # raw files and places
    mirror: Path | None = None  # a read-only folder that is searched before any download
    on_step: OnStep = field(default=quiet, compare=False)

    @classmethod
    def open(
        cls,
        *,
        manifest: Path | str,
        data: Path | str | None = None,
        mirror: Path | str | None = None,
        on_step: OnStep = quiet,
    ) -> "Workspace":
        """From arguments, else MOBCLIP_DATA_DIR (default ./data) and MOBCLIP_MIRROR."""
        mirror = mirror or os.environ.get("MOBCLIP_MIRROR")
        return cls(
            manifest=load_manifest(manifest),
            data=Path(data or os.environ.get("MOBCLIP_DATA_DIR") or "data"),
            mirror=Path(mirror) if mirror else None,
            on_step=on_step,
        )

    def spec(
        self, place: str, *, resolution: int | None = None, cells: int | None = None
    ) -> PlaceSpec:
        """The manifest entry of a place, with overrides.

        resolution : H3 resolution instead of the entry's
        cells : size of a generated place instead of the entry's; the place is then `<name>-<cells>`
        """
        spec = self.manifest.place(place)
        if cells is not None:
            if spec.generator is None:
                raise ConfigError(
                    f"{place} is a real place: its number of cells follows from its area and "
                    "resolution. Set --resolution instead."
                )
            spec = replace(
                spec, name=f"{spec.name}-{cells}", generator={**spec.generator, "cells": cells}
            )
        if resolution is not None:
            grid.edge_km(resolution)  # a CellError if it is none
            spec = replace(spec, resolution=resolution)
        return spec

    def folder(self, spec: PlaceSpec) -> Path:
        """Folder of a place at a resolution."""
        return self.data / "places" / f"{spec.name}-r{spec.resolution}"


# ---- fetch -----------------------------------------------------------------------------------


def fetch(workspace: Workspace, spec: PlaceSpec) -> dict[str, Path]:
    """Verified local file of every source of a place; a generated place is generated."""
    from mobclip.fetch import fetch as fetch_source

    if spec.generator is not None:
        return _generate(workspace, spec)
    paths = {}
    for done, source in enumerate(spec.sources.values()):
        workspace.on_step(f"fetching {source.name}", done, len(spec.sources))
        paths[source.name] = fetch_source(
            source, data_dir=workspace.data, mirror=workspace.mirror, progress=True
        )
    workspace.on_step("files verified", len(spec.sources), len(spec.sources))
    return paths


def _generate(workspace: Workspace, spec: PlaceSpec) -> dict[str, Path]:
    from mobclip.synthetic import write_country

    assert spec.generator is not None
    if spec.generator["name"] != "synthetic":
        raise ManifestError(
            f"{spec.name}: no generator {spec.generator['name']!r}; there is 'synthetic'."
        )
    settings = {"cells": spec.generator["cells"], "seed": spec.generator.get("seed", 0)}
    settings["resolution"] = spec.resolution
    folder = workspace.data / "raw" / f"{spec.name}-r{spec.resolution}"
    stamp = folder / "generated.json"
    wanted = {**settings, "format": FORMAT, "version": __version__}
    if not (stamp.is_file() and read_json(stamp) == wanted):
        workspace.on_step(f"making the {spec.name} country", 0, 0)
        write_country(folder, **settings)
        write_json(stamp, wanted)
    return {name: folder / Path(source.path).name for name, source in spec.sources.items()}


# ---- tokenize --------------------------------------------------------------------------------


def tokenize(workspace: Workspace, spec: PlaceSpec) -> Place:
    """Raw records -> a place: cells, tokens, mobility graph, targets."""
    key = digest({"format": FORMAT, "version": __version__, "spec": asdict(spec)})
    folder = workspace.folder(spec)
    if (folder / "place.yaml").is_file():
        place = _whole_place(folder)
        if place is not None and place.provenance.get("key") == key:
            return place
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        return _tokenized(workspace, spec, key, Path(scratch))


def _tokenized(workspace: Workspace, spec: PlaceSpec, key: str, scratch: Path) -> Place:
    from mobclip import modalities, sources

    paths = fetch(workspace, spec)
    workspace.on_step(f"reading {len(paths)} sources", 0, 0)
    records = sources.read_place(spec, paths)
    area = _area(spec, records)
    candidates = grid.polygon_to_cells(area, spec.resolution)
    if len(candidates) == 0:
        raise RecordError(
            f"{spec.name}: no cell of resolution {spec.resolution} has its centre in the area. "
            "Choose a finer resolution or a larger area."
        )
    made: dict[str, modalities.Evidence] = {}
    for done, name in enumerate(spec.modalities):
        if name not in modalities.MODALITIES:
            raise ManifestError(
                f"{spec.name}: no modality {name!r}; there are {', '.join(modalities.MODALITIES)}."
            )
        workspace.on_step(f"tokenizing {name}", done, len(spec.modalities))
        made[name] = modalities.MODALITIES[name](records, spec, candidates, scratch)
    workspace.on_step("tokens made", len(spec.modalities), len(spec.modalities))

    evidence = [one.cells for one in made.values()]
    cells = np.unique(np.concatenate(evidence))
    if len(cells) == 0:
        raise RecordError(
            f"{spec.name}: none of its records lies in the area. Compare the area in the manifest "
            "with where the records are."
        )
    graph = made[MOBILITY].graph if MOBILITY in made else None
    workspace.on_step("writing the place", 0, 0)
    return save_place(
        workspace.folder(spec),
        name=spec.name,
        title=spec.title,
        resolution=spec.resolution,
        cells=cells,
        tables={name: one.table for name, one in made.items() if one.table is not None},
        graph=None if graph is None else graph.restrict(cells),
        targets=modalities.targets.build(records, spec, cells, graph),
        featurizers={
            name: one.featurizer for name, one in made.items() if one.featurizer is not None
        },
        provenance={
            "key": key,
            "mobclip": __version__,
            "generated": spec.generator is not None,
            "note": spec.note,
            "sources": {name: _provenance(spec, name, records[name]) for name in spec.sources},
        },
        context=_context(spec, area, paths),
        chips=made[IMAGERY].chips if IMAGERY in made else None,
    )


def add_chips(workspace: Workspace, spec: PlaceSpec, place: Place) -> None:
    """Pictures of the imagery for a place that has none, or damaged ones; all else stays.

    Nothing is done for a place that has its pictures, or no imagery. Where the files are no longer
    there, or the place cannot be written, it stays without: a place is whole without pictures.
    """
    try:
        if IMAGERY not in place.modalities or place.chips is not None:
            return
    except ArtefactError as error:
        log.warning("%s", error)
    from mobclip import modalities, sources

    named = spec.modalities[IMAGERY].sources
    images = replace(spec, sources={name: spec.sources[name] for name in named})
    try:
        records = sources.read_place(images, fetch(workspace, images))
        workspace.on_step("drawing pictures of the imagery", 0, 0)
        cells = place.tables[IMAGERY].cells
        modalities.picture(records, images, cells, place.folder / CHIPS)
    except (MobclipError, OSError) as error:
        log.warning("%s stays without pictures of its imagery. %s", place.name, error)


def _whole_place(folder: Path) -> Place | None:
    """The place in `folder`, or None where a file of it is missing or truncated."""
    try:
        place = Place.load(folder)
        tables = [f"tokens/{name}" for name in place.modalities if name != MOBILITY]
        for name in [*tables, "targets", "memberships"]:
            read_parquet(folder / f"{name}.parquet", [])  # a truncated one has no footer
        _ = place.graph
    except ArtefactError as error:
        log.warning("%s is damaged and made anew. %s", folder.name, error)
        return None
    return place


def _provenance(spec: PlaceSpec, name: str, records: Records) -> dict[str, Any]:
    source = spec.sources[name]
    kept = ("kind", "provider", "licence", "citation", "date", "sha256", "note")
    dropped = dict(records.dropped) if not isinstance(records, RasterRecords) else {}
    return {**{key: getattr(source, key) for key in kept}, "dropped": dropped}


def _area(spec: PlaceSpec, records: Mapping[str, Records]) -> shapely.Geometry:
    if spec.area.bbox is not None:
        return shapely.box(*spec.area.bbox)
    assert spec.area.source is not None
    zones = records[spec.area.source]
    assert isinstance(zones, ZoneRecords)
    # The snap closes slivers between zones that were digitised apart.
    return shapely.unary_union(shapely.set_precision(zones.geometry, 1e-7))


def _context(spec: PlaceSpec, area: shapely.Geometry, paths: Mapping[str, Path]) -> dict[str, Any]:
    """What lies under the hexagons: what the provider drew, else the outline of the area."""
    drawn = next(iter(paths.values())).parent / "context.geojson"
    if spec.generator is not None and drawn.is_file():
        context: dict[str, Any] = read_json(drawn)
        return context
    outline = shapely.simplify(area, 0.05 * grid.edge_km(spec.resolution) / 111)
    geometry = shapely.geometry.mapping(shapely.set_precision(outline, 1e-5))
    feature = {"type": "Feature", "properties": {"kind": "land"}, "geometry": geometry}
    return {"type": "FeatureCollection", "features": [feature]}


# ---- runs: train, embed, project -------------------------------------------------------------


# Rows of the evaluation's ladder that nobody wants a map of.
LADDER_ONLY = (
    *("random", "neighbours", "poi-counts", "line", "lightgcn", "poi-clusters"),
    *("wrap", "harmonics", "fourier", "sphere2vec", "space2vec-grid", "space2vec-theory"),
    *("satclip-retrained", "csp-retrained", "geoclip-retrained"),
)


def explored_runs(place: Place) -> list[str]:
    """The runs that are made to be looked at."""
    return [run for run in recipes.possible(place) if run not in LADDER_ONLY]


def settings_of(recipe: str, given: Settings | None, *, seed: int | None = None) -> Settings | None:
    """Settings of a recipe that is trained: those given, else its own; None for the others.

    seed : instead of theirs
    """
    if recipe not in TRAINED:
        return None
    kind = TRAINED[recipe].settings
    found = given or kind()
    if not isinstance(found, kind):
        raise ConfigError(f"{recipe} takes a {kind.__name__}, not a {type(found).__name__}.")
    return found if seed is None else replace(found, seed=seed)


def train(
    workspace: Workspace,
    place: Place,
    recipe: str = MOBCLIP,
    *,
    config: Settings | None = None,
    run: str | None = None,
) -> Path:
    """Train a recipe on a place, or go on training; the folder of the run.

    run : its name, by default that of the recipe
    """
    recipes.check(place, recipe)
    run = run or recipe
    settings = settings_of(recipe, config)
    if settings is None:
        raise ConfigError(
            f"{recipe} is not trained: `mobclip embed {place.name} --run {recipe}` makes it. "
            f"What is trained: {', '.join(TRAINED)}."
        )
    folder = place.folder / "runs" / run
    key = _run_key(place, recipe, settings)
    if (folder / "model.safetensors").is_file() and _key_of(folder / "trained.json") == key:
        return folder

    from mobclip import training  # brings torch: only when there is something to train

    epochs = getattr(settings, "epochs", None) or 0  # 0: not known beforehand

    def on_epoch(metrics: training.EpochMetrics) -> None:
        text = f"training {run}: loss {metrics.loss:.3f}, held-out {metrics.validation:.3f}"
        workspace.on_step(text, metrics.epoch, epochs)

    workspace.on_step(f"training {run}", 0, epochs)
    TRAINED[recipe].train(place, settings, folder, on_epoch)
    if not training.first():  # of several processes that train together, one writes
        return folder
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(_model_card(place, recipe, settings, folder), "utf-8")
    write_json(folder / "trained.json", {"key": key})
    workspace.on_step(f"{run} trained", epochs, epochs)
    return folder


def _model_card(place: Place, recipe: str, settings: Settings, folder: Path) -> str:
    """What a stranger must know of a trained model, with a YAML header as model hubs read it."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    best = min((json.loads(line) for line in lines), key=lambda one: one["validation"])
    header = {
        "library_name": "mobclip",
        "tags": ["h3", "place-embeddings", *place.modalities],
        "licences_of_the_data": {
            name: source["licence"] for name, source in place.provenance["sources"].items()
        },
    }
    invented = " The place is invented." if place.generated else ""
    figures = "".join(
        f"\n- {name.capitalize()} on what was held out, in the best epoch: "
        + ", ".join(f"{one} {value:.2f}" for one, value in best[name].items())
        + f" ({best['candidates']:,} candidates)."
        for name in ("recall", "closeness")
        if best.get(name)
    )
    return f"""---
{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---
# {recipe} on {place.title}

{recipes.about(recipe).capitalize()}. Trained on our data: not the authors' model.{invented}

- Place: {place.name}, {len(place.cells):,} cells of H3 resolution {place.resolution}.
- Best epoch: {best["epoch"]} of {len(lines)}; held-out loss {best["validation"]:.3f}.{figures}
- Settings: config.yaml. What it is worth, beside training-free runs:
  `mobclip probe {place.arguments}`.
- Made by mobclip {__version__}.
"""


def embed(
    workspace: Workspace,
    place: Place,
    run: str,
    *,
    config: Settings | None = None,
    recipe: str | None = None,
    seed: int = 0,
    features: Features | None = None,
) -> Embeddings:
    """Embeddings of a run: fits a training-free one, reads off a trained one.

    config : settings of a recipe that is trained; its seed is set here
    recipe : what makes the run, by default its name (see `mobclip.recipes`)
    features : of this place and seed, where several runs share them
    """
    recipe = recipe or run
    recipes.check(place, recipe)
    folder = place.folder / "runs" / run
    path = folder / "embeddings.parquet"
    options = features.options if features else {}
    settings = settings_of(recipe, config, seed=seed)
    key = _run_key(place, recipe, settings or {"seed": seed, **options})
    if path.is_file() and read_footer(path).get("provenance", {}).get("key") == key:
        return Embeddings.load(path)
    if settings is not None:
        train(workspace, place, recipe, config=settings, run=run)
        made = TRAINED[recipe].embed(place, folder, run)
    else:
        workspace.on_step(f"fitting {run}", 0, 0)
        with threadpool_limits(1, "blas"):  # eigenproblems: see probes
            made = BASELINES[recipe].fit(features or Features(place, seed=seed))
        made = replace(made, name=run)
    made = _recorded(place, made, key=key, seed=seed)
    _save(made, place)
    return made


def _save(made: Embeddings, place: Place) -> None:
    """Into the folder of the run: the embeddings, and how they are searched by words."""
    folder = place.folder / "runs" / made.name
    words = text_map(made, place)
    if words is None:
        (folder / "text.safetensors").unlink(missing_ok=True)
    else:
        words.save(folder / "text.safetensors")
    made.save(folder / "embeddings.parquet")  # last: a run is there when these are


def _recorded(place: Place, made: Embeddings, *, key: str, seed: int) -> Embeddings:
    """The same embeddings, with what they were made of and from in their provenance."""
    licences = {name: one["licence"] for name, one in place.provenance["sources"].items()}
    return replace(
        made,
        provenance={
            **made.provenance,
            "key": key,
            "place": place.name,
            "place_key": place.provenance.get("key"),
            "mobclip": __version__,
            "seed": seed,
            "licences": licences,
        },
    )


def train_together(
    workspace: Workspace, places: Sequence[Place], *, config: FusionConfig | None = None
) -> str:
    """Train one `mobclip` on several places, so that their cells are comparable; name of the run.

    Each place gets the run, with the model in it: `embed_with` then takes it anywhere.
    """
    if len({place.folder for place in places}) < 2:
        raise ConfigError("one place: name two or more that are to share a model.")
    settings = config or FusionConfig()
    run = f"{MOBCLIP}-{'-'.join(sorted(place.name for place in places))}"
    key = digest(
        {
            "format": FORMAT,
            "version": __version__,
            "places": sorted(str(place.provenance.get("key")) for place in places),
            "settings": settings.to_dict(),
        }
    )
    home = places[0].folder / "runs" / run
    if not ((home / FUSION_FILE).is_file() and _key_of(home / "trained.json") == key):
        from mobclip import training

        def on_epoch(metrics: training.EpochMetrics) -> None:
            text = f"training {run}: loss {metrics.loss:.3f}, held-out {metrics.validation:.3f}"
            workspace.on_step(text, metrics.epoch, settings.epochs)

        workspace.on_step(f"training {run}", 0, settings.epochs)
        training.train_fusion(places, settings, home, on_epoch)
        write_json(home / "trained.json", {"key": key})
        workspace.on_step(f"{run} trained", settings.epochs, settings.epochs)
    for place in places:
        embed_with(workspace, place, home, run=run)
    return run


def embed_with(
    workspace: Workspace, place: Place, model: Path, *, run: str | None = None
) -> Embeddings:
    """Embeddings of a place by a model that was trained before, here or elsewhere; no training.

    model : folder of the run that was trained
    run : name of the run that is made, by default that of the model's folder

    Raises
    ------
    ArtefactError : there is no model of `mobclip` in the folder
    ConfigError : the place lacks columns that the model was trained with
    """
    run = run or model.name
    workspace.on_step(f"embedding {place.name} by {run}", 0, 0)
    made = fusion.embed(place, model, name=run)
    file = hashlib.sha256((model / FUSION_FILE).read_bytes()).hexdigest()
    made = _recorded(place, made, key=digest([place.provenance.get("key"), file]), seed=0)
    made = replace(made, provenance={**made.provenance, "space": file, "model": str(model)})
    _save(made, place)
    return made


def project(
    workspace: Workspace, place: Place, run: str, *, method: str = "pca", seed: int = 0
) -> Projection:
    """Coordinates and colours of a run. PCA never takes the place of a UMAP of the same run."""
    folder = place.folder / "runs" / run
    path = folder / "projection.parquet"
    source = read_footer(folder / "embeddings.parquet").get("provenance", {}).get("key")
    if path.is_file():
        header = read_footer(path)
        same = header["provenance"].get("embeddings") == source
        if same and header["method"] in (method, "umap"):
            return Projection.load(path)
    embeddings = Embeddings.load(folder / "embeddings.parquet")
    workspace.on_step(f"projecting {run} by {method.upper()}", 0, 0)
    if method == "umap":
        made = umap_projection(embeddings, seed=seed)
    elif method == "pca":
        made = pca_projection(embeddings)
    else:
        raise ConfigError(f"no projection {method!r}: choose pca or umap.")
    made = replace(made, provenance={**made.provenance, "embeddings": source})
    made.save(path)
    return made


def distil(
    workspace: Workspace, place: Place, run: str, *, seed: int = 0, epochs: int | None = None
) -> dict[str, Any]:
    """A run as a function of longitude and latitude (`mobclip.distilled`), beside the run.

    Returns
    -------
    how well it knows cells that it learned, and cells that it did not: see `training.distil`
    """
    folder = place.folder / "runs" / run / "distilled"
    embeddings = Embeddings.load(folder.parent / "embeddings.parquet")
    key = digest(
        {
            "format": FORMAT,
            "version": __version__,
            "embeddings": embeddings.provenance.get("key"),
            "settings": {"seed": seed, "epochs": epochs},
        }
    )
    if (folder / "report.json").is_file() and _key_of(folder / "distilled.json") == key:
        report: dict[str, Any] = read_json(folder / "report.json")
        return report

    from mobclip import training  # brings torch: only when there is something to train
    from mobclip.training.distil import distil as teach
    from mobclip.training.distil import epochs_for

    total = 2 * (epochs or epochs_for(len(embeddings.cells)))

    def on_epoch(metrics: training.EpochMetrics) -> None:
        workspace.on_step(f"distilling {run}: loss {metrics.loss:.3f}", metrics.epoch, total)

    workspace.on_step(f"distilling {run}", 0, total)
    report = teach(embeddings, folder, seed=seed, epochs=epochs, on_epoch=on_epoch)
    write_json(folder / "distilled.json", {"key": key})
    return report


# ---- probe -------------------------------------------------------------------------


def probe(workspace: Workspace, place: Place, *, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Score every run of a place on every target; seeds are partitions into folds."""
    names = place.runs()
    keys = {
        name: read_footer(place.folder / "runs" / name / "embeddings.parquet")["provenance"]["key"]
        for name in names
    }
    path = place.folder / "probes.json"
    key = digest({"format": FORMAT, "runs": keys, "seeds": list(seeds)})
    if path.is_file() and _key_of(path) == key:
        table: dict[str, Any] = read_json(path)
        return table
    targets, too_small = probeable(place.name, place.targets)
    rows = []
    for done, name in enumerate(names):
        workspace.on_step(f"probing {name}", done, len(names))
        embeddings = Embeddings.load(place.folder / "runs" / name / "embeddings.parquet")
        recipe = BASELINES.get(name)
        kind = recipe.probe if recipe else "ridge"
        for result in probe_all(embeddings, targets, seeds=seeds, probe=kind):
            rows += [{**row, "dims": embeddings.dims} for row in result.to_rows()]
    workspace.on_step("probes done", len(names), len(names))
    table = {
        "key": key,
        "place": place.name,
        "protocol": "ridge, 5 folds; seeds are partitions into folds, models are of seed 0",
        "seeds": list(seeds),
        "left_out": too_small,
        "rows": rows,
    }
    write_json(path, table)
    return table


def probeable(
    place: str, targets: Mapping[str, Target]
) -> tuple[dict[str, Target], dict[str, str]]:
    """Those of a place's targets that can be probed, and of the others why not."""
    left_out = {
        name: f"{len(target.values)} labelled units; {FOLDS} folds need {least_units()}"
        for name, target in targets.items()
        if len(target.values) < least_units()
    }
    kept = {name: target for name, target in targets.items() if name not in left_out}
    if not kept:
        raise ConfigError(f"{place} has no target that can be probed: {left_out}.")
    return kept, left_out


# ---- the main job ----------------------------------------------------------------------------


def demo(
    workspace: Workspace, spec: PlaceSpec, configs: Mapping[str, Settings] | None = None
) -> Place:
    """Everything but the app: tokens, every run, PCA colours, probes.

    configs : recipe -> its settings, where they are not the default
    """
    place = tokenize(workspace, spec)
    features = Features(place)
    for run in explored_runs(place):
        embed(workspace, place, run, config=(configs or {}).get(run), features=features)
        project(workspace, place, run)
    if place.targets:
        probe(workspace, place)
    return place


def _run_key(place: Place, recipe: str, settings: Settings | Mapping[str, Any]) -> str:
    plain = settings.to_dict() if isinstance(settings, Settings) else dict(settings)
    return digest(
        {
            "format": FORMAT,
            "version": __version__,
            "place": place.provenance.get("key"),
            "recipe": recipe,
            "settings": plain,
        }
    )


def _key_of(path: Path) -> str | None:
    return read_json(path).get("key") if path.is_file() else None
