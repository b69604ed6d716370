"""The command line: `mobclip <stage> <place>`."""

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from mobclip.errors import ConfigError, MissingExtra, MobclipError

if TYPE_CHECKING:
    from mobclip.config import Settings
    from mobclip.manifest import PlaceSpec
    from mobclip.pipeline import Workspace
    from mobclip.place import Place

# Of several processes that torchrun started, the first one speaks.
console = Console(quiet=os.environ.get("RANK", "0") != "0")
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "**MobCLIP: general-purpose embeddings of places.**\n\n"
        "A place is cut into hexagons (H3 cells). Each cell is described by what is known of it "
        "(points of interest, imagery, demographics, mobility) and gets one vector, which then "
        "serves maps, similarity search and prediction.\n\n"
        "Start with `mobclip demo`: it makes a small invented country, does every stage and opens "
        "the app. The stages one by one: `fetch`, `tokenize`, `train`, `embed`, `project`, "
        "`search`, `probe`, `evaluate`, `distil`, `app`. A stage whose inputs have not changed is "
        "skipped. "
        "Studies of a place: `ablate`, `subsets`, `scale`, `transfer`; of arrays of others: "
        "`regions`."
    ),
)

PlaceName = Annotated[
    str, typer.Argument(help="Name of a place in the manifest, e.g. synthetic, chicago, new-york.")
]
Resolution = Annotated[
    int | None,
    typer.Option(
        help="H3 resolution instead of the manifest's: 6 is 36 km² per cell, 8 is 0.7, 9 is 0.1."
    ),
]
Cells = Annotated[
    int | None, typer.Option(help="Size of the synthetic country in cells (default 20,000).")
]
Device = Annotated[str | None, typer.Option(help="auto (a GPU where there is one), cpu or cuda.")]
ConfigFile = Annotated[
    Path | None, typer.Option(help="YAML file of training settings (see config.py).")
]
Seeds = Annotated[int, typer.Option(min=1, help="Number of seeds: folds and training.")]
Recipe = Annotated[str, typer.Option(help="What is studied: mobclip, propagated, pca ...")]
Run = Annotated[
    str | None,
    typer.Option(
        help="Name of a run, e.g. propagated or mobclip-paper; default: all, or the best."
    ),
]


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """Options that stand before the command."""

    manifest: Path
    data: Path
    mirror: Path | None


_settings: ContextVar[_Settings] = ContextVar("_settings")


@app.callback()
def settings(
    manifest: Annotated[
        Path | None,
        typer.Option(help="The data manifest; default: data_manifest.yaml in this folder."),
    ] = None,
    data: Annotated[
        Path, typer.Option(envvar="MOBCLIP_DATA_DIR", help="Where raw files and places are kept.")
    ] = Path("data"),
    mirror: Annotated[
        Path | None,
        typer.Option(
            envvar="MOBCLIP_MIRROR",
            help="Read-only folder that is searched for raw files before any download.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show log messages.")] = False,
) -> None:
    """Options shared by all commands; they stand before the command."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_path=False)],
    )
    _settings.set(_Settings(manifest=manifest or _default_manifest(), data=data, mirror=mirror))


@app.command()
def fetch(
    place: PlaceName,
) -> None:
    """Get a place's raw files: mirror first, then cache, then download; hashes are checked."""
    from mobclip import pipeline

    with _progress() as on_step:
        workspace = _workspace(on_step)
        paths = pipeline.fetch(workspace, workspace.spec(place))
    for name, path in paths.items():
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


@app.command()
def tokenize(
    place: PlaceName,
    resolution: Resolution = None,
    cells: Cells = None,
) -> None:
    """Turn raw records into cells, tokens, a mobility graph and targets.

    A place that is there already is left as it is, but for pictures of its imagery if it has none.
    """
    from mobclip import pipeline

    with _tokenized(place, resolution, cells) as (workspace, spec, made):
        pipeline.add_chips(workspace, spec, made)
    _describe(made)


