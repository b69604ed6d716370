"""Does training in bf16, as the loop does it on a GPU, cost quality?

    python benchmarks/bf16.py data/places/chicago-r9 --seeds 3

Trains `mobclip-paper` and `mobclip` twice per seed on this machine's device, in float32 and with
every step under bf16 autocast: the arithmetic of a GPU, not its speed. Prints mean R² of ridge
probes over the number targets, on spatial blocks, and the paired difference. `mobclip` is scored
where its network has a say: with each modality taken from every cell in turn.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobclip.config import FusionConfig, TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.fusion import GONE
from mobclip.place import Place
from mobclip.probes import probe_all
from mobclip.training import embed, train, train_fusion


@contextmanager
def low_precision(wanted: bool) -> Iterator[None]:
    """Let the loop's autocast to bf16, which it asks for on a GPU only, happen here too."""
    usual = torch.autocast

    def asked(device: str, dtype: torch.dtype | None = None, enabled: bool = True) -> Any:
        return usual(device, dtype=dtype, enabled=enabled or (wanted and dtype == torch.bfloat16))

    torch.autocast = asked  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        torch.autocast = usual  # type: ignore[misc]


def paper(place: Place, seed: int) -> list[np.ndarray]:
    """Vectors of `mobclip-paper`."""
    with tempfile.TemporaryDirectory() as folder:
        train(place, TrainConfig(seed=seed), folder)
        return [embed(place, folder, name="mobclip-paper").vectors]


def fused(place: Place, seed: int) -> list[np.ndarray]:
    """Vectors of `mobclip`, each modality gone in turn."""
    with tempfile.TemporaryDirectory() as folder:
        model = train_fusion([place], FusionConfig(seed=seed), folder)
        return [model.embed(place, states={name: GONE}) for name in place.modalities]


def score(place: Place, seed: int, vectors: np.ndarray) -> float:
    """Mean R² on spatial blocks."""
    targets = {name: one for name, one in place.targets.items() if one.kind == "number"}
    made = Embeddings(name="made", cells=place.cells, vectors=np.ascontiguousarray(vectors))
    results = probe_all(made, targets, protocols=("blocks",), seeds=(seed,))
    return float(np.mean([result.scores["blocks"].mean for result in results]))


def main() -> None:
    """Train, score, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("place", type=Path)
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    place = Place.load(chosen.place)
    for name, arm in (("mobclip-paper", paper), ("mobclip, one modality gone", fused)):
        differences = []
        for seed in range(chosen.seeds):
            found = []
            for low in (False, True):
                with low_precision(low):
                    made = arm(place, seed)
                found.append(statistics.mean(score(place, seed, one) for one in made))
            differences.append(found[1] - found[0])
            print(f"{name}, seed {seed}: float32 {found[0]:.4f}, bf16 {found[1]:.4f}", flush=True)
        print(
            f"{name}: bf16 - float32 {statistics.mean(differences):+.4f} "
            f"[{min(differences):+.4f}, {max(differences):+.4f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
