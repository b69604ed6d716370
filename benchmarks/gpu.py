"""mobclip-paper at the paper's full size on one GPU: what bounds it, and which product is faster.

The paper has 195,574 cells, 1.2 billion entries (3 % of all pairs) and batches of 20,480. Compared:
torch's sparse CSR, which training uses (8 bytes per entry), and the same matrix written out in
bf16, block by block of rows (2 bytes per pair of cells: 76.5 GB, for a card of 139 GiB). Weights
stay counts there and D^-1/2 is applied outside; bf16 rounds what is multiplied and what comes out,
sums are float32. Then whole steps, with and without `torch.compile` of what the loss does to each
logit, and epochs. Copying and multiplying at full speed are measured first: shares are of those.

    python benchmarks/gpu.py --graph /tmp/flows --cells 195574 --edges 1200000000 --epochs 100
    python benchmarks/gpu.py --device cpu --cells 3000 --edges 150000 --batch 512 --epochs 1
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from flows import write_flows
from reference import optimizer
from torch import Tensor

from mobclip.config import TrainConfig
from mobclip.graph import MobilityGraph, Undirected
from mobclip.model import LightGCN, MobCLIP, losses
from mobclip.model.encoders import Standardise
from mobclip.model.propagation import Propagation, TensorPropagation

WIDTHS = {"poi": 1024, "imagery": 768, "demographics": 40}
DIMS = 128
BLOCK = 8192  # rows of the dense matrix multiplied at once


class DensePropagation(Propagation):
    """P as a dense bf16 matrix of counts between two scalings, multiplied by blocks of rows."""

    def __init__(self, graph: Undirected, device: torch.device) -> None:
        n = len(graph)
        self.scale = torch.from_numpy(graph.scale).to(device)[:, None]
        self.counts = torch.zeros((n, n), dtype=torch.bfloat16, device=device)
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            edges = slice(graph.indptr[start], graph.indptr[stop])
            row = np.repeat(np.arange(start, stop), np.diff(graph.indptr[start : stop + 1]))
            at = torch.from_numpy(row).to(device), torch.tensor(graph.indices[edges], device=device)
            weight = torch.from_numpy(np.asarray(graph.weights[edges], np.float32)).to(device)
            self.counts[at[0], at[1].long()] = weight.bfloat16()

    def __matmul__(self, x: Tensor) -> Tensor:
        low = (self.scale * x).bfloat16()
        out = torch.empty_like(x)
        for start in range(0, len(x), BLOCK):
            part = slice(start, start + BLOCK)
            out[part] = self.counts[part] @ low
        return out.mul_(self.scale)

    def cut(self, rows: Tensor) -> "_DenseRows":
        """The rows, copied."""
        return _DenseRows(self.counts[rows], self.scale, rows)


class _DenseRows:
    def __init__(self, counts: Tensor, scale: Tensor, rows: Tensor) -> None:
        self.counts, self.scale, self.rows = counts, scale, rows

    def gather(self, x: Tensor) -> Tensor:
        return (self.counts @ (self.scale * x).bfloat16()).float() * self.scale[self.rows]

    def spread(self, x: Tensor) -> Tensor:
        return (self.counts.T @ (self.scale[self.rows] * x).bfloat16()).float() * self.scale


class Meter:
    """Seconds of something on the device, and its memory."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.cuda = device, device.type == "cuda"

    def wait(self) -> None:
        """Until the device is idle."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], repeats: int) -> float:
        """Median, after one that warms up."""
        found = []
        for _ in range(repeats + 1):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - start)
        return statistics.median(found[1:])

    def memory(self) -> str:
        """The most that was allocated so far."""
        if not self.cuda:
            return "memory of the device: not asked for on a CPU"
        return f"at most {torch.cuda.max_memory_allocated(self.device) / 1e9:.1f} GB allocated"


def roofline(meter: Meter, size: int) -> tuple[float, float]:
    """Bytes per second of a copy (read and written), bf16 FLOP per second of a large product."""
    source = torch.empty(size * size * 4, dtype=torch.bfloat16, device=meter.device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / meter.seconds(lambda: target.copy_(source), 5)
    square = torch.randn(size, size, device=meter.device).bfloat16()
    multiplied = 2 * size**3 / meter.seconds(lambda: square @ square, 5)
    print(
        f"roofline: copies {copied / 1e9:.0f} GB/s, bf16 products {multiplied / 1e12:.2f} TFLOP/s"
    )
    return copied, multiplied


def products(
    meter: Meter, graph: Undirected, rows: Tensor, bounds: tuple[float, float], repeats: int
) -> Propagation:
    """Time both kinds of product; the faster kind."""
    x = torch.randn(len(graph), DIMS, device=meter.device)
    y = torch.randn(len(rows), DIMS, device=meter.device)
    found: dict[str, tuple[float, Propagation]] = {}
    outputs = {}
    n, edges = len(graph), graph.edges
    kinds: dict[str, Callable[[], Propagation]] = {
        "sparse CSR, float32": lambda: TensorPropagation(graph, meter.device),
        "dense blocks, bf16": lambda: DensePropagation(graph, meter.device),
    }
    for name, make in kinds.items():
        try:
            operator = make()
            whole = meter.seconds(lambda operator=operator: operator @ x, repeats)
            cut = meter.seconds(lambda operator=operator: operator.cut(rows), repeats)
            part = operator.cut(rows)
            gather = meter.seconds(lambda part=part: part.gather(x), repeats)
            spread = meter.seconds(lambda part=part: part.spread(y), repeats)
        except torch.OutOfMemoryError as error:
            print(f"{name}: does not fit ({str(error).splitlines()[0]})")
            continue
        dense = name.startswith("dense")
        read = 2 * n * n if dense else 8 * edges
        flop = 2 * DIMS * (n * n if dense else edges)
        print(
            f"{name}: whole product {whole * 1e3:.1f} ms, cutting {len(rows):,} rows "
            f"{cut * 1e3:.1f} ms, their product {gather * 1e3:.1f} ms, its transpose "
            f"{spread * 1e3:.1f} ms; the matrix is read at {read / whole / 1e9:.0f} GB/s "
            f"({100 * read / whole / bounds[0]:.0f} % of a copy), "
            f"{flop / whole / 1e12:.2f} TFLOP/s ({100 * flop / whole / bounds[1]:.1f} % of a "
            f"product); {meter.memory()}"
        )
        outputs[name] = (operator @ x).float()
        found[name] = (2 * whole + cut + gather + spread, operator)
    if len(outputs) == 2:
        sparse, dense_out = outputs.values()
        print(
            f"dense differs by {float((dense_out - sparse).norm() / sparse.norm()):.1e} (relative)"
        )
    fastest = min(found, key=lambda name: found[name][0])
    print(f"faster in a step: {fastest}")
    return found[fastest][1]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cuda")
    options.add_argument("--graph", type=Path, help="folder of the graph, made if it is missing")
    options.add_argument("--cells", type=int, default=195_574)
    options.add_argument("--edges", type=int, default=1_200_000_000, help="of A + Aᵀ, about")
    options.add_argument("--batch", type=int, default=20_480)
    options.add_argument("--epochs", type=int, default=100)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    device = torch.device(chosen.device)
    meter = Meter(device)
    if meter.cuda and not torch.cuda.is_available():
        print("no GPU: nothing is measured. `--device cpu` with small sizes runs the same paths.")
        return
    name = torch.cuda.get_device_name(device) if meter.cuda else "CPU: paths are run, no result"
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.graph or Path(temporary) / "graph"
        if not folder.is_dir():
            write_flows(folder, cells=chosen.cells, edges=chosen.edges)
        graph = MobilityGraph.load(folder, mmap=False).undirected()
        n = len(graph)
        print(
            f"{name}, torch {torch.__version__}: {n:,} cells, {graph.edges:,} edges "
            f"({100 * graph.edges / n**2:.1f} % of all pairs), batch {chosen.batch:,}"
        )
        bounds = roofline(meter, 8192 if meter.cuda else 512)
        rng = np.random.default_rng(0)
        some = torch.from_numpy(np.sort(rng.choice(n, chosen.batch, replace=False))).to(device)
        operator = products(meter, graph, some, bounds, chosen.repeats)
        del graph

        torch.manual_seed(0)
        standard = {name: Standardise(torch.zeros(d), torch.ones(d)) for name, d in WIDTHS.items()}
        table = torch.randn(n, DIMS) * 0.1
        model = MobCLIP(LightGCN(table, operator), standard, TrainConfig().temperatures).to(device)
        adamw = optimizer(model, 1e-3, 1e-3, fused=True)
        tokens = {name: torch.randn(n, d, device=device) for name, d in WIDTHS.items()}
        everyone = torch.ones(chosen.batch, dtype=torch.bool, device=device)

        def step(rows: Tensor) -> Tensor:
            adamw.zero_grad(set_to_none=True)
            picked = {name: values[rows] for name, values in tokens.items()}
            present = dict.fromkeys(tokens, everyone[: len(rows)])
            with torch.autocast(device.type, torch.bfloat16, enabled=meter.cuda):
                loss = model(rows, picked, present)
            loss.backward()
            adamw.step()
            return loss

        plain = losses._sums, losses._pull
        seconds = {}
        for compiled in (False, True):
            if compiled:
                losses._sums, losses._pull = (torch.compile(one, dynamic=True) for one in plain)
            try:
                seconds[compiled] = meter.seconds(lambda: step(some), chosen.repeats)
            except Exception as error:  # no compiler, say: that is a result too
                print(f"torch.compile: {type(error).__name__}: {str(error).splitlines()[0]}")
                continue
            # A pair has four products of batch × batch × dims.
            flop = len(WIDTHS) * 4 * 2 * chosen.batch**2 * DIMS
            print(
                f"step, loss {'compiled' if compiled else 'as it is'}: "
                f"{seconds[compiled] * 1e3:.1f} ms; the loss alone would take "
                f"{flop / bounds[1] * 1e3:.1f} ms at the speed of a product; {meter.memory()}"
            )
        if min(seconds, key=seconds.__getitem__) is False:
            losses._sums, losses._pull = plain

        train = rng.permutation(n)[: round(0.9 * n)]
        parts = -(-len(train) // chosen.batch)
        meter.wait()
        start = time.perf_counter()
        for epoch in range(1, chosen.epochs + 1):
            for rows in np.array_split(rng.permutation(train), parts):
                loss = step(torch.from_numpy(np.sort(rows)).to(device))
            if epoch in (1, chosen.epochs):
                meter.wait()
                print(
                    f"epoch {epoch} of {parts} steps: loss {loss.item():.4f} after "
                    f"{time.perf_counter() - start:.1f} s; {meter.memory()}"
                )


if __name__ == "__main__":
    main()
