"""A whole search, as a selection asks for it: what the page shows, without the page."""

from collections.abc import Sequence

import numpy as np

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.explain.agreement import Agreements, weighted
from mobclip.place import Place
from mobclip.search import Found, SimilarityIndex, TextQuery, asked, signed_words
from mobclip.session import Selection


def answer(place: Place, selection: Selection, area: Sequence[str] = ()) -> Found | None:
    """The similar places of a selection in its run; None where it asks for nothing.

    An image is no part of a selection: what was searched by one is not answered here.

    area : cells that were drawn on the map; they count if the selection stays `inside`
    """
    run = place.folder / "runs" / selection.run
    index = SimilarityIndex(Embeddings.load(run / "embeddings.parquet"))
    words = TextQuery(run=run, featurizer=place.folder / "featurizers" / "poi")
    query = asked(selection, words if words.available else None)
    if query is None:
        return None
    text = " ".join(signed_words(selection.query)).strip()
    ranked = index.ranked(query, others=words.others(text) if text else None)
    weights = {name: selection.weight(name) for name in place.modalities}
    if len(set(weights.values())) > 1:
        scores = weighted(ranked.own, Agreements(place).of(query), weights)
        ranked = ranked.by(scores)
    inside = None
    if selection.inside and area:
        inside = np.isin(index.embeddings.cells, grid.from_strings(list(area)))
    return ranked.best(
        selection.count, least=selection.least, inside=inside, apart_km=selection.apart
    )
