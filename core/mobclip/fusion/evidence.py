"""Evidence: what each modality says of each cell, and what is said around the cell."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32
from scipy import sparse

FAR, WIDE = 8, 64  # steps of the spatial kernel: about 3 and 9 cells wide
WIDE_DIMS = 32  # of the first ones: far away only the outlines are left
LEAST_FAR, LEAST_WIDE = 1e-4, 1e-3  # share of the kernel that must fall on cells with evidence


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One modality at every cell of a place, and the means of it over three surroundings.

    Means are over the cells that have the modality: a neighbour without it does not pull the mean
    to anywhere. Where no cell within reach has it, the mean is 0, that of all cells.
    """

    own: Float32[np.ndarray, "cells dims"]  # 0 where the cell has none
    present: Bool[np.ndarray, "cells"]
    near: Float32[np.ndarray, "cells dims"]  # two rings, the cell itself included
    near_known: Bool[np.ndarray, "cells"]  # whether any cell of the two rings has it
    far: Float32[np.ndarray, "cells dims"]
    wide: Float32[np.ndarray, "cells wide"]
    trust: Float32[np.ndarray, " cells"]  # 0 to 1: how much of the own token is no accident

    @classmethod
    def gather(
        cls,
        own: Float32[np.ndarray, "cells dims"],
        present: Bool[np.ndarray, "cells"],
        kernel: sparse.csr_array,
        trust: Float32[np.ndarray, " cells"] | None = None,
    ) -> "Evidence":
        """Take the means; `kernel` is one step of smoothing (`baselines.spatial_kernel`).

        trust : default: all of it
        """
        if trust is None:
            trust = np.ones(len(own), np.float32)
        share = present.astype(np.float32)
        total = own
        means = {}
        for step in range(1, WIDE + 1):
            total, share = kernel @ total, kernel @ share
            if step == 1:
                near_known = share > 0
                means["near"] = _mean(total, share, 0.0)
            elif step == FAR:
                means["far"] = _mean(total, share, LEAST_FAR)
                total = np.ascontiguousarray(total[:, :WIDE_DIMS])
        wide = (total / np.maximum(share, LEAST_WIDE)[:, None]).astype(np.float32)
        return cls(own=own, present=present, near_known=near_known, wide=wide, trust=trust, **means)

    def without_own(self, kernel: sparse.csr_array) -> "Evidence":
        """What is left of each cell when its own token is hidden: its surroundings alone.

        A mean over its surroundings holds the token of the cell too, up to all of it where no
        neighbour has one. The near mean is taken again without it. For the farther ones the cells
        are dealt into two halves, and each cell is shown the means over the half it is not in:
        steps of smoothing come back to where they started, so it cannot be taken off afterwards.
        """
        others = kernel.copy()
        others.setdiag(0)
        share = others @ self.present.astype(np.float32)
        even = np.arange(len(self.own)) % 2 == 0
        half = {
            side: Evidence.gather(
                np.where((even == side)[:, None], self.own, 0).astype(np.float32),
                self.present & (even == side),
                kernel,
            )
            for side in (True, False)
        }

        def farther(kind: str) -> np.ndarray:
            shown = np.where(even[:, None], getattr(half[False], kind), getattr(half[True], kind))
            return np.where(self.present[:, None], shown, getattr(self, kind))

        return Evidence(
            own=np.zeros_like(self.own),
            present=np.zeros_like(self.present),
            near=_mean(others @ self.own, share, 0.0),
            near_known=share > 0,
            far=farther("far"),
            wide=farther("wide"),
            trust=self.trust,
        )


def _mean(total: np.ndarray, share: np.ndarray, least: float) -> Float32[np.ndarray, "cells dims"]:
    known = share > least
    return np.where(known[:, None], total / np.where(known, share, 1)[:, None], 0).astype(
        np.float32
    )
