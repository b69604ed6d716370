"""Training: batches, loop, checkpoints, embedding. The floor that joins torch and files."""

from mobclip.training.distributed import first
from mobclip.training.fusion import train_fusion
from mobclip.training.loop import EpochMetrics
from mobclip.training.paper import embed, train
from mobclip.training.text import image_map, text_map

__all__ = ["EpochMetrics", "embed", "first", "image_map", "text_map", "train", "train_fusion"]