@app.command()
def train(
    place: PlaceName,
    resolution: Resolution = None,
    cells: Cells = None,
    together: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Another place, to train one `mobclip` for both; may be given several times.",
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(help="mobclip, mobclip-paper, or a location encoder, e.g. satclip-retrained."),
    ] = "mobclip",
    config: ConfigFile = None,
    epochs: Annotated[int | None, typer.Option(help="At most this many epochs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and batches (0).")] = None,
    device: Device = None,
) -> None:
    """Train `mobclip`, or another model. Ctrl-C is safe: the same command goes on where it stopped.

    On several GPUs, or processors: `torchrun --nproc-per-node 2 -m mobclip train ...`
    """
    from mobclip import pipeline

    settings = _settings_of(recipe, config, epochs=epochs, seed=seed, device=device)
    if together:
        _train_together([place, *together], resolution, recipe, settings)
        return
    with _progress() as on_step:
        workspace = _workspace(on_step)
        with _first_alone():
            made = pipeline.tokenize(
                workspace, workspace.spec(place, resolution=resolution, cells=cells)
            )
        pipeline.train(workspace, made, recipe, config=settings)
        with _first_alone():
            pipeline.embed(workspace, made, recipe, config=settings, seed=settings.seed)
            pipeline.project(workspace, made, recipe)
    console.print(f"Embeddings are in {made.folder / 'runs' / recipe}", soft_wrap=True)


def _train_together(
    names: list[str], resolution: int | None, recipe: str, settings: "Settings"
) -> None:
    """One model for several places."""
    from mobclip import pipeline
    from mobclip.config import FusionConfig

    if not isinstance(settings, FusionConfig):
        raise ConfigError(f"{recipe} is trained on one place: --with is for the recipe mobclip.")
    with _progress() as on_step:
        workspace = _workspace(on_step)
        with _first_alone():
            places = [
                pipeline.tokenize(workspace, workspace.spec(name, resolution=resolution))
                for name in names
            ]
        run = pipeline.train_together(workspace, places, config=settings)
        with _first_alone():
            for place in places:
                pipeline.project(workspace, place, run)
    for place in places:
        console.print(f"{place.name}: {place.folder / 'runs' / run}", soft_wrap=True)
    console.print(
        f"Their cells are comparable. Another place, without training: `mobclip embed <place> "
        f"--model {places[0].folder / 'runs' / run}`",
        soft_wrap=True,
    )


@app.command()
def embed(
    place: PlaceName,
    run: Run = None,
    resolution: Resolution = None,
    cells: Cells = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of a trained `mobclip`, of this place or others: no training."),
    ] = None,
) -> None:
    """Write embeddings (GeoParquet) of one run, or of every run that the place allows."""
    from mobclip import pipeline

    with _tokenized(place, resolution, cells) as (workspace, _, made):
        if model is not None:
            names = [pipeline.embed_with(workspace, made, model, run=run).name]
        else:
            names = [run] if run else pipeline.explored_runs(made)
        for name in names:
            if model is None:
                pipeline.embed(workspace, made, name)
            pipeline.project(workspace, made, name)
    for name in names:
        path = made.folder / "runs" / name / "embeddings.parquet"
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


@app.command()
def project(
    place: PlaceName,
    run: Run = None,
    resolution: Resolution = None,
    cells: Cells = None,
    method: Annotated[str, typer.Option(help="umap (minutes for large places) or pca.")] = "umap",
) -> None:
    """Lay the embeddings out in 3-D and 2-D and colour the cells by it."""
    from mobclip import pipeline

    with _tokenized(place, resolution, cells) as (workspace, _, made):
        names = [run] if run else _best_first(workspace, made)
        for name in names:
            pipeline.project(workspace, made, name, method=method)
    console.print(f"{method.upper()} of {', '.join(names)} in {made.folder}", soft_wrap=True)


@app.command()
def distil(
    place: PlaceName,
    run: Run = None,
    resolution: Resolution = None,
    cells: Cells = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of each of two trainings; default: 30 or more.")
    ] = None,
) -> None:
    """Fit the paper's coordinate encoder to a run: vectors for any longitude and latitude."""
    from mobclip import pipeline

    with _tokenized(place, resolution, cells) as (workspace, _, made):
        name = run or _best_first(workspace, made)[0]
        report = pipeline.distil(workspace, made, name, epochs=epochs)
    table = Table("cells", "how many", "squared error", "R²")
    known = {"fit": "learned", "random": "held out at random", "blocks": "held out in blocks"}
    for what, words in known.items():
        loss, r2 = report["loss"][what], report["r2"][what]
        table.add_row(words, f"{report['cells'][what]:,}", f"{loss:.3f}", f"{r2:.3f}")
    console.print(
        f"{name} of {made.title} as a network of {report['parameters']:,} parameters. Errors are "
        "of standardised vectors; held-out cells were learned by the network that is kept, not by "
        "the one that was measured on them."
    )
    console.print(table)
    folder = made.folder / "runs" / name / "distilled"
    console.print(f"mobclip.distilled.Distilled.load('{folder}').at(lonlat)", soft_wrap=True)


