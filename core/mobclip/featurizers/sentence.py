"""Sentence encoders from sentence-transformers (extra `text`): documents -> dense vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from mobclip.errors import ArtefactError, ConfigError, MissingExtra
from mobclip.storage import atomic_path, read_json, write_json


@dataclass
class Sentence:
    """Text -> vector of length 1 from a frozen sentence encoder; an empty document -> zeros.

    The model comes from a local folder or from the Hugging Face cache; with ``HF_HUB_OFFLINE=1``
    in the environment nothing is downloaded. The encoder's own pooling is used, and every vector
    is scaled to length 1 (cosine, as these models are trained).
    """

    kind: ClassVar[str] = "sentence"

    model: str = "BAAI/bge-m3"  # the encoder of MobCLIP: 1,024 dims, multilingual
    device: str = "cpu"
    batch_size: int = 64
    prompt: str = ""  # put before every text, where the model wants it, e.g. "passage: "
    query_prompt: str = ""  # the same for what a person typed, e.g. "query: "
    encoder: Any = field(default=None, repr=False, compare=False)  # loaded at first use

    @property
    def fitted(self) -> bool:
        """Always: the encoder is frozen."""
        return True

    @property
    def dims(self) -> int:
        """Length of a vector."""
        encoder = self._encoder()
        # Renamed in sentence-transformers 5.
        name = "get_embedding_dimension"
        get = getattr(encoder, name, None) or encoder.get_sentence_embedding_dimension
        return int(get())

    @property
    def columns(self) -> tuple[str, ...]:
        """One name per dim, once the encoder is loaded."""
        return tuple(f"text_{i:03d}" for i in range(self.dims if self.encoder is not None else 0))

    def fit(self, documents: Sequence[str]) -> "Sentence":
        """Load the encoder, so that a model that is not there is known at once."""
        self._encoder()
        return self

    def __call__(self, documents: Sequence[str]) -> Float32[np.ndarray, "documents dims"]:
        """Vector of each document."""
        return self._encode(documents, self.prompt)

    def query(self, text: str) -> Float32[np.ndarray, " dims"]:
        """Vector of what a person typed."""
        vector: np.ndarray = self._encode([text], self.query_prompt)[0]
        return vector

    def save(self, folder: Path | str) -> None:
        """Write a folder with featurizer.json: the model's name, not its weights."""
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            header = {"kind": self.kind, **{key: getattr(self, key) for key in _SETTINGS}}
            write_json(temporary / "featurizer.json", header)

    @classmethod
    def load(cls, folder: Path | str) -> "Sentence":
        """Read what `save` wrote."""
        header = read_json(Path(folder) / "featurizer.json")
        try:
            return cls(**{key: header[key] for key in _SETTINGS})
        except KeyError as error:
            raise ArtefactError(
                f"{folder} is not a sentence featurizer: {error} is missing. "
                "Run `mobclip tokenize` again."
            ) from error

    def _encode(self, documents: Sequence[str], prompt: str) -> np.ndarray:
        filled = [row for row, document in enumerate(documents) if document.strip()]
        vectors = np.zeros((len(documents), self.dims), np.float32)
        if filled:
            vectors[filled] = self._encoder().encode(
                [prompt + documents[row] for row in filled],
                batch_size=self.batch_size,
                convert_to_numpy=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return vectors

    def _encoder(self) -> Any:
        if self.encoder is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise MissingExtra("sentence-transformers", extra="text") from error
            try:
                self.encoder = SentenceTransformer(self.model, device=self.device)
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"the sentence encoder {self.model!r} cannot be loaded ({error}). Name a "
                    "local folder or a model on the Hugging Face hub, and let it download once "
                    "(unset HF_HUB_OFFLINE)."
                ) from error
        return self.encoder


_SETTINGS = ("model", "device", "batch_size", "prompt", "query_prompt")
