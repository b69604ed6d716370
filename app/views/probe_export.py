"""Downloads of the probe view: predictions with their intervals, and where they came from."""

from collections.abc import Callable
from typing import Any

import cache
import numpy as np
import pyarrow as pa
from cache import PlaceFiles

from mobclip import export
from mobclip.place import Target
from mobclip.probes import ProbeResult, shown_on_cells
from mobclip.session import Selection
from views import downloads
from views import probe_work as work


def show(
    selection: Selection,
    files: PlaceFiles,
    target: Target,
    part: str,
    result: ProbeResult,
    asked: work.Setting,
) -> None:
    """A button for each format."""

    def table() -> pa.Table:
        return predictions(files, target, part, result, asked)

    buttons(table, f"mobclip-{files.key}-{selection.run}-{target.name}", "predictions")


def buttons(table: Callable[[], pa.Table], name: str, what: str) -> None:
    """CSV and GeoParquet of the same table."""
    said = f"The {what} of every cell, with how they were made."
    downloads.buttons(table, table, name, key=what, helps=(said, said))


def predictions(
    files: PlaceFiles, target: Target, part: str, result: ProbeResult, asked: work.Setting
) -> pa.Table:
    """Prediction, measured value, fold and, of numbers and parts, the 90 % interval of each cell.

    Cells that the target says nothing about are left out.
    """
    place = cache.load_place(files)
    columns = {
        "predicted": shown_on_cells(target, result.actual, result.predicted, part),
        "measured": target.on_cells(target.values[:, target.classes.index(part)] if part else None),
        "fold": target.on_cells(result.folds.astype(np.float64)),
    }
    coverage = None
    if target.kind in ("number", "composition"):
        found = work.calibrated(files, target, part, asked)
        low, high = work.bounds(target, found)
        columns |= {"low_90": target.on_cells(low), "high_90": target.on_cells(high)}
        coverage = found.coverage
    known = np.isfinite(columns["measured"])
    kept: dict[str, Any] = {name: one[known] for name, one in columns.items()}
    kept["fold"] = kept["fold"].astype(np.int64)
    if target.kind == "class":
        names = np.array(target.classes, object)
        kept |= {one: names[kept[one].astype(np.int64)] for one in ("predicted", "measured")}
    return export.results_table(
        place.cells[known],
        kept,
        {
            "place": place.name,
            "resolution": place.resolution,
            "place_key": place.provenance.get("key"),
            "run": asked.run,
            "run_key": cache.load_index(files, asked.run).embeddings.provenance.get("key"),
            "target": target.title,
            "part": part or None,
            "unit": target.unit,
            "note": target.note or None,
            "probe": result.probe,
            "how": "each cell predicted by a model that learned from other spatial blocks, seed 0",
            "labels": f"{asked.share:.1%}",
            "penalty": asked.alpha or "chosen inside the folds",
            "numbers_of_the_embedding": asked.dims or "all",
            "modalities": list(asked.using) or "all",
            "interval": "90 %, calibrated on other blocks, all labels" if coverage else None,
            "interval_coverage_found": coverage and round(coverage, 4),
            "scores": {one: round(score.mean, 4) for one, score in result.scores.items()},
        },
    )
