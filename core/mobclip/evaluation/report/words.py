"""Numbers and names as the report writes them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mobclip.evaluation.document import Code, Column, Part, Table, Text

LONG = 16  # lines from which on a table opens on a click, where a figure shows the same
PROTOCOLS = {
    "blocks": "spatial blocks",
    "random": "random folds",
    "regions": "whole regions",
}


def finite(number: Any) -> float | None:
    """A finite number, or None: null, NaN and what is missing are the same to a reader."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        return None
    return float(number)


def fixed(number: Any) -> str:
    """3 decimals."""
    value = finite(number)
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def signed(number: Any) -> str:
    """3 decimals and a sign: of a difference."""
    value = finite(number)
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def amount(number: Any) -> str:
    """A number of any size: 3 decimals where they say something, else 4 leading digits."""
    value = finite(number)
    if value is None:
        return "–"
    size = abs(value)
    text = f"{value:,.0f}" if size >= 1000 else f"{value:.1f}" if size >= 100 else f"{value:.3f}"
    return text.replace("-", "−")


def whole(number: Any) -> str:
    """A whole number, thousands apart."""
    value = finite(number)
    return "–" if value is None else f"{value:,.0f}"


def percent(number: Any) -> str:
    """A share in per cent."""
    value = finite(number)
    return "–" if value is None else f"{100 * value:.1f} %".replace("-", "−")


def bracket(low: Any, high: Any) -> str:
    """[low, high]; empty where either is unknown."""
    if finite(low) is None or finite(high) is None:
        return ""
    return f"[{fixed(low)}, {fixed(high)}]"


def with_bracket(row: Mapping[str, Any], name: str, low: str, high: str) -> str:
    """A number of a row with its interval, where that is known."""
    return f"{fixed(row.get(name))} {bracket(row.get(low), row.get(high))}".strip()


def shifted(row: Mapping[str, Any], name: str, sign: int) -> float | None:
    """A number of a row plus or minus its spread: the end of a bar."""
    value, spread = finite(row.get(name)), finite(row.get(f"{name}_spread"))
    return None if value is None or spread is None else value + sign * spread


def with_spread(row: Mapping[str, Any], name: str) -> str:
    """A number of a row ± its spread, where that is known."""
    spread = finite(row.get(f"{name}_spread"))
    return fixed(row.get(name)) + ("" if spread is None else f" ± {fixed(spread)}")


def average(numbers: Iterable[float]) -> float:
    """Plain mean."""
    found = list(numbers)
    return sum(found) / len(found)


def plural(count: int, noun: str, many: str = "") -> str:
    """How many of what."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def how_often(folds: Any, seeds: Any) -> str:
    """Folds and seeds, as every caption says them."""
    parts = []
    if finite(folds) is not None:
        parts.append(f"{whole(folds)} folds")
    if seeds:
        listed = ", ".join(str(seed) for seed in seeds)
        parts.append(f"{plural(len(seeds), 'seed')} ({listed})")
    return ", ".join(parts) or "folds and seeds not given"


def n_of(rows: Iterable[Mapping[str, Any]], what: str) -> str:
    """From how many to how many the rows are about."""
    found = sorted({n for row in rows if (n := finite(row.get("n")))})
    if not found:
        return "n not given"
    low, high = whole(found[0]), whole(found[-1])
    return f"n = {low} {what}" if low == high else f"n = {low} to {high} {what}"


def listed(names: Sequence[Part]) -> list[Part]:
    """Parts of a text: a, b and c."""
    parts: list[Part] = []
    for i, name in enumerate(names):
        if i:
            parts.append(" and " if i == len(names) - 1 else ", ")
        parts.append(name)
    return parts


def few(names: Sequence[Any]) -> list[Part]:
    """The first names of many, and how many more there are."""
    shown: list[Part] = [Code(str(one)) for one in names[:3]]
    if len(names) > 3:
        shown.append(f"{len(names) - 3} more")
    return listed(shown) or ["–"]


def marked(text: str) -> list[Part]:
    """A sentence in which names stand between backticks."""
    return [Code(part) if i % 2 else part for i, part in enumerate(text.split("`"))]


def plain_table(
    rows: Sequence[Mapping[str, Any]],
    title: Text,
    fields: Sequence[tuple[str, Text, Callable[[Any], Text]]],
    *,
    note: str = "",
    folded: bool = False,
) -> Table:
    """One line per row, one column per field (key, title, how it is written) that any row has."""
    used = [field for field in fields if any(row.get(field[0]) is not None for row in rows)]
    numbers = (fixed, signed, amount, whole)
    return Table(
        title=title,
        columns=[
            Column(title=head, align="right" if write in numbers else "left")
            for _, head, write in used
        ],
        rows=[
            ["–" if row.get(key) is None else write(row[key]) for key, _, write in used]
            for row in rows
        ],
        note=note,
        folded=folded,
    )