@app.command()
def search(
    place: PlaceName,
    cell: Annotated[str | None, typer.Option(help="H3 cell, 15 hexadecimal digits.")] = None,
    at: Annotated[
        tuple[float, float] | None, typer.Option(help="Longitude and latitude, degrees.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Words, e.g. 'harbour warehouse'.")] = None,
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="Number of answers.")] = 10,
    away: Annotated[
        float, typer.Option(min=0, help="Leave out cells closer than this to the query, km.")
    ] = 0.0,
    run: Run = None,
    resolution: Resolution = None,
    cells: Cells = None,
) -> None:
    """Find the places most like a cell, a position, or a few words."""
    import numpy as np

    from mobclip import grid, pipeline
    from mobclip.embeddings import Embeddings
    from mobclip.search import SimilarityIndex, TextQuery

    if sum(one is not None for one in (cell, at, text)) != 1:
        raise ConfigError("say what to search for: one of --cell, --at LON LAT, or --text.")
    with _tokenized(place, resolution, cells) as (workspace, _, made):
        name = run or _best_first(workspace, made)[0]
        path = made.folder / "runs" / name / "embeddings.parquet"
        there = name in made.runs()
        embeddings = Embeddings.load(path) if there else pipeline.embed(workspace, made, name)
    index = SimilarityIndex(embeddings)
    if text is not None:
        query = TextQuery(
            run=made.folder / "runs" / name, featurizer=made.folder / "featurizers" / "poi"
        )
        matches = index.like_vector(query(text), count)
        origin = None
    else:
        if cell is not None:
            origin = grid.from_strings([cell])
        else:
            assert at is not None
            origin = grid.points_to_cells(
                lon=np.array([at[0]]), lat=np.array([at[1]]), resolution=made.resolution
            )
        matches = index.like_cell(origin[0], count, exclude_within_km=away)
    table = Table("#", "cell", "lon", "lat", "similarity")
    if origin is not None:
        table.add_column("km away")
    lonlat = grid.centers(matches.cells)
    names = grid.to_strings(matches.cells)
    for rank, (one, (lon, lat), score) in enumerate(
        zip(names, lonlat, matches.scores, strict=True), start=1
    ):
        row = [str(rank), one, f"{lon:.4f}", f"{lat:.4f}", f"{score:.3f}"]
        if origin is not None:
            distance = grid.distances_km(np.array([[lon, lat]]), grid.centers(origin))[0]
            row.append(f"{distance:,.1f}")
        table.add_row(*row)
    what = text or (grid.to_strings(origin)[0] if origin is not None else "")
    console.print(f"Places of {made.title} most like [bold]{what}[/] (run {name})")
    console.print(table)


@app.command()
def probe(
    place: PlaceName,
    resolution: Resolution = None,
    cells: Cells = None,
) -> None:
    """Score the existing runs on every target: R² on random folds and on spatial blocks."""
    from mobclip import pipeline

    with _tokenized(place, resolution, cells) as (workspace, _, made):
        if not made.runs():
            raise ConfigError(f"{place} has no embeddings yet: run `mobclip embed {place}`.")
        table = pipeline.probe(workspace, made)
    _print_ladder(table, made.title)


@app.command()
def replay(
    session: Annotated[
        Path, typer.Argument(help="A file that the app saved (Session, Save this session).")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the numbers to this file, as JSON.")
    ] = None,
) -> None:
    """The numbers of a session that was saved in the app, without the app."""
    from mobclip import image_query as images
    from mobclip import replay as sessions
    from mobclip.evaluation import own_targets
    from mobclip.place import Place
    from mobclip.session import Session
    from mobclip.storage import read_json, write_json

    given = Session.load(session)
    place = Place.load(sessions.place_of(given, _settings.get().data))
    file = read_json(session)
    own = own_targets.from_json(file.get("targets", []), place)
    image = None
    if brought := file.get("image"):
        _, pixels = images.from_json(brought)
        run = given.selection.run
        # As on the page: a run that cannot be searched by an image is replayed without it.
        image = None if images.why_not(place, run) else images.image_query(place, run, pixels)
    said = sessions.replay(place, given, own=own, image=image)
    console.print(f"[bold]{place.title}[/], {said['run']}")
    if "clusters" in said:
        table = Table("cluster", "cells")
        for one in said["clusters"]:
            table.add_row(one["name"], f"{one['cells']:,}")
        console.print(table)
    if "similar" in said:
        table = Table("", "cell", "similarity")
        for rank, one in enumerate(said["similar"], 1):
            table.add_row(str(rank), one["h3"], f"{one['score']:.4f}")
        console.print(table)
    for name in ("probe", "painted", "what_if"):
        if name in said:
            parts = (
                f"{key} {one:.4f}" if isinstance(one, float) else f"{key} {one}"
                for key, one in said[name].items()
            )
            console.print(f"{name}: {', '.join(parts)}", highlight=False)
    if out is not None:
        write_json(out, said)
        console.print(f"Written: {out}", highlight=False)
    saved = file.get("said")
    if saved is None:
        return
    if "problem" in saved:
        raise ConfigError(f"when it was saved, the session had no numbers: {saved['problem']}")
    unlike = sessions.differences(saved, said)
    if unlike:
        more = f" and {len(unlike) - 1} more" if len(unlike) > 1 else ""
        raise ConfigError(
            f"these are not the numbers that were saved ({unlike[0]}{more}). The place or the run "
            "was made anew since, or by another version."
        )
    console.print("These are the numbers that were saved.")


