"""TF-IDF words reduced by a truncated SVD (latent semantic analysis): the default text featurizer.

Deerwester et al. 1990, "Indexing by latent semantic analysis"; sublinear term frequency and
smoothed inverse document frequency as in scikit-learn:
``w(t, d) = (1 + ln tf) · (1 + ln((1 + n) / (1 + df)))``, each document scaled to length 1, then
projected on the first right singular vectors and scaled to length 1 again. Offline, seeded and
deterministic, and a query of one word goes through the same map as the documents.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Float64
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from threadpoolctl import threadpool_limits

from mobclip.errors import ArtefactError, ConfigError, RecordError
from mobclip.storage import atomic_path, read_json, write_json

# Two letters or more, in any script; digits alone are house numbers, not words.
WORD = re.compile(r"[^\W\d_](?:[^\W_]|['’](?=\w))+")
OVERSAMPLING, ITERATIONS = 10, 5  # of the subspace that becomes the singular vectors
MANY_DOCUMENTS = 200  # from here on a word must stand in two documents to be kept


@dataclass
class Tfidf:
    """Text -> vector of length 1; a document without a known word -> zeros."""

    kind: ClassVar[str] = "tfidf"

    dims: int = 128  # at most; fewer when the place has fewer documents or words
    max_words: int = 20_000
    ngrams: int = 2  # longest run of words that counts as one term
    seed: int = 0
    words: tuple[str, ...] = field(default=(), repr=False)  # set by fit, as are the next two
    idf: Float32[np.ndarray, " words"] | None = field(default=None, repr=False)
    components: Float32[np.ndarray, "words dims"] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.dims < 1 or self.max_words < 1 or not 1 <= self.ngrams <= 3:
            raise ConfigError(
                f"tfidf: dims {self.dims} and max_words {self.max_words} are 1 or more, "
                f"and ngrams {self.ngrams} is 1 to 3."
            )

    @property
    def fitted(self) -> bool:
        """Whether `fit` or `load` has run."""
        return self.components is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """One name per dim, once fitted."""
        dims = 0 if self.components is None else self.components.shape[1]
        return tuple(f"text_{i:03d}" for i in range(dims))

    def fit(self, documents: Sequence[str]) -> "Tfidf":
        """Learn words, their rarity and the main directions; `RecordError` if there is no word."""
        vectorizer = CountVectorizer(analyzer=self._terms, dtype=np.float64)
        try:
            counts = sparse.csr_array(vectorizer.fit_transform(documents))
        except ValueError as error:  # scikit-learn's "empty vocabulary"
            raise RecordError(
                f"no words in {len(documents)} documents: map a text or category column of the "
                "points in data_manifest.yaml, or leave the text featurizer out."
            ) from error
        terms = vectorizer.get_feature_names_out()
        frequency = np.bincount(counts.indices, minlength=len(terms))  # documents per term
        least = 2 if len(documents) >= MANY_DOCUMENTS else 1
        if (frequency >= least).sum() == 0:
            least = 1
        # Commonest terms first, ties in alphabetical order: the same on every machine.
        order = np.lexsort((terms, -frequency))
        kept = np.sort(order[frequency[order] >= least][: self.max_words])
        self.words = tuple(str(term) for term in terms[kept])
        self.idf = (1 + np.log((1 + len(documents)) / (1 + frequency[kept]))).astype(np.float32)
        weighted = _weigh(counts[:, kept], self.idf)
        rng = np.random.default_rng(self.seed)
        with threadpool_limits(1, "blas"):  # small products: see mosaiks
            right = _right_singular_vectors(weighted, self.dims, rng)
        # A singular vector has no sign of its own: its largest entry is made positive.
        largest = np.abs(right).argmax(axis=0)
        right = right * np.sign(right[largest, np.arange(right.shape[1])])
        self.components = np.ascontiguousarray(right, dtype=np.float32)
        return self

    def __call__(self, documents: Sequence[str]) -> Float32[np.ndarray, "documents dims"]:
        """Vector of each document."""
        idf, components = self._state()
        projected = np.asarray(_weigh(self._count(documents), idf) @ components, np.float32)
        length = np.linalg.norm(projected, axis=1, keepdims=True)
        return np.divide(projected, length, out=np.zeros_like(projected), where=length > 0).astype(
            np.float32
        )

    def query(self, text: str) -> Float32[np.ndarray, " dims"]:
        """Vector of what a person typed; `RecordError` names known words if none is known."""
        if self._count([text]).nnz == 0:
            typed = WORD.findall(text.lower())
            singles = [word for word in self.words if " " not in word]
            near = [
                known
                for word in typed
                for known in difflib.get_close_matches(word, singles, n=3, cutoff=0.6)
            ]
            hint = "Known words like it" if near else "Some known words"
            shown = list(dict.fromkeys(near)) or self.common_words(8)
            raise RecordError(
                f"no word of {text!r} occurs in this place's records. {hint}: {', '.join(shown)}."
            )
        vector: np.ndarray = self([text])[0]
        return vector

    def known_words(self, text: str) -> list[str]:
        """The terms of `text` that the place knows, each once, in alphabetical order."""
        return [self.words[i] for i in np.unique(self._count([text]).indices)]

    def common_words(self, n: int) -> list[str]:
        """The `n` single words that stand in most documents."""
        idf, _ = self._state()
        singles = [i for i in np.argsort(idf, kind="stable") if " " not in self.words[i]]
        return [self.words[i] for i in singles[:n]]

    def save(self, folder: Path | str) -> None:
        """Write a folder: featurizer.json (settings and words), idf.npy, components.npy."""
        idf, components = self._state()
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            header = {
                "kind": self.kind,
                "dims": self.dims,
                "max_words": self.max_words,
                "ngrams": self.ngrams,
                "seed": self.seed,
                "words": list(self.words),
            }
            write_json(temporary / "featurizer.json", header)
            np.save(temporary / "idf.npy", idf)
            np.save(temporary / "components.npy", components)

    @classmethod
    def load(cls, folder: Path | str) -> "Tfidf":
        """Read what `save` wrote: the same text gives the same bits."""
        folder = Path(folder)
        header = read_json(folder / "featurizer.json")
        try:
            arrays = {
                name: np.load(folder / f"{name}.npy", allow_pickle=False)
                for name in ("idf", "components")
            }
            return cls(
                **{key: header[key] for key in ("dims", "max_words", "ngrams", "seed")},
                words=tuple(header["words"]),
                **arrays,
            )
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise ArtefactError(
                f"{folder} is not a whole tfidf featurizer ({error}). Run `mobclip tokenize` again."
            ) from error

    def _terms(self, document: str) -> list[str]:
        """Words and runs of words; a run stays in one line, which is one record."""
        terms: list[str] = []
        for line in document.lower().split("\n"):
            words = WORD.findall(line)
            terms += words
            for length in range(2, self.ngrams + 1):
                terms += map(" ".join, zip(*(words[i:] for i in range(length)), strict=False))
        return terms

    def _count(self, documents: Sequence[str]) -> sparse.csr_array:
        self._state()
        vectorizer = CountVectorizer(
            analyzer=self._terms,
            dtype=np.float64,
            vocabulary={word: i for i, word in enumerate(self.words)},
        )
        return sparse.csr_array(vectorizer.transform(documents))

    def _state(self) -> tuple[np.ndarray, np.ndarray]:
        if self.idf is None or self.components is None:
            raise ConfigError("this tfidf featurizer knows no words yet: call fit() or load().")
        return self.idf, self.components


def _weigh(counts: sparse.csr_array, idf: Float32[np.ndarray, " words"]) -> sparse.csr_array:
    """Counts -> TF-IDF rows of length 1, float32."""
    weighted = counts.astype(np.float32)
    weighted.data = (1 + np.log(weighted.data)) * np.take(idf, weighted.indices)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    weighted.data *= np.repeat(inverse, np.diff(weighted.indptr)).astype(np.float32)
    return weighted


def _right_singular_vectors(
    matrix: sparse.csr_array, rank: int, rng: np.random.Generator
) -> Float64[np.ndarray, "terms rank"]:
    """First right singular vectors by subspace iteration (Halko, Martinsson and Tropp 2011).

    Fewer than `rank` where the matrix has no more directions. Only products, and eigenvectors
    of small matrices: several times as fast as `sklearn.utils.extmath.randomized_svd`.
    """
    transposed = sparse.csr_array(matrix.T)
    width = min(rank + OVERSAMPLING, *matrix.shape)
    basis = rng.normal(size=(matrix.shape[1], width))
    for _ in range(ITERATIONS):
        basis = _orthonormal(transposed @ (matrix @ basis))
    # A second pass: what one leaves short of orthonormal is the square of rounding.
    basis = _orthonormal(basis)
    image = matrix @ basis
    values, vectors = np.linalg.eigh(image.T @ image)
    first = np.flatnonzero(values > values[-1] * 1e-9)[::-1][:rank]
    directions: np.ndarray = basis @ vectors[:, first]
    return directions


def _orthonormal(columns: Float64[np.ndarray, "n m"]) -> Float64[np.ndarray, "n k"]:
    """An orthonormal basis of the columns; k < m where they depend on one another."""
    values, vectors = np.linalg.eigh(columns.T @ columns)
    keep = values > values[-1] * 1e-10
    basis: np.ndarray = columns @ (vectors[:, keep] / np.sqrt(values[keep]))
    return basis
