"""The published training step of MobCLIP (arXiv 2506.01297 and its code), in our own words.

What the other benchmarks compare with. As published: the graph is a COO tensor of 20 bytes per
edge, in which nodes stand in arbitrary order; every step propagates the whole graph, forwards and
backwards, and picks the batch afterwards; the batch × batch logits are held in memory, with two
cross-entropies per pair of modalities; AdamW decays the node table too. The encoders are those of
`mobclip.model`, which are as published. Left out, in the peer's favour: its data set, which is read
row by row in Python.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mobclip.graph import Undirected


def dense_loss(anchor: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Full logits, a cross-entropy in each direction."""
    logits = normalize(anchor, dim=-1) @ normalize(other, dim=-1).T / temperature
    labels = torch.arange(len(anchor), device=anchor.device)
    return 0.5 * (cross_entropy(logits, labels) + cross_entropy(logits.T, labels))


def coo(graph: Undirected, order: np.ndarray) -> Tensor:
    """P as a torch COO tensor in which cell i is node order[i]."""
    row = np.repeat(np.arange(len(graph)), np.diff(graph.indptr))
    indices = np.asarray(graph.indices)
    values = np.asarray(graph.weights, np.float32) * graph.scale[row] * graph.scale[indices]
    # Sorted by node, as a coalesced tensor is.
    row, column = order[row], order[indices]
    place = np.lexsort((column, row)) if len(row) < 2**24 else np.argsort(row * len(graph) + column)
    return torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([row[place], column[place]])),
        torch.from_numpy(values[place]),
        size=(len(graph), len(graph)),
        is_coalesced=True,
        check_invariants=False,
    )


class Published(nn.Module):
    """Node table, LightGCN with summed layers, an encoder for each further modality."""

    def __init__(
        self,
        table: Tensor,
        adjacency: Tensor,
        encoders: nn.ModuleDict,
        temperatures: Mapping[str, float],
        layers: int = 2,
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(table.clone())
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.encoders = deepcopy(encoders)
        self.temperatures = dict(temperatures)
        self.layers = layers

    def nodes(self) -> Tensor:
        """E_0 + P E_0 + P² E_0 of every node."""
        power, out = self.table, self.table
        for _ in range(self.layers):
            power = torch.sparse.mm(self.adjacency, power)
            out = out + power
        return out

    def pairs(
        self, anchors: Tensor, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> Iterator[Tensor]:
        """The loss of each modality with mobility, one after the other."""
        for name, encoder in self.encoders.items():
            here = present[name]
            if int(here.sum()) >= 2:
                yield dense_loss(
                    anchors[here], encoder(tokens[name][here]), self.temperatures[name]
                )

    def forward(
        self, nodes: Tensor, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> Tensor:
        """Mean of the pairs, all in memory at once."""
        return torch.stack(list(self.pairs(self.nodes()[nodes], tokens, present))).mean()

    def backward_by_pairs(
        self, nodes: Tensor, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> float:
        """The same numbers with the logits of one pair in memory at a time: a kindness."""
        out = self.nodes()
        anchors = out[nodes].detach().requires_grad_()
        total = 0.0
        for loss in self.pairs(anchors, tokens, present):
            (loss / len(self.encoders)).backward()
            total += loss.item() / len(self.encoders)
        out.backward(torch.zeros_like(out).index_add_(0, nodes, anchors.grad))
        return total


def optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, *, fused: bool | None = None
) -> torch.optim.Optimizer:
    """AdamW; biases are not decayed, the node table is."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=fused)
