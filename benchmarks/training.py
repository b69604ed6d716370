"""The published training of MobCLIP beside ours: seconds, memory, time to equal quality.

    python benchmarks/training.py --cells 50000 --edges 10000000 --batch 8192
    python benchmarks/training.py --to-equal ~/.cache/mobclip/places/synthetic-r6

The first compares steps on a synthetic graph (`flows.py`) with random tokens of the paper's widths:
the same graph, weights, batches and optimiser, so that the losses agree, which is checked. Extra
memory is what a step needs beyond data, weights and moments, which both have. The second trains on
a place and scores what comes out: mean R² over the targets that are numbers, ridge, spatial blocks.
Each measurement runs in a process of its own, so that memory that an earlier one has freed hides
nothing, and the arms take turns. CPU seconds are of all threads.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flows import write_flows
from reference import Published, coo, optimizer
from torch import Tensor

from mobclip.config import FusionConfig, TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.fusion import Fusion
from mobclip.graph import MobilityGraph
from mobclip.model import LightGCN, MobCLIP, Propagation
from mobclip.model.encoders import Standardise
from mobclip.place import Place
from mobclip.probes import probe_all
from mobclip.training import train_fusion
from mobclip.training.batches import deal
from mobclip.training.loop import VALIDATION_EPOCH, fit
from mobclip.training.paper import PaperTask, embed

WIDTHS = {"poi": 1024, "imagery": 768, "demographics": 40}
RATE, DECAY = 1e-3, 1e-3


class Watch:
    """CPU and wall seconds, and extra memory, of what runs between `start` and `stop`."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self.extra = self.peak = 0  # bytes at most: beyond those at the first start, and in all
        self._before: int | None = None

    def start(self) -> None:
        """Begin, or go on."""
        if self._before is None:
            self._before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here (Linux)
        self._since = time.process_time(), time.perf_counter()

    def stop(self) -> None:
        """Pause."""
        assert self._before is not None
        self.cpu += time.process_time() - self._since[0]
        self.wall += time.perf_counter() - self._since[1]
        self.peak = max(self.peak, _memory("VmHWM"))
        self.extra = self.peak - self._before


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


# ---- steps ---------------------------------------------------------------------------------------


def steps(arm: str, options: argparse.Namespace) -> dict[str, Any]:
    """Some steps of one arm, after one that warms up."""
    graph = MobilityGraph.load(options.graph, mmap=False).undirected()
    n = len(graph)
    generator = torch.Generator().manual_seed(0)
    tokens = {name: torch.randn(n, d, generator=generator) for name, d in WIDTHS.items()}
    table = torch.randn(n, 128, generator=generator) * 0.1
    torch.manual_seed(0)
    temperatures = TrainConfig().temperatures
    standard = {name: Standardise(torch.zeros(d), torch.ones(d)) for name, d in WIDTHS.items()}
    ours = MobCLIP(LightGCN(table, Propagation.of(graph)), standard, temperatures)
    rng = np.random.default_rng(0)
    order = rng.permutation(n)
    rounds = [
        torch.from_numpy(np.sort(rng.choice(n, options.batch, replace=False)))
        for _ in range(options.steps + 1)
    ]
    present = dict.fromkeys(WIDTHS, torch.ones(options.batch, dtype=torch.bool))
    node = torch.from_numpy(order)
    if arm == "ours":
        model: torch.nn.Module = ours
    else:
        shuffled = torch.empty_like(table)
        shuffled[node] = table
        model = Published(shuffled, coo(graph, order), ours.encoders, temperatures)
        del ours, table, shuffled, graph
    adamw = optimizer(model, RATE, DECAY, fused=True if arm == "ours" else None)  # as each does

    def step(rows: Tensor) -> float:
        picked = {name: values[rows] for name, values in tokens.items()}
        if arm == "reference, pair by pair":
            loss = model.backward_by_pairs(node[rows], picked, present)
        else:
            found = model(rows if arm == "ours" else node[rows], picked, present)
            loss = found.item()
            found.backward()
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        return loss

    losses = [step(rounds[0])]  # compiles, and allocates AdamW's moments
    seconds, extra = [], 0
    for rows in rounds[1:]:
        watch = Watch()
        watch.start()
        losses.append(step(rows))
        watch.stop()
        seconds.append([watch.cpu, watch.wall])
        extra = max(extra, watch.extra)
    return {"seconds": seconds, "extra": extra, "peak": watch.peak, "losses": losses}


