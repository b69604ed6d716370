"""What if a cell were otherwise: its tokens edited, embedded again, and what comes of it.

============  ====================================================================
`edits`       what is to be otherwise at a cell, and the tokens that it makes
`bench`       a place and a model, ready to embed one cell again
`learned`     models of the targets that have not seen the cell
`influence`   what each modality does to the embeddings, and where two disagree
`portrait`    what is known of one cell, modality by modality
============  ====================================================================
"""

from mobclip.whatif.bench import Bench, Off, WhatIf, what_if
from mobclip.whatif.edits import Edits, Token
from mobclip.whatif.learned import Learned, Predicted

__all__ = [
    "Bench",
    "Edits",
    "Learned",
    "Off",
    "Predicted",
    "Token",
    "WhatIf",
    "what_if",
]
