"""One training step of mobclip-paper at a given size: seconds and peak memory.

A random graph stands in for mobility: cost depends on sizes, not on content. Tokens have the
paper's widths (1024 POI, 768 imagery, 40 demographics).

    python benchmarks/step.py --cells 20000 --edges 1000000 --batch 1250
    python benchmarks/step.py --cells 195574 --edges 60000000 --batch 20480 --device cuda
"""

import argparse
import resource
import statistics
import time

import numpy as np
import torch
from scipy import sparse

from mobclip.model import BatchRows, LightGCN, MobCLIP
from mobclip.model.encoders import Standardise
from mobclip.model.lightgcn import csr_tensor

WIDTHS = {"poi": 1024, "imagery": 768, "demographics": 40}


def main() -> None:
    """Build, step, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cells", type=int, default=20_000)
    options.add_argument("--edges", type=int, default=1_000_000, help="of the symmetric matrix")
    options.add_argument("--batch", type=int, default=1250)
    options.add_argument("--steps", type=int, default=5)
    options.add_argument("--device", default="cpu")
    chosen = options.parse_args()
    rng = np.random.default_rng(0)
    device = torch.device(chosen.device)
    cuda = device.type == "cuda"

    half = chosen.edges // 2
    ends = rng.integers(0, chosen.cells, (2, half), dtype=np.int32)
    matrix = sparse.coo_array(
        (np.ones(half, np.float32), (ends[0], ends[1])), shape=(chosen.cells, chosen.cells)
    ).tocsr()
    matrix = sparse.csr_array(matrix + matrix.T)
    matrix.data[:] = chosen.cells / matrix.nnz
    torch.manual_seed(0)
    model = MobCLIP(
        LightGCN(torch.randn(chosen.cells, 128) * 0.1, csr_tensor(matrix)),
        {name: Standardise(torch.zeros(d), torch.ones(d)) for name, d in WIDTHS.items()},
        {"poi": 0.5, "imagery": 0.2, "demographics": 0.7},
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    tokens = {name: torch.randn(chosen.cells, d, device=device) for name, d in WIDTHS.items()}
    everyone = torch.ones(chosen.batch, dtype=torch.bool, device=device)

    for low in (False, True) if cuda else (False,):
        cut, step = [], []
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(chosen.steps + 1):  # the first is a warm-up
            start = time.perf_counter()
            rows = np.sort(rng.choice(chosen.cells, chosen.batch, replace=False))
            batch = BatchRows.cut(matrix, rows, device)
            if cuda:
                torch.cuda.synchronize()
            middle = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                loss = model(
                    batch,
                    {name: value[batch.rows] for name, value in tokens.items()},
                    dict.fromkeys(tokens, everyone),
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            value = loss.item()
            cut.append(middle - start)
            step.append(time.perf_counter() - middle)
        peak = (
            torch.cuda.max_memory_allocated() / 1e9
            if cuda
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        )
        print(
            f"{chosen.cells:,} cells, {matrix.nnz:,} edges, batch {chosen.batch:,}, "
            f"{chosen.device}, {'bf16 autocast' if low else 'float32'}: "
            f"cutting rows {statistics.median(cut[1:]):.3f} s on the CPU, "
            f"step {statistics.median(step[1:]):.3f} s, peak {peak:.1f} GB, loss {value:.3f}"
        )


if __name__ == "__main__":
    main()
