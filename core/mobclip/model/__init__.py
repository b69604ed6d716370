"""Pure torch, no files: propagation, encoders, losses, the MobCLIP model."""

from mobclip.model.encoders import Linear, TableEncoder
from mobclip.model.lightgcn import BatchRows, LightGCN
from mobclip.model.losses import info_nce
from mobclip.model.mobclip import MobCLIP

__all__ = ["BatchRows", "LightGCN", "Linear", "MobCLIP", "TableEncoder", "info_nce"]
