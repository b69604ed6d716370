"""Random convolutional features (MOSAIKS), the default image featurizer: numpy only, no weights.

Rolf et al. 2021, "A generalizable and accessible approach to machine learning with global
satellite imagery", Nature Communications 12:4392, after Coates and Ng 2012, "Learning feature
representations with k-means". A filter is a random 3 × 3 patch p of the images, ZCA-whitened:
``f = W p / |p|`` with ``W = (C + ε I)^-1/2`` and C the covariance of patches. Its response to a
window x is ``r = f · (x - mean)``; a chip's features are the means over its windows of
``max(r - 1, 0)`` and ``max(-r - 1, 0)``.

Where we differ: 128 filters (256 features), not 4,096; bands are standardised with the place's
own statistics instead of every patch by itself, so contrast is kept; a window with a pixel
without data does not count; mean and standard deviation of every band are added.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Float64
from threadpoolctl import threadpool_limits

from mobclip.errors import ArtefactError, ConfigError, RecordError
from mobclip.storage import atomic_path, read_json, write_json

PATCH = 3  # pixels
THRESHOLD = 1.0  # a response has variance 1 over the patches of the place
EPSILON = 0.01  # of the mean eigenvalue: keeps noise out of directions that hold none
SAMPLE = 100_000  # patches from which whitening is learned, at most
SAMPLE_CHIPS = 500  # chips from which they come, or up to twice as many
CHUNK = 8  # chips per matrix product: their responses stay in the processor's cache

Chips = Float32[np.ndarray, "chips bands pixels pixels"]  # NaN: no data


@dataclass
class Mosaiks:
    """Chip -> 2 × filters features, and mean and standard deviation of each band.

    A chip with no 3 × 3 window full of data gets NaN.
    """

    kind: ClassVar[str] = "mosaiks"

    filters: int = 128
    seed: int = 0
    band_mean: Float64[np.ndarray, " bands"] | None = field(default=None, repr=False)  # set by fit
    band_std: Float64[np.ndarray, " bands"] | None = field(default=None, repr=False)
    kernels: Float32[np.ndarray, "inputs filters"] | None = field(default=None, repr=False)
    offset: Float32[np.ndarray, " filters"] | None = field(default=None, repr=False)  # f · mean

    def __post_init__(self) -> None:
        if self.filters < 1:
            raise ConfigError(f"mosaiks: filters is {self.filters}, but must be 1 or more.")

    @property
    def fitted(self) -> bool:
        """Whether `fit` or `load` has run."""
        return self.kernels is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """One name per feature, once fitted."""
        if not self.fitted:
            return ()
        mean, _, kernels, _ = self._state()
        bands = range(1, len(mean) + 1)
        return (
            *(f"image_{i:03d}" for i in range(2 * kernels.shape[1])),
            *(f"image_mean_{band}" for band in bands),
            *(f"image_std_{band}" for band in bands),
        )

    def fit(self, chips: Chips) -> "Mosaiks":
        """Learn band statistics and draw the filters; `RecordError` without enough valid pixels."""
        rng = np.random.default_rng(self.seed)
        valid = np.isfinite(chips)
        count = valid.sum(axis=(0, 2, 3))
        if len(chips) == 0 or (count == 0).any():
            raise RecordError(
                f"{len(chips)} image chips hold no valid pixels in some band: "
                "check the raster's nodata value and that it covers the place."
            )
        filled = np.where(valid, chips, 0).astype(np.float64)
        mean = filled.sum(axis=(0, 2, 3)) / count
        squares = np.where(valid, (filled - mean[:, None, None]) ** 2, 0).sum(axis=(0, 2, 3))
        std = np.sqrt(squares / count)
        std[std == 0] = 1  # a band that is the same everywhere stays so
        some = chips[:: max(1, len(chips) // SAMPLE_CHIPS)]
        pixels, usable = _windows(*_standardise(some, mean, std))
        pool = pixels.reshape(-1, pixels.shape[-1])[usable.ravel()]
        if len(pool) == 0:
            raise RecordError(
                f"no 3 × 3 window of valid pixels in {len(chips)} image chips: "
                "the raster is too small, or too full of holes, for this place."
            )
        pool = pool[rng.choice(len(pool), min(SAMPLE, len(pool)), replace=False)]
        pool = pool.astype(np.float64)
        centre = pool.mean(axis=0)
        covariance = (pool - centre).T @ (pool - centre) / len(pool)
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, 0)
        # The smallest of all floors is for an image of one colour, where every value is 0.
        scale = 1 / np.sqrt(values + max(EPSILON * values.mean(), 1e-12))
        whitening = (vectors * scale) @ vectors.T
        patches = pool[rng.integers(len(pool), size=self.filters)]
        white = (patches - centre) @ whitening
        length = np.linalg.norm(white, axis=1, keepdims=True)
        kernels = whitening @ np.divide(white, length, out=np.zeros_like(white), where=length > 0).T
        self.band_mean, self.band_std = mean, std
        self.kernels = np.ascontiguousarray(kernels, dtype=np.float32)
        self.offset = (centre @ kernels).astype(np.float32)
        return self

    def __call__(self, chips: Chips) -> Float32[np.ndarray, "chips features"]:
        """Features of each chip; `ConfigError` if the band count is not the one fitted."""
        mean, *_ = self._state()
        if chips.ndim != 4 or chips.shape[1] != len(mean):
            raise ConfigError(
                f"chips of shape {chips.shape}: this featurizer was fitted on "
                f"{len(mean)} bands, shape (chips, {len(mean)}, pixels, pixels)."
            )
        features = np.empty((len(chips), len(self.columns)), np.float32)
        parts = [slice(start, start + CHUNK) for start in range(0, len(chips), CHUNK)]
        # One thread per core, each with its own small products: a product of this size split
        # over threads waits longer for them than it computes, above all on a busy machine.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
            for part, found in zip(
                parts, pool.map(lambda part: self._features(chips[part]), parts), strict=True
            ):
                features[part] = found
        return features

    def _features(self, chips: Chips) -> Float32[np.ndarray, "chips features"]:
        mean, std, kernels, offset = self._state()
        values, valid = _standardise(chips, mean, std)
        pixels, usable = _windows(values, valid)
        windows, inputs = pixels.shape[1:]
        response = pixels.reshape(-1, inputs) @ kernels - offset
        # A response of 0 rectifies to 0 both ways: it adds nothing to the sums.
        response[~usable.ravel()] = 0
        response = response.reshape(len(chips), windows, -1)
        response -= THRESHOLD
        up = np.maximum(response, 0).sum(axis=1)
        response += 2 * THRESHOLD
        down = np.minimum(response, 0).sum(axis=1)
        count = usable.sum(axis=1, keepdims=True).astype(np.float32)
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no window is whole
            means = np.concatenate([up, -down], axis=1) / count
        return np.concatenate([means, _band_statistics(values, valid)], axis=1)

    def save(self, folder: Path | str) -> None:
        """Write a folder: featurizer.json and one .npy per array."""
        arrays = dict(zip(_ARRAYS, self._state(), strict=True))
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            header = {"kind": self.kind, "filters": self.filters, "seed": self.seed}
            write_json(temporary / "featurizer.json", header)
            for name, array in arrays.items():
                np.save(temporary / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path | str) -> "Mosaiks":
        """Read what `save` wrote: the same chip gives the same bits."""
        folder = Path(folder)
        header = read_json(folder / "featurizer.json")
        try:
            arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
            return cls(filters=header["filters"], seed=header["seed"], **arrays)
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise ArtefactError(
                f"{folder} is not a whole mosaiks featurizer ({error}). "
                "Run `mobclip tokenize` again."
            ) from error

    def _state(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        if (
            self.band_mean is None
            or self.band_std is None
            or self.kernels is None
            or self.offset is None
        ):
            raise ConfigError("this mosaiks featurizer has no filters yet: call fit() or load().")
        return self.band_mean, self.band_std, self.kernels, self.offset


_ARRAYS = ("band_mean", "band_std", "kernels", "offset")


def _standardise(
    chips: Chips, mean: np.ndarray, std: np.ndarray
) -> tuple[Chips, Bool[np.ndarray, "chips pixels pixels"]]:
    """Bands at mean 0 and deviation 1, missing pixels 0, and where every band has data."""
    valid = np.isfinite(chips).all(axis=1)
    values = (chips - mean[:, None, None].astype(np.float32)) / std[:, None, None].astype(
        np.float32
    )
    return np.where(valid[:, None], values, np.float32(0)), valid


def _windows(
    values: Chips, valid: Bool[np.ndarray, "chips pixels pixels"]
) -> tuple[Float32[np.ndarray, "chips windows inputs"], Bool[np.ndarray, "chips windows"]]:
    """All 3 × 3 windows as rows, and whether all their pixels have data."""
    chips, bands, height, width = values.shape
    if min(height, width) < PATCH:
        raise ConfigError(f"chips of {height} × {width} pixels: at least {PATCH} × {PATCH}.")
    shape = (PATCH, PATCH)
    view = np.lib.stride_tricks.sliding_window_view(values, shape, axis=(2, 3))
    rows = view.transpose(0, 2, 3, 1, 4, 5).reshape(chips, -1, bands * PATCH * PATCH)
    full = np.lib.stride_tricks.sliding_window_view(valid, shape, axis=(1, 2)).all(axis=(3, 4))
    return rows, full.reshape(chips, -1)


def _band_statistics(
    values: Chips, valid: Bool[np.ndarray, "chips pixels pixels"]
) -> Float32[np.ndarray, "chips statistics"]:
    """Mean and deviation of each standardised band over the valid pixels; NaN without any."""
    share = valid[:, None] / np.maximum(valid.sum(axis=(1, 2)), 1)[:, None, None, None]
    mean = (values * share).sum(axis=(2, 3))
    variance = ((values - mean[:, :, None, None]) ** 2 * share).sum(axis=(2, 3))
    statistics = np.concatenate([mean, np.sqrt(variance)], axis=1)
    statistics[~valid.any(axis=(1, 2))] = np.nan
    return statistics.astype(np.float32)
