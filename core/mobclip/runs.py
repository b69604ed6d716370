"""What the folder of a training tells: settings, curves, how long it will go on.

Read while it is written by another process: a torn last line is left out.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from mobclip.storage import read_json, write_json

POINTS = 500  # of a curve; more cannot be told apart on a screen
WHOLE = 2_000_000  # bytes of steps.jsonl up to which every line is read
RECIPE_FILE = "recipe.json"  # what a run with a name of its own was trained by
PLACES = ("place", "places")  # entries of config.yaml that are no settings
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class RunLog:
    """A run that was, or is being, trained."""

    folder: Path
    recipe: str  # empty where nobody knows: a run whose name is none, made by hand
    config: Mapping[str, Any]  # settings, and the key of the place
    epochs: Sequence[Mapping[str, Any]] = field(default_factory=list)  # lines of metrics.jsonl
    trained: bool = False  # to its end
    embedded: bool = False

    @classmethod
    def load(cls, folder: Path, recipes: Sequence[str] = ()) -> "RunLog":
        """Read a folder; nothing in it has to be there.

        recipes : names that a run may have from its recipe
        """
        named = folder.name if folder.name in recipes else ""
        sidecar = _json(folder / RECIPE_FILE)
        try:
            config = yaml.safe_load((folder / "config.yaml").read_text("utf-8")) or {}
        except (OSError, yaml.YAMLError):
            config = {}
        config = config if isinstance(config, dict) else {}
        return cls(
            folder=folder,
            recipe=str(sidecar.get("recipe") or config.get("model") or named),
            config=config,
            epochs=_lines(folder / "metrics.jsonl"),
            trained=(folder / "trained.json").is_file()
            and (folder / "model.safetensors").is_file(),
            embedded=(folder / "embeddings.parquet").is_file(),
        )

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.name

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen, without the place."""
        return {name: value for name, value in self.config.items() if name not in PLACES}

    @property
    def limit(self) -> int | None:
        """Epochs at most; None where it is not known."""
        most = self.config.get("epochs")
        return most if isinstance(most, int) else None

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The epoch whose weights are kept."""
        return min(self.epochs, key=lambda one: one["validation"]) if self.epochs else None

    @property
    def seconds_per_epoch(self) -> float | None:
        """Median of the last five."""
        return median(one["seconds"] for one in self.epochs[-5:]) if self.epochs else None

    def seconds_left(self, now: float) -> float | None:
        """At most: early stopping may end it sooner. None before the first epoch has ended.

        now : seconds since 1970; the last epoch ended when metrics.jsonl was written
        """
        each, most = self.seconds_per_epoch, self.limit
        if each is None or most is None:
            return None
        since = now - (self.folder / "metrics.jsonl").stat().st_mtime
        return max((most - len(self.epochs)) * each - min(max(since, 0.0), each), 0.0)

    def steps(self, points: int = POINTS) -> list[dict[str, Any]]:
        """At most so many steps, evenly spread, the last one among them."""
        return thinned(self.folder / "steps.jsonl", points)

    def differences(self, recipe: str, settings: Mapping[str, Any], key: str | None) -> list[str]:
        """In words, what would be other than it is if this run were trained so now.

        Empty: the same training, which goes on where it stopped, or nothing is there yet.

        key : of the place as it is now
        """
        if not self.config:
            return []
        found = []
        if self.recipe and self.recipe != recipe:
            found.append(f"recipe {self.recipe}, not {recipe}")
        before = self.config.get("place") or (self.config.get("places") or [None])[0]
        if before != key:
            found.append("an earlier version of the place")
        for name, value in settings.items():
            if name in self.config and self.config[name] != value:
                found.append(f"{name} {self.config[name]}, not {value}")
        return found


def record_recipe(folder: Path, recipe: str, settings: Mapping[str, Any]) -> None:
    """Remember what a run is trained by."""
    write_json(folder / RECIPE_FILE, {"recipe": recipe, "settings": dict(settings)})


def recorded_settings(folder: Path) -> dict[str, Any] | None:
    """The settings that `record_recipe` wrote."""
    settings = _json(folder / RECIPE_FILE).get("settings")
    return settings if isinstance(settings, dict) else None


def name_problem(name: str, reserved: Sequence[str]) -> str:
    """Why a run cannot be called so, in words; empty if it can.

    reserved : names of runs that are made in another way
    """
    if not NAME.fullmatch(name):
        return (
            f"“{name}” is no name of a run: use letters, digits and “-”, 40 at most, "
            "beginning with a letter or digit."
        )
    if name in reserved:
        return f"“{name}” is the name of another way to make embeddings: choose another one."
    return ""


def mean_of(epoch: Mapping[str, Any], what: str) -> float | None:
    """Mean over modalities of `recall` or `closeness` in a line of metrics.jsonl."""
    values = list((epoch.get(what) or {}).values())
    return sum(values) / len(values) if values else None


def table_of_settings(logs: Sequence[RunLog]) -> dict[str, list[str]]:
    """Setting -> its value in each run: what differs, of what two of them or more have."""
    rows: dict[str, list[str]] = {}
    for name in ("recipe", *dict.fromkeys(name for one in logs for name in one.settings)):
        given = [one.recipe if name == "recipe" else one.settings.get(name) for one in logs]
        shared = sum(one is not None for one in given) > 1
        values = [_text(one) for one in given]
        if shared and len(set(values)) > 1:
            rows[name] = values
    return rows


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)


def thinned(path: Path, points: int) -> list[dict[str, Any]]:
    """Some lines of a .jsonl file, evenly spread, the first and the last whole ones among them.

    Of a long file only these lines are read: its length in bytes does not matter.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return []
    if size <= WHOLE:
        lines = _lines(path)
        if len(lines) <= points:
            return lines
        step = (len(lines) - 1) / (points - 1)
        return [lines[round(i * step)] for i in range(points)]
    found = []
    with path.open("rb") as file:
        tail = 4096  # longer than a line
        for at in [round(i * (size - tail) / (points - 1)) for i in range(points - 1)]:
            file.seek(at)
            if at:
                file.readline()  # the rest of a line
            found.append(_parsed(file.readline()))
        file.seek(size - tail)
        found += [_parsed(line) for line in file.read().split(b"\n")[1:]][-2:]
    last = 0
    kept = []
    for one in found:  # two places may lie in one line
        if one is not None and one.get("step", last + 1) > last:
            last = one.get("step", last + 1)
            kept.append(one)
    return kept


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [one for line in content.split(b"\n") if (one := _parsed(line)) is not None]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path)
    return value if isinstance(value, dict) else {}