def compare_steps(options: argparse.Namespace) -> None:
    """Reference and ours, in turns; prints what was measured, and what follows from it."""
    arms = ["reference, pair by pair" if options.pair_by_pair else "reference", "ours"]
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for _ in range(options.rounds):
        for arm in arms:
            found[arm].append(child(["--arm", arm], options))
    graph = MobilityGraph.load(options.graph)
    n = len(graph.cells)
    edges = graph.undirected().edges
    print(
        f"{n:,} cells, {edges:,} edges of A + Aᵀ, batch {options.batch:,}, "
        f"{options.threads} thread(s), torch {torch.__version__}; medians of "
        f"{options.steps} steps × {options.rounds} processes [range]"
    )
    summary = {}
    for arm, runs in found.items():
        cpu, wall = ([s[i] for run in runs for s in run["seconds"]] for i in (0, 1))
        memory = max(run["extra"] for run in runs)
        per_epoch = -(-round(0.9 * n) // options.batch)
        summary[arm] = statistics.median(cpu), statistics.median(wall), memory
        print(
            f"{arm:24} CPU {statistics.median(cpu):8.2f} s a step "
            f"[{min(cpu):.2f}, {max(cpu):.2f}], wall {statistics.median(wall):8.2f} s; "
            f"an epoch is {per_epoch} steps: {per_epoch * statistics.median(cpu):.0f} CPU s by "
            f"multiplication; extra memory of a step {memory / 1e9:.3f} GB, "
            f"of the process in all {max(run['peak'] for run in runs) / 1e9:.1f} GB"
        )
    (cpu, wall, memory), mine = summary.values()
    print(
        f"{'reference / ours':24} CPU {cpu / mine[0]:.1f} ×, wall {wall / mine[1]:.1f} ×, "
        f"extra memory {memory / mine[2]:.1f} ×"
    )
    first, second = (runs[0]["losses"] for runs in found.values())
    print(f"losses {first} and {second}")
    if not np.allclose(first, second, rtol=1e-5):
        raise SystemExit("the two do not compute the same: the comparison is void.")


# ---- to equal quality ----------------------------------------------------------------------------

Report = Callable[[np.ndarray], None]
Arm = Callable[[Place, int, Report], np.ndarray]
"""(place, seed, report) -> vectors of the cells in the end. Whatever it has on its way it may
report; the watch stands still meanwhile."""


def as_published(place: Place, seed: int, report: Report) -> np.ndarray:
    """The published algorithm to its early stop: vectors of its best epoch.

    Initialisation, split and batches are those of our `mobclip-paper`, so that the algorithm alone
    differs.
    """
    config = TrainConfig(seed=seed)
    task = PaperTask(place, config)
    assert place.graph is not None
    order = np.random.default_rng(seed).permutation(len(place.cells))
    node = torch.from_numpy(order)
    table = torch.empty_like(task.model.anchor.table.data)
    table[node] = task.model.anchor.table.data
    adjacency = coo(place.graph.undirected(), order)
    model = Published(table, adjacency, task.model.encoders, config.temperatures)
    adamw = optimizer(model, config.learning_rate, config.weight_decay)
    size = task.schedule.batch_size
    best, best_epoch, vectors = float("inf"), 0, table

    def loss(rows: np.ndarray) -> Tensor:
        return model(node[torch.from_numpy(rows)], *task.tokens.of(rows))

    for epoch in range(1, config.epochs + 1):
        if epoch - 1 - best_epoch >= config.patience:
            break
        for rows in deal(task.train_rows, size, seed=seed, epoch=epoch):
            adamw.zero_grad(set_to_none=True)
            loss(rows).backward()
            adamw.step()
        with torch.no_grad():
            held = deal(task.validation_rows, size, seed=seed, epoch=VALIDATION_EPOCH)
            validation = float(np.mean([loss(rows).item() for rows in held]))
            if validation < best:
                best, best_epoch = validation, epoch
                vectors = model.nodes()[node].clone()
    return vectors.numpy()


def our_paper(place: Place, seed: int, report: Report) -> np.ndarray:
    """`mobclip-paper` by our loop to its early stop; reports after every epoch."""
    config = TrainConfig(seed=seed)
    task = PaperTask(place, config)
    settings = {"place": place.provenance.get("key"), **config.to_dict()}
    with tempfile.TemporaryDirectory() as folder:
        fit(task, task.schedule, folder, settings, lambda _: report(task.model.embed().numpy()))
        return embed(place, folder, name="mobclip-paper").vectors


def our_mobclip(place: Place, seed: int, report: Report) -> np.ndarray:
    """`mobclip`: reports its linear part, which is the embedding of cells that lack nothing.

    The linear part is fitted a second time by the training of the network, which is for evidence
    that is missing: the seconds to the end count it twice.
    """
    config = FusionConfig(seed=seed)
    report(Fusion.fit([place], config).embed(place))
    with tempfile.TemporaryDirectory() as folder:
        return train_fusion([place], config, folder).embed(place)


ARMS: dict[str, Arm] = {
    "reference": as_published,  # the others are compared with the first
    "mobclip-paper": our_paper,
    "mobclip": our_mobclip,
}


def train_arm(arm: str, options: argparse.Namespace) -> dict[str, Any]:
    """One arm and seed: when it first was as good as `--bar`, and how good it is in the end."""
    place = Place.load(options.to_equal)
    for _ in (place.tables, place.graph, place.targets):
        pass  # read before the watch starts
    targets = {name: one for name, one in place.targets.items() if one.kind == "number"}
    watch = Watch()
    reached: list[float] | None = None

    def score(vectors: np.ndarray) -> float:
        made = Embeddings(name=arm, cells=place.cells, vectors=np.ascontiguousarray(vectors))
        results = probe_all(made, targets, protocols=("blocks",))
        return float(np.mean([result.scores["blocks"].mean for result in results]))

    def report(vectors: np.ndarray) -> None:
        nonlocal reached
        watch.stop()
        if reached is None and options.bar is not None and score(vectors) >= options.bar:
            reached = [watch.cpu, watch.wall]
        watch.start()

    watch.start()
    vectors = ARMS[arm](place, options.seed, report)
    watch.stop()
    final = score(vectors)
    if reached is None and options.bar is not None and final >= options.bar:
        reached = [watch.cpu, watch.wall]
    return {"r2": final, "cpu": watch.cpu, "wall": watch.wall, "extra": watch.extra, "to": reached}


def compare_quality(options: argparse.Namespace) -> None:
    """Every arm and seed on a place; the bar of a seed is what the reference reaches with it."""
    reference, *others = ARMS
    print(f"{options.to_equal.name}: mean R² on spatial blocks; seconds are CPU seconds")
    ratios: dict[str, list[float]] = {name: [] for name in others}
    for seed in range(options.seeds):
        first = child(["--arm", reference, "--seed", str(seed)], options)
        print(
            f"seed {seed} {reference:16} R² {first['r2']:.4f} in {first['cpu']:8.1f} s, "
            f"extra memory {first['extra'] / 1e6:6.0f} MB"
        )
        for name in others:
            bar = ["--bar", str(first["r2"])]
            found = child(["--arm", name, "--seed", str(seed), *bar], options)
            line = (
                f"seed {seed} {name:16} R² {found['r2']:.4f} in {found['cpu']:8.1f} s, "
                f"extra memory {found['extra'] / 1e6:6.0f} MB "
                f"({first['extra'] / found['extra']:.1f} × less); "
            )
            if found["to"] is None:
                line += "never as good as the reference"
            else:
                ratios[name].append(first["cpu"] / found["to"][0])
                line += f"as good after {found['to'][0]:.1f} s: {ratios[name][-1]:.1f} × sooner"
            print(line)
    for name, values in ratios.items():
        if len(values) == options.seeds:
            print(
                f"{name}: as good {statistics.mean(values):.1f} × sooner on average "
                f"[{min(values):.1f}, {max(values):.1f}]"
            )


def child(arguments: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Run this script with more arguments in a process of its own; what it has found."""
    threads = str(options.threads)
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], *arguments],
        env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cells", type=int, default=50_000)
    options.add_argument("--edges", type=int, default=10_000_000, help="of A + Aᵀ, about")
    options.add_argument("--graph", type=Path, help="folder of the graph, made if it is missing")
    options.add_argument("--batch", type=int, default=8192)
    options.add_argument("--steps", type=int, default=3, help="timed, after one that warms up")
    options.add_argument("--rounds", type=int, default=1, help="processes of each arm, in turns")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument(
        "--pair-by-pair",
        action="store_true",
        help="the reference holds the logits of one pair at a time, where three do not fit",
    )
    options.add_argument("--to-equal", type=Path, metavar="PLACE", help="folder of a place")
    options.add_argument("--seeds", type=int, default=3)
    for name, kind in (("--arm", str), ("--seed", int), ("--bar", float)):
        options.add_argument(name, type=kind, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.arm:
        torch.set_num_threads(chosen.threads)
        work = train_arm if chosen.to_equal else steps
        print(json.dumps(work(chosen.arm, chosen)))
    elif chosen.to_equal:
        compare_quality(chosen)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            if chosen.graph is None:
                chosen.graph = Path(temporary) / "graph"
                sys.argv += ["--graph", str(chosen.graph)]
            if not chosen.graph.is_dir():
                write_flows(chosen.graph, cells=chosen.cells, edges=chosen.edges)
            compare_steps(chosen)


if __name__ == "__main__":
    main()
