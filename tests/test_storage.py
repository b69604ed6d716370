"""Writes that happen whole or not at all."""

import numpy as np
import pyarrow as pa
import pytest

from mobclip import storage
from mobclip.errors import ArtefactError


class Interrupted(BaseException):
    """As Ctrl-C: not an Exception."""


def test_an_interrupted_file_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(Interrupted), storage.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise Interrupted
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_interrupted_folder_keeps_the_old_one(tmp_path):
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "x").write_text("old")
    with pytest.raises(Interrupted), storage.atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "x").write_text("half")
        raise Interrupted
    assert (folder / "x").read_text() == "old"
    with storage.atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "y").write_text("new")
    assert [p.name for p in folder.iterdir()] == ["y"]
    assert [p.name for p in tmp_path.iterdir()] == ["place"]


def test_errors_say_what_to_do(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(ArtefactError, match="is missing"):
        storage.read_parquet(path)
    storage.write_parquet(path, pa.table({"a": [1]}))
    with pytest.raises(ArtefactError, match="no column 'b'; it has a"):
        storage.read_parquet(path, ["b"])
    path.write_bytes(b"not parquet")
    with pytest.raises(ArtefactError, match="Delete it"):
        storage.read_parquet(path)
    (tmp_path / "j.json").write_text('{"a": ')
    with pytest.raises(ArtefactError, match="not whole JSON"):
        storage.read_json(tmp_path / "j.json")


def test_digest_depends_on_content_and_not_on_order():
    assert storage.digest({"a": 1, "b": 2}) == storage.digest({"b": 2, "a": 1})
    assert storage.digest({"a": 1}) != storage.digest({"a": 2})


def test_an_array_written_in_pieces_is_an_ordinary_one(tmp_path):
    pieces = [np.arange(n, dtype=np.int32) + n for n in (3, 0, 100_000)]
    with storage.ArrayWriter(tmp_path / "a.npy", np.int32) as writer:
        for piece in pieces:
            writer.append(piece)
    read = np.load(tmp_path / "a.npy", mmap_mode="r", allow_pickle=False)
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, np.concatenate(pieces))
    np.save(tmp_path / "b.npy", np.concatenate(pieces))
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    with storage.ArrayWriter(tmp_path / "c.npy", np.uint8, (2, 3)) as writer:
        for piece in (np.ones((2, 2, 3), np.uint8), np.full((1, 2, 3), 7, np.uint8)):
            writer.append(piece)
        with pytest.raises(ValueError, match="shape"):
            writer.append(np.ones((2, 6), np.uint8))
    assert np.load(tmp_path / "c.npy").tolist() == [[[1] * 3] * 2] * 2 + [[[7] * 3] * 2]
