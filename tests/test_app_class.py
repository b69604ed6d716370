"""The class, undo, saving and opening a session, in the app."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mobclip import grid
from mobclip.embeddings import Embeddings
from mobclip.place import Place
from mobclip.search import SimilarityIndex
from mobclip.session import Selection, Session


@pytest.fixture
def place(app_data):
    return Place.load(app_data / "places" / "islands-r6")


def asked(app):
    """The radio of the lesson."""
    return next(one for one in app.radio if one.label == "Your prediction")


def said(app):
    return " ".join(str(one.value) for kind in (app.info, app.success) for one in kind)


def test_a_prediction_comes_before_what_is_so(open_app, place):
    app = open_app(lesson="1", run="propagated")
    assert app.button(key="reveal").disabled
    assert "it is" not in said(app)
    share = {name: mask.mean() for name, mask in place.present.items()}
    least, most = min(share, key=share.get), max(share, key=share.get)
    app.sidebar.radio[0].set_value(most).run()
    app.button(key="reveal").click().run()
    assert f"You said {most}; it is **{least}**" in said(app)
    assert f"{least} {share[least]:.0%}" in said(app)


def test_what_is_revealed_is_what_a_search_finds(open_app, app_data, place):
    app = open_app(lesson="2", run="propagated")
    assert "cell" not in app.query_params  # a link opens the lesson as it was left
    app.button(key="lesson_back").click().run()
    app.button(key="lesson_next").click().run()
    cell = grid.from_strings([app.query_params["cell"]])[0]
    made = Embeddings.load(place.folder / "runs" / "propagated" / "embeddings.parquet")
    found = SimilarityIndex(made).like_cell(cell, 20)
    away = grid.distances_km(grid.centers(found.cells), grid.centers(np.array([cell])))
    asked(app).set_value("0 to 4").run()
    app.button(key="reveal").click().run()
    near = (away <= 8 * grid.edge_km(6)).sum()
    assert f"{near} of 20 lie within" in said(app)


def test_the_class_starts_again(open_app):
    app = open_app(lesson="1", run="propagated")
    asked(app).set_value(asked(app).options[0]).run()
    app.button(key="reveal").click().run()
    app.button(key="lesson_reset").click().run()
    assert asked(app).value is None
    assert app.button(key="reveal").disabled
    app.button(key="class").click().run()
    assert "lesson" not in app.query_params
    assert not [one for one in app.radio if one.label == "Your prediction"]


def scripts(app):
    """What the page tells the browser to remember."""
    return [one.proto.body for one in app.get("html") if "<script>" in one.proto.body]


def test_a_hint_that_was_put_away_stays_away_until_the_class_starts_again(open_app):
    app = open_app(run="propagated", view="map")
    assert scripts(app) == []
    app.button(key="hint map").click().run()
    assert "hint map" not in {one.key for one in app.button}
    assert "mobclip_hints=map; " in scripts(app)[0]
    app.query_params["view"] = "similar"
    app.run()
    app.button(key="hint similar").click().run()
    assert "hint similar" not in {one.key for one in app.button}
    (script,) = scripts(app)
    assert "mobclip_hints=map.similar; path=/; SameSite=Lax; Max-Age=31536000" in script
    app.query_params["lesson"] = "1"
    app.run()
    app.button(key="lesson_reset").click().run()
    (script,) = scripts(app)
    assert "mobclip_hints=; " in script
    assert "Max-Age=0" in script
    app.query_params.pop("lesson")
    app.query_params["view"] = "similar"
    app.run()
    assert "hint similar" in {one.key for one in app.button}


def test_a_browser_that_remembers_hints_shows_none(open_app, monkeypatch):
    browser = SimpleNamespace(cookies={"mobclip_hints": "map.<script>", "other": "similar"})
    app = open_app(run="propagated", view="map")
    hints = sys.modules["hints"]
    monkeypatch.setattr(hints.st, "context", browser)
    app.run()
    assert "hint map" not in {one.key for one in app.button}
    app.query_params["view"] = "similar"
    app.run()
    app.button(key="hint similar").click().run()
    assert "mobclip_hints=map.similar; " in scripts(app)[0]  # names of ours only


def test_a_choice_is_undone(open_app, place):
    first, second = grid.to_strings(place.cells[[3, 9]])
    app = open_app(run="propagated")
    assert app.button(key="undo").disabled
    for cell in (first, second):
        search(app, cell)
    assert app.query_params["cell"] == second
    app.button(key="undo").click().run()
    assert app.query_params["cell"] == first


def test_the_saved_file_says_what_the_page_shows(open_app, place):
    cell = grid.to_strings(place.cells[[5]])[0]
    app = open_app(view="similar", run="propagated", cell=cell, count="7")
    menu = sys.modules["views.session_menu"]
    files = sys.modules["cache"].PlaceFiles(folder=place.folder)
    selection = Selection(
        place=place.folder.name, view="similar", run="propagated", cell=cell, count=7
    )
    saved = json.loads(menu._file(Session(selection=selection), files, {}, None))
    assert [one["h3"] for one in saved["said"]["similar"]] == app.dataframe[0].value[
        "Cell"
    ].tolist()
    assert Session.from_json(json.dumps(saved)).selection == selection
    assert "Two islands" in menu.made_with(selection, files)
    assert "Nobody" in menu.made_with(selection, files)


def search(app, text):
    app.query_params["view"] = "similar"
    app.run()
    app.text_input(key="ask").set_value(text).run()
