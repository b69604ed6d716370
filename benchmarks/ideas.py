"""Ideas that are not in the product, with figures: does one of them earn a place?

contrast   the loss of `mobclip-paper`, as published (mobility is the pivot) and varied: every pair
           of modalities; cells within two rings no negatives of each other; temperatures learned,
           one per modality (a pair takes the geometric mean of its two; one with mobility that of
           the other); all three. Settings, early stop and what becomes the embedding are the
           recipe's. Beside them `propagated` and `mobclip`, which has no network where all is known
scales     the vectors of `mobclip` beside their means over the H3 parent and its parent, cut back
           to as many dimensions by PCA, against `mobclip` itself
retrieval  a modality is hidden (or gone: its surroundings too) at the cells of a fold of blocks;
           the linear part of `mobclip`, the mean full embedding of the 16 cells outside the fold
           that are nearest to it, and half of each. The network of `<place>/runs/mobclip` stands
           beside them, where there is one: it has seen the cells

Scores: R² of ridge probes on spatial blocks, mean over number targets and seeds; probes of
`retrieval` learn outside the fold from full embeddings. Differences are of pairs: with a 95 %
interval by areas and seeds (`BlockBootstrap`), then seed by seed. Cosines are to the embedding of
all evidence, over the cells that have the modality. Seeds count from 10: partitions 0 to 2 are
those that results are reported on.

    python benchmarks/ideas.py ~/mobclip/places/chicago-r9 --seeds 3
    python benchmarks/ideas.py PLACE_FOLDER ... --ideas scales retrieval
"""

import argparse
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from mobclip import grid
from mobclip.baselines import BASELINES, Features
from mobclip.baselines.features import centred, principal_axes
from mobclip.config import FusionConfig, TrainConfig
from mobclip.embeddings import Embeddings, unit_rows
from mobclip.evaluation.bootstrap import BlockBootstrap
from mobclip.fusion import FUSION_FILE, GONE, HIDDEN, Fusion
from mobclip.model.losses import FLOOR, info_nce
from mobclip.place import MOBILITY, Place
from mobclip.probes import FOLDS, HeldOut, Score, held_out
from mobclip.studies.subsets import Round, testable
from mobclip.studies.variants import combined, number_targets
from mobclip.training import paper
from mobclip.training.loop import fit

FIRST_SEED = 10
RINGS = 2  # around a cell, in which there are no negatives of it
NEAREST = 16  # cells that are retrieved
PUBLISHED, MOBCLIP, NOTHING, LINEAR = "as published", "mobclip", "nothing missing", "linear part"
STATES = {"hidden": HIDDEN, "gone": GONE}
VARIATIONS = {
    PUBLISHED: (),
    "every pair": ("every pair",),
    "neighbours are no negatives": ("softened",),
    "temperatures learned": ("learned",),
    "all three": ("every pair", "softened", "learned"),
}


class Scores:
    """R² of several ways to embed a place, paired by seed."""

    def __init__(self, place: Place, seeds: Sequence[int]) -> None:
        self.areas = BlockBootstrap(place.cells, seeds=seeds, folds=FOLDS)
        self.r2: dict[str, dict[int, dict[str, float]]] = {}  # way -> seed -> target

    def add(self, way: str, held: HeldOut) -> None:
        """Take in the predictions of one target and seed."""
        self.areas.add(way, held)
        of_seed = self.r2.setdefault(way, {}).setdefault(held.seed, {})
        of_seed[held.target.name] = held.metrics["r2"]

    def row(self, way: str, against: str) -> list[str]:
        """Mean and spread over seeds; difference, its interval, and it by seed."""
        mean = {
            one: np.array([np.mean(list(of.values())) for of in self.r2[one].values()])
            for one in (way, against)
        }
        score = Score(per_seed=tuple(mean[way]))
        spread = f" ± {score.spread:.3f}" if len(mean[way]) > 1 else ""
        row = [f"{score.mean:.3f}{spread}", "", ""]
        if way != against:
            sure = self.areas.difference(way, against, next(iter(self.r2[way].values())))
            row[1] = f"{sure.value:+.3f} ({sure.low:+.3f} to {sure.high:+.3f})"
            row[2] = signed(mean[way] - mean[against])
        return row