@app.command()
def export(
    place: PlaceName,
    run: Run = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; its ending says what: .parquet (GeoParquet), .csv, .pmtiles."
        ),
    ] = None,
    resolution: Resolution = None,
    cells: Cells = None,
) -> None:
    """Embeddings, colours and targets of all cells as one file, with where they came from."""
    from mobclip import export as files
    from mobclip.embeddings import Embeddings
    from mobclip.projection import Projection
    from mobclip.storage import atomic_path

    with _tokenized(place, resolution, cells) as (workspace, _, made):
        name = run or _best_first(workspace, made)[0]
        folder = made.folder / "runs" / name
        embeddings = Embeddings.load(folder / "embeddings.parquet")
    path = out or Path(f"{made.folder.name}-{name}.parquet")
    if path.suffix not in (".parquet", ".csv", ".pmtiles"):
        raise ConfigError(
            f"{path.name}: a file ends in .parquet (GeoParquet), .csv or .pmtiles; that says what "
            "is written."
        )
    columns: dict[str, Any] = {}
    if path.suffix != ".pmtiles":  # a web map draws colours, not vectors
        columns["embedding"] = embeddings.vectors
    if (folder / "projection.parquet").is_file():
        projection = Projection.load(folder / "projection.parquet")
        rgb = projection.rgb.astype("int32")
        columns |= dict(zip(("red", "green", "blue"), rgb.T, strict=True))
    columns |= {f"present_{one}": mask for one, mask in embeddings.present.items()}
    columns |= {one: target.on_cells(target.values) for one, target in made.targets.items()
                if target.kind == "number"}  # fmt: skip
    licences = {one: source["licence"] for one, source in made.provenance["sources"].items()}
    about = {"place": made.name, "run": name, "key": embeddings.provenance.get("key")}
    table = files.results_table(embeddings.cells, columns, {**about, "licences": licences})
    if path.suffix == ".pmtiles":
        files.to_pmtiles(table, path, title=f"{made.title}: {name}")
    else:
        written = files.to_csv(table) if path.suffix == ".csv" else files.to_geoparquet(table)
        with atomic_path(path) as temporary:
            temporary.write_bytes(written)
    console.print(
        f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB, {len(embeddings.cells):,} cells)",
        highlight=False,
    )


@app.command()
def coverage(
    place: PlaceName,
    resolution: Resolution = None,
    cells: Cells = None,
) -> None:
    """What a place knows of its cells: coverage, odd columns, flows, targets, licences."""
    from mobclip.coverage import report
    from mobclip.storage import read_json

    with _tokenized(place, resolution, cells) as (_, _, made):
        results = made.folder / "evaluation" / "results.json"
        found = report(made, read_json(results) if results.is_file() else None)
    console.print(f"[bold]{found.title}[/]: {found.cells:,} cells of resolution {found.resolution}")
    table = Table("evidence", "cells", "share", "columns", "constant", "alike cells")
    for one in found.modalities:
        odd = sum(column.constant for column in one.columns)
        table.add_row(
            *(one.name, f"{one.cells:,}", f"{one.share:.0%}"),
            *(str(len(one.columns)), str(odd), f"{one.alike:,}"),
        )
    console.print(table)
    if found.flows is not None:
        one_way = found.flows
        back = "" if one_way.returned is None else f", {one_way.returned:.0%} of it comes back"
        console.print(
            f"Mobility: {one_way.edges:,} edges, {one_way.isolated:,} isolated cells; "
            f"{one_way.kept:.0%} of the flow is between cells, {one_way.inside:.0%} inside one"
            f"{back}.",
            highlight=False,
        )
    table = Table("target", "unit", "units", "cells", "range")
    for goal in found.targets:
        table.add_row(goal.title, goal.unit, f"{goal.units:,}", f"{goal.cells:.0%}", goal.summary)
    if found.targets:
        console.print(table)
    for line in found.findings:
        console.print(f"- {line}", highlight=False, soft_wrap=True)
    for source in found.sources:
        for why, rows in source.dropped.items():
            console.print(f"Left out of {source.name}: {rows:,} rows, {why}", highlight=False)
    console.print(f"\n{found.attribution}", highlight=False, soft_wrap=True, markup=False)


