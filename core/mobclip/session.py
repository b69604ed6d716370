"""What somebody looks at in a place: a `Selection`, and the `Session` around it.

Pure values, without a page: the app keeps one in its address, `mobclip replay` reads one from a
file, tests make them by hand.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mobclip.errors import ArtefactError
from mobclip.storage import atomic_path

FORMAT = 1
KEPT = 50  # steps that can be undone
COUNTS = (5, 100)  # fewest and most similar places listed
LARGEST = 50_000_000  # bytes of a session file


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Everything that a link carries. What is empty, or 0, is not chosen."""

    view: str = "map"
    place: str = ""
    run: str = ""
    cell: str = ""  # 15 hexadecimal digits
    # ---- map
    colour: str = "embedding"  # embedding, dim:<number>, clusters, similarity, evidence,
    # has:<modality>, target:<name>, predicted:<name>, overlap, disagreement,
    # influence:<modality>, disagree:<modality>:<modality>
    clusters: int = 8
    other: str = ""  # the run it is compared with
    split: str = ""  # how: "swipe", "side"
    # ---- similar places
    query: str = ""  # words; empty: like the chosen cell
    like: tuple[str, ...] = ()  # cells, beside the chosen one
    unlike: tuple[str, ...] = ()
    count: int = 20
    apart: float = 0.0  # km
    least: float = -1.0  # score, -1 to 1
    inside: bool = False  # only in the area that was drawn
    weights: tuple[str, ...] = ()  # of modalities, <name>:<0 to 1>; those not named have 1
    # ---- probe
    target: str = ""
    part: str = ""  # of a target that is a composition
    tab: str = "score"  # of the probe view: score, learn, paint, own
    layer: str = "predicted"  # what the probe's map shows
    budget: float = 1.0  # share of the labels that the probe may learn from
    dims: int = 0  # only the first so many numbers of the embedding
    using: tuple[str, ...] = ()  # modalities that are known; empty: all
    alpha: float = 0.0  # penalty of the ridge; 0: chosen inside the folds
    # ---- modalities
    edits: tuple[str, ...] = ()  # what if, one edit each: see `whatif.Edits`
    # ---- classroom
    lesson: int = 0

    @classmethod
    def from_text(cls, values: Mapping[str, str]) -> "Selection":
        """From an address, or a file: what cannot be read keeps its default."""
        read: dict[str, Any] = {}
        for one in fields(cls):
            text = values.get(one.name)
            if text is None:
                continue
            if one.type in (int, float):
                try:
                    number = float(text)
                except ValueError:
                    continue
                if not math.isfinite(number):
                    continue
                read[one.name] = one.type(number)
            elif one.type is bool:
                read[one.name] = text == "1"
            elif one.type is str:
                read[one.name] = text
            else:
                read[one.name] = tuple(part for part in text.split(",") if part)
        return cls(**read).bounded()

    def to_text(self) -> dict[str, str]:
        """Field -> text, of the fields that are not as usual."""
        usual = asdict(Selection())
        return {name: _text(value) for name, value in asdict(self).items() if value != usual[name]}

    def bounded(self) -> "Selection":
        """Numbers within what the page offers."""
        fewest, most = COUNTS
        return replace(
            self,
            count=min(max(self.count, fewest), most),
            clusters=min(max(self.clusters, 2), 20),
            apart=min(max(self.apart, 0.0), 1e4),
            least=min(max(self.least, -1.0), 1.0),
            budget=min(max(self.budget, 0.001), 1.0),
            dims=max(self.dims, 0),
            alpha=max(self.alpha, 0.0),
            lesson=max(self.lesson, 0),
        )

    def weight(self, modality: str) -> float:
        """Weight of a modality in a search, 0 to 1; 1 unless it was set."""
        for one in self.weights:
            name, _, value = one.partition(":")
            if name == modality:
                try:
                    return min(max(float(value), 0.0), 1.0)
                except ValueError:
                    return 1.0
        return 1.0


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True)
class Session:
    """A selection, what was drawn on the map, and labels; every change can be undone.

    area : cells inside what was boxed, lassoed or brushed
    labels : cell -> what was painted there: a number as text, or the name of a class
    """

    selection: Selection = field(default_factory=Selection)
    area: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    before: tuple["Session", ...] = field(default=(), repr=False, compare=False)

    def changed(self, **values: Any) -> "Session":
        """With another selection. One that only moves a slider is no step to undo."""
        selection = replace(self.selection, **values).bounded()
        if selection == self.selection:
            return self
        steps = {"cell", "like", "unlike", "query"} & values.keys()
        return self._next(selection=selection) if steps else replace(self, selection=selection)

    def drawn(self, cells: tuple[str, ...]) -> "Session":
        """With another area; without cells none."""
        return self if cells == self.area else self._next(area=cells)

    def painted(self, cells: tuple[str, ...], label: str) -> "Session":
        """With a label at some cells; an empty one takes it off them."""
        labels = {cell: one for cell, one in self.labels.items() if cell not in set(cells)}
        if label:
            labels |= dict.fromkeys(cells, label)
        return self if labels == self.labels else self._next(labels=labels)

    def undone(self) -> "Session":
        """As before the last step."""
        if not self.before:
            return self
        *rest, last = self.before
        return replace(last, before=tuple(rest))

    def _next(self, **values: Any) -> "Session":
        last = replace(self, before=())
        return replace(self, before=(*self.before, last)[-KEPT:], **values)

    # ---- files

    def to_json(self, **more: Any) -> str:
        """As text; `more` stands beside it (what came out, and of which version)."""
        whole = {
            "format": FORMAT,
            "selection": self.selection.to_text(),
            "area": list(self.area),
            "labels": dict(self.labels),
            **more,
        }
        return json.dumps(whole, indent=1, ensure_ascii=False)

    def save(self, path: Path | str, **more: Any) -> None:
        """Write `to_json`, atomically."""
        with atomic_path(path) as temporary:
            temporary.write_text(self.to_json(**more), "utf-8")

    @classmethod
    def load(cls, path: Path | str) -> "Session":
        """Read a file that the app or `save` wrote."""
        path = Path(path)
        try:
            if path.stat().st_size > LARGEST:
                raise ArtefactError(f"{path} has {path.stat().st_size:,} bytes: no session has.")
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtefactError(f"{path} cannot be read ({error}).") from error
        return cls.from_json(text, path.name)

    @classmethod
    def from_json(cls, text: str, name: str = "the session") -> "Session":
        """From the text of a session file; `ArtefactError` if it is none."""
        again = "Save the session again in the app (Session, Save)."
        try:
            whole = json.loads(text)
            if whole["format"] != FORMAT:
                raise ArtefactError(
                    f"{name} is of format {whole['format']}; this version reads {FORMAT}. {again}"
                )
            given, area, labels = whole["selection"], whole["area"], whole["labels"]
            right = (
                isinstance(given, dict)
                and isinstance(area, list)
                and isinstance(labels, dict)
                and all(isinstance(one, str) for one in [*given.values(), *area])
                and all(isinstance(one, str) for one in labels.values())
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"{name} is no session file ({error}). {again}") from error
        if not right:
            raise ArtefactError(f"{name} is no session file: its parts are of other kinds. {again}")
        return cls(selection=Selection.from_text(given), area=tuple(area), labels=labels)
