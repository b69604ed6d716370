"""Location encoders with published objectives, re-trained on the cells of a place.

Not the authors' models: their objective and their encoder, on our data. A network learns from
the position of a cell alone to come near to the token of the cell's imagery (or of its points of
interest, where a place has little imagery); what it gives is a function of position.

=====================  ==========================================================================
`satclip-retrained`    SatCLIP (Klemmer et al., AAAI 2025, arXiv 2311.17179)
`csp-retrained`        CSP (Mai et al., ICML 2023, arXiv 2305.01118)
`geoclip-retrained`    GeoCLIP (Cepeda, Nayak, Shah, NeurIPS 2023, arXiv 2309.16020)
=====================  ==========================================================================

Where all three differ from the papers:

- 128 dimensions, as every other row of the ladder (theirs: 256, 256, 512);
- the frozen image encoder is our imagery token, standardised, and one linear map on top of it
  trains, as in SatCLIP and CSP (GeoCLIP's is a network of two layers);
- the schedule: tens of thousands of cells instead of 100,000 to 4.7 million pictures, so higher
  learning rates and early stopping on a tenth of the cells, held out at random. What each changes
  further is said where it is done.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jaxtyping import Float, Float64
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.errors import ArtefactError, ConfigError
from mobclip.model.encoders import standardise
from mobclip.model.location import (
    Capsules,
    DualEncoder,
    Perceptron,
    Seen,
    Siren,
    against_random,
    one_way,
)
from mobclip.model.losses import info_nce
from mobclip.place import Place
from mobclip.positions import Components, Fourier, Grid, Harmonics, Position, finest
from mobclip.training.device import choose_device
from mobclip.training.loop import EpochMetrics, fit
from mobclip.training.schedule import Schedule

DIMS = 128
PAIRS = ("imagery", "poi")  # what a location encoder may learn from, best first
VALIDATION_SHARE = 0.1
RECALL_AT, RECALL_CANDIDATES = 10, 1000
SPREAD = (4 * np.pi) ** -0.5  # of components: that of a spherical harmonic over the globe
KM_PER_DEGREE = 111.195  # of latitude

Network = Callable[[int], nn.Module]  # number of features -> network with DIMS outputs


# ---- objectives --------------------------------------------------------------------------------


class LocationTask(ABC):
    """A `DualEncoder` on the cells of a place; what is contrasted is said by those below.

    Parameters
    ----------
    position : of any place on earth
    network : number of features -> network on them
    components : whether it sees their components over the place (`positions.Components`)
    pair : the modality whose tokens are the other side
    """

    def __init__(
        self,
        place: Place,
        position: Position,
        *,
        network: Network,
        components: bool,
        pair: str,
        seed: int,
        device: torch.device,
    ) -> None:
        self.device = device
        self.pair = pair
        self.lonlat = grid.centers(place.cells)
        seen = None
        if components:
            position = Components.over(position, self.lonlat, spread=SPREAD)
            seen = Seen(torch.from_numpy(position.mean), torch.from_numpy(position.axes))
        self.position = position
        self.cell_km = float(np.sqrt(grid.areas_km2(place.cells).mean() / np.pi))
        tokens, present = place.tables[pair].aligned(place.cells)
        torch.manual_seed(seed)
        self.model = DualEncoder(
            seen,
            network(position.dims),
            standardise(torch.from_numpy(tokens[present])),
            dims=DIMS,
        ).to(device)
        self.features = self.encode(self.lonlat)
        self.tokens = torch.from_numpy(tokens).to(device)
        shuffled = np.random.default_rng([seed, 0]).permutation(np.flatnonzero(present))
        held_out = max(1, round(VALIDATION_SHARE * len(shuffled)))
        self.validation_rows, self.train_rows = shuffled[:held_out], shuffled[held_out:]

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """Terms by name, in float32: what tells two positions apart is lost in bf16."""
        with torch.autocast(self.device.type, enabled=False):
            return self.terms(rows, rng)

    @abstractmethod
    def terms(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """Terms of the objective, by name."""

    def report(self) -> dict[str, Any]:
        """Recall@10 of a cell's position from its token, among held-out cells; temperature."""
        rows = self.validation_rows[:RECALL_CANDIDATES]
        places = normalize(self.places(self.features[rows]), dim=-1)
        logits = normalize(self.images(rows), dim=-1) @ places.T
        better = (logits > logits.diagonal()[:, None]).sum(dim=1)
        return {
            "recall": {self.pair: float((better < RECALL_AT).float().mean())},
            "candidates": len(rows),
            "temperature": float(self.model.temperature),
        }

    def places(self, features: Float[Tensor, "n features"]) -> Float[Tensor, "n dims"]:
        """Vectors of positions."""
        return self.model.location(features)

    def images(self, rows: np.ndarray) -> Float[Tensor, "n dims"]:
        """Vectors of the tokens of cells."""
        return self.model.token(self.tokens[torch.from_numpy(rows).to(self.device)])

    def encode(self, lonlat: Float[np.ndarray, "n 2"]) -> Float[Tensor, "n features"]:
        """Features of any positions, on the device."""
        return _float32(self.position(lonlat)).to(self.device)

    def moved(
        self, lonlat: Float[np.ndarray, "n 2"], km: Float[np.ndarray, "n 2"]
    ) -> Float[np.ndarray, "n 2"]:
        """Positions moved by so many km east and north."""
        degrees = km / KM_PER_DEGREE
        degrees[:, 0] /= np.cos(np.radians(lonlat[:, 1]))
        return lonlat + degrees

    def anywhere(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "count 2"]:
        """Random positions within the cells of the place, uniform in area.

        A point of a cell is one of the disk of the cell's area around its centre.
        """
        centres = self.lonlat[rng.integers(len(self.lonlat), size=count)]
        radius = self.cell_km * np.sqrt(rng.uniform(size=count))
        angle = rng.uniform(0, 2 * np.pi, size=count)
        km = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
        return self.moved(centres, km)


