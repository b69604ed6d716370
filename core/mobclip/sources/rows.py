"""Rows and columns of a table: filters, missing values, derived columns, numbers, ids."""

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mobclip.errors import RecordError
from mobclip.manifest import Derivation, SourceSpec
from mobclip.records import first_rows


class Dropped:
    """Counts the rows that are left out, by reason, while the rest shrinks."""

    def __init__(self, spec: SourceSpec, rows: int) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, tuple[int, ...]] = {}  # row numbers of the file, five at most
        self.rows = np.arange(rows)  # row numbers of the file that are still there
        self._spec = spec

    def keep(self, good: np.ndarray, reason: str, *, hint: str = "") -> np.ndarray:
        """Note the rows that are not `good`; `RecordError` when none is left."""
        bad = int((~good).sum())
        if bad:
            self.counts[reason] = self.counts.get(reason, 0) + bad
            rows = [*self.first.get(reason, ()), *self.rows[~good][:5].tolist()]
            self.first[reason] = tuple(sorted(rows)[:5])
        if good.any():
            self.rows = self.rows[good]
            return good
        reasons = ", ".join(f"{count:,} {why}" for why, count in self.counts.items())
        first = ", ".join(map(str, self.rows[:5]))
        raise RecordError(
            f"{self._spec.name}: no row of {self._spec.path} is left ({reasons}; "
            f"the last reason for rows {first}, ...).{hint} "
            "Check the columns, `where` and `crs` in the manifest."
        )


def filtered(frame: pd.DataFrame, spec: SourceSpec, dropped: Dropped) -> np.ndarray:
    """Row positions of `frame` that pass `where`."""
    position = np.arange(len(frame))
    for column, rule in spec.where.items():
        series = frame[column].iloc[position]
        good = np.array(series.notna())
        if rule.allowed is not None:
            good &= _is_in(series, rule.allowed)
        if rule.excluded:
            good &= ~_is_in(series, rule.excluded)
        bounds = ((rule.min, rule.min_column, 1), (rule.max, rule.max_column, -1))
        for value, other, sign in bounds:
            if other is not None:
                good &= _ordered(series, frame[other].iloc[position], sign, spec, column)
            if value is not None:
                good &= _ordered(series, value, sign, spec, column)
        seen = ", ".join(map(repr, series.dropna().unique()[:5].tolist()))
        hint = f" The column {column!r} holds {seen}, ..."
        good = dropped.keep(good, f"outside the filter on {column}", hint=hint)
        position = position[good]
    return position


def _is_in(series: pd.Series, values: tuple[Any, ...]) -> np.ndarray:
    if series.dtype == object or isinstance(series.dtype, pd.StringDtype | pd.CategoricalDtype):
        return series.astype(str).isin([str(value) for value in values]).to_numpy(bool)
    return series.isin(list(values)).to_numpy(bool)


def _ordered(series: pd.Series, other: Any, sign: int, spec: SourceSpec, column: str) -> np.ndarray:
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if isinstance(other, (str, datetime.date)):
        is_time = pd.api.types.is_datetime64_any_dtype(series)
        other = pd.Timestamp(other) if is_time else str(other)
    try:
        result = series >= other if sign > 0 else series <= other
    except TypeError as error:
        raise RecordError(
            f"{spec.name}: the filter on {column!r} compares {series.dtype} with "
            f"{'another column' if isinstance(other, pd.Series) else repr(other)} ({error}): "
            "write a value of the kind that the column holds."
        ) from error
    return np.asarray(result.fillna(False), dtype=bool)


def number(frame: pd.DataFrame, column: str, spec: SourceSpec) -> np.ndarray:
    """A column as float64, NaN where not known; `RecordError` if it holds words."""
    series = frame[column]
    if column in spec.missing:
        series = series.mask(_is_in(series, spec.missing[column]))
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    values = pd.to_numeric(series, errors="coerce")
    bad = values.isna().to_numpy() & series.notna().to_numpy()
    if bad.any():
        raise RecordError(
            f"{spec.name}: the column {column!r} holds {series[bad].iloc[0]!r}, which is not a "
            f"number ({first_rows(bad)}). Declare such values under `missing` in the manifest, "
            "or name another column."
        )
    result = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(result), result, np.nan)


def numbers(frame: pd.DataFrame, spec: SourceSpec) -> dict[str, np.ndarray]:
    """Every value column of `spec`, derived ones included."""
    return {
        name: derived(frame, spec.derive[name], spec)
        if name in spec.derive
        else number(frame, name, spec)
        for name in spec.value_columns
    }


def derived(frame: pd.DataFrame, rule: Derivation, spec: SourceSpec) -> np.ndarray:
    """scale x (sum of add - sum of subtract) / sum of per."""

    def total(columns: tuple[str, ...]) -> np.ndarray:
        return np.asarray(np.sum([number(frame, column, spec) for column in columns], axis=0))

    values = rule.scale * total(rule.add)
    if rule.subtract:
        values = values - rule.scale * total(rule.subtract)
    if rule.per:
        per = total(rule.per)
        enough = (per > 0) & (per >= rule.per_at_least)
        values = np.divide(values, per, out=np.full(len(per), np.nan), where=enough)
    return np.asarray(values, np.float64)


def ids(series: pd.Series, width: int | None) -> np.ndarray:
    """Ids as text, None where missing: 17031010100, "17031010100" and 17031010100.0 are one."""
    # Copies: pandas hands out views that cannot be written to.
    known = np.array(series.notna())
    plain = series.astype(str).str.strip()
    # A whole number with gaps becomes 17031010100.0 in many a tool.
    texts = np.array(plain.str.replace(r"^(\d+)\.0+$", r"\1", regex=True), dtype=object)
    known &= texts != ""
    if width is not None:
        texts[known] = [text.zfill(width) for text in texts[known]]
    texts[~known] = None
    return texts


def words(series: pd.Series) -> np.ndarray:
    """A column as text, "" where missing."""
    texts = series.astype(object).where(series.notna(), "").astype(str).str.strip()
    return np.asarray(texts.to_numpy(object), dtype=object)


def check_not_negative(
    values: Mapping[str, np.ndarray], columns: Mapping[str, str], spec: SourceSpec
) -> None:
    """Counts and histogram bins below zero are an error that names the row."""
    for what, column in columns.items():
        bad = values[column] < 0
        if bad.any():
            raise RecordError(
                f"{spec.name}: {what} (column {column!r}) is negative "
                f"({first_rows(bad)}; {values[column][bad][0]}). Declare codes such as -999 under "
                "`missing` in the manifest."
            )
