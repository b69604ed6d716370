"""The results of an evaluation, as the sections of the report ask for them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from mobclip.evaluation.report.words import PROTOCOLS, finite, how_often, plural, whole
from mobclip.probes.metrics import PRIMARY


class Results:
    """The content of results.json: any list may be missing, unknown keys are not looked at."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.all = results
        self.runs: Mapping[str, Any] = results.get("runs") or {}
        self.targets: Mapping[str, Any] = results.get("targets") or {}

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """One of the lists; empty where it is missing."""
        return list(self.all.get(name) or ())

    @cached_property
    def ladder(self) -> list[Mapping[str, Any]]:
        """Lines of the ladder that have a score on blocks, best first."""
        lines = [one for one in self.rows("ladder") if finite(one.get("blocks")) is not None]
        return sorted(lines, key=lambda one: -one["blocks"])

    @cached_property
    def order(self) -> dict[str, int]:
        """Run -> rank: as on the ladder, then as they were run."""
        names = [str(one["run"]) for one in self.ladder]
        names += [str(one["run"]) for one in self.rows("scores")]
        return {name: rank for rank, name in enumerate(dict.fromkeys([*names, *self.runs]))}

    def by_rank(self, names: Iterable[str]) -> list[str]:
        """Distinct names of runs, best first; those that are not runs (gravity) last."""
        return sorted(dict.fromkeys(names), key=lambda name: self.order.get(name, 10**6))

    def target(self, name: str) -> Mapping[str, Any]:
        """What is known of a target."""
        found: Mapping[str, Any] = self.targets.get(name) or {}
        return found

    def title_of(self, target: str) -> str:
        """Its title, or its name where it has none."""
        return str(self.target(target).get("title") or target)

    @cached_property
    def _scored(self) -> dict[tuple[str, str, str, str], Mapping[str, Any]]:
        found: dict[tuple[str, str, str, str], Mapping[str, Any]] = {}
        for row in self.rows("scores"):
            key = (row["run"], row["target"], row["protocol"], row["metric"])
            main = (self.runs.get(row["run"]) or {}).get("probe")
            if key not in found or row.get("probe") == main:
                found[key] = row
        return found

    def score(self, run: str, target: str, protocol: str, metric: str) -> Mapping[str, Any]:
        """A row of the scores by the probe that the run is judged by; empty where there is none."""
        return self._scored.get((run, target, protocol, metric), {})

    @cached_property
    def protocols(self) -> list[str]:
        """Protocols that the ladder has a number for, in the order of reading."""
        return [
            name
            for name in PROTOCOLS
            if any(finite(one.get(name)) is not None for one in self.ladder)
        ]

    def targets_of(self, *kinds: str) -> list[str]:
        """Scored targets of these kinds, in the order of the results.

        All targets count as scored where the scores themselves are not there (docs/results).
        """
        scored = {target for _, target, _, _ in self._scored} or set(self.targets)
        names = [*self.targets, *(name for name in sorted(scored) if name not in self.targets)]
        return [
            name
            for name in names
            if name in scored and self.target(name).get("kind", "number") in kinds
        ]

    def units(self, targets: Iterable[str]) -> str:
        """How many labelled units the targets have."""
        found = sorted({n for one in targets if (n := finite(self.target(one).get("n")))})
        if not found:
            return "n not given"
        low, high = whole(found[0]), whole(found[-1])
        return f"n = {low} units" if low == high else f"n = {low} to {high} units each"

    @cached_property
    def how_often(self) -> str:
        """Folds and seeds of the ladder, and of all that is said to be as often."""
        return how_often(self.all.get("folds"), self.all.get("seeds"))

    @cached_property
    def once(self) -> str:
        """Folds and seeds of what is done for the first seed alone."""
        return how_often(self.all.get("folds"), list(self.all.get("seeds") or ())[:1])

    def note(self, targets: Sequence[str], more: str = "", *, often: str = "") -> str:
        """The caption that every figure has: n, folds and seeds."""
        counted = f"{plural(len(targets), 'target')}; {self.units(targets)}"
        return f"{counted}; {often or self.how_often}. {more}".strip()

    @property
    def place(self) -> str:
        """Name of the place for people."""
        return str(self.all.get("title") or self.all.get("place") or "a place")

    @cached_property
    def ceilings(self) -> list[float]:
        """Of all numeric targets, or none: a mean of some would be of another set."""
        names = self.targets_of("number")
        found = [value for name in names if (value := finite(self.target(name).get("ceiling")))]
        return found if len(found) == len(names) else []

    def difference(self, run: str) -> Mapping[str, Any]:
        """Against the best training-free run beside it, on blocks; empty where it is not known."""
        for row in self.rows("differences"):
            if row.get("run") == run and row.get("protocol", "blocks") == "blocks":
                return row
        return {}

    def kind_of(self, run: str) -> str:
        """Where a run comes from."""
        what = self.runs.get(run) or {}
        if what.get("external"):
            return "made elsewhere"
        free = what.get("training_free")
        return "–" if free is None else "training-free" if free else "trained"

    def metric_of(self, target: str) -> str:
        """The metric by which a target is ranked."""
        return PRIMARY[self.target(target).get("kind", "number")]

    def primary(self, run: str, target: str) -> float | None:
        """Score of a run on a target by that metric, on blocks."""
        row = self.score(run, target, "blocks", self.metric_of(target))
        return finite(row.get("mean"))


def ends(rows: Sequence[Mapping[str, Any]], low: str, high: str) -> dict[str, Any]:
    """Both ends of the intervals, as `figures.Dots` takes them."""
    return {
        "low": [finite(one.get(low)) for one in rows],
        "high": [finite(one.get(high)) for one in rows],
    }


def gap(line: Mapping[str, Any]) -> float | None:
    """What a line of the ladder gains by random folds."""
    blocks, random = finite(line.get("blocks")), finite(line.get("random"))
    return None if blocks is None or random is None else random - blocks
