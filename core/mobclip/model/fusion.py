"""FusionNetwork: what the votes that are known say of those that are not, as it is trained.

The same as `mobclip.fusion.Network`, which is its numpy form, with the temperature of the
contrastive loss, which is trained beside it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEAST_TEMPERATURE = 0.05  # a floor: below it the few nearest negatives are all that counts


class FusionNetwork(nn.Module):
    """One hidden layer of ReLU; starts by adding nothing.

    Parameters
    ----------
    inputs : length of `mobclip.fusion.network_inputs`
    """

    def __init__(self, inputs: int, hidden: int, dims: int) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, hidden)
        self.outer = nn.Linear(hidden, dims)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
        self.log_temperature = nn.Parameter(torch.tensor(0.2).log())

    def forward(self, inputs: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows dims"]:
        """The correction of the sum of votes."""
        out: Tensor = self.outer(torch.relu(self.inner(inputs)))
        return out

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """Of the contrastive loss, never below the floor."""
        return self.log_temperature.exp().clamp(min=LEAST_TEMPERATURE)
