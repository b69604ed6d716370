"""What if a cell were otherwise: its tokens edited, embedded again, and what comes of it.

============  ====================================================================
`edits`       what is to be otherwise at a cell, and the tokens that it makes
`bench`       a place and a model, ready to embed one cell again
`learned`     models of the targets that have not seen the cell
`influence`   what each modality does to the embeddings, and where two disagree
`portrait`    what is known of one cell, modality by modality
`plane`       the space from its widest side, to see a cell move in it
============  ====================================================================
"""

from mobclip.whatif.bench import Bench, Beyond, Off, WhatIf, model_of, what_if
from mobclip.whatif.edits import Edits, Points, Token
from mobclip.whatif.influence import disagreement, influence
from mobclip.whatif.learned import Learned, Predicted
from mobclip.whatif.plane import Plane
from mobclip.whatif.portrait import (
    Amount,
    Histogram,
    PeopleSeen,
    PointsSeen,
    Tied,
    TripsSeen,
    bin_name,
    people_seen,
    points_seen,
    telling_cell,
    trips_seen,
)

__all__ = [
    "Amount",
    "Bench",
    "Beyond",
    "Edits",
    "Histogram",
    "Learned",
    "Off",
    "PeopleSeen",
    "Plane",
    "Points",
    "PointsSeen",
    "Predicted",
    "Tied",
    "Token",
    "TripsSeen",
    "WhatIf",
    "bin_name",
    "disagreement",
    "influence",
    "model_of",
    "people_seen",
    "points_seen",
    "telling_cell",
    "trips_seen",
    "what_if",
]
