"""MobCLIP: general-purpose embeddings of places.

A place is cut into H3 cells, each cell is described by what is known of it (points of interest,
imagery, demographics, mobility), and every cell gets one vector that serves maps, similarity
search and prediction.

=====================  ============================================================================
`load_manifest`        data_manifest.yaml: which places there are and what they are made of
`Workspace`            where raw files and places lie; `mobclip.pipeline` has the stages over it
`TrainConfig`          how the published model is trained
`Place`                a tokenized place: its cells, tokens, mobility graph and targets
`CellTable`            the tokens of one modality, keyed by cell
`MobilityGraph`        the flows between cells
`Embeddings`           one vector per cell, from one run
`SimilarityIndex`      search for alike cells; answers with `Matches`
`Projection`           the embeddings on a small map, and the colours of the cells
`probe`                how well embeddings predict a target; answers with `ProbeResult`
`MobclipError`         root of every error that is raised on purpose
=====================  ============================================================================
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobclip.config import TrainConfig
    from mobclip.embeddings import Embeddings
    from mobclip.errors import MobclipError
    from mobclip.graph import MobilityGraph
    from mobclip.manifest import load_manifest
    from mobclip.pipeline import Workspace
    from mobclip.place import Place
    from mobclip.probes import ProbeResult, probe
    from mobclip.projection import Projection
    from mobclip.search import Matches, SimilarityIndex
    from mobclip.table import CellTable

__version__ = "0.1.0"

__all__ = [
    "CellTable",
    "Embeddings",
    "Matches",
    "MobclipError",
    "MobilityGraph",
    "Place",
    "ProbeResult",
    "Projection",
    "SimilarityIndex",
    "TrainConfig",
    "Workspace",
    "load_manifest",
    "probe",
]

# Loaded when first asked for (PEP 562): `import mobclip` and the command line start at once.
_HOME = {
    "CellTable": "table",
    "Embeddings": "embeddings",
    "Matches": "search",
    "MobclipError": "errors",
    "MobilityGraph": "graph",
    "Place": "place",
    "ProbeResult": "probes",
    "Projection": "projection",
    "SimilarityIndex": "search",
    "TrainConfig": "config",
    "Workspace": "pipeline",
    "load_manifest": "manifest",
    "probe": "probes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mobclip' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mobclip.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
