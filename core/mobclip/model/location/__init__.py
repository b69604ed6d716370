"""Networks on position features, and how they learn what a place looks like.

==================  =========================================================================
`siren`             layers of sines
`fcnet`             residual layers
`perceptron`        plain layers; GeoCLIP's capsules of them
`dual`              a location encoder beside the token of a modality
`objectives`        contrasts: one way in a batch, of a place with a random one
==================  =========================================================================

The features are made by `mobclip.positions`.
"""

from collections.abc import Callable

from torch import nn

from mobclip.model.encoders import Linear
from mobclip.model.location.dual import DualEncoder, Seen
from mobclip.model.location.fcnet import FcNet
from mobclip.model.location.objectives import against_random, one_way
from mobclip.model.location.perceptron import Capsules, Perceptron
from mobclip.model.location.siren import Siren

__all__ = [
    "HEADS",
    "Capsules",
    "DualEncoder",
    "FcNet",
    "Perceptron",
    "Seen",
    "Siren",
    "against_random",
    "one_way",
]

HEADS: dict[str, Callable[..., nn.Module]] = {"linear": Linear, "fcnet": FcNet, "siren": Siren}
"""Name -> network(dims, out): those that Russwurm et al. (2024) cross with every encoding."""
