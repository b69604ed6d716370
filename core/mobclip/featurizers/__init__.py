"""Featurizers: what turns a text or an image chip into a vector, handed to the tokenizers.

======== ======================================================== ==================
name     what it is                                               needs
======== ======================================================== ==================
tfidf    words, TF-IDF and truncated SVD, learned on the place    nothing more
mosaiks  random convolutional features, drawn from the place      nothing more
sentence a frozen sentence encoder (sentence-transformers)        extra ``text``
backbone a frozen image backbone (timm)                           extra ``vision``
======== ======================================================== ==================

To add one: a class that keeps the `Featurizer` protocol, and a line in `FEATURIZERS`.
"""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mobclip.errors import ArtefactError, ConfigError
from mobclip.featurizers.backbone import Backbone
from mobclip.featurizers.mosaiks import Mosaiks
from mobclip.featurizers.sentence import Sentence
from mobclip.featurizers.tfidf import Tfidf
from mobclip.storage import read_json


@runtime_checkable
class Featurizer(Protocol):
    """Documents (sequence of str) or chips (n, bands, pixels, pixels) -> vectors (n, dims)."""

    @property
    def fitted(self) -> bool:
        """Whether it is ready to be called."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """One name per dim once fitted, none before."""
        ...

    def fit(self, items: Any, /) -> "Featurizer":
        """Learn from the place's own documents or chips; a frozen one learns nothing."""
        ...

    def __call__(self, items: Any, /) -> np.ndarray:
        """Vectors, float32; an item with no evidence is zeros (text) or NaN (chips)."""
        ...

    def save(self, folder: Path | str) -> None:
        """Write a folder with `featurizer.json` in it, atomically, without pickle."""
        ...

    @classmethod
    def load(cls, folder: Path | str) -> "Featurizer":
        """Read what `save` wrote."""
        ...


FEATURIZERS: dict[str, type[Featurizer]] = {
    "tfidf": Tfidf,
    "mosaiks": Mosaiks,
    "sentence": Sentence,
    "backbone": Backbone,
}


def make(name: str, **options: Any) -> Featurizer:
    """A featurizer by its name in `FEATURIZERS`; `ConfigError` for an unknown name or option."""
    if name not in FEATURIZERS:
        raise ConfigError(f"no featurizer {name!r}: choose one of {', '.join(FEATURIZERS)}.")
    try:
        return FEATURIZERS[name](**options)
    except TypeError as error:
        raise ConfigError(f"featurizer {name!r} does not take these options: {error}.") from error


def load(folder: Path | str) -> Featurizer:
    """Read a saved featurizer of any kind."""
    kind = read_json(Path(folder) / "featurizer.json").get("kind")
    if kind not in FEATURIZERS:
        raise ArtefactError(
            f"{folder} holds a featurizer of kind {kind!r}; known are {', '.join(FEATURIZERS)}. "
            "Run `mobclip tokenize` again."
        )
    return FEATURIZERS[kind].load(folder)
