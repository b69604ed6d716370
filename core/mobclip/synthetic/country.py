"""The whole country, written as the files that providers would publish."""

import json
import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mobclip import grid
from mobclip.storage import atomic_path
from mobclip.synthetic.context import make_context
from mobclip.synthetic.districts import (
    Districts,
    bin_columns,
    make_census,
    make_cities,
    make_districts,
)
from mobclip.synthetic.flows import make_flows
from mobclip.synthetic.image import in_swath, write_image
from mobclip.synthetic.latents import SHOWN_IN, Latents, make_latents
from mobclip.synthetic.points import make_points
from mobclip.synthetic.settlements import make_settlements
from mobclip.synthetic.targets import Outcome, make_outcomes
from mobclip.synthetic.world import COUNTRY, NOTICE, World, make_world

log = logging.getLogger(__name__)


def write_country(
    folder: Path | str, *, cells: int = 20_000, resolution: int = 6, seed: int = 0
) -> None:
    """Write the invented country to `folder`, whole or not at all.

    Parameters
    ----------
    folder : is made, or replaced if it is there
    cells : H3 cells of land, 100 or more; all counts grow with it
    resolution : of the cells; the country is as large as its cells are
    seed : the same seed gives the same bytes

    Raises
    ------
    ConfigError : the country would be too small to have cities, or too large for the ocean
    """
    # One stream for each part: a change to one part leaves the others as they are.
    streams = np.random.default_rng(seed).spawn(9)
    world = make_world(streams[0], cells=cells, resolution=resolution)
    towns = make_settlements(streams[1], world)
    latents = make_latents(streams[2], world, towns)
    districts = make_districts(streams[3], world, towns)
    outcomes = make_outcomes(streams[4], world, latents, districts)
    log.info("%s: %d cells, %d districts", COUNTRY, cells, len(districts.ids))
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        _write_table(temporary / "pois.parquet", make_points(streams[5], world, towns, latents))
        _write_table(temporary / "flows.parquet", make_flows(streams[6], world, latents))
        _write_zones(
            temporary / "districts.parquet", make_census(streams[7], world, latents, districts)
        )
        _write_zones(temporary / "cities.parquet", make_cities(world, districts))
        write_image(temporary / "imagery.tif", streams[8], world, towns, latents)
        _write_targets(temporary, world, districts, outcomes)
        _write_truth(temporary, world, latents, districts, outcomes, seed=seed)
        context = make_context(world, towns, districts)
        _write_text(temporary / "context.geojson", json.dumps(context, separators=(",", ":")))
        _write_text(temporary / "README.txt", NOTICE + "\n")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", newline="\n")


def _write_table(path: Path, table: pa.Table) -> None:
    pq.write_table(table.replace_schema_metadata({"notice": NOTICE}), path, compression="zstd")


def _write_zones(path: Path, zones: gpd.GeoDataFrame) -> None:
    zones.to_parquet(path, index=False, compression="zstd")


def _write_targets(
    folder: Path, world: World, districts: Districts, outcomes: tuple[Outcome, ...]
) -> None:
    keys = {
        "cell": ("targets_cells.csv", "h3", grid.to_strings(world.cells)),
        "district": ("targets_districts.csv", "id", districts.ids),
        "city": ("targets_cities.csv", "id", districts.city_ids),
    }
    for level, (file, key, units) in keys.items():
        columns: dict[str, Any] = {key: units}
        for outcome in outcomes:
            if outcome.recipe.level == level:
                columns[outcome.recipe.name] = outcome.values
        pd.DataFrame(columns).to_csv(
            folder / file, index=False, float_format="%.6g", lineterminator="\n"
        )


def _write_truth(
    folder: Path,
    world: World,
    latents: Latents,
    districts: Districts,
    outcomes: tuple[Outcome, ...],
    *,
    seed: int,
) -> None:
    twin = np.full(len(world.cells), "", object)
    name = np.array(grid.to_strings(world.cells), object)
    a, b = latents.twins.T
    twin[a], twin[b] = name[b], name[a]
    _write_table(
        folder / "truth.parquet",
        pa.table(
            {
                "h3": pa.array(name),
                "population": latents.population.astype(np.int64),
                "district": pa.array(np.array(districts.ids, object)[districts.of_cell]),
                "city": pa.array(np.array(districts.city_ids, object)[districts.city_of_cell]),
                "imaged": ~in_swath(world, *world.xy.T),
                "twin": pa.array(twin),
                **latents.values,
            }
        ),
    )
    truth = {
        "notice": NOTICE,
        "country": COUNTRY,
        "invented": True,
        "cells": len(world.cells),
        "resolution": world.resolution,
        "seed": seed,
        "shown_in": {latent: list(modalities) for latent, modalities in SHOWN_IN.items()},
        "bins": bin_columns(),
        "targets": {
            outcome.recipe.name: {
                "title": outcome.recipe.title,
                "unit": outcome.recipe.unit,
                "level": outcome.recipe.level,
                "transform": "log1p" if outcome.recipe.log else "none",
                "weights": outcome.recipe.weights,
                "mean": outcome.recipe.mean,
                "spread": outcome.recipe.spread,
                "noise_sd": float(
                    outcome.recipe.spread
                    * np.sqrt((1 - outcome.recipe.ceiling) / outcome.recipe.ceiling)
                ),
                "ceiling_planned": outcome.recipe.ceiling,
                "ceiling": round(outcome.reachable, 4),
                "observed": int(np.isfinite(outcome.values).sum()),
            }
            for outcome in outcomes
        },
        "twins": [[str(name[i]), str(name[j])] for i, j in latents.twins],
    }
    _write_text(folder / "truth.json", json.dumps(truth, indent=1, ensure_ascii=False) + "\n")
