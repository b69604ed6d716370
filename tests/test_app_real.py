"""The app on real Chicago: every view, with a cell chosen, says something and draws a map."""

import numpy as np
import pytest

from mobclip import grid
from mobclip.replay import replay
from mobclip.session import Selection, Session
from pages import sent

pytestmark = pytest.mark.real


@pytest.fixture
def busy(chicago):
    """The cell with the most kinds of evidence and trips."""
    known = np.sum(list(chicago.present.values()), axis=0)
    busiest = known + chicago.graph.out_strength / (chicago.graph.out_strength.max() + 1)
    return grid.to_strings(chicago.cells[[int(busiest.argmax())]])[0]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"view": "map", "colour": "clusters"}, "8 clusters"),
        ({"view": "map", "other": "pca", "split": "swipe"}, "Embedding “pca”"),
        ({"view": "similar"}, "cells that pass the filters"),
        ({"view": "similar"}, "Seen from above"),
        ({"view": "similar", "query": "coffee"}, "coffee"),
        ({"view": "probe", "target": "earnings"}, "gap"),
        ({"view": "modalities"}, "trips leave"),
        ({"view": "modalities"}, "Grey: one band of the image."),
        ({"view": "train"}, "side by side"),
        ({"view": "data"}, "of the cells have imagery"),
        ({"view": "map", "lesson": "1"}, "Lesson 1"),
    ],
)
def test_every_view_shows_chicago(open_app, chicago, busy, address, said):
    app = open_app(data=chicago.folder.parents[1], run="mobclip", cell=busy, **address)
    kinds = (app.markdown, app.caption, app.info, app.warning, app.subheader, app.title)
    words = " ".join(str(one.value) for kind in kinds for one in kind)
    header = sent(app)
    legends = [header["legend"], (header.get("other") or {}).get("legend")]
    assert said in words + " ".join(one["title"] for one in legends if one)
    assert header["blobs"]["cells"][1] == 8 * len(chicago.cells)


def test_a_session_of_chicago_is_replayed_to_the_same_numbers(chicago, busy):
    selection = Selection(place="chicago-r8", run="mobclip", cell=busy, target="earnings")
    session = Session(selection=selection)
    first, again = replay(chicago, session), replay(chicago, session)
    assert first == again
    assert len(first["similar"]) == 20
    assert first["probe"]["blocks"] > 0.3
