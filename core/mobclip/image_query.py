"""An image as a query: where a run puts it by itself, and what other images it is beside."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32

from mobclip.baselines import Features
from mobclip.errors import ArtefactError, ConfigError
from mobclip.fusion import FUSION_FILE, Fusion
from mobclip.place import IMAGERY, Place
from mobclip.recipes import MOBCLIP, PAPER
from mobclip.search import ImageQuery

OTHERS = 2_000  # images of other cells, at most
MOST_BANDS, MOST = 32, 1e30  # of an image in a session file
LEAST_VALID = 0.5  # share of an image that must hold data

Towers = Callable[[np.ndarray], np.ndarray]  # (n, columns of the table) tokens -> (n, dims)


def why_not(place: Place, run: str) -> str:
    """Why a run of a place cannot be searched by an image; "" where it can."""
    if IMAGERY not in place.modalities:
        return f"{place.title} has no imagery: its cells cannot be compared with an image."
    if not (place.folder / "featurizers" / IMAGERY / "featurizer.json").is_file():
        return (
            f"{place.title} does not keep what reads its imagery. Run `mobclip tokenize "
            f"{place.arguments}` again."
        )
    if run not in (MOBCLIP, PAPER):
        there = [one for one in (MOBCLIP, PAPER) if one in place.runs()]
        instead = (
            f"Choose {' or '.join(f'`{one}`' for one in there)} above."
            if there
            else f"Train one that can: `mobclip train {place.arguments}`."
        )
        return f"`{run}` has no place for an image by itself. {instead}"
    if run == MOBCLIP and not _reads_imagery(place):
        return (
            "this `mobclip` was trained on several places together, whose image columns mean "
            f"different things. Train one on this place alone: `mobclip train {place.arguments}`."
        )
    return ""


def image_query(
    place: Place, run: str, image: Float32[np.ndarray, "bands height width"]
) -> ImageQuery:
    """Read an image as the place's own were read, and put it into the space of a run.

    The middle square of the image is averaged to the pixels of a chip. It should show as much
    ground as the chip of a cell does: a square twice as wide as an edge of a cell. Its values have
    to be on the scale of the place's imagery; `as_far` says whether that can be.

    Raises
    ------
    ConfigError : the run cannot; another number of bands; less than 32 pixels; mostly no data
    """
    from mobclip import featurizers  # with what reads rasters and words: only when it is asked for

    if problem := why_not(place, run):
        raise ConfigError(problem)
    chip = as_chip(image)
    valid = np.isfinite(chip).all(axis=0).mean()
    if valid < LEAST_VALID:
        raise ConfigError(
            f"the middle of the image has data in {valid:.0%} of its pixels; at least "
            f"{LEAST_VALID:.0%} is needed."
        )
    featurizer = featurizers.load(place.folder / "featurizers" / IMAGERY)
    try:
        features = featurizer(chip[None])
    except ConfigError as error:
        raise ConfigError(
            f"the image has {len(image)} bands, which is not what the imagery of {place.title} "
            "has. Bring an image of the same bands in the same order."
        ) from error
    table = place.tables[IMAGERY]
    token = np.append(features[0], np.float32(valid))[None].astype(np.float32)
    if token.shape[1] != len(table.columns) or not np.isfinite(token).all():
        raise ConfigError("the image cannot be read as the imagery of this place was read.")
    towers = _towers(place, run)
    step = max(1, len(table.cells) // OTHERS)
    return ImageQuery(
        direction=towers(token)[0].astype(np.float32),
        others=towers(table.values[::step]).astype(np.float32),
        as_far=_as_far(place, token[0]),
    )


def as_chip(
    image: Float32[np.ndarray, "bands height width"],
) -> Float32[np.ndarray, "bands pixels pixels"]:
    """The middle square of an image, averaged to the pixels of a chip, as a search reads it."""
    from mobclip.modalities.imagery import PIXELS

    return _square(image, PIXELS)


def as_json(name: str, image: Float32[np.ndarray, "bands height width"]) -> dict[str, Any]:
    """What a search sees of an image, the pixels of a chip, as plain values; None: no data."""
    chip = as_chip(image).astype(object)
    chip[chip != chip] = None  # NaN is not in JSON
    return {"name": name, "pixels": chip.tolist()}


def from_json(given: Any) -> tuple[str, Float32[np.ndarray, "bands pixels pixels"]]:
    """Name of an image, and one that `image_query` sees as it saw that of `as_json`.

    Raises
    ------
    ArtefactError : it is of another form
    """
    from mobclip.modalities.imagery import PIXELS

    try:
        image = np.array(given["pixels"], np.float64)
        name = str(given["name"])[:200]
        right = image.ndim == 3 and image.shape[1:] == (PIXELS, PIXELS)
    except (KeyError, TypeError, ValueError, OverflowError):
        right = False
    if not right or not 1 <= len(image) <= MOST_BANDS or (np.abs(image) > MOST).any():
        raise ArtefactError(
            f"the image of the session is not whole: 1 to {MOST_BANDS} bands of {PIXELS} × "
            f"{PIXELS} numbers are. Bring the image again."
        )
    return name, image.astype(np.float32)


def _as_far(place: Place, token: np.ndarray) -> float:
    """Share of the images of a place that are as far from its average image as a token is."""
    columns = Features(place).of(IMAGERY)
    own = np.linalg.norm(columns.values[place.present[IMAGERY]], axis=1)
    far = np.linalg.norm((token - columns.mean) / columns.scale)
    return float((own >= far).mean())


def _towers(place: Place, run: str) -> Towers:
    folder, table = place.folder / "runs" / run, place.tables[IMAGERY]
    if run == PAPER:
        from mobclip import training  # brings torch: only for this run

        return lambda tokens: training.of_token(table, folder, tokens)
    fusion = Fusion.load(folder / FUSION_FILE)
    order = [table.columns.index(one) for one in fusion.readers[IMAGERY].columns]
    return lambda tokens: fusion.of_token(IMAGERY, tokens[:, order])


def _reads_imagery(place: Place) -> bool:
    """Whether the model looks at what the place's featurizer makes of an image."""
    fusion = Fusion.load(place.folder / "runs" / MOBCLIP / FUSION_FILE)
    read = fusion.readers.get(IMAGERY)
    return read is not None and set(place.tables[IMAGERY].columns) == set(read.columns)


def _square(image: Float32[np.ndarray, "bands height width"], pixels: int) -> np.ndarray:
    """The middle square, averaged to the pixels of a chip; NaN where half or more has no data."""
    _, height, width = image.shape
    side = min(height, width)
    if side < pixels:
        raise ConfigError(
            f"the image has {width} × {height} pixels; at least {pixels} × {pixels} are needed."
        )
    top, left = (height - side) // 2, (width - side) // 2
    middle = image[:, top : top + side, left : left + side].astype(np.float64)
    # How much of each pixel of the image lies in each pixel of the chip, along one side.
    edges = np.linspace(0, side, pixels + 1)
    pixel = np.arange(side)
    shares = np.clip(
        np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0, None
    )
    known = np.isfinite(middle).all(axis=0)
    weight = shares @ known @ shares.T
    total = shares @ np.where(known, middle, 0) @ shares.T
    enough = weight >= 0.5 * (side / pixels) ** 2
    means = total / np.where(enough, weight, 1)
    return np.where(enough, means, np.nan).astype(np.float32)
