"""Featurizers: against dense algebra and naive loops, through the disk, and without extras."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from mobclip import featurizers
from mobclip.errors import ArtefactError, ConfigError, MissingExtra, RecordError
from mobclip.featurizers.backbone import Backbone
from mobclip.featurizers.mosaiks import PATCH, Mosaiks
from mobclip.featurizers.sentence import Sentence
from mobclip.featurizers.tfidf import Tfidf

DOCUMENTS = [
    "coffee bar\nold coffee house\nchurch",
    "church st anne\nprimary school",
    "school of music\ncoffee",
    "harbour crane\nharbour office",
    "harbour bar",
    "",
    "café de l'église\ncoffee bar",
]


# ---- tfidf -----------------------------------------------------------------------------------


def test_tfidf_agrees_with_scikit_learn_and_a_dense_svd() -> None:
    mine = Tfidf(dims=4, ngrams=1).fit(DOCUMENTS)
    oracle = TfidfVectorizer(
        sublinear_tf=True, token_pattern=r"[^\W\d_](?:[^\W_]|['’](?=\w))+", vocabulary=mine.words
    )
    weighted = oracle.fit_transform(DOCUMENTS).toarray()
    assert sorted(oracle.get_feature_names_out()) == list(mine.words)
    _, _, right = np.linalg.svd(weighted)
    expected = weighted @ right[:4].T
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    # Directions are free in sign: compare what does not depend on it.
    vectors = mine(DOCUMENTS)
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


def test_tfidf_is_the_same_every_time_and_the_sign_is_settled() -> None:
    one, two = Tfidf(dims=5).fit(DOCUMENTS), Tfidf(dims=5).fit(DOCUMENTS)
    np.testing.assert_array_equal(one(DOCUMENTS), two(DOCUMENTS))
    assert one.components is not None
    largest = np.abs(one.components).argmax(axis=0)
    assert (one.components[largest, np.arange(one.components.shape[1])] > 0).all()


def test_tfidf_vectors_have_length_one_and_empty_documents_none() -> None:
    vectors = Tfidf().fit(DOCUMENTS)(DOCUMENTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 1, 1, 0, 1], atol=1e-6)
    assert vectors.dtype == np.float32
    assert vectors.shape[1] <= len(DOCUMENTS)  # a small place has few directions


def test_tfidf_finds_what_is_asked_for() -> None:
    featurizer = Tfidf().fit(DOCUMENTS)
    scores = featurizer(DOCUMENTS) @ featurizer.query("crane in the Harbour")
    assert set(np.argsort(-scores)[:2]) == {3, 4}
    assert featurizer.known_words("Crane! 42 harbour office") == [
        "crane",
        "harbour",
        "harbour office",
        "office",
    ]


def test_runs_of_words_stay_in_one_line() -> None:
    words = Tfidf().fit(DOCUMENTS).words
    assert "coffee house" in words
    assert "bar old" not in words


def test_an_unknown_query_names_known_words() -> None:
    featurizer = Tfidf().fit(DOCUMENTS)
    with pytest.raises(RecordError, match=r"Known words like it: harbour"):
        featurizer.query("harbor")
    with pytest.raises(RecordError, match=r"Some known words: bar, coffee"):
        featurizer.query("zzzz 12")
    assert not featurizer(["zzzz"]).any()


def test_rare_words_go_when_there_are_many_documents() -> None:
    documents = [f"common only{'abcdefghij'[i // 26]}{chr(97 + i % 26)}" for i in range(220)]
    assert Tfidf(ngrams=1).fit(documents).words == ("common",)
    few = Tfidf(ngrams=1, max_words=5).fit(documents[:100]).words
    assert len(few) == 5
    assert "common" in few


def test_tfidf_saved_and_loaded_gives_the_same_bits(tmp_path: Path) -> None:
    featurizer = Tfidf(dims=5).fit(DOCUMENTS)
    featurizer.save(tmp_path / "poi")
    back = featurizers.load(tmp_path / "poi")
    assert back.fitted
    assert back.columns == featurizer.columns == tuple(f"text_{i:03d}" for i in range(5))
    np.testing.assert_array_equal(back(DOCUMENTS), featurizer(DOCUMENTS))
    assert not list(tmp_path.rglob("*.pkl"))
    assert json.loads((tmp_path / "poi" / "featurizer.json").read_text("utf-8"))["kind"] == "tfidf"


@pytest.mark.parametrize("kind", ["tfidf", "mosaiks"])
def test_a_damaged_featurizer_says_what_to_do(tmp_path: Path, kind: str) -> None:
    item = DOCUMENTS if kind == "tfidf" else chips(5, 2)
    featurizers.make(kind).fit(item).save(tmp_path / "one")
    array = next((tmp_path / "one").glob("*.npy"))
    array.write_bytes(array.read_bytes()[:-8])
    with pytest.raises(ArtefactError, match="tokenize"):
        featurizers.load(tmp_path / "one")
    (tmp_path / "one" / "featurizer.json").unlink()
    with pytest.raises(ArtefactError, match="missing"):
        featurizers.load(tmp_path / "one")


def test_documents_without_words_are_refused() -> None:
    with pytest.raises(RecordError, match="no words in 2 documents"):
        Tfidf().fit(["12 34", ""])
    with pytest.raises(ConfigError, match="fit"):
        Tfidf()(["coffee"])


# ---- mosaiks ---------------------------------------------------------------------------------


def chips(n: int, bands: int, *, pixels: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, bands, pixels, pixels)).cumsum(axis=2).cumsum(axis=3)
    return (100 + 10 * noise).astype(np.float32)


def naive(featurizer: Mosaiks, chip: np.ndarray) -> np.ndarray:
    """Features of one chip, window by window."""
    assert featurizer.band_mean is not None
    assert featurizer.band_std is not None
    assert featurizer.kernels is not None
    assert featurizer.offset is not None
    scaled = (chip - featurizer.band_mean[:, None, None]) / featurizer.band_std[:, None, None]
    up, down = [], []
    for row in range(chip.shape[1] - PATCH + 1):
        for column in range(chip.shape[2] - PATCH + 1):
            window = scaled[:, row : row + PATCH, column : column + PATCH]
            if np.isfinite(window).all():
                response = window.ravel() @ featurizer.kernels - featurizer.offset
                up.append(np.maximum(response - 1, 0))
                down.append(np.maximum(-response - 1, 0))
    pixels = scaled[:, np.isfinite(scaled).all(axis=0)]
    return np.concatenate(
        [np.mean(up, axis=0), np.mean(down, axis=0), pixels.mean(axis=1), pixels.std(axis=1)]
    )


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_mosaiks_agrees_with_a_naive_loop_with_holes(bands: int) -> None:
    images = chips(11, bands)
    images[2, :, 3:6, 4:9] = np.nan
    images[3, 0, 0, 0] = np.nan  # one band is enough
    images[9, :, :, :7] = np.nan
    featurizer = Mosaiks(filters=7).fit(images)
    features = featurizer(images)
    assert features.shape == (11, len(featurizer.columns)) == (11, 14 + 2 * bands)
    expected = np.stack([naive(featurizer, chip) for chip in images])
    np.testing.assert_allclose(features, expected, atol=2e-4)


def test_mosaiks_filters_answer_with_unit_variance() -> None:
    # The threshold of 1 means one standard deviation only if whitening does its work.
    images = chips(40, 3)
    featurizer = Mosaiks(filters=32).fit(images)
    scaled = (images - featurizer.band_mean[:, None, None]) / featurizer.band_std[:, None, None]
    view = np.lib.stride_tricks.sliding_window_view(scaled, (PATCH, PATCH), axis=(2, 3))
    windows = view.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH * PATCH)
    response = windows @ featurizer.kernels - featurizer.offset
    assert np.abs(response.mean(axis=0)).max() < 0.05
    assert (response.var(axis=0) < 1.05).all()
    assert response.var(axis=0).mean() > 0.3


@given(gain=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
@settings(max_examples=15, deadline=None)
def test_mosaiks_does_not_depend_on_the_unit_of_a_band(gain: float, offset: float) -> None:
    images = chips(8, 2).astype(np.float64)
    other = images * gain + offset
    one = Mosaiks(filters=6).fit(images.astype(np.float32))(images.astype(np.float32))
    two = Mosaiks(filters=6).fit(other.astype(np.float32))(other.astype(np.float32))
    # Rounding to float32 before the fit is all that differs.
    np.testing.assert_allclose(one, two, atol=0.05)


def test_mosaiks_is_seeded_and_independent_of_the_batch() -> None:
    images = chips(19, 2)
    one, two = Mosaiks(filters=6).fit(images), Mosaiks(filters=6).fit(images)
    np.testing.assert_array_equal(one(images), two(images))
    other = Mosaiks(filters=6, seed=1).fit(images)
    assert np.abs(other(images)[:, :12] - one(images)[:, :12]).max() > 1e-3
    np.testing.assert_allclose(one(images)[7:9], one(images[7:9]), atol=1e-5)
    order = np.random.default_rng(0).permutation(19)
    np.testing.assert_allclose(one(images)[order], one(images[order]), atol=1e-5)


def test_mosaiks_on_images_of_one_colour_is_finite_and_without_texture() -> None:
    images = np.full((4, 2, 8, 8), 7, np.float32)
    assert np.abs(Mosaiks(filters=5).fit(images)(images)).max() < 1e-5


def test_mosaiks_through_the_disk_gives_the_same_bits(tmp_path: Path) -> None:
    images = chips(9, 4)
    featurizer = Mosaiks(filters=6).fit(images)
    featurizer.save(tmp_path / "imagery")
    back = featurizers.load(tmp_path / "imagery")
    assert back.columns == featurizer.columns
    np.testing.assert_array_equal(back(images), featurizer(images))


def test_mosaiks_refuses_what_it_cannot_see() -> None:
    images = chips(6, 3)
    featurizer = Mosaiks(filters=4).fit(images)
    with pytest.raises(ConfigError, match="3 bands"):
        featurizer(images[:, :2])
    with pytest.raises(ConfigError, match="fit"):
        Mosaiks()(images)
    with pytest.raises(RecordError, match="no valid pixels"):
        Mosaiks().fit(np.full_like(images, np.nan))
    empty = np.full_like(images[:1], np.nan)
    assert np.isnan(featurizer(empty)).all()


# ---- frozen encoders: the call contract, with stand-ins for packages that are not installed ----


class FakeSentenceTransformer:
    """What sentence-transformers promises: `encode` normalises only when asked to."""

    def __init__(self, model: str, device: str) -> None:
        if model == "nowhere":
            raise OSError("nowhere is not a local folder and is not on the hub")
        self.model, self.device = model, device
        self.seen: list[str] = []

    def get_sentence_embedding_dimension(self) -> int:
        return 3

    def encode(
        self,
        sentences: list[str],
        *,
        batch_size: int,
        convert_to_numpy: bool,
        normalize_embeddings: bool,
        show_progress_bar: bool,
    ) -> np.ndarray:
        assert convert_to_numpy
        assert not show_progress_bar
        assert batch_size == 64
        self.seen += sentences
        vectors = np.array([[len(s), s.count("e"), 1] for s in sentences], np.float32)
        if normalize_embeddings:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def test_sentence_calls_the_encoder_as_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = FakeSentenceTransformer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    featurizer = featurizers.make("sentence", model="tiny", query_prompt="query: ").fit([])
    assert isinstance(featurizer, Sentence)
    assert featurizer.fitted
    vectors = featurizer(["coffee", " ", "tree"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1], atol=1e-6)
    featurizer.query("tea")
    assert featurizer.encoder.seen == ["coffee", "tree", "query: tea"]
    assert featurizer.columns == ("text_000", "text_001", "text_002")
    featurizer.save(tmp_path / "poi")
    back = featurizers.load(tmp_path / "poi")
    np.testing.assert_array_equal(back(["coffee", "tree"]), vectors[[0, 2]])
    with pytest.raises(ConfigError, match="nowhere"):
        featurizers.make("sentence", model="nowhere").fit([])


class FakeBackbone:
    """A network as timm makes it: knows its input and its features, averages its pixels."""

    num_features = 3
    pretrained_cfg = {  # noqa: RUF012 - as timm has it
        "input_size": (3, 6, 6),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
    }

    def eval(self) -> "FakeBackbone":
        return self

    def requires_grad_(self, wanted: bool) -> "FakeBackbone":
        assert not wanted
        return self

    def to(self, device: str) -> "FakeBackbone":
        assert device == "cpu"
        return self

    def __call__(self, images):  # type: ignore[no-untyped-def]
        assert images.shape[1:] == (3, 6, 6)
        return images.mean(dim=(2, 3))


def test_backbone_calls_the_network_as_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def create_model(name: str, **options: object) -> FakeBackbone:
        made.append((name, options))
        if name == "nowhere":
            raise RuntimeError("Unknown model (nowhere)")
        return FakeBackbone()

    module = types.ModuleType("timm")
    module.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)
    images = chips(5, 4)
    images[1, 0, :4] = np.nan
    images[2] = np.nan
    featurizer = featurizers.make("backbone", model="tiny", bands=(3, 2, 1)).fit(images)
    assert isinstance(featurizer, Backbone)
    vectors = featurizer(images)
    assert made == [("tiny", {"num_classes": 0, "pretrained": True})]
    assert np.isnan(vectors[2]).all()
    whole = [0, 1, 3, 4]
    np.testing.assert_allclose(np.linalg.norm(vectors[whole], axis=1), 1, atol=1e-6)
    # By hand for one chip: stretch, normalise, average, length 1.
    low, high = np.nanpercentile(
        np.where(
            np.isfinite(images[:, [2, 1, 0]]).all(axis=1, keepdims=True),
            images[:, [2, 1, 0]],
            np.nan,
        )
        .transpose(1, 0, 2, 3)
        .reshape(3, -1),
        [2, 98],
        axis=1,
    )
    stretched = np.clip(
        (images[3, [2, 1, 0]] - low[:, None, None]) / (high - low)[:, None, None], 0, 1
    )
    # 12 × 12 to 6 × 6 keeps the mean but for the triangle filter's rim.
    expected = ((stretched - 0.5) / 0.25).mean(axis=(1, 2))
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(vectors[3], expected, atol=0.05)
    featurizer.save(tmp_path / "imagery")
    back = featurizers.load(tmp_path / "imagery")
    np.testing.assert_allclose(back(images), vectors, atol=1e-6)
    with pytest.raises(ConfigError, match="4 bands"):
        featurizers.make("backbone", model="tiny", bands=(5, 2, 1)).fit(images)
    with pytest.raises(ConfigError, match="nowhere"):
        featurizers.make("backbone", model="nowhere").fit(images)


@pytest.mark.parametrize(
    ("name", "package", "extra", "item"),
    [
        ("sentence", "sentence_transformers", "text", ["coffee"]),
        ("backbone", "timm", "vision", chips(2, 3)),
    ],
)
def test_a_missing_extra_names_the_command(
    name: str, package: str, extra: str, item: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails
    with pytest.raises(MissingExtra, match=rf"pip install 'mobclip\[{extra}\]'"):
        featurizers.make(name).fit(item)


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no featurizer 'bert'.*tfidf"):
        featurizers.make("bert")
    with pytest.raises(ConfigError, match="filter"):
        featurizers.make("mosaiks", filter=3)
    with pytest.raises(ConfigError, match="dims"):
        featurizers.make("tfidf", dims=0)