@app.command()
def evaluate(
    place: PlaceName,
    resolution: Resolution = None,
    cells: Cells = None,
    seeds: Seeds = 3,
    external: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of other embeddings to be scored in the same folds: Parquet, GeoParquet "
            "or CSV with h3 or lon/lat and vectors. May be given several times."
        ),
    ] = None,
    buffer: Annotated[
        float,
        typer.Option(min=0, help="Do not learn from what is nearer than this to a test area, km."),
    ] = 0.0,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Leave out held-out flows, boosted trees and the paper's protocol."
        ),
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of training settings, recipe by recipe.")
    ] = None,
) -> None:
    """Make every run anew for every seed, and write one report: how good, and how sure?"""
    from mobclip.studies.evaluate import evaluate as make

    configs = _configs(config)
    with _tokenized(place, resolution, cells) as (workspace, spec, made):
        results = make(
            workspace,
            spec,
            made,
            seeds=range(seeds),
            configs=configs,
            external=external or [],
            buffer_km=buffer,
            quick=quick,
        )
    table = Table("run", "dims", "spatial blocks", "random folds", "regions")
    for line in results["ladder"]:
        table.add_row(
            line["run"],
            str(line["dims"]),
            *(
                f"{line[name]:.3f} [{line[f'{name}_low']:.3f}, {line[f'{name}_high']:.3f}]"
                for name in ("blocks", "random")
            ),
            f"{line['regions']:.3f}",
        )
    numbers = [one for one in results["targets"].values() if one["kind"] == "number"]
    console.print(
        f"\n[bold]{made.title}[/]: mean R² over {len(numbers)} targets and {len(results['seeds'])} "
        "seed(s) of folds and training, [95 % interval by resampling areas]",
        highlight=False,
    )
    console.print(table)
    for name, reason in results["left_out"].items():
        console.print(f"Left out: {name} ({reason})", highlight=False)
    for warning in results["warnings"]:
        console.print(f"[yellow]{warning}[/]", highlight=False)
    folder = made.folder / "evaluation"
    console.print(f"Report: {folder / 'report.html'}", soft_wrap=True)
    console.print(f"All numbers: {folder / 'results.json'}", soft_wrap=True)


@app.command()
def ablate(
    place: PlaceName,
    recipe: Recipe = "propagated",
    resolution: Resolution = None,
    cells: Cells = None,
    seeds: Seeds = 3,
    config: ConfigFile = None,
) -> None:
    """What is each modality worth, and each dimension, and the resolution?"""
    from mobclip.studies.ablate import ablate as study

    settings = _settings_of(recipe, config) if config else None
    with _tokenized(place, resolution, cells) as (workspace, spec, made):
        found = study(workspace, spec, recipe=recipe, seeds=range(seeds), config=settings)
    table = Table("study", "what", "R² on blocks", "against all of it", "R² on random folds")
    for row in found["rows"]:
        table.add_row(
            row["study"],
            row["what"],
            f"{row['blocks']:.3f} ± {row['blocks_spread']:.3f}",
            f"{row['difference']['blocks']:+.3f}",
            f"{row['random']:.3f} ± {row['random_spread']:.3f}",
        )
    console.print(f"\n[bold]{made.title}[/]: ablations of {recipe}")
    console.print(table)
    for one in found["not_applicable"]:
        console.print(f"Not applicable: {one['study']}, {one['what']}: {one['why']}")
    console.print("`mobclip evaluate` puts them into its report.")


