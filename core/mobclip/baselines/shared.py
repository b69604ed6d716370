"""One space for several places, without training: `shared`."""

from collections.abc import Mapping
from itertools import accumulate

import numpy as np

from mobclip.baselines.features import DIMS, MAGNITUDES, principal_axes, scaled, side_by_side
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.place import MOBILITY, Place
from mobclip.storage import digest

# Kinds of token columns whose meaning does not depend on the place. Text vectors and image
# features are fitted to each place by itself, and `has_<source>` is about its files.
MEANT_ALIKE = ("hist_", "mean_", "log_", "count_")
POI = "poi"


def shared(places: Mapping[str, Place], *, dims: int = DIMS) -> dict[str, Embeddings]:
    """Embeddings of several places in one space: PCA of the columns that mean the same in all.

    A column is shared if it has the same modality and the same name in every place (see
    `shared_columns`); that the name stands for the same thing, in the same unit, is what the
    manifest promises. Flows have no common unit (trips, jobs), so their magnitude is the log of
    1 + flow / the mean flow of the cells of the place that have any. All are scaled over the cells
    of all places together and weighed as in `Features.together`.

    Raises
    ------
    ConfigError : fewer than two places, different resolutions, or nothing is shared
    """
    found = shared_columns(places)
    parts = []
    for modality, names in found.items():
        blocks = [evidence(place, modality, names) for place in places.values()]
        values, present = (np.concatenate(one) for one in zip(*blocks, strict=True))
        columns = scaled(values, present, names, np.full(len(names), ""))
        parts.append((columns, present))
    pooled = side_by_side(parts)
    vectors = pooled.values @ principal_axes(pooled.values, dims)
    space = digest(
        {
            "columns": found,
            "dims": dims,
            "places": {
                name: [place.name, place.resolution, place.provenance.get("key")]
                for name, place in places.items()
            },
        }
    )
    ends = list(accumulate(len(place.cells) for place in places.values()))[:-1]
    return {
        name: Embeddings(
            name="shared",
            cells=place.cells,
            vectors=np.ascontiguousarray(part, np.float32),
            present={modality: place.present[modality] for modality in found},
            provenance={
                "recipe": "shared, training-free: PCA of what several places have in common",
                "modalities": list(found),
                "columns": {modality: list(names) for modality, names in found.items()},
                "places": list(places),
                "space": space,  # vectors of one space may be compared
            },
        )
        for (name, place), part in zip(places.items(), np.split(vectors, ends), strict=True)
    }


def shared_columns(places: Mapping[str, Place]) -> dict[str, tuple[str, ...]]:
    """Modality -> names of the columns that mean the same in all of the places.

    Shares of histograms, means and logs of counts of tables, and the magnitudes of the flows. POI
    counts only among places that have a provider of points in common, whose categories they are.
    """
    if len(places) < 2:
        raise ConfigError(f"{len(places)} place: something is shared by two or more.")
    if len({place.resolution for place in places.values()}) > 1:
        found = ", ".join(f"{name} {place.resolution}" for name, place in places.items())
        raise ConfigError(
            f"places of different resolutions have no common space ({found}): counts of a cell "
            "grow with its area. Tokenize them at one resolution."
        )
    first, *others = places.values()
    columns: dict[str, tuple[str, ...]] = {}
    for modality in first.modalities:
        if any(modality not in place.modalities for place in others):
            continue
        if modality == MOBILITY:
            columns[modality] = MAGNITUDES
        elif modality != POI or set.intersection(*map(_providers, places.values())):
            names = tuple(
                name
                for name in first.tables[modality].columns
                if name.startswith(MEANT_ALIKE)
                and all(name in place.tables[modality].columns for place in others)
            )
            if names:
                columns[modality] = names
    if not columns:
        found = "; ".join(f"{name}: {', '.join(one.modalities)}" for name, one in places.items())
        raise ConfigError(
            f"nothing means the same in all of these places ({found}). Give them a modality in "
            "common, with the same names in data_manifest.yaml."
        )
    return columns


def evidence(place: Place, modality: str, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Shared columns of a place: (cells, names) values and (cells,) bool which cells have them."""
    if modality == MOBILITY:
        assert place.graph is not None
        present = place.graph.present
        flows = np.column_stack([place.graph.out_strength, place.graph.in_strength])
        typical = flows[present].mean(0) if present.any() else 1.0
        return np.log1p(flows / typical).astype(np.float32), present
    table = place.tables[modality]
    values, present = table.aligned(place.cells)
    return values[:, [table.columns.index(name) for name in names]], present


def _providers(place: Place) -> set[str]:
    """Who the points of a place are from."""
    sources = place.provenance.get("sources", {}).values()
    return {one["provider"] for one in sources if one.get("kind") == "points"}
