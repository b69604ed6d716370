"""stub"""
from mobclip.synthetic.country import write_country
__all__ = ["write_country"]
