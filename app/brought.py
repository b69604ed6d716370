"""What somebody brought along: targets and an image, in this session and in its file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from cache import PlaceFiles, load_place

from mobclip import image_query
from mobclip.evaluation import own_targets
from mobclip.place import Target
from mobclip.session import Selection


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that is searched for."""

    name: str
    pixels: np.ndarray  # (bands, height, width), read-only
    digest: str  # of the pixels
    place: str

    @classmethod
    def of(cls, name: str, pixels: np.ndarray, place: str) -> "Image":
        """Read-only, and told from others by its pixels."""
        pixels.setflags(write=False)
        digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
        return cls(name=name, pixels=pixels, digest=digest, place=place)


def targets(files: PlaceFiles) -> dict[str, Target]:
    """By name."""
    found: dict[str, Target] = st.session_state.setdefault("own_targets", {}).setdefault(
        files.key, {}
    )
    return found


def add_targets(files: PlaceFiles, more: Mapping[str, Target]) -> None:
    """Keep some more; the first ones go where they are too many."""
    kept = targets(files)
    kept |= more
    while len(kept) > own_targets.MOST:
        kept.pop(next(iter(kept)))


def image(selection: Selection, files: PlaceFiles) -> Image | None:
    """The image that is asked for; a click starts a search anew."""
    found: Image | None = st.session_state.get("image")
    return None if found is None or found.place != files.key or selection.cell else found


def set_image(one: Image | None) -> None:
    """Ask for an image; None: for none."""
    if one is None:
        st.session_state.pop("image", None)
    else:
        st.session_state["image"] = one


def as_json(files: PlaceFiles, own: Mapping[str, Target], asked: Image | None) -> dict[str, Any]:
    """What stands in the file of a session; what is brought is given, so that any thread can."""
    cells = load_place(files).cells
    said: dict[str, Any] = {"targets": [own_targets.as_json(one, cells) for one in own.values()]}
    if asked is not None:
        said["image"] = image_query.as_json(asked.name, asked.pixels)
    return said


def take(given: Mapping[str, Any], files: PlaceFiles) -> None:
    """Bring along what `as_json` said, all of it or nothing; `ArtefactError` if it is not whole."""
    own = own_targets.from_json(given.get("targets", []), load_place(files))
    one = None
    if "image" in given:
        one = Image.of(*image_query.from_json(given["image"]), files.key)
    add_targets(files, own)
    set_image(one)
