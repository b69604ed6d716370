"""The tiled contrastive loss against the dense one: time and memory of a forward and backward pass.

The peer is the published formulation in our own words: the full batch × batch matrix of logits and
two cross-entropies (MobCLIP, arXiv 2506.01297). Prints medians and ratios.

    python benchmarks/loss.py --batch 5120
    python benchmarks/loss.py --batch 20480 --device cuda
"""

import argparse
import resource
import statistics
import time

import torch
from reference import dense_loss
from torch import Tensor

from mobclip.model.losses import info_nce


def measure(
    loss, pair: list[Tensor], repeats: int, low: bool
) -> tuple[float, float, float, Tensor]:
    """Median seconds, peak extra MB, loss and the anchor's gradient."""
    device = pair[0].device
    seconds, value, gradient = [], 0.0, pair[0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for _ in range(repeats + 1):  # the first is a warm-up
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            found = loss(*pair, 0.2)
        gradient = torch.autograd.grad(found, pair)[0]
        value = found.item()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    if device.type == "cuda":
        after = torch.cuda.max_memory_allocated()
    else:
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return statistics.median(seconds[1:]), (after - before) / 1e6, value, gradient


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--batch", type=int, default=5120, help="cells per step")
    options.add_argument("--dims", type=int, default=128)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--device", default="cpu")
    chosen = options.parse_args()
    generator = torch.Generator().manual_seed(0)
    pair = [
        torch.randn(chosen.batch, chosen.dims, generator=generator)
        .to(chosen.device)
        .requires_grad_()
        for _ in range(2)
    ]
    # The tiled ones first: on a CPU the peak of the process only grows.
    runs = {"tiled, float32": (info_nce, False), "tiled, bf16": (info_nce, True)}
    if chosen.device == "cpu":
        del runs["tiled, bf16"]
    runs |= {"dense, float32": (dense_loss, False)}
    if chosen.device != "cpu":
        runs |= {"dense, bf16": (dense_loss, True)}
    found = {name: measure(loss, pair, chosen.repeats, low) for name, (loss, low) in runs.items()}
    seconds, memory, _, gradient = found["dense, float32"]
    print(f"batch {chosen.batch:,}, {chosen.dims} dims, {chosen.device}, torch {torch.__version__}")
    for name, (s, m, v, g) in found.items():
        error = float((g - gradient).norm() / gradient.norm())
        print(
            f"{name:15} {s * 1e3:9.1f} ms ({seconds / s:5.1f} x dense float32)  "
            f"peak extra {m:8.0f} MB ({memory / max(m, 1):6.1f} x less)  "
            f"loss {v:.6f}  gradient off by {error:.1e}"
        )


if __name__ == "__main__":
    main()
