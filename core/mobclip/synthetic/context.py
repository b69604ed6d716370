"""What a map shows under the cells: coast, borders, rivers, roads and the larger cities."""

from typing import Any

import numpy as np
import shapely

from mobclip.synthetic.districts import Districts
from mobclip.synthetic.settlements import Settlements
from mobclip.synthetic.world import COUNTRY, NOTICE, World

MAX_BYTES = 300_000
MAX_CITIES = 30


def make_context(world: World, towns: Settlements, districts: Districts) -> dict[str, Any]:
    """GeoJSON FeatureCollection; property `kind` is coast, border, river, road or city.

    Lines are simplified to half a cell or, in large countries, as far as 300 kB requires.
    """
    tolerance = 0.25 * world.spacing_km
    while True:
        features = _features(world, towns, districts, tolerance)
        context = {
            "type": "FeatureCollection",
            "name": COUNTRY,
            "notice": NOTICE,
            "invented": True,
            "features": features,
        }
        size = sum(len(str(feature)) for feature in features)
        if size < 0.9 * MAX_BYTES:
            return context
        tolerance *= 1.5


def _features(
    world: World, towns: Settlements, districts: Districts, tolerance: float
) -> list[dict[str, Any]]:
    features = []
    borders = shapely.coverage_simplify(districts.city_geometry, tolerance, simplify_boundary=False)
    inner = shapely.difference(
        shapely.union_all(shapely.boundary(borders)),
        shapely.buffer(world.land.boundary, 0.3 * world.spacing_km),
    )
    coast = shapely.simplify(world.land, tolerance)
    lines = [
        ("coast", coast),
        ("border", shapely.simplify(shapely.line_merge(inner), tolerance)),
        ("river", shapely.simplify(shapely.MultiLineString(world.rivers), tolerance)),
        ("road", shapely.simplify(shapely.MultiLineString(towns.roads), tolerance)),
    ]
    for kind, shape in lines:
        degrees = world.to_lonlat(np.array([shape], object))[0]
        features.append(
            {
                "type": "Feature",
                "properties": {"kind": kind},
                "geometry": _rounded(shapely.geometry.mapping(degrees)),
            }
        )
    for rank in range(min(MAX_CITIES, len(towns.names))):
        lon, lat = world.lonlat[towns.cell[rank]]
        features.append(
            {
                "type": "Feature",
                "properties": {
                    "kind": "city",
                    "name": towns.names[rank],
                    "rank": rank + 1,
                    "role": towns.role[rank],
                    "population": int(round(towns.people[rank], -3)),
                },
                "geometry": {
                    "type": "Point",
                    "coordinates": [round(float(lon), 3), round(float(lat), 3)],
                },
            }
        )
    return features


def _rounded(mapping: Any) -> Any:
    if isinstance(mapping, dict):
        return {key: _rounded(value) for key, value in mapping.items()}
    if isinstance(mapping, (list, tuple)):
        return [_rounded(value) for value in mapping]
    return round(mapping, 3) if isinstance(mapping, float) else mapping