class SatClip(LocationTask):
    """Symmetric InfoNCE of position and image, the temperature learned."""

    def terms(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """One term."""
        places = self.places(self.features[rows])
        return {"clip": info_nce(places, self.images(rows), self.model.temperature)}


class Csp(LocationTask):
    """MC-BLD, the paper's best: three cross-entropies of equal weight.

    In a batch, from position to image; a place against one random place; a place against itself
    under another dropout mask (SimCSE), among the batch. All temperatures are 1, which the name
    of the released fMoW model says (the scripts divide the first by 20).

    Where we differ: random places are drawn in the cells of the place, not all over the sphere,
    of which a place is a speck: telling a city from an ocean teaches nothing about the city.
    """

    def terms(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """The three terms."""
        features, images = self.features[rows], self.images(rows)
        places, again = self.places(features), self.places(features)
        random = self.places(self.encode(self.anywhere(len(rows), rng)))
        return {
            "batch": one_way(places, images),
            "random": against_random(places, random, images),
            "dropout": one_way(places, again),
        }


class GeoClip(LocationTask):
    """From image to position, among the batch and a queue of positions.

    The queue holds positions, first in first out; they are encoded anew in each step. Positions
    are moved at random by 150 m, those of the queue by 1 km (standard deviations).

    Where we differ: a queue of 1,024 instead of 4,096, since a city has few cells and each would
    stand in it several times; images are not augmented (tokens are frozen).
    """

    QUEUE, NOISE_KM, QUEUE_NOISE_KM = 1024, 0.15, 1.0

    def __init__(self, place: Place, position: Position, **settings: Any) -> None:
        super().__init__(place, position, **settings)
        start = self.anywhere(self.QUEUE, np.random.default_rng([settings["seed"], 1]))
        # In the model, so that checkpoints hold it.
        self.model.register_buffer("queue", torch.from_numpy(start).to(self.device))

    def terms(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """One term. Without noise and queue in validation, which is to repeat itself."""
        images = self.images(rows)
        if not self.model.training:
            places = self.places(self.features[rows])
            return {"geoclip": one_way(images, places, self.model.temperature)}
        here = self.lonlat[rows]
        queue = self.model.get_buffer("queue")
        seen = np.vstack([self._noisy(here, self.NOISE_KM, rng), queue.cpu().numpy()])
        keys = self.places(self.encode(seen))
        came = torch.from_numpy(self._noisy(here, self.QUEUE_NOISE_KM, rng)).to(self.device)
        self.model.register_buffer("queue", torch.cat([came, queue])[: self.QUEUE])
        return {"geoclip": one_way(images, keys, self.model.temperature)}

    def _noisy(
        self, lonlat: Float[np.ndarray, "n 2"], km: float, rng: np.random.Generator
    ) -> Float[np.ndarray, "n 2"]:
        return self.moved(lonlat, rng.normal(scale=km, size=lonlat.shape))


# ---- models ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LocationModel:
    """A published way to learn from positions."""

    recipe: str  # for provenance: whose objective and encoder
    position: Callable[[int, int], Position]  # (resolution of the cells, seed) -> encoding
    network: Network
    components: bool = False
    task: type[LocationTask]
    schedule: Schedule


LOCATION_MODELS: dict[str, LocationModel] = {
    "satclip-retrained": LocationModel(
        recipe="SatCLIP's objective and encoder (arXiv 2311.17179), re-trained on our data",
        # 40 degrees, as SatCLIP's authors advise for areas of the size of a country. Over a place
        # the 1,600 features are nearly alike: on their components the held-out loss is lower.
        position=lambda resolution, seed: Harmonics(degrees=40),
        network=lambda dims: Siren(dims, DIMS, hidden=256, layers=2),
        components=True,
        task=SatClip,
        # Theirs: 500 epochs of 100,000 images, at the same rate.
        schedule=Schedule(
            batch_size=512, epochs=120, patience=6, learning_rate=1e-4, weight_decay=0.01
        ),
    ),
    "csp-retrained": LocationModel(
        recipe="CSP's objective and encoder (arXiv 2305.01118), re-trained on our data",
        # 32 scales; the shortest is two cells instead of 0.1 degrees, a quarter of a city.
        position=lambda resolution, seed: Grid(scales=32, shortest=finest(resolution)),
        # Their code puts activation and dropout behind the last layer too; ours ends linear.
        network=lambda dims: Perceptron(
            dims, DIMS, hidden=[512], slope=0.2, dropout=0.5, norm=True
        ),
        task=Csp,
        schedule=Schedule(
            batch_size=1024, epochs=60, patience=6, learning_rate=5e-4, weight_decay=0.0
        ),
    ),
    "geoclip-retrained": LocationModel(
        recipe="GeoCLIP's objective and encoder (arXiv 2309.16020), re-trained on our data",
        position=lambda resolution, seed: Fourier(seed=seed),
        # A quarter of their width (1024), for a hundredth of their pictures.
        network=lambda dims: Capsules(dims, DIMS, count=3, hidden=[256, 256, 256]),
        task=GeoClip,
        # Theirs: 3e-5, times 0.87 each epoch.
        schedule=Schedule(
            batch_size=512, epochs=30, patience=4, learning_rate=3e-4, weight_decay=1e-6
        ),
    ),
}
"""Name of the run -> how it is trained."""


# ---- runs --------------------------------------------------------------------------------------


def train_location(
    place: Place,
    name: str,
    folder: Path | str,
    *,
    pair: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
) -> None:
    """Train a location encoder and leave it in `folder`; see `loop.fit`.

    Parameters
    ----------
    name : one of `LOCATION_MODELS`
    pair : the modality to learn from; default: see `pair_of`
    epochs : at most; default: its own
    """
    model = _model(name)
    pair = pair_of(place, pair)
    task = model.task(
        place,
        model.position(place.resolution, seed),
        network=model.network,
        components=model.components,
        pair=pair,
        seed=seed,
        device=choose_device(device),
    )
    # A small place still gets several steps per epoch.
    batch = min(model.schedule.batch_size, max(128, len(task.train_rows) // 16))
    schedule = replace(
        model.schedule, batch_size=batch, epochs=epochs or model.schedule.epochs, seed=seed
    )
    settings = {
        "place": place.provenance.get("key"),
        "model": name,
        "pair": pair,
        **asdict(schedule),
    }
    fit(task, schedule, folder, settings, on_epoch)


def embed_location(place: Place, folder: Path | str, *, name: str) -> Embeddings:
    """Embeddings of a trained location encoder: its vector of each cell's centre."""
    folder = Path(folder)
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ArtefactError(f"{weights} is missing: train the run on {place.name} first.")
    settings = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    if settings["place"] != place.provenance.get("key"):
        raise ArtefactError(
            f"{folder} was trained on another version of {place.name}: train again."
        )
    model = _model(settings["model"])
    tensors = load_file(weights)
    position = model.position(place.resolution, settings["seed"])
    if model.components:
        mean, axes = tensors["seen.mean"].numpy(), tensors["seen.axes"].numpy()
        position = Components(position=position, mean=mean, axes=axes)
    network = model.network(position.dims)
    prefix = "location."
    network.load_state_dict(
        {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
    )
    network.eval()
    with torch.no_grad():
        vectors = network(_float32(position(grid.centers(place.cells)))).numpy()
    return Embeddings(
        name=name,
        cells=place.cells,
        vectors=np.ascontiguousarray(vectors, np.float32),
        present=place.present,
        provenance={
            "recipe": model.recipe,
            "modalities": [settings["pair"]],
            "pair": settings["pair"],
            "settings": settings,
        },
    )


def pair_of(place: Place, pair: str | None = None) -> str:
    """The modality that location encoders learn from; `ConfigError` where there is none.

    Imagery, as in the papers; points of interest where there is no imagery, or where more than
    twice as many cells have them: a few hundred pictures teach a network little.
    """
    wanted = [pair] if pair else PAIRS
    cells = {one: len(place.tables[one].cells) for one in wanted if one in place.tables}
    for one, count in cells.items():
        if 2 * count >= max(cells.values()):
            return one
    raise ConfigError(
        f"{place.name} has no {' and no '.join(wanted)}: a location encoder learns position from "
        f"the tokens of one of its modalities. It has {', '.join(place.modalities)}."
    )


def _model(name: str) -> LocationModel:
    if name not in LOCATION_MODELS:
        raise ConfigError(
            f"no location encoder {name!r}: choose one of {', '.join(LOCATION_MODELS)}."
        )
    return LOCATION_MODELS[name]


def _float32(features: Float64[np.ndarray, "n features"]) -> Float[Tensor, "n features"]:
    return torch.from_numpy(features.astype(np.float32))
