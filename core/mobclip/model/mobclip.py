"""MobCLIP: modalities aligned to mobility (arXiv 2506.01297), as published.

Where we differ from the released code:

- a cell may lack a modality: it then has no pair in that modality's loss (the paper's cells have
  everything). A cell without flows keeps its own row of the node table as anchor;
- tokens are standardised per column, with statistics kept in the model;
- the loss is computed by tiles (`losses.info_nce`), the graph is CSR (`propagation`).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mobclip.model.encoders import ENCODERS, Linear, Standardise
from mobclip.model.gather import propagate, total
from mobclip.model.lightgcn import LightGCN
from mobclip.model.losses import info_nce


class MobCLIP(nn.Module):
    """Node table + LightGCN as anchor, one encoder per further modality.

    Parameters
    ----------
    anchor : the mobility branch
    standardisers : modality -> its column statistics; also says which modalities there are
    temperatures : modality -> fixed temperature of its pair with mobility
    """

    temperature: Tensor

    def __init__(
        self,
        anchor: LightGCN,
        standardisers: Mapping[str, Standardise],
        temperatures: Mapping[str, float],
    ) -> None:
        super().__init__()
        dims = anchor.table.shape[1]
        self.anchor = anchor
        self.modalities = tuple(standardisers)
        self.encoders = nn.ModuleDict(
            {
                name: nn.Sequential(one, ENCODERS.get(name, Linear)(len(one.mean), dims))
                for name, one in standardisers.items()
            }
        )
        self.register_buffer(
            "temperature", torch.tensor([temperatures[name] for name in self.modalities])
        )

    def losses(
        self,
        rows: Int64[Tensor, " batch"],
        tokens: Mapping[str, Float[Tensor, "share _"]],
        present: Mapping[str, Bool[Tensor, " share"]],
    ) -> dict[str, Float[Tensor, ""]]:
        """modality -> symmetric InfoNCE with mobility, over the cells that have the modality.

        A modality with fewer than two cells in the batch has nothing to tell apart and is left
        out. Where several processes train together, `tokens` and `present` are of this one's
        share of the batch (`gather.share`), and the losses are to be averaged.
        """
        anchors = propagate(self.anchor, rows)
        losses = {}
        for name, temperature in zip(self.modalities, self.temperature.tolist(), strict=True):
            here = present[name]
            if total(int(here.sum()), here.device) >= 2:
                encoded = self.encoders[name](tokens[name][here])
                losses[name] = info_nce(anchors[here], encoded, temperature, shared=True)
        return losses

    def forward(
        self,
        rows: Int64[Tensor, " batch"],
        tokens: Mapping[str, Float[Tensor, "batch _"]],
        present: Mapping[str, Bool[Tensor, " batch"]],
    ) -> Float[Tensor, ""]:
        """Mean of the pairs' losses, equal weights."""
        losses = list(self.losses(rows, tokens, present).values())
        if not losses:
            return self.anchor.table.sum() * 0
        return torch.stack(losses).mean()

    @torch.no_grad()
    def recall(
        self,
        rows: Int64[Tensor, " batch"],
        tokens: Mapping[str, Float[Tensor, "batch _"]],
        present: Mapping[str, Bool[Tensor, " batch"]],
        *,
        k: int,
    ) -> dict[str, float]:
        """modality -> share of cells whose mobility vector finds their own token in the best `k`.

        The candidates are the cells of the batch that have the modality; by chance the share is
        `k` / candidates.
        """
        anchors = nn.functional.normalize(self.anchor(rows), dim=-1)
        found = {}
        for name in self.modalities:
            here = present[name]
            if here.any():
                encoded = nn.functional.normalize(self.encoders[name](tokens[name][here]), dim=-1)
                cosine = anchors[here] @ encoded.T
                better = (cosine > cosine.diagonal()[:, None]).sum(1)
                found[name] = float((better < k).float().mean())
        return found

    @torch.no_grad()
    def embed(self) -> Float[Tensor, "cells dims"]:
        """One vector per cell: the LightGCN output, **not** normalised (§1.3)."""
        return self.anchor.all_rows()
