"""Which device a model is trained on."""

import os

import torch

from mobclip.errors import ConfigError


def choose_device(wanted: str) -> torch.device:
    """`auto`: a GPU where there is one, else the CPU; otherwise what is asked for.

    Of the processes on one machine that `torchrun` started, each gets a GPU of its own.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        wanted = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        return torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"device {wanted!r} is unknown: use auto, cpu or cuda.") from error
