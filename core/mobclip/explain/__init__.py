"""Why two places are alike, said in what is known of them.

============  ====================================================================
`agreement`   how alike two cells are in each modality by itself; weights of them
`reasons`     what both have more of than usual, and whom both send people to
`gazetteer`   names of places, to be searched for and to name cells by
`trust`       how many neighbours stay under another model
`answer`      a whole search, as a selection asks for it
============  ====================================================================
"""

from mobclip.explain.agreement import Agreements, Weights, weighted
from mobclip.explain.answer import answer, ranked
from mobclip.explain.gazetteer import Gazetteer, Named
from mobclip.explain.reasons import (
    Bin,
    Category,
    Partner,
    bins,
    categories,
    nearest_examples,
    partners,
)
from mobclip.explain.trust import neighbours_kept

__all__ = [
    "Agreements",
    "Bin",
    "Category",
    "Gazetteer",
    "Named",
    "Partner",
    "Weights",
    "answer",
    "bins",
    "categories",
    "nearest_examples",
    "neighbours_kept",
    "partners",
    "ranked",
    "weighted",
]
