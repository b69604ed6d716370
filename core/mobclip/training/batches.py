"""Batches: rows in an order that follows from (seed, epoch) alone, and their tokens."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Int64, UInt64
from torch import Tensor

from mobclip.table import CellTable


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Number of batches in which `rows` rows are dealt."""
    return max(1, -(-rows // batch_size))


def deal(
    rows: Int64[np.ndarray, " n"], batch_size: int, *, seed: int, epoch: int
) -> list[Int64[np.ndarray, " _"]]:
    """The batches of one epoch, in its own random order; each sorted, sizes equal within one.

    A resumed run sees the batches that it would have seen, for the order depends on nothing else.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    return [np.sort(part) for part in np.array_split(order, steps_per_epoch(len(rows), batch_size))]


class Tokens:
    """Tokens of the cells of a place, picked batch by batch.

    On a GPU they are put there once. On the CPU they are read where they lie, which may be a
    memory-mapped file: nothing but the rows of a batch is copied.
    """

    def __init__(
        self,
        tables: Mapping[str, CellTable],
        cells: UInt64[np.ndarray, "cells"],
        device: torch.device,
    ) -> None:
        self.tables, self.cells, self.device = dict(tables), cells, device
        self.there: dict[str, tuple[Tensor, Tensor]] | None = None
        if device.type != "cpu":
            self.there = self._read(np.arange(len(cells)))

    def of(self, rows: Int64[np.ndarray, " n"]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Modality -> (n, dims) tokens, zero where absent; modality -> (n,) bool presence."""
        if self.there is None:
            found = self._read(rows)
        else:
            picked = torch.from_numpy(rows).to(self.device)
            found = {name: (v[picked], here[picked]) for name, (v, here) in self.there.items()}
        return (
            {name: values for name, (values, _) in found.items()},
            {name: present for name, (_, present) in found.items()},
        )

    def _read(self, rows: np.ndarray) -> dict[str, tuple[Tensor, Tensor]]:
        found = {}
        for name, table in self.tables.items():
            values, present = table.aligned(self.cells[rows])
            found[name] = (
                torch.from_numpy(values).to(self.device),
                torch.from_numpy(present).to(self.device),
            )
        return found
