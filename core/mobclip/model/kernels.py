"""Products with the rows of a sparse matrix, compiled by numba for the CPU.

All take the arrays of `graph.Undirected` and work on P = D^-1/2 S D^-1/2 without making it. They
hold no lock while they run, so that threads may share the rows. Four rows of the dense matrix are
read at a time: they come from all over memory, and waiting for them is what costs.
"""

from typing import no_type_check

import numpy as np
from numba import njit

# Multiply and add in one instruction; sums keep their order.
_COMPILE = {"nogil": True, "fastmath": {"contract"}}


@njit(**_COMPILE)
@no_type_check  # nor by jaxtyping, which numba would have to compile too
def gather(indptr, indices, weights, scale, x, rows, out):
    """out[i] = (P x)[rows[i]]."""
    width = x.shape[1]
    total = np.empty(width, np.float32)
    for i in range(len(rows)):
        row = rows[i]
        total[:] = 0
        edge = indptr[row]
        end = indptr[row + 1]
        while edge + 4 <= end:
            a, b, c, d = indices[edge], indices[edge + 1], indices[edge + 2], indices[edge + 3]
            wa = np.float32(weights[edge]) * scale[a]
            wb = np.float32(weights[edge + 1]) * scale[b]
            wc = np.float32(weights[edge + 2]) * scale[c]
            wd = np.float32(weights[edge + 3]) * scale[d]
            for k in range(width):
                total[k] += wa * x[a, k] + wb * x[b, k] + wc * x[c, k] + wd * x[d, k]
            edge += 4
        while edge < end:
            a = indices[edge]
            wa = np.float32(weights[edge]) * scale[a]
            for k in range(width):
                total[k] += wa * x[a, k]
            edge += 1
        for k in range(width):
            out[i, k] = scale[row] * total[k]


@njit(**_COMPILE)
@no_type_check
def spread(indptr, indices, weights, scale, x, position, start, stop, out):
    """out[start:stop] of P y, where y has the rows of x at some cells and is 0 at all others.

    position[cell] : its row of x, -1 at the others. P is symmetric, so this is also the transpose
    of `gather` with the same rows. All edges are looked at, few are followed.
    """
    width = x.shape[1]
    total = np.empty(width, np.float32)
    for row in range(start, stop):
        total[:] = 0
        for edge in range(indptr[row], indptr[row + 1]):
            cell = indices[edge]
            at = position[cell]
            if at >= 0:
                weight = np.float32(weights[edge]) * scale[cell]
                for k in range(width):
                    total[k] += weight * x[at, k]
        for k in range(width):
            out[row, k] = scale[row] * total[k]
