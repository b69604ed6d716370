"""Selections and sessions: text and back, bounds, undo, files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobclip.errors import ArtefactError
from mobclip.session import KEPT, Selection, Session

CELLS = ("86754e64fffffff", "86754e647ffffff")


@given(
    view=st.sampled_from(["map", "similar", "probe"]),
    query=st.text(max_size=20),
    like=st.sampled_from([(), CELLS[:1], CELLS]),
    count=st.integers(5, 100),
    apart=st.sampled_from([0.0, 0.5, 20.0, 1e4]),
    least=st.sampled_from([-1.0, 0.0, 0.125, 1.0]),
    inside=st.booleans(),
)
def test_a_selection_survives_its_text(**values):
    selection = Selection(weights=("poi:0.5",), **values)
    text = selection.to_text()
    assert all(isinstance(one, str) for one in text.values())
    assert Selection.from_text(text) == selection


def test_what_is_as_usual_is_not_in_the_text():
    assert Selection().to_text() == {}
    assert Selection(count=30).to_text() == {"count": "30"}


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ({"count": "many"}, "count", 20),
        ({"count": "nan"}, "count", 20),
        ({"count": "1e3"}, "count", 100),
        ({"count": "-3"}, "count", 5),
        ({"apart": "inf"}, "apart", 0),
        ({"least": "7"}, "least", 1),
        ({"clusters": "0"}, "clusters", 2),
        ({"budget": "0"}, "budget", 0.001),
        ({"inside": "1"}, "inside", True),
        ({"inside": "yes"}, "inside", False),
        ({"like": ",a,,b,"}, "like", ("a", "b")),
        ({"unknown": "x"}, "view", "map"),
    ],
)
def test_an_address_cannot_say_nonsense(text, field, value):
    assert getattr(Selection.from_text(text), field) == value


def test_weights_are_one_unless_they_are_set():
    selection = Selection(weights=("poi:0.25", "mobility:7", "imagery:much"))
    assert [selection.weight(name) for name in ("poi", "mobility", "imagery", "census")] == [
        *(0.25, 1, 1, 1),
    ]


def test_choices_areas_and_labels_are_undone_in_turn_and_sliders_are_not():
    session = Session().changed(cell=CELLS[0]).changed(count=50)
    session = session.drawn(CELLS).painted(CELLS, "town").painted(CELLS[:1], "")
    assert session.labels == {CELLS[1]: "town"}
    session = session.undone()
    assert session.labels == dict.fromkeys(CELLS, "town")
    session = session.undone().undone()
    assert (session.area, session.labels) == ((), {})
    assert session.selection == Selection(cell=CELLS[0], count=50)
    session = session.undone()
    assert session.selection.cell == ""
    assert session.undone() == session


def test_what_changes_nothing_is_no_step():
    session = Session().changed(cell="").drawn(()).painted(CELLS, "")
    assert session.before == ()
    for number in range(2 * KEPT):
        session = session.painted(CELLS, str(number))
    assert len(session.before) == KEPT
    assert all(one.before == () for one in session.before)


def test_a_file_keeps_everything_but_the_steps(tmp_path):
    session = Session(
        selection=Selection(view="probe", target="POP", budget=0.25), area=CELLS,
        labels={CELLS[0]: "port, old"},
    ).changed(query="fish market")  # fmt: skip
    session.save(tmp_path / "a.json", made_with={"mobclip": "1"})
    again = Session.load(tmp_path / "a.json")
    assert again == session
    assert again.before == ()
    assert json.loads((tmp_path / "a.json").read_text())["made_with"] == {"mobclip": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no session file"),
        ("[]", "no session file"),
        ('{"format": 1}', "no session file"),
        ('{"format": 9, "selection": {}, "area": [], "labels": {}}', "of format 9"),
        ('{"format": 1, "selection": {}, "area": [1], "labels": {}}', "of other kinds"),
        ('{"format": 1, "selection": [], "area": [], "labels": {}}', "of other kinds"),
        ('{"format": 1, "selection": {"count": 3}, "area": [], "labels": {}}', "of other kinds"),
    ],
)
def test_a_file_that_is_no_session_says_so(tmp_path, text, message):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ArtefactError, match=message):
        Session.load(tmp_path / "bad.json")


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ArtefactError, match="cannot be read"):
        Session.load(tmp_path / "none.json")
