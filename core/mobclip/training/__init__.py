"""Training: batches, loop, checkpoints, embedding. The floor that joins torch and files."""

from mobclip.training.distributed import first
from mobclip.training.fusion import train_fusion
from mobclip.training.loop import EpochMetrics
from mobclip.training.paper import embed, train
from mobclip.training.towers import of_token

__all__ = ["EpochMetrics", "embed", "first", "of_token", "train", "train_fusion"]
