"""MobCLIP: general-purpose embeddings of places.

A place is cut into H3 cells, each cell is described by what is known of it (points of interest,
imagery, demographics, mobility), and every cell gets one vector that serves maps, similarity
search and prediction.
"""

__version__ = "0.1.0"
