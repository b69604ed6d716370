"""One epoch of mobclip-paper on a graph that does not fit into memory as torch would hold it.

Makes synthetic flows (`flows.py`) and random tokens in a folder, in partitions, and trains one
epoch by the loop and the task that `mobclip train` uses: the graph is made symmetric on disk and
memory-mapped, tokens are memory-mapped and read batch by batch. What is there already is not made
again. The node table starts at random numbers: its initialisation by factorisation, which is made
once, is left out. Prints seconds and the most memory that was resident, mapped pages included.

    python benchmarks/scale.py /tmp/scale --cells 50000 --edges 10000000
    python benchmarks/scale.py /tmp/scale --cells 1000000 --edges 1140000000 --batch 62500
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from flows import RESOLUTION, write_flows

from mobclip import graph as graph_module
from mobclip.config import TrainConfig
from mobclip.graph import MobilityGraph
from mobclip.place import MOBILITY, Place
from mobclip.storage import ArrayWriter
from mobclip.table import CellTable
from mobclip.training import paper

WIDTHS = {"poi": 64, "imagery": 32}
ROWS_AT_ONCE = 100_000


class Memory:
    """The most that was resident, looked at twice a second: own, and mapped from files."""

    def __init__(self) -> None:
        self.own = self.mapped = self.all = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
            values = {line[0]: int(line[1]) / 1e6 for line in lines if line[0].startswith("Rss")}
            own, mapped = values["RssAnon:"], values["RssFile:"]
            self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)
            self.all = max(self.all, own + mapped)
            time.sleep(0.5)


def write_tokens(path: Path, cells: int, width: int, seed: int) -> None:
    """Random numbers, some rows at a time."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with ArrayWriter(path, np.float32) as writer:
        for start in range(0, cells, ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, cells - start)
            writer.append(rng.standard_normal(rows * width, np.float32))


def open_place(folder: Path) -> Place:
    """A place of memory-mapped parts, as one that `mobclip tokenize` has made."""
    graph = MobilityGraph.load(folder / MOBILITY)
    tables = {}
    for name, width in WIDTHS.items():
        values = np.load(folder / f"{name}.npy", mmap_mode="r").reshape(-1, width)
        columns = tuple(f"random_{i}" for i in range(width))
        tables[name] = CellTable(modality=name, cells=graph.cells, values=values, columns=columns)
    place = Place(
        folder=folder,
        name="scale",
        title="Synthetic flows",
        resolution=RESOLUTION,
        cells=graph.cells,
        modalities=(*WIDTHS, MOBILITY),
        provenance={"key": "scale", "generated": True},
    )
    place.__dict__.update(graph=graph, tables=tables)  # instead of reading what a place stores
    return place


def random_vectors(graph: MobilityGraph, dims: int, *, seed: int) -> np.ndarray:
    """In place of `line_vectors`."""
    vectors = np.random.default_rng(seed).standard_normal((len(graph.cells), dims), np.float32)
    vectors *= np.float32(dims**-0.5)
    return vectors


def main() -> None:
    """Make what is missing, train, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, nargs="?", help="default: a temporary one")
    options.add_argument("--cells", type=int, default=50_000)
    options.add_argument("--edges", type=int, default=10_000_000, help="of A + Aᵀ, about")
    options.add_argument("--batch", type=int, default=20_480)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--keep", action="store_true", help="leave the run's checkpoints")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as temporary:
        if chosen.folder is None:
            chosen.folder = Path(temporary)
        run(chosen)


def run(chosen: argparse.Namespace) -> None:
    """Everything, in the chosen folder."""
    start = time.perf_counter()
    if not (chosen.folder / MOBILITY).is_dir():
        write_flows(chosen.folder / MOBILITY, cells=chosen.cells, edges=chosen.edges)
        print(f"flows made in {time.perf_counter() - start:.0f} s", flush=True)
    for number, (name, width) in enumerate(WIDTHS.items()):
        if not (path := chosen.folder / f"{name}.npy").is_file():
            write_tokens(path, chosen.cells, width, number)
    graph_module.IN_MEMORY = 0  # on disk at every size, so that small runs take the same path
    memory = Memory()
    place = open_place(chosen.folder)
    start = time.perf_counter()
    edges = place.graph.undirected().edges
    print(
        f"{len(place.cells):,} cells, {edges:,} edges of A + Aᵀ, symmetric after "
        f"{time.perf_counter() - start:.0f} s (resident {memory.all:.1f} GB at most)",
        flush=True,
    )
    paper.line_vectors = random_vectors
    config = TrainConfig(epochs=1, batch_size=chosen.batch)
    memory.own = memory.mapped = memory.all = 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    trained = chosen.folder / "run"
    shutil.rmtree(trained, ignore_errors=True)
    paper.train(place, config, trained)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    steps = [json.loads(line) for line in (trained / "steps.jsonl").read_text().splitlines()]
    each = [step["seconds"] for step in steps]
    batch = min(chosen.batch, max(256, len(place.cells) // 16))  # as `paper` has it
    (epoch,) = (json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines())
    print(
        f"one epoch of {len(steps)} steps with {batch:,} cells at most, "
        f"{chosen.threads} thread(s): {epoch['seconds']:.0f} s with validation, {wall:.0f} s with "
        f"the start and the checkpoint ({cpu:.0f} CPU s); a step {np.median(each):.1f} s "
        f"[{min(each):.1f}, {max(each):.1f}]; loss {steps[0]['loss']:.4f} -> "
        f"{steps[-1]['loss']:.4f}, held-out {epoch['validation']:.4f}; resident at most "
        f"{memory.all:.1f} GB ({memory.own:.1f} own, {memory.mapped:.1f} mapped)"
    )
    if not chosen.keep:
        shutil.rmtree(trained)


if __name__ == "__main__":
    main()