@app.command()
def scale(
    place: PlaceName,
    recipe: Recipe = "propagated",
    resolution: Resolution = None,
    cells: Cells = None,
    seeds: Seeds = 3,
    config: ConfigFile = None,
) -> None:
    """How does quality grow with cells, flows, POIs, modalities, dimensions? And the cost?"""
    from mobclip.studies.scale import scale as study

    settings = _settings_of(recipe, config) if config else None
    with _tokenized(place, resolution, cells) as (workspace, spec, made):
        found = study(workspace, spec, recipe=recipe, seeds=range(seeds), config=settings)
    table = Table("axis", "size", "R² on blocks", "seconds", "peak MB")
    laws = Table("axis", "unit", "exponent b of error = a x^-b", "what it says")
    for axis, one in found["axes"].items():
        for point in one["points"]:
            table.add_row(
                axis,
                f"{point['x']:,.0f}",
                f"{point['blocks']:.3f} ± {point['spread']:.3f}",
                f"{point['seconds']:.1f}",
                f"{point['peak_mb']:,.0f}",
            )
        table.add_section()
        law = one.get("law")
        if law:
            interval = "" if law["low"] is None else f" [{law['low']:.3f}, {law['high']:.3f}]"
            laws.add_row(axis, one["unit"], f"{law['b']:.3f}{interval}", law["verdict"])
        else:
            laws.add_row(axis, one["unit"], "-", one["why"])
    console.print(f"\n[bold]{made.title}[/]: {recipe} at growing sizes")
    console.print(table)
    console.print(laws)
    for axis, reason in found["left_out"].items():
        console.print(f"Left out: {axis} ({reason})")
    console.print("`mobclip evaluate` puts them into its report.")


@app.command()
def subsets(
    place: PlaceName,
    resolution: Resolution = None,
    cells: Cells = None,
    seeds: Seeds = 3,
    config: ConfigFile = None,
) -> None:
    """How good is `mobclip` at cells it has never seen, and where evidence of them is missing?"""
    from mobclip.config import FusionConfig
    from mobclip.studies.subsets import subsets as study

    settings = FusionConfig.from_yaml(config) if config else None
    with _tokenized(place, resolution, cells) as (workspace, _, made):
        found = study(workspace, made, seeds=range(seeds), config=settings)
    table = Table("cells", "what is known of them", "cosine to all of it", "recall@10", "R²")
    for row in found["cells"]:
        table.add_row(row["what"], "everything", "1.000", "", f"{row['blocks']:.3f}")
    for row in found["missing"]:
        known = {
            "hidden": f"all but the {row['modality']} of the cell itself",
            "gone": f"all but {row['modality']}",
            "only": f"{row['modality']} alone",
        }[row["state"]]
        table.add_row(
            "unseen",
            known if row["network"] else f"{known}, without the network",
            f"{row['cosine']:.3f}",
            f"{row['recall10']:.3f}",
            f"{row['blocks']:.3f}",
        )
    console.print(f"\n[bold]{made.title}[/]: mobclip, trained without the cells that are tested")
    console.print(table)
    console.print("`mobclip evaluate` puts them into its report.")


@app.command()
def transfer(
    places: Annotated[list[str], typer.Argument(help="Two places or more, e.g. chicago new-york.")],
    resolution: Resolution = None,
) -> None:
    """Learn a probe in one place and test it in another, in a space that they share."""
    from mobclip import pipeline
    from mobclip.studies.transfer import transfer as study

    with _progress() as on_step:
        workspace = _workspace(on_step)
        made = {
            name: pipeline.tokenize(workspace, workspace.spec(name, resolution=resolution))
            for name in places
        }
        rows = study(made)
    table = Table("learned in", "tested in", "target", "R²", "R² but for the level", "R² within")
    for row in rows:
        table.add_row(
            row["source"],
            row["place"],
            row["target"],
            *(f"{row[name]:.3f}" for name in ("r2", "r2_shifted", "r2_within")),
        )
    console.print(table)
    console.print(
        "R² within: spatial blocks of the tested place itself. R² below 0: the mean of the tested "
        "place would have been better."
    )


@app.command()
def regions(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of arrays (see `python -m pydoc mobclip.evaluation.regions`)."),
    ],
) -> None:
    """Score our training-free rows on a region-embedding benchmark, by that field's protocol."""
    from mobclip.evaluation.regions import RegionBenchmark, compare, place_of

    benchmark = RegionBenchmark.load(folder)
    rows = compare(benchmark)
    for kind, metrics in (
        ("regression", ("folds", "r2_pooled", "r2_mean", "mae_pooled")),
        ("clustering", ("classes", "nmi", "ari")),
    ):
        table = Table("task", "run", "dims", *metrics)
        for row in rows:
            if row["kind"] == kind:
                found = (row[name] for name in metrics)
                table.add_row(
                    *(row["task"], row["run"], str(row["dims"])),
                    *(f"{one:.3f}" if isinstance(one, float) else str(one) for one in found),
                )
        if table.row_count:
            console.print(table)
    for name, reason in place_of(benchmark).left_out.items():
        console.print(f"Left out: {name} ({reason})", highlight=False)


