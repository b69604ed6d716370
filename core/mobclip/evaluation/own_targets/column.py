"""One column of a table that somebody brought, read as whatever is asked for."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, UInt64

from mobclip.errors import RecordError
from mobclip.place import TargetKind

MAX_CLASSES = 30
KINDS: tuple[TargetKind, ...] = ("number", "binary", "class")
# Words for what is not known, in lower case.
NOTHING = ("", "na", "n/a", "nan", "null", "none", "-", "–", ".")
YES, NO = ("1", "1.0", "yes", "true", "y", "t"), ("0", "0.0", "no", "false", "n", "f")


@dataclass(frozen=True)
class Column:
    """One column, read as whatever is asked for."""

    values: pa.ChunkedArray

    @cached_property
    def _number_type(self) -> bool:
        kind = self.values.type
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    @cached_property
    def texts(self) -> np.ndarray:
        """(n,) object str, stripped; "" where nothing is known."""
        if pa.types.is_binary(self.values.type):
            return np.full(len(self.values), "", object)
        column = pc.utf8_trim_whitespace(pc.fill_null(self.values.cast(pa.string()), ""))
        texts = column.to_numpy(zero_copy_only=False).astype(object)
        lower = pc.utf8_lower(column)
        nothing = pc.is_in(lower, pa.array(NOTHING)).to_numpy(zero_copy_only=False)
        texts[nothing] = ""
        return np.asarray(texts)

    @cached_property
    def ids(self) -> np.ndarray:
        """As text; 17031010100.0 of a spreadsheet is 17031010100."""
        return np.array([re.sub(r"^(\d+)\.0+$", r"\1", one) for one in self.texts], object)

    @cached_property
    def numbers(self) -> Float64[np.ndarray, " n"]:
        """As numbers; NaN where there is none."""
        if self._number_type:
            found = np.array(
                self.values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            )
        else:
            found = np.array([_number(one) for one in self.texts], np.float64)
        return np.where(np.isfinite(found), found, np.nan)

    @cached_property
    def _distinct(self) -> np.ndarray:
        # Few are enough to know that there are many.
        return np.unique(self.texts[self.texts != ""].astype(str))

    @property
    def distinct(self) -> int:
        """Different values."""
        return len(self._distinct)

    @cached_property
    def is_numeric(self) -> bool:
        """Whether nine of ten values are numbers."""
        known = self.texts != ""
        return bool(known.any() and np.isfinite(self.numbers[known]).mean() >= 0.9)

    @cached_property
    def is_binary(self) -> bool:
        """Whether it says yes and no, both."""
        said = {one.lower() for one in self._distinct[: len(YES) + len(NO) + 1]}
        return bool(said & set(YES) and said & set(NO) and said <= {*YES, *NO})

    @cached_property
    def like_an_id(self) -> bool:
        """Whether it is another whole number in every row."""
        if not self.is_numeric or self.distinct < len(self.texts):
            return False
        numbers = self.numbers
        return bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all())

    @cached_property
    def kind(self) -> TargetKind | None:
        """What it most probably is."""
        if self.distinct < 2 or pa.types.is_binary(self.values.type):
            return None
        if self.is_binary:
            return "binary"
        if self.is_numeric:
            return "number"
        return "class" if self.distinct <= MAX_CLASSES else None

    @property
    def worded(self) -> str:
        """What it holds."""
        if pa.types.is_binary(self.values.type):
            return "geometry or bytes"
        empty = int((self.texts == "").sum())
        missing = f", {empty:,} empty" if empty else ""
        if self.distinct == 0:
            return "empty"
        if self.is_numeric:
            low, high = np.nanmin(self.numbers), np.nanmax(self.numbers)
            return f"numbers, {low:g} to {high:g}{missing}"
        first = ", ".join(self._distinct[:3])
        return f"text, {self.distinct:,} different ({first[:60]}){missing}"

    def as_kind(
        self, kind: TargetKind
    ) -> tuple[Float64[np.ndarray, " n"], tuple[str, ...], Bool[np.ndarray, " n"]]:
        """Values (NaN where none), names of classes, and where something stands that is none."""
        known = self.texts != ""
        if kind == "number":
            return self.numbers, (), known & ~np.isfinite(self.numbers)
        if kind == "binary":
            lower = np.char.lower(self.texts.astype(str))
            said = np.where(np.isin(lower, YES), 1.0, np.where(np.isin(lower, NO), 0.0, np.nan))
            return said, (), known & np.isnan(said)
        if self.distinct > MAX_CLASSES:
            raise RecordError(
                f"it has {self.distinct:,} different values; a class has up to {MAX_CLASSES}. "
                "Take it as a number, or put rare classes together."
            )
        index = np.searchsorted(self._distinct, self.texts.astype(str)).astype(np.float64)
        return np.where(known, index, np.nan), tuple(map(str, self._distinct)), ~known & False


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def cells_of(column: pa.ChunkedArray) -> tuple[UInt64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """H3 cells and which rows have one; what is no cell at all is 0, and said to be there."""
    if pa.types.is_floating(column.type):
        raise RecordError(
            "cells are written as floating-point numbers, which lose their last digits: write "
            "them as text (862a1072fffffff)."
        )
    if pa.types.is_integer(column.type):
        known = column.is_valid().to_numpy(zero_copy_only=False)
        return pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.uint64), known
    texts = Column(column).texts
    cells = np.zeros(len(texts), np.uint64)
    for row, text in enumerate(texts):
        if text:
            cells[row] = _cell(text)
    return cells, texts != ""


def _cell(text: str) -> int:
    # 15 hexadecimal digits, or the same as a whole number, which has 18.
    for base, length in ((16, (15, 16)), (10, (17, 20))):
        if length[0] <= len(text) <= length[1]:
            try:
                return int(text, base)
            except ValueError:
                continue
    return 0
