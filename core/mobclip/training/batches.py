"""Batches: random cells of a place, with their tokens, presence and slice of the graph."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mobclip.model import BatchRows
from mobclip.place import Place


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step needs, on the device."""

    rows: BatchRows
    tokens: dict[str, Tensor]  # modality -> (batch, dims), zero where absent
    present: dict[str, Tensor]  # modality -> (batch,) bool


class Batches:
    """Deals the cells of a place into batches.

    Tokens are put on the device once. The order of an epoch follows from (seed, epoch) alone, so
    that a resumed run sees the batches that it would have seen.
    """

    def __init__(
        self,
        place: Place,
        adjacency: sparse.csr_array,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.adjacency = adjacency
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.tokens: dict[str, Tensor] = {}
        self.present: dict[str, Tensor] = {}
        for name, table in place.tables.items():
            values, present = table.aligned(place.cells)
            self.tokens[name] = torch.from_numpy(values).to(device)
            self.present[name] = torch.from_numpy(present).to(device)

    def epoch(self, rows: np.ndarray, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, in its own random order; sizes equal within one."""
        order = np.random.default_rng([self.seed, epoch]).permutation(rows)
        for part in np.array_split(order, self.steps(len(rows))):
            yield self.cut(np.sort(part))

    def steps(self, cells: int) -> int:
        """Number of batches in which `cells` cells are dealt."""
        return max(1, -(-cells // self.batch_size))

    def cut(self, rows: np.ndarray) -> Batch:
        """The batch of the given row numbers."""
        picked = BatchRows.cut(self.adjacency, rows, self.device)
        return Batch(
            rows=picked,
            tokens={name: values[picked.rows] for name, values in self.tokens.items()},
            present={name: mask[picked.rows] for name, mask in self.present.items()},
        )
