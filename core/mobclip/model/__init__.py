"""Pure torch, no files: propagation, encoders, losses, the MobCLIP model."""

from mobclip.model.encoders import Linear, TableEncoder
from mobclip.model.lightgcn import LightGCN
from mobclip.model.losses import info_nce
from mobclip.model.mobclip import MobCLIP
from mobclip.model.propagation import Propagation

__all__ = ["LightGCN", "Linear", "MobCLIP", "Propagation", "TableEncoder", "info_nce"]
