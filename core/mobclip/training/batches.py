"""Batches: rows in an order that follows from (seed, epoch) alone."""

import numpy as np
from jaxtyping import Int64


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
