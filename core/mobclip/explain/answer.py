"""A whole search, as a selection asks for it: what the page shows, without the page."""

from collections.abc import Sequence

import numpy as np

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.explain.agreement import Agreements, weighted
from mobclip.place import Place
from mobclip.search import (
    Found,
    ImageQuery,
    Ranked,
    SimilarityIndex,
    TextQuery,
    asked,
    signed_words,
)
from mobclip.session import Selection


def ranked(
    index: SimilarityIndex,
    words: TextQuery,
    selection: Selection,
    image: ImageQuery | None = None,
) -> Ranked | None:
    """All cells in the order of what a selection asks for; None where it asks for nothing.

    words : of the run of the index; where it is not `available`, words cannot be asked for
    image : that is asked for too, in the space of the run
    """
    query = asked(
        selection,
        words if words.available else None,
        image=image.direction if image else None,
    )
    if query is None:
        return None
    text = " ".join(signed_words(selection.query)).strip()
    others = words.others(text) if text else None
    if others is None and image:
        others = image.others
    return index.ranked(query, others=others)


def answer(
    place: Place,
    selection: Selection,
    area: Sequence[str] = (),
    image: ImageQuery | None = None,
) -> Found | None:
    """The similar places of a selection in its run; None where it asks for nothing.

    area : cells that were drawn on the map; they count if the selection stays `inside`
    image : that is asked for too, in the space of the run
    """
    run = place.folder / "runs" / selection.run
    index = SimilarityIndex(Embeddings.load(run / "embeddings.parquet"))
    words = TextQuery(run=run, featurizer=place.folder / "featurizers" / "poi")
    found = ranked(index, words, selection, image)
    if found is None:
        return None
    weights = {name: selection.weight(name) for name in place.modalities}
    if len(set(weights.values())) > 1:
        scores = weighted(found.own, Agreements(place).of(found.query), weights)
        found = found.by(scores)
    inside = None
    if selection.inside and area:
        inside = np.isin(index.embeddings.cells, grid.from_strings(list(area)))
    return found.best(
        selection.count, least=selection.least, inside=inside, apart_km=selection.apart
    )
