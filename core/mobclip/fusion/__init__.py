"""The model `mobclip` at work: evidence of any cell -> its embedding. numpy alone.

============  ====================================================================
`flows`       the flows of a cell as columns, by known partners
`reader`      the tokens of a modality as a few comparable dimensions
`evidence`    what is said at a cell and around it
`fusion`      votes of the modalities, their sum, and the network that corrects it
============  ====================================================================
"""

from mobclip.fusion.fusion import (
    ALONE,
    FUSION_FILE,
    GONE,
    HIDDEN,
    KNOWN,
    STATES,
    WORDS,
    Fusion,
    Network,
    Votes,
    embed,
)

__all__ = [
    "ALONE",
    "FUSION_FILE",
    "GONE",
    "HIDDEN",
    "KNOWN",
    "STATES",
    "WORDS",
    "Fusion",
    "Network",
    "Votes",
    "embed",
]
