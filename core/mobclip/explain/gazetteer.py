"""Names of places, from a place's context layer: to be searched for, and to name cells by."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from mobclip import grid


@dataclass(frozen=True, kw_only=True)
class Named:
    """A named point."""

    name: str
    lon: float
    lat: float


class Gazetteer:
    """The named points of a GeoJSON context layer, the largest first."""

    def __init__(self, context: Mapping[str, Any] | None) -> None:
        features = (context or {}).get("features", [])
        points = [
            (float(one["properties"].get("population") or 0), one)
            for one in features
            if one["geometry"]["type"] == "Point" and one["properties"].get("name")
        ]
        points.sort(key=lambda pair: -pair[0])
        self.places = tuple(
            Named(
                name=str(one["properties"]["name"]),
                lon=float(one["geometry"]["coordinates"][0]),
                lat=float(one["geometry"]["coordinates"][1]),
            )
            for _, one in points
        )
        self._lonlat = np.array([(one.lon, one.lat) for one in self.places]).reshape(-1, 2)
        self._plain = [_plain(one.name) for one in self.places]

    def find(self, text: str) -> Named | None:
        """The place of this name, whatever its case and accents; of several the largest."""
        wanted = _plain(text)
        for name, place in zip(self._plain, self.places, strict=True):
            if name == wanted:
                return place
        return None

    def near(self, lonlat: Float64[np.ndarray, "2"]) -> tuple[str, float] | None:
        """Name of the nearest place, and km to it; None where nothing has a name."""
        if not self.places:
            return None
        km = grid.distances_km(self._lonlat, np.asarray(lonlat, np.float64))
        nearest = int(km.argmin())
        return self.places[nearest].name, float(km[nearest])


def _plain(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text)
    return " ".join(
        "".join(one for one in parts if not unicodedata.combining(one)).casefold().split()
    )
