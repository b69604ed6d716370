"""Bench: a place and a model, ready to try edits of one cell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt64

from mobclip import grid
from mobclip.baselines import spatial_kernel
from mobclip.embeddings import Embeddings, unit_rows
from mobclip.errors import CellError, ConfigError
from mobclip.fusion import FUSION_FILE, GONE, HIDDEN, KNOWN, Fusion
from mobclip.fusion.evidence import FAR, LEAST_FAR, LEAST_WIDE, WIDE, WIDE_DIMS, Evidence
from mobclip.place import MOBILITY, Place
from mobclip.search import Matches
from mobclip.whatif.edits import (
    COUNT,
    DEMOGRAPHICS,
    POI,
    SHARE,
    TOTAL,
    Edits,
    Points,
    Token,
    histograms,
    moved_shares,
)
from mobclip.whatif.learned import Learned, Predicted

NEAREST = 10
SAMPLE = 1000  # cells whose nearest other cell says what is usual
UNUSUAL = 99.0  # percentile from which a token or an embedding is off what the model has seen
TOGETHER = 16_000_000  # distances at once: 64 MB


@dataclass(frozen=True, kw_only=True)
class Off:
    """How far something is from the nearest real cell, against how far real cells are from theirs.

    percentile : share of real cells, in percent, that have a nearer one; the cell itself is no
        neighbour of its own
    """

    what: str  # a modality, or "embedding"
    distance: float
    before: float  # percentile of the cell as it is
    percentile: float  # as edited

    @property
    def unusual(self) -> bool:
        """Off what the model has seen, and more so than the cell as it is."""
        return self.percentile > UNUSUAL and self.percentile > self.before


@dataclass(frozen=True, kw_only=True)
class Beyond:
    """A column of an edited token that is larger than that of any real cell of the place."""

    modality: str
    column: str
    value: float  # a count, a share, or an amount of flows
    most: float  # of all real cells


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """One cell before and after an edit."""

    cell: int
    edits: Edits
    before: Float32[np.ndarray, " dims"]
    after: Float32[np.ndarray, " dims"]
    nearest_before: Matches  # other cells, by cosine
    nearest_after: Matches
    predictions: tuple[Predicted, ...]
    off: tuple[Off, ...]  # the embedding, then each modality that was edited and is still there
    beyond: tuple[Beyond, ...]
    around: Matches  # cells of the two rings around, by the cosine of their own before and after
    notes: tuple[str, ...]  # what could not follow, in words

    @property
    def cosine(self) -> float:
        """Of the cell before and after: 1 has not moved."""
        return _cosine(self.before, self.after)

    @property
    def unusual(self) -> tuple[Off, ...]:
        """What is farther from every real cell than 99 % of them are from one another."""
        return tuple(one for one in self.off if one.unusual)


class Bench:
    """Everything of a place that an edit of any of its cells needs; made once, in seconds.

    Of the place only the tokens are read and kept; of the cell its surroundings are then summed
    up by the row of the smoothing that belongs to it. So an edit costs milliseconds, and the cell
    as it is has the vector that `Fusion.embed` gives it (but for rounding).

    Parameters
    ----------
    embeddings : those of the model for the place; default: made here
    on_step : told (done, total)

    Raises
    ------
    ConfigError : the model is not of this place, or the embeddings are of another model
    """

    def __init__(
        self,
        fusion: Fusion,
        place: Place,
        embeddings: Embeddings | None = None,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        if place.resolution != fusion.resolution:
            raise ConfigError(
                f"{place.name} has cells of resolution {place.resolution}, the model is of "
                f"{fusion.resolution}. Train one on this place: `mobclip train {place.arguments}`."
            )
        self.fusion, self.place = fusion, place
        self.embeddings = embeddings or Embeddings(
            name="mobclip", cells=place.cells, vectors=fusion.embed(place)
        )
        if self.embeddings.vectors.shape != (len(place.cells), fusion.dims):
            raise ConfigError(
                f"{self.embeddings.name!r} has vectors of the shape "
                f"{self.embeddings.vectors.shape}, this model makes "
                f"{(len(place.cells), fusion.dims)}: embed the place again."
            )
        total = len(fusion.modalities) + 2 + len(place.targets)
        step = on_step or (lambda done, total: None)
        self._kernel = spatial_kernel(place.cells)
        self._back = self._kernel.T.tocsr()
        self._own: dict[str, np.ndarray] = {}
        self._present: dict[str, np.ndarray] = {}
        self._trust: dict[str, np.ndarray] = {}
        for done, name in enumerate(fusion.modalities, 1):
            self._own[name], self._present[name], self._trust[name] = fusion.read(place, name)
            step(done, total)
        self.points = Points(place) if POI in place.tables else None
        self.bins: Mapping[str, tuple[int, ...]] = {}
        if DEMOGRAPHICS in place.tables:
            table = place.tables[DEMOGRAPHICS]
            self.bins = histograms(table.columns, table.values)
        self._unit = self.embeddings.unit()
        self._usual = {"embedding": self._gaps("embedding")}
        step(len(fusion.modalities) + 1, total)
        for name in {POI, DEMOGRAPHICS, MOBILITY} & set(fusion.modalities):
            self._usual[name] = self._gaps(name)
        so_far = len(fusion.modalities) + 2
        step(so_far, total)
        self._learned = Learned(
            self.embeddings, place.targets, lambda done, _: step(so_far + done, total)
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of the model that the place has."""
        return tuple(one for one in self.fusion.modalities if one in self.place.modalities)

    @property
    def editable(self) -> frozenset[str]:
        """Modalities whose tokens can be edited, beside being left out."""
        there = {
            POI: self.points is not None and bool(self.points.choices),
            DEMOGRAPHICS: bool(self.bins),
            MOBILITY: self.fusion.flow_map is not None,
        }
        return frozenset(name for name, one in there.items() if one and name in self.modalities)

    @property
    def share_columns(self) -> tuple[str, ...]:
        """Columns of demographics that are shares of a whole."""
        if not self.bins:
            return ()
        columns = self.place.tables[DEMOGRAPHICS].columns
        return tuple(columns[i] for at in self.bins.values() for i in at)

    def row(self, cell: int) -> int:
        """Row of a cell of the place; `CellError` if it is none."""
        rows, known = grid.locate(self.place.cells, np.array([cell], np.uint64))
        if not known[0]:
            raise CellError(f"{cell:x} is not a cell of {self.place.name}. Choose one of its own.")
        return int(rows[0])

    def token(self, name: str, row: int) -> Token:
        """The token of a cell: columns of the table, or of mobility those of the flow map."""
        if name == MOBILITY:
            graph, flow_map = self.place.graph, self.fusion.flow_map
            if graph is None or flow_map is None:
                raise ConfigError(f"a model of several places reads no single flow of {name}.")
            present = bool(self._present[name][row])
            return Token(values=flow_map.of_cell(graph, row), present=present)
        values, here = self.place.tables[name].aligned(self.place.cells[[row]])
        return Token(values=values[0], present=bool(here[0]))

    def edited(self, name: str, row: int, edits: Edits) -> tuple[Token, list[str]]:
        """The token of a cell with the edits of its modality, and what has to be said of it."""
        token = self.token(name, row)
        if name == POI and self.points is not None:
            return self.points.edited(token, edits.points)
        if name == DEMOGRAPHICS:
            return moved_shares(token, self.place.tables[name].columns, self.bins, edits.shares)
        if not token.present:
            return token, ["No trip starts or ends in the cell, so there is nothing to multiply."]
        graph, flow_map = self.place.graph, self.fusion.flow_map
        assert graph is not None
        assert flow_map is not None
        values = flow_map.of_cell(graph, row, times=edits.flows)
        return Token(values=values, present=edits.flows > 0), []

    def what_if(self, cell: int, edits: Edits) -> WhatIf:
        """One cell before and after; its neighbours' own tokens stay as they are.

        Raises
        ------
        CellError : not a cell of the place
        ConfigError : the model has no such modality
        """
        for name in (*edits.edited, *edits.states):
            if name not in self.fusion.modalities:
                raise ConfigError(
                    f"the model has no modality {name!r}; it has "
                    f"{', '.join(self.fusion.modalities)}."
                )
        row = self.row(cell)
        reach = self._reach(row)
        notes: list[str] = []
        changed: dict[str, tuple[np.ndarray, bool, float]] = {}
        beyond: list[Beyond] = []
        for name in sorted(edits.edited - edits.states.keys()):
            if name == MOBILITY and self.fusion.flow_map is None:
                notes.append("A model of several places reads no single flow: trips stay.")
                continue
            token, said = self.edited(name, row, edits)
            notes += said
            changed[name] = self._read(name, token)
            beyond += self._beyond(name, token)
        for name in sorted(edits.edited & edits.states.keys()):
            notes.append(f"{name}: left out, so what is changed there has no effect.")
        before = self._vector(row, reach, {}, {})
        after = self._vector(row, reach, changed, edits.states) if edits else before
        units = unit_rows(np.stack([before, after]))
        return WhatIf(
            cell=cell,
            edits=edits,
            before=before,
            after=after,
            nearest_before=self._nearest(row, units[0]),
            nearest_after=self._nearest(row, units[1]),
            predictions=self._learned.predict(row, before, after),
            off=self._off(row, units, changed),
            beyond=tuple(beyond),
            around=self._around(row, reach, changed),
            notes=tuple(notes),
        )

    def alike(self, name: str, cell: int, most: int = NEAREST) -> UInt64[np.ndarray, " found"]:
        """Cells whose token of one modality is nearest; none where the cell has no such token."""
        row = self.row(cell)
        if not self._present[name][row]:
            return np.empty(0, np.uint64)
        gaps = _squared(self._own[name][[row]], self._own[name])[0]
        gaps[~self._present[name]] = np.inf
        gaps[row] = np.inf
        order = np.argsort(gaps, kind="stable")[:most]
        return self.place.cells[order[np.isfinite(gaps[order])]]

    # ---- the vector of one cell

    def _reach(self, row: int) -> dict[int, Float32[np.ndarray, "cells"]]:
        """Steps -> row of so many steps of smoothing: how much each cell counts for this one."""
        share = np.zeros(len(self.place.cells), np.float32)
        share[row] = 1
        rows = {}
        for step in range(1, WIDE + 1):
            share = self._back @ share
            if step in (1, FAR, WIDE):
                rows[step] = share
        return rows

    def _read(self, name: str, token: Token) -> tuple[np.ndarray, bool, float]:
        """A token as the model reads it, whether there is one, and the trust in it."""
        reader = self.fusion.readers[name]
        columns = reader.columns if name == MOBILITY else self.place.tables[name].columns
        values, here = token.values[None], np.array([token.present])
        own = reader(values, here, columns, what=name)[0]
        trust = reader.trust(values, columns, thin=self.fusion.settings.thin)
        return own, token.present, float(trust[0])

    def _vector(
        self,
        row: int,
        reach: Mapping[int, np.ndarray],
        changed: Mapping[str, tuple[np.ndarray, bool, float]],
        states: Mapping[str, int],
    ) -> Float32[np.ndarray, " dims"]:
        names = self.fusion.modalities
        votes = np.zeros((1, len(names), self.fusion.dims), np.float32)
        taken = np.empty((1, len(names)), np.int8)
        for column, name in enumerate(names):
            usual = KNOWN if name in self.place.modalities else GONE
            taken[0, column] = state = states.get(name, usual)
            if state == KNOWN:
                one = self._evidence(name, row, reach, changed.get(name))
            elif state == HIDDEN:
                one = self._without_own(name, row, reach)
            else:
                continue
            votes[0, column] = self.fusion.said(name, one, state)[0]
        return self.fusion.combine(votes, taken)[0]

    def _evidence(
        self,
        name: str,
        row: int,
        reach: Mapping[int, np.ndarray],
        changed: tuple[np.ndarray, bool, float] | None,
    ) -> Evidence:
        """`Evidence` of one cell, as it is or with another token."""
        own, present = self._own[name], self._present[name]
        here, there, trust = changed or (
            own[row],
            bool(present[row]),
            float(self._trust[name][row]),
        )

        def mean(step: int, dims: int, least: float) -> tuple[np.ndarray, float]:
            at = np.flatnonzero(reach[step])
            share = reach[step][at]
            total = share @ own[at, :dims] + reach[step][row] * (here - own[row])[:dims]
            known = float(share @ present[at]) + float(reach[step][row]) * (
                float(there) - float(present[row])
            )
            return _shared(total, known, least), known

        near, near_share = mean(1, own.shape[1], 0.0)
        return _one(
            own=here,
            present=there,
            near=near,
            near_known=near_share > 1e-9,
            far=mean(FAR, own.shape[1], LEAST_FAR)[0],
            wide=_wide(reach[WIDE], own, present, row, here, there),
            trust=trust,
        )

    def _without_own(self, name: str, row: int, reach: Mapping[int, np.ndarray]) -> Evidence:
        """As `Evidence.without_own` leaves of the cell: its surroundings alone."""
        own, present = self._own[name], self._present[name]
        others = np.ones(len(own), np.float32)
        if present[row]:  # farther means are over the half of the cells that it is not in
            others[row % 2 :: 2] = 0
        beside = reach[1].copy()
        beside[row] = 0

        def mean(share: np.ndarray, least: float) -> np.ndarray:
            at = np.flatnonzero(share)
            return _shared(share[at] @ own[at], float(share[at] @ present[at]), least)

        wide = reach[WIDE] * others
        total = wide @ own[:, :WIDE_DIMS]
        return _one(
            own=np.zeros_like(own[row]),
            present=False,
            near=mean(beside, 0.0),
            near_known=bool(present[beside > 0].any()),
            far=mean(reach[FAR] * others, LEAST_FAR),
            wide=total / max(float(wide @ present), LEAST_WIDE),
            trust=float(self._trust[name][row]),
        )

    # ---- what it means

    def _nearest(self, row: int, unit: Float32[np.ndarray, " dims"]) -> Matches:
        scores = self._unit @ unit
        scores[row] = -np.inf
        most = min(NEAREST, len(scores) - 1)
        best = np.argpartition(-scores, most)[:most] if most else np.empty(0, np.int64)
        best = best[np.argsort(-scores[best], kind="stable")]
        return Matches(cells=self.place.cells[best], scores=scores[best])

    def _gaps(self, what: str) -> Float64[np.ndarray, " sample"]:
        """Distances of a sample of real cells to the nearest other, sorted."""
        table = self._unit if what == "embedding" else self._own[what][self._present[what]]
        if len(table) < 2:
            return np.empty(0)
        sample = np.arange(len(table))
        if len(sample) > SAMPLE:
            sample = np.sort(np.random.default_rng(0).choice(sample, SAMPLE, replace=False))
        gaps = np.empty(len(sample))
        for part in np.array_split(
            np.arange(len(sample)), -(-len(sample) * len(table) // TOGETHER)
        ):
            squared = _squared(table[sample[part]], table)
            squared[np.arange(len(part)), sample[part]] = np.inf
            gaps[part] = squared.min(axis=1)
        return np.sort(np.sqrt(gaps))

    def _off(
        self,
        row: int,
        units: Float32[np.ndarray, "2 dims"],
        changed: Mapping[str, tuple[np.ndarray, bool, float]],
    ) -> tuple[Off, ...]:
        pairs = {"embedding": (units[0], units[1])}
        for name, (own, there, _) in changed.items():
            if there:
                was = self._own[name][row] if self._present[name][row] else None
                pairs[name] = (was, own)
        found = []
        for what, (was, now) in pairs.items():
            usual = self._usual[what]
            if not len(usual):
                continue
            away = [
                float("nan") if one is None else self._gap(what, one, row) for one in (was, now)
            ]
            before, after = (
                100 * float(np.searchsorted(usual, one, side="left")) / len(usual)
                if np.isfinite(one)
                else 0.0
                for one in away
            )
            found.append(Off(what=what, distance=away[1], before=before, percentile=after))
        return tuple(found)

    def _beyond(self, name: str, token: Token) -> list[Beyond]:
        """Distances to whole tokens hardly see one column that is far out: each is looked at."""
        graph = self.place.graph
        if name == MOBILITY:
            assert graph is not None
            columns = self.fusion.readers[name].columns[-2:]
            values = token.values[-2:]
            most = np.log1p([graph.out_strength.max(), graph.in_strength.max()])
        else:
            table = self.place.tables[name]
            of_kind = [
                i for i, one in enumerate(table.columns) if one.startswith((COUNT, TOTAL, SHARE))
            ]
            columns = tuple(table.columns[i] for i in of_kind)
            values, most = token.values[of_kind], table.values[:, of_kind].max(axis=0)
        return [
            Beyond(
                modality=name,
                column=column,
                value=float(value if column.startswith(SHARE) else np.expm1(value)),
                most=float(top if column.startswith(SHARE) else np.expm1(top)),
            )
            for column, value, top in zip(columns, values, most, strict=True)
            if value > top * (1 + 1e-5)
        ]

    def _gap(self, what: str, one: np.ndarray, row: int) -> float:
        """Distance to the nearest real cell but the one of `row`."""
        if what == "embedding":
            squared = _squared(one[None], self._unit)[0]
        else:
            squared = _squared(one[None], self._own[what])[0]
            squared[~self._present[what]] = np.inf
        squared[row] = np.inf
        return float(np.sqrt(squared.min()))

    def _around(
        self,
        row: int,
        reach: Mapping[int, np.ndarray],
        changed: Mapping[str, tuple[np.ndarray, bool, float]],
    ) -> Matches:
        """How the two rings around move with the cell.

        Of the cells around only what the edit does to their near and wide means is worked out, as
        the vote is linear in them. Where the cell gains or loses a modality, the wide mean of a
        neighbour is taken to be that of the cell.
        """
        rows = np.flatnonzero(reach[1])
        rows = rows[rows != row]
        if not len(rows):
            return Matches(cells=self.place.cells[rows], scores=np.ones(0, np.float32))
        moved = np.zeros((len(rows), self.fusion.dims), np.float32)
        for name, (here, there, _) in changed.items():
            moved += self._carried(name, row, rows, reach, here, there)
        before = self.embeddings.vectors[rows]
        scores = np.einsum("ij,ij->i", unit_rows(before), unit_rows(before + moved))
        order = np.argsort(scores, kind="stable")
        return Matches(
            cells=self.place.cells[rows[order]], scores=np.minimum(scores[order], 1, dtype="f4")
        )

    def _carried(
        self,
        name: str,
        row: int,
        rows: Int64[np.ndarray, " around"],
        reach: Mapping[int, np.ndarray],
        here: np.ndarray,
        there: bool,
    ) -> Float32[np.ndarray, "around dims"]:
        own, present, settings = self._own[name], self._present[name], self.fusion.settings
        # The kernel is a symmetric table divided by its row sums, one over the diagonal.
        diagonal = self._kernel.diagonal()
        back = {step: reach[step][rows] * diagonal[rows] / diagonal[row] for step in reach}
        token, gained = here - own[row], float(there) - float(present[row])
        kernel = self._kernel[rows]
        total, share = kernel @ own, kernel @ present.astype(np.float32)
        new_total = total + back[1][:, None] * token
        new_share = share + back[1] * gained
        near = [
            np.where((known > 1e-9)[:, None], one / np.where(known > 1e-9, known, 1)[:, None], 0)
            for one, known in ((total, share), (new_total, new_share))
        ]
        weight = np.where(
            present[rows], 1 - (1 - settings.near) * self._trust[name][rows], settings.fill
        )
        smooth = weight[:, None] * (near[1] - near[0])
        wide_total = reach[WIDE] @ own[:, :WIDE_DIMS]
        wide_share = max(float(reach[WIDE] @ present), LEAST_WIDE)
        wide = back[WIDE][:, None] * (token[:WIDE_DIMS] - gained * wide_total / wide_share)
        wide /= wide_share + (back[WIDE] * gained)[:, None]
        axes = self.fusion.axes
        moved = smooth @ axes[f"{name}.smooth"] + wide @ axes[f"{name}.wide"]
        return np.asarray(moved, np.float32)


def model_of(place: Place, run: str) -> str | None:
    """The run whose model is tried: this one, else `mobclip`; None where neither has one."""
    there = set(place.runs())
    for name in (run, "mobclip"):
        if name in there and (place.folder / "runs" / name / FUSION_FILE).is_file():
            return name
    return None


def what_if(fusion: Fusion, place: Place, cell: int, edits: Edits) -> WhatIf:
    """One cell before and after an edit. For more than one keep the `Bench`."""
    return Bench(fusion, place).what_if(cell, edits)


def _one(
    *,
    own: np.ndarray,
    present: bool,
    near: np.ndarray,
    near_known: bool,
    far: np.ndarray,
    wide: np.ndarray,
    trust: float,
) -> Evidence:
    return Evidence(
        own=np.asarray(own[None], np.float32),
        present=np.array([present]),
        near=np.asarray(near[None], np.float32),
        near_known=np.array([near_known]),
        far=np.asarray(far[None], np.float32),
        wide=np.asarray(wide[None], np.float32),
        trust=np.array([trust], np.float32),
    )


def _shared(total: np.ndarray, share: float, least: float) -> np.ndarray:
    """A mean over the cells that have a modality; 0 where too few do."""
    # What is left of a share of nothing is rounding.
    return total / share if share > max(least, 1e-9) else np.zeros_like(total)


def _wide(
    share: np.ndarray,
    own: np.ndarray,
    present: np.ndarray,
    row: int,
    here: np.ndarray,
    there: bool,
) -> np.ndarray:
    total = share @ own[:, :WIDE_DIMS] + share[row] * (here - own[row])[:WIDE_DIMS]
    known = float(share @ present) + float(share[row]) * (float(there) - float(present[row]))
    wide: np.ndarray = total / max(known, LEAST_WIDE)
    return wide


def _squared(
    some: Float32[np.ndarray, "n dims"], table: Float32[np.ndarray, "m dims"]
) -> Float32[np.ndarray, "n m"]:
    """Squared distances."""
    lengths = np.einsum("ij,ij->i", table, table)
    found = np.einsum("ij,ij->i", some, some)[:, None] - 2 * (some @ table.T) + lengths
    return np.maximum(found, 0, dtype=np.float32)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    if np.array_equal(one, other):
        return 1.0
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.clip(one @ other / size, -1, 1)) if size > 0 else 0.0
