"""Who trains and who chooses, where every setting is chosen inside the training folds.

The inner folds of an outer fold are the other outer folds. A model trained without two folds then
serves both: it is scored on the one while the other is the outer fold, and the other way round.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Bool

from mobclip.errors import ConfigError
from mobclip.splits import Folds


def check(folds: Folds) -> None:
    """Refuse folds that leave nobody to learn, or nobody to choose on.

    Raises
    ------
    ConfigError : fewer than 3 folds; or the buffer takes all that any two or one of them leave
    """
    if folds.count < 3:
        raise ConfigError(
            f"{folds.count} folds: 3 are the least, one to test on, one to choose on, one to learn."
        )
    others = range(folds.count)
    for pair in combinations(others, 2):
        if folds.training(*pair).sum() < 2:
            raise ConfigError(
                f"nothing is left to learn from while folds {pair} are held out: choose a smaller "
                "buffer or more units."
            )
    for i in others:
        if not any(choosers(folds, outer=i, inner=j).any() for j in others if j != i):
            raise ConfigError(
                f"nothing is left to choose settings on while fold {i} is held out: choose a "
                "smaller buffer or more units."
            )


def choosers(folds: Folds, *, outer: int, inner: int) -> Bool[np.ndarray, " n"]:
    """Units of fold `inner` on which settings for `outer` are chosen: none too near to `outer`."""
    return folds.test(inner) & folds.training(outer)