def signed(values: np.ndarray) -> str:
    """Numbers with their signs."""
    return " ".join(f"{one:+.3f}" for one in values)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print as markdown."""
    for row in (columns, ["---"] * len(columns), *rows):
        print("| " + " | ".join(row) + " |")


# ---- contrast ------------------------------------------------------------------------------------


class Contrast(paper.PaperTask):
    """`PaperTask` with another loss; by default its own."""

    def __init__(self, place: Place, config: TrainConfig, kinds: Collection[str] = ()) -> None:
        super().__init__(place, config)
        pairs = combinations([MOBILITY, *self.model.modalities], 2)
        self.pairs = [pair for pair in pairs if "every pair" in kinds or MOBILITY in pair]
        self.near = grid.adjacency(place.cells, RINGS) if "softened" in kinds else None
        logs = self.model.temperature.log()
        self.logs = self.model.log_temperature = nn.Parameter(logs) if "learned" in kinds else logs

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """Pair of modalities -> its loss, over the number of pairs: equal weights."""
        index, tokens, present = self._batch(rows, rows)
        encoded = {MOBILITY: self.model.anchor(index)}
        for name, here in present.items():
            encoded[name] = torch.zeros_like(encoded[MOBILITY])
            encoded[name][here] = self.model.encoders[name](tokens[name][here])
        present[MOBILITY] = torch.ones_like(index, dtype=torch.bool)
        near = None
        if self.near is not None:
            near = torch.from_numpy(self.near[rows][:, rows].toarray() > 0).to(self.device)
        losses = {}
        for a, b in self.pairs:
            here = present[a] & present[b]
            if here.sum() >= 2:
                own = [self.model.modalities.index(name) for name in (a, b) if name != MOBILITY]
                temperature = self.logs[own].mean().exp().clamp(min=FLOOR)
                masked = None if near is None else near[here][:, here]
                losses[a, b] = contrast(encoded[a][here], encoded[b][here], temperature, masked)
        if not losses:  # no pair has two cells here
            return {"nothing": self.model.anchor.table.sum() * 0}
        return {"-".join(pair): loss / len(losses) for pair, loss in losses.items()}


def contrast(one: Tensor, other: Tensor, temperature: Tensor, near: Tensor | None) -> Tensor:
    """Symmetric InfoNCE, dense where some pairs (near) are not to count as negatives."""
    if near is None:
        return info_nce(one, other, temperature)
    logits = normalize(one, dim=-1) @ normalize(other, dim=-1).T / temperature
    logits = logits.masked_fill(near, -torch.inf)
    own = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def trained(place: Place, seed: int, folder: Path) -> Iterator[Embeddings]:
    """Every variation of the contrast; what is in `folder` already is not trained again."""
    config = TrainConfig(seed=seed)
    for name, kinds in VARIATIONS.items():
        run = folder / f"{place.folder.name}-{name.replace(' ', '-')}-{seed}"
        task = Contrast(place, config, kinds)
        settings = {"place": place.provenance.get("key"), "contrast": list(kinds)}
        fit(task, task.schedule, run, config.to_dict() | settings)
        epochs = len((run / "metrics.jsonl").read_text("utf-8").splitlines())
        told = f"seed {seed}, {name}: {epochs} epochs"
        if "learned" in kinds:
            learned = load_file(run / "model.safetensors")["log_temperature"].exp().tolist()
            pairs = zip(task.model.modalities, learned, strict=True)
            told += ", temperatures " + ", ".join(f"{one} {value:.2f}" for one, value in pairs)
        print(f"<!-- {told} -->", flush=True)
        yield paper.embed(place, run, name=name)


# ---- scales --------------------------------------------------------------------------------------


def multi_scale(place: Place, vectors: np.ndarray) -> np.ndarray:
    """Vectors beside their means over parents and grandparents, cut to as many dimensions."""
    blocks = [vectors]
    for up in (1, 2):
        parents = grid.parents(place.cells, max(place.resolution - up, 0))
        _, family, count = np.unique(parents, return_inverse=True, return_counts=True)
        sums = np.zeros((len(count), vectors.shape[1]))
        np.add.at(sums, family, vectors)
        blocks.append((sums / count[:, None])[family])
    stacked = centred(np.hstack(blocks))
    return stacked @ principal_axes(stacked, vectors.shape[1])


def probed(place: Place, seeds: Sequence[int], ideas: Sequence[str], folder: Path) -> None:
    """`contrast` and `scales`: embeddings of all evidence."""
    targets, scores = number_targets(place), Scores(place, seeds)

    def embedded(seed: int) -> Iterator[Embeddings]:
        features = Features(place, seed=seed)
        yield (baseline := BASELINES["propagated"].fit(features))
        own = Fusion.fit([place], FusionConfig(seed=seed)).embed(place)
        yield replace(baseline, name=MOBCLIP, vectors=own)
        if "scales" in ideas:
            made = multi_scale(place, own).astype(np.float32)
            yield replace(baseline, name=f"{MOBCLIP}, three scales", vectors=made)
        if "contrast" in ideas:
            yield from trained(place, seed, folder)

    for seed in seeds:
        for embeddings in embedded(seed):
            for held in held_out(embeddings, targets, seeds=[seed], protocols=["blocks"]):
                scores.add(embeddings.name, held)
    rows = []
    for way in scores.r2:
        against = PUBLISHED if way in VARIATIONS else MOBCLIP
        rows.append([way, *scores.row(way, against), "" if way == against else against])
    table(["embedding", "R² on blocks", "difference", "by seed", "to"], rows)


# ---- retrieval -----------------------------------------------------------------------------------


def retrieved(queries: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Mean of the vectors of a bank that are nearest to each query by cosine."""
    unit, k = unit_rows(bank).T, min(NEAREST, len(bank))
    made = np.empty_like(queries)
    for part in np.array_split(np.arange(len(queries)), max(1, len(queries) // 1024)):
        nearest = np.argpartition(-(unit_rows(queries[part]) @ unit), k - 1, axis=1)[:, :k]
        made[part] = bank[nearest].mean(1)
    return made


def filled_in(place: Place, seeds: Sequence[int]) -> None:
    """`retrieval`: a modality that is missing at the cells of each fold in turn."""
    run = place.folder / "runs" / "mobclip" / FUSION_FILE
    fusion = Fusion.load(run) if run.is_file() else Fusion.fit([place], FusionConfig())
    linear, votes = replace(fusion, network=None), fusion.votes(place)
    full = combined(linear, votes, {})
    targets, scores = testable(place, seeds)[0], Scores(place, seeds)
    cosines: dict[str, dict[int, list[float]]] = {}  # way -> seed -> of each cell
    for seed in seeds:
        asked = Round.of(place, targets, seed)
        fits = asked.learn(full)
        for k in range(FOLDS):
            asked.test(NOTHING, full, fits, k)
            tested = asked.tested(k)
            rows = np.flatnonzero(tested)
            for name, (what, state) in product(fusion.modalities, STATES.items()):
                alone = combined(linear, votes, {name: state}, rows)
                found = retrieved(alone, full[~tested])
                made = {LINEAR: alone, "nearest 16": found, "half of each": (alone + found) / 2}
                if fusion.network is not None:
                    made["with the network"] = combined(fusion, votes, {name: state}, rows)
                has = votes.present[name][rows] & (asked.fold[rows] == k)
                for way, vectors in made.items():
                    key, shown = f"{name} {what}: {way}", full.copy()
                    shown[rows] = vectors
                    asked.test(key, shown, fits, k)
                    near = (unit_rows(vectors[has]) * unit_rows(full[rows[has]])).sum(1)
                    cosines.setdefault(key, {}).setdefault(seed, []).extend(near)
        for key, held in asked.predictions():
            scores.add(key, held)
    rows = [[NOTHING, "", "", *scores.row(NOTHING, NOTHING)]]
    for key in cosines:
        against = f"{key.split(':')[0]}: {LINEAR}"
        mean, base = (np.array([np.mean(c) for c in cosines[w].values()]) for w in (key, against))
        apart = signed(mean - base) if key != against else ""
        rows.append([key, f"{mean.mean():.3f}", apart, *scores.row(key, against)])
    columns = ["what is missing: way", "cosine", "by seed", "R² on blocks", "difference", "by seed"]
    table(columns, rows)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("places", type=Path, nargs="+", help="folders of places")
    options.add_argument("--seeds", type=int, default=3, help="how many, from 10 on")
    ideas = ["contrast", "scales", "retrieval"]
    options.add_argument("--ideas", nargs="+", default=ideas, choices=ideas)
    options.add_argument("--folder", type=Path, help="trained runs are kept here; default: nowhere")
    chosen = options.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + chosen.seeds)
    with tempfile.TemporaryDirectory() as temporary:
        for path in chosen.places:
            place = Place.load(path)
            print(f"\n### {path.name}, {len(place.cells):,} cells, seeds {list(seeds)}\n")
            if {"contrast", "scales"} & set(chosen.ideas):
                probed(place, seeds, chosen.ideas, chosen.folder or Path(temporary))
            if "retrieval" in chosen.ideas:
                print()
                filled_in(place, seeds)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
