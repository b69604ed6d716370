"""Contrasts of places and images. Both sides are L2-normalised here.

Batches are small (512 to 1024), so logits are held whole. The symmetric contrast of pairs is
`mobclip.model.losses.info_nce`.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, softplus


def one_way(
    queries: Float[Tensor, "batch dims"],
    keys: Float[Tensor, "keys dims"],
    temperature: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, ""]:
    """Cross-entropy of finding key i for query i among all keys; further keys only mislead.

    temperature : divides the cosine
    """
    logits = normalize(queries, dim=-1) @ normalize(keys, dim=-1).T / temperature
    return cross_entropy(logits, torch.arange(len(queries), device=queries.device))


def against_random(
    places: Float[Tensor, "batch dims"],
    random: Float[Tensor, "batch dims"],
    images: Float[Tensor, "batch dims"],
) -> Float[Tensor, ""]:
    """Cross-entropy of telling an image's own place from one random place, temperature 1.

    Row i of the three belongs together (CSP, Mai et al. 2023: its random negative locations).
    """
    images = normalize(images, dim=-1)
    own = (normalize(places, dim=-1) * images).sum(dim=-1)
    other = (normalize(random, dim=-1) * images).sum(dim=-1)
    return softplus(other - own).mean()