@app.command("app")
def open_app(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """Open the app on the places made so far."""
    raise typer.Exit(_run_app(_settings.get().data, port=port, browser=browser))


@app.command()
def demo(
    place: Annotated[str, typer.Option(help="A place of the manifest.")] = "synthetic",
    resolution: Resolution = None,
    cells: Cells = None,
    epochs: Annotated[int | None, typer.Option(help="At most this many epochs.")] = None,
    device: Device = None,
    with_app: Annotated[bool, typer.Option("--app/--no-app", help="Open the app after it.")] = True,
    port: Annotated[int, typer.Option(help="Port of the app on this machine.")] = 8501,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
) -> None:
    """The main job: tokenize, train, embed, project, probe, and open the app.

    The app opens coloured by PCA; UMAP colours arrive when they are ready. A second start finds
    every stage done and opens at once.
    """
    from mobclip import pipeline

    with _progress() as on_step:
        workspace = _workspace(on_step)
        spec = workspace.spec(place, resolution=resolution, cells=cells)
        configs = {
            name: _settings_of(name, None, epochs=epochs, device=device)
            for name in ("mobclip", "mobclip-paper")
        }
        made = pipeline.demo(workspace, spec, configs)
    _describe(made)
    if made.targets:
        _print_ladder(pipeline.probe(workspace, made), made.title)
    if not with_app:
        console.print(
            f"Everything is in {made.folder}. Open it with `mobclip app`.", soft_wrap=True
        )
        return
    arguments = [place, "--resolution", str(spec.resolution)]
    if cells is not None:
        arguments += ["--cells", str(cells)]
    projecting = _project_in_background(arguments)
    try:
        code = _run_app(workspace.data, port=port, browser=browser, place=made.folder.name)
    finally:
        projecting.terminate()
    raise typer.Exit(code)


def main() -> None:
    """Entry point: errors of ours become one plain message and exit status 1."""
    # Idle threads of torch sleep instead of spinning: on two cores that something else is using
    # as well, spinning makes a step many times slower. Read when torch is loaded, so set here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except MobclipError as error:
        Console(stderr=True).print(f"[bold red]Error:[/] {error}", soft_wrap=True, highlight=False)
        sys.exit(1)


# ---- helpers ---------------------------------------------------------------------------------


def _workspace(on_step: Callable[[str, int, int], None]) -> "Workspace":
    from mobclip.pipeline import Workspace

    chosen = _settings.get()
    return Workspace.open(
        manifest=chosen.manifest, data=chosen.data, mirror=chosen.mirror, on_step=on_step
    )


@contextmanager
def _first_alone() -> Iterator[None]:
    """Under torchrun: the first process does it while the others wait, and find it done."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    from mobclip.training import distributed

    distributed.join()
    with distributed.first_alone():
        yield


@contextmanager
def _tokenized(
    place: str, resolution: int | None, cells: int | None
) -> "Iterator[tuple[Workspace, PlaceSpec, Place]]":
    """A progress display, and under it the tokenized place."""
    from mobclip import pipeline

    with _progress() as on_step:
        workspace = _workspace(on_step)
        spec = workspace.spec(place, resolution=resolution, cells=cells)
        yield workspace, spec, pipeline.tokenize(workspace, spec)


def _default_manifest() -> Path:
    """data_manifest.yaml of the current folder, else the one that came with mobclip."""
    here = Path("data_manifest.yaml")
    if here.is_file():
        return here
    app_folder = _app_folder()
    installed = app_folder / "data_manifest.yaml"
    return installed if installed.is_file() else app_folder.parent / "data_manifest.yaml"


def _app_folder() -> Path:
    """The app: inside an installed package, or beside core/ in the repository."""
    package = Path(__file__).parent
    installed = package / "_app"
    return installed if installed.is_dir() else package.parents[1] / "app"


def _settings_of(recipe: str, path: Path | None, **overrides: Any) -> "Settings":
    """Settings of a recipe that is trained: a file's, else its own, with what was said besides."""
    from mobclip.recipes import TRAINED

    if recipe not in TRAINED:
        raise ConfigError(f"{recipe!r} is not trained; there are {', '.join(TRAINED)}.")
    kind = TRAINED[recipe].settings
    settings = kind.from_yaml(path) if path else kind()
    given = {key: value for key, value in overrides.items() if value is not None}
    return kind.from_dict({**settings.to_dict(), **given})


def _configs(path: Path | None) -> "dict[str, Settings]":
    """Settings by recipe from a YAML file of `recipe:` and, below it, `name: value` lines."""
    from mobclip.config import read_settings
    from mobclip.recipes import TRAINED

    found = {}
    for recipe, values in (read_settings(path) if path else {}).items():
        if recipe not in TRAINED or not isinstance(values, dict):
            raise ConfigError(
                f"{path}: {recipe!r} is no recipe with settings below it. "
                f"Settings are given for each of {', '.join(TRAINED)} by itself."
            )
        found[recipe] = TRAINED[recipe].settings.from_dict(values)
    return found


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """One line that shows what is being done; a bar where the number of steps is known.

    Where nobody watches (a log file), each stage is one printed line instead.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)
        stage = ""

        def on_step(what: str, done: int, total: int) -> None:
            nonlocal stage
            new = what.split(":")[0]
            if new != stage and not console.is_terminal:
                console.print(new, highlight=False)
            stage = new
            progress.update(task, description=what, completed=done, total=total or None)

        yield on_step


def _describe(place: "Place") -> None:
    shares = ", ".join(f"{name} {mask.mean():.0%}" for name, mask in place.present.items())
    edges = f"; {len(place.graph.indices):,} mobility edges" if place.graph is not None else ""
    console.print(
        f"[bold]{place.title}[/]: {len(place.cells):,} cells of resolution {place.resolution} "
        f"(with {shares}){edges}; {len(place.targets)} targets",
        highlight=False,
    )


def _print_ladder(table: Mapping[str, Any], title: str) -> None:
    from mobclip.probes import ladder
    from mobclip.recipes import MOBCLIP

    lines = ladder(table["rows"])
    shown = Table("run", "dims", "R² on spatial blocks", "R² on random folds")
    for line in lines:
        shown.add_row(
            line["run"],
            str(line["dims"]),
            f"{line['blocks']:.3f} ± {line['blocks_spread']:.3f}",
            f"{line['random']:.3f} ± {line['random_spread']:.3f}",
        )
    targets = len({row["target"] for row in table["rows"]})
    console.print(
        f"\nProbes of [bold]{title}[/]: R² averaged over {targets} targets; mean ± standard "
        f"deviation over {len(table['seeds'])} seeds ({table['protocol']})"
    )
    console.print(shown)
    names = [line["run"] for line in lines]
    for name, reason in table["left_out"].items():
        console.print(f"Left out: {name} ({reason})", highlight=False)
    if MOBCLIP in names[1:]:
        console.print(
            f"[yellow]{names[0]!r} beats {MOBCLIP!r} on spatial blocks here.[/] "
            "The app opens on the best run."
        )


def _best_first(workspace: "Workspace", place: "Place") -> list[str]:
    """Existing runs, best on spatial blocks first."""
    from mobclip import pipeline
    from mobclip.probes import ladder

    names = place.runs()
    if not names:
        raise ConfigError(
            f"{place.name} has no embeddings yet: run `mobclip embed {place.arguments}` first."
        )
    if not place.targets:
        return names
    return [line["run"] for line in ladder(pipeline.probe(workspace, place)["rows"])]


def _project_in_background(arguments: list[str]) -> "subprocess.Popen[bytes]":
    """UMAP of all runs, best first, while the app is open already."""
    chosen = _settings.get()
    options = ["--manifest", str(chosen.manifest), "--data", str(chosen.data)]
    if chosen.mirror is not None:
        options += ["--mirror", str(chosen.mirror)]
    # Niced, so that the app stays quick on few cores.
    command = ["nice", sys.executable, "-m", "mobclip", *options, "project", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _run_app(data: Path, *, port: int, browser: bool, place: str | None = None) -> int:
    """Streamlit on app/main.py; returns its exit status."""
    if importlib.util.find_spec("streamlit") is None:
        raise MissingExtra("streamlit", extra="app")
    main_file = _app_folder() / "main.py"
    command = [sys.executable, "-m", "streamlit", "run", str(main_file)]
    options = {
        "server.port": port,
        "server.headless": str(not browser).lower(),
        "server.enableStaticServing": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    command += [f"--{key}={value}" for key, value in options.items()]
    environment = {**os.environ, "MOBCLIP_DATA_DIR": str(data.resolve())}
    if place is not None:
        environment["MOBCLIP_PLACE"] = place
    console.print(f"The app is at http://localhost:{port} (Ctrl-C ends it).", highlight=False)
    server = subprocess.Popen(command, env=environment)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        # However this ends, no server stays behind. Ctrl-C has reached it already.
        server.terminate()
        server.wait()
