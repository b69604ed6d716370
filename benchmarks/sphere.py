"""Position encodings x networks on two maps of the globe, after Russwurm et al. (ICLR 2024).

Land and ocean: is a point land? Checkerboard: which of the classes has the nearest of N points
spread evenly over the sphere (a Fibonacci lattice, González 2010)? Training and validation points
are uniform on the sphere, test points another lattice. Accuracy over the globe, and beyond 75° of
latitude, where encodings of a plane break.

Each pair is trained at every learning rate of --rates, and the one with the lowest validation loss
counts; the paper's authors searched further, pair by pair. Degrees of the harmonics are theirs (20
for linear, 15 for FcNet, 10 for SIREN), and so are 32 scales from 10 degrees on. `fourier` is not
in the paper. Land is Natural Earth 1:110m (public domain), which comes with pyogrio.

    python benchmarks/sphere.py
    python benchmarks/sphere.py --epochs 500 --hidden 128 --rates 1e-4 3e-4 1e-3 3e-3 1e-2
    python benchmarks/sphere.py --land land.geojson --encodings wrap harmonics --heads siren
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio
import shapely
import torch
from scipy.spatial import KDTree
from torch.nn.functional import cross_entropy

from mobclip.model.location import HEADS
from mobclip.positions import POSITIONS, Cartesian, Position

POLES = 75  # degrees of latitude; 3.4 % of the sphere lie beyond
DEGREES = {"linear": 20, "fcnet": 15, "siren": 10}
BUNDLED = Path(pyogrio.__file__).parent / "tests/fixtures/naturalearth_lowres"

Labels = Callable[[np.ndarray], np.ndarray]  # (n, 2) lon, lat -> (n,) class


def main() -> None:
    """Make the maps, train every pair, print the tables."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--samples", type=int, default=5000, help="to train, and to validate")
    options.add_argument("--tests", type=int, default=10_000)
    options.add_argument("--epochs", type=int, default=200, help="at most")
    options.add_argument("--patience", type=int, default=30)
    options.add_argument("--batch", type=int, default=2000)
    options.add_argument("--hidden", type=int, default=64)
    options.add_argument("--rates", type=float, nargs="+", default=[3e-4, 3e-3, 3e-2])
    options.add_argument("--points", type=int, default=200, help="of the checkerboard")
    options.add_argument("--classes", type=int, default=16, help="of the checkerboard")
    options.add_argument("--encodings", nargs="+", default=list(POSITIONS), choices=POSITIONS)
    options.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    options.add_argument("--maps", nargs="+", default=["land", "checkerboard"])
    options.add_argument("--land", type=Path, default=BUNDLED, help="polygons of land")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()

    maps: dict[str, tuple[Labels, int]] = {}
    if "land" in chosen.maps and chosen.land.exists():
        maps["land"] = land(chosen.land), 2
    elif "land" in chosen.maps:
        print(f"{chosen.land} is missing: no land and ocean. Give polygons with --land.")
    if "checkerboard" in chosen.maps:
        maps["checkerboard"] = checkerboard(chosen.points, chosen.classes), chosen.classes
    rng = np.random.default_rng(chosen.seed)
    train, validation = anywhere(chosen.samples, rng), anywhere(chosen.samples, rng)
    test = lattice(chosen.tests)
    polar = np.abs(test[:, 1]) > POLES
    for name, (labels, classes) in maps.items():
        answer = labels(test)
        most = np.bincount(answer).max() / len(answer)
        print(f"\n{name}: accuracy on {len(test):,} points (beyond {POLES}°: {polar.sum():,}), %")
        print(f"the most frequent class everywhere: {100 * most:.1f}")
        print(f"{'':18s}" + "".join(f"{head:>16s}" for head in chosen.heads), flush=True)
        known = labels(train), labels(validation)
        for encoding in chosen.encodings:
            row, start = f"{encoding:18s}", time.process_time()
            for head in chosen.heads:
                position = settled(encoding, head)
                given = [torch.from_numpy(position(one)).float() for one in (train, validation)]
                network = fitted(given, known, classes, head, chosen)
                with torch.no_grad():
                    said = network(torch.from_numpy(position(test)).float()).argmax(1).numpy()
                right = said == answer
                row += f"{100 * right.mean():9.1f} ({100 * right[polar].mean():4.1f})"
            print(f"{row}  {time.process_time() - start:6.0f} s of processor time", flush=True)


def settled(encoding: str, head: str) -> Position:
    """The encoding with the paper's settings for a network."""
    if encoding == "harmonics":
        return POSITIONS[encoding](degrees=DEGREES[head])
    if encoding.startswith("space2vec"):
        return POSITIONS[encoding](scales=32, shortest=10.0)
    if encoding.startswith("sphere"):
        return POSITIONS[encoding](scales=32, shortest=float(np.radians(10)))
    if encoding == "fourier":
        return POSITIONS[encoding](frequencies=64)
    return POSITIONS[encoding]()


def fitted(
    features: list[torch.Tensor],
    labels: tuple[np.ndarray, np.ndarray],
    classes: int,
    head: str,
    chosen: argparse.Namespace,
) -> torch.nn.Module:
    """The network of the learning rate and epoch with the lowest validation loss."""
    train, validation = features
    answer, validation_answer = (torch.from_numpy(one) for one in labels)
    settings = {
        "linear": {},
        "fcnet": {"hidden": chosen.hidden, "dropout": 0.0},
        "siren": {"hidden": chosen.hidden},
    }[head]
    best, kept = float("inf"), {}
    network = HEADS[head](train.shape[1], classes, **settings)
    for rate in chosen.rates:
        torch.manual_seed(chosen.seed)
        rng = np.random.default_rng(chosen.seed)
        network = HEADS[head](train.shape[1], classes, **settings)
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
        lowest, since = float("inf"), 0
        for _ in range(chosen.epochs):
            network.train()
            order = torch.from_numpy(rng.permutation(len(train)))
            for rows in order.split(chosen.batch):
                loss = cross_entropy(network(train[rows]), answer[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                held_out = cross_entropy(network(validation), validation_answer).item()
            since = 0 if held_out < lowest else since + 1
            lowest = min(held_out, lowest)
            if held_out < best:
                best = held_out
                kept = {name: one.clone() for name, one in network.state_dict().items()}
            if since == chosen.patience:
                break
    network.load_state_dict(kept)
    return network.eval()


def anywhere(count: int, rng: np.random.Generator) -> np.ndarray:
    """Points uniform on the sphere, degrees lon, lat."""
    return np.column_stack(
        [rng.uniform(-180, 180, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))]
    )


def lattice(count: int) -> np.ndarray:
    """Points spread evenly over the sphere, degrees lon, lat: a Fibonacci lattice."""
    i = np.arange(count) - (count - 1) / 2
    lon = (i * 360 / ((1 + np.sqrt(5)) / 2) + 180) % 360 - 180
    return np.column_stack([lon, np.degrees(np.arcsin(2 * i / count))])


def checkerboard(points: int, classes: int) -> Labels:
    """Class of the nearest of the points, which are numbered through the classes."""
    tree = KDTree(Cartesian()(lattice(points)))
    return lambda lonlat: tree.query(Cartesian()(lonlat))[1] % classes


def land(path: Path) -> Labels:
    """1 on land, 0 at sea."""
    _, _, shapes, _ = pyogrio.raw.read(path)
    polygons = shapely.union_all(shapely.make_valid(shapely.from_wkb(shapes)))
    shapely.prepare(polygons)
    return lambda lonlat: shapely.contains_xy(polygons, *lonlat.T).astype(np.int64)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
