"""Vectors from the mobility graph alone: `line` and `lightgcn`."""

from mobclip.baselines.features import Features
from mobclip.config import TrainConfig
from mobclip.embeddings import Embeddings
from mobclip.errors import ConfigError
from mobclip.graph import MobilityGraph
from mobclip.place import MOBILITY
from mobclip.spectral import line_vectors

LAYERS = TrainConfig().layers


def line(features: Features) -> Embeddings:
    """The node table from which mobclip-paper starts: LINE in closed form."""
    table = line_vectors(_graph(features), features.dims, seed=features.seed)
    return features.embeddings("line", table)


def lightgcn(features: Features) -> Embeddings:
    """LightGCN without contrast: E + A E + A² E, with E the table of `line`.

    It is what mobclip-paper puts out before its first step of training; the difference between
    the two is what the training gave. Horner's rule, as in `model.LightGCN`.
    """
    graph = _graph(features)
    table = line_vectors(graph, features.dims, seed=features.seed)
    adjacency = graph.normalised("symmetric")
    vectors = table
    for _ in range(LAYERS):
        vectors = table + adjacency @ vectors
    return features.embeddings("lightgcn", vectors)


def _graph(features: Features) -> MobilityGraph:
    place = features.place
    if place.graph is None:
        raise ConfigError(f"{place.name} has no {MOBILITY}; it has {', '.join(place.modalities)}.")
    return place.graph
