"""How well the runs of a place predict one target, and what a reader must not overlook in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cache
import numpy as np
from cache import PlaceFiles

from mobclip.baselines import BASELINES
from mobclip.evaluation.report.methods import METRICS
from mobclip.place import Target
from mobclip.probes import PRIMARY

PROTOCOLS = {"blocks": "new areas (spatial blocks)", "random": "scattered gaps (random folds)"}
PLACES = {"blocks": "New areas", "random": "Scattered gaps", "regions": "New regions"}
# Runs that know where a cell is, and nothing else.
POSITION = (
    *("coordinates", "neighbours", "wrap", "harmonics", "fourier", "sphere2vec"),
    *("space2vec-grid", "space2vec-theory"),
)
VISIBLE = 0.001  # a difference that shows in three decimals

Row = Mapping[str, Any]


def metric_name(metric: str) -> str:
    """As it is written at the start of a line."""
    name = METRICS[metric][0]
    return name[0].upper() + name[1:]


def metric_help(metric: str) -> str:
    """What it says, in one sentence."""
    return METRICS[metric][1]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of every run on one target: of `mobclip evaluate`, or else of `mobclip probe`."""

    target: Target
    rows: Sequence[Row]  # per run, protocol and metric
    seeds: int
    evaluation: Mapping[str, Any] | None  # where the rows are from it
    command: str = "mobclip probe"  # what made the rows, where they are from a table

    @classmethod
    def load(cls, files: PlaceFiles, run: str, target: Target) -> "Scores":
        """From the evaluation, where it knows this very run and target, else the probe table."""
        evaluation = cache.load_evaluation(files)
        key = cache.load_index(files, run).embeddings.provenance.get("key")
        known = (evaluation or {}).get("runs", {}).get(run, {})
        if evaluation is not None and known.get("key", key) == key:
            rows = [row for row in evaluation.get("scores", []) if row["target"] == target.name]
            if any(row["run"] == run for row in rows):
                return cls(
                    target=target,
                    rows=rows,
                    seeds=len(evaluation.get("seeds", [])),
                    evaluation=evaluation,
                )
        table = cache.load_probes(files) or {"rows": [], "seeds": []}
        rows = [row for row in table["rows"] if row["target"] == target.name]
        return cls(target=target, rows=rows, seeds=len(table["seeds"]), evaluation=None)

    @classmethod
    def of_rows(cls, target: Target, rows: Sequence[Row]) -> "Scores":
        """Of a target that somebody brought along: what was computed just now."""
        seeds = len(rows[0]["per_seed"]) if rows else 0
        return cls(target=target, rows=rows, seeds=seeds, evaluation=None, command="")

    @property
    def metric(self) -> str:
        """The one that is shown first."""
        return PRIMARY[self.target.kind]

    def primary(self, protocol: str) -> dict[str, Row]:
        """Run -> its row of the primary metric, best first; runs without a score are left out."""
        rows = [
            row
            for row in self.rows
            if row["metric"] == self.metric
            and row["protocol"] == protocol
            and np.isfinite(row["mean"])
        ]
        return {row["run"]: row for row in sorted(rows, key=lambda row: -row["mean"])}

    def of(self, run: str) -> dict[str, dict[str, Row]]:
        """Metric -> protocol -> row of one run."""
        found: dict[str, dict[str, Row]] = {}
        for row in self.rows:
            if row["run"] == run:
                found.setdefault(row["metric"], {})[row["protocol"]] = row
        return found

    def trained(self, run: str) -> bool:
        """Whether it learned anything, as opposed to being computed."""
        known = (self.evaluation or {}).get("runs", {}).get(run, {})
        return not known.get("training_free", run in BASELINES)

    @property
    def ranges(self) -> str:
        """What the range beside a score is, and where it comes from."""
        if self.evaluation is None:
            made = f" (`{self.command}`)" if self.command else ", computed now"
            return f"± one standard deviation over {self.seeds} divisions into folds{made}"
        if self.metric == "r2":
            return "95 % intervals, found by drawing areas and seeds anew (`mobclip evaluate`)"
        return (
            f"± one standard deviation over {self.seeds} seeds of folds and training "
            "(`mobclip evaluate`)"
        )

    def simpler(self, run: str) -> list[tuple[str, Row, list[Row]]]:
        """Protocol, the row of `run`, rows of simpler runs that beat it; where there are any.

        For a trained run the best training-free one in new areas; for every run position alone.
        """
        found = []
        for protocol in PROTOCOLS:
            rows = self.primary(protocol)
            if run not in rows or run in POSITION:
                continue
            rivals = [next((one for one in rows if one in POSITION), None)]
            if protocol == "blocks" and self.trained(run):
                rivals.insert(0, next((one for one in rows if not self.trained(one)), None))
            better = [
                rows[one]
                for one in dict.fromkeys(rivals)
                if one is not None and rows[one]["mean"] - rows[run]["mean"] >= VISIBLE
            ]
            if better:
                found.append((protocol, rows[run], better))
        return found

    def coverage(self, run: str) -> Row | None:
        """How often intervals of prediction held, where that was checked."""
        rows = (self.evaluation or {}).get("conformal", [])
        mine = (one for one in rows if (one["run"], one["target"]) == (run, self.target.name))
        return next(mine, None)

    def probes(self, run: str) -> dict[str, dict[str, float]]:
        """Probe -> protocol -> score in the folds of the first seed, of every probe evaluated."""
        found: dict[str, dict[str, float]] = {}
        for row in (self.evaluation or {}).get("probes", []):
            if (row["run"], row["target"], row["metric"]) == (run, self.target.name, self.metric):
                found.setdefault(row["probe"], {})[row["protocol"]] = row["mean"]
        return found


def bounds(row: Row) -> tuple[float, float]:
    """95 % interval where there is one, else ± one standard deviation."""
    if has_interval(row):
        return row["low"], row["high"]
    return row["mean"] - row["spread"], row["mean"] + row["spread"]


def has_interval(row: Row) -> bool:
    """Whether `bounds` is a 95 % interval."""
    return row.get("low") is not None


def with_bounds(row: Row) -> str:
    """0.612 [0.55, 0.66], or 0.612 ± 0.013; measures in a unit as long as they need to be."""
    if has_interval(row):
        return f"{row['mean']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"
    if abs(row["mean"]) < 10:
        return f"{row['mean']:.3f} ± {row['spread']:.3f}"
    return f"{row['mean']:,.4g} ± {row['spread']:,.2g}"
