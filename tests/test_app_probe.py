"""The probe view through AppTest: sliders, learning, painting, data of one's own."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from mobclip import export, grid
from mobclip.cli import app as command_line
from mobclip.embeddings import Embeddings
from mobclip.place import Place
from mobclip.probes import folds_of, learning
from mobclip.session import Selection, Session
from mobclip.splits import Folds
from pages import checked, sent

APP = Path(__file__).parents[1] / "app"
PLACE = "islands-r6"


@pytest.fixture
def open_app(app_data: Path, monkeypatch: pytest.MonkeyPatch):
    """Open the probe view with an address on the test place."""
    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(app_data))

    def run(labels: dict[str, str] | None = None, **address: str) -> AppTest:
        app = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
        for name, value in {"view": "probe", "run": "propagated", **address}.items():
            app.query_params[name] = value
        if labels is not None:
            app.session_state["session"] = Session(labels=labels)
        return checked(app.run())

    return run


@pytest.fixture(scope="module")
def islands(app_data: Path) -> Place:
    return Place.load(app_data / "places" / PLACE)


def metrics(app: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in app.metric}


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning, app.success)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def painted(place: Place, count: int) -> dict[str, str]:
    """Cells of both islands, named by theirs, spread over the map."""
    west = grid.centers(place.cells)[:, 0] < -30.0
    rows = np.concatenate(
        [
            np.flatnonzero(side)[np.linspace(0, side.sum() - 1, count).astype(int)]
            for side in (west, ~west)
        ]
    )
    names = grid.to_strings(place.cells[rows])
    return {name: "west" if west[row] else "east" for name, row in zip(names, rows, strict=True)}


# ---- sliders -------------------------------------------------------------------------------------


def test_the_scores_follow_the_sliders(open_app, app_data: Path, islands: Place) -> None:
    app = open_app(target="visitors", budget="0.2", dims="2", alpha="1")
    vectors = Embeddings.load(app_data / "places" / PLACE / "runs/propagated/embeddings.parquet")
    target = islands.targets["visitors"]
    x = target.units_of(vectors.vectors[:, :2].astype(np.float64))
    where = target.cell_of_unit(islands.cells)
    for protocol, label in (("blocks", "R² in new areas"), ("random", "R² in scattered gaps")):
        expected = learning.learned(
            x,
            target.actual,
            Folds(of_unit=folds_of(where, protocol=protocol, seed=0)),
            kind="number",
            share=0.2,
            alpha=1.0,
        ).score
        assert metrics(app)[label] == f"{expected:.3f}"
    assert app.select_slider(key="budget").value == 0.2
    assert app.select_slider(key="dims").value == 2
    checked(app.button(key="usual").click().run())
    assert not {"budget", "dims", "alpha"} & set(app.query_params)
    assert "±" in metrics(app)["R² in new areas"]


def test_a_slider_writes_the_address_and_recolours_the_map(open_app) -> None:
    app = open_app(target="visitors")
    before = sent(app)["colours"]
    checked(app.select_slider(key="budget").set_value(0.1).run())
    assert app.query_params["budget"] in ("0.1", ["0.1"])
    assert sent(app)["colours"] != before
    said = words(app)
    assert "as set" not in said
    assert "as the sliders have it" in said


def test_of_few_units_no_budget_leaves_a_fold_without_labels(open_app, islands: Place) -> None:
    app = open_app(target="income", budget="0.001")
    units = len(islands.targets["income"].values)
    options = app.select_slider(key="budget").options
    fewest = min(int(one.split("·")[1].replace(",", "")) for one in options)
    assert fewest >= min(20, units)


def test_runs_that_cannot_hide_say_so(open_app) -> None:
    assert "cannot be hidden from “propagated”" in words(open_app(target="visitors"))


def test_evidence_is_hidden_from_the_encoder(
    country_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(country_data))
    seen = []
    for using in ("", "poi"):
        app = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
        for name, value in {"view": "probe", "run": "mobclip", "target": "POP"}.items():
            app.query_params[name] = value
        if using:
            app.query_params["using"] = using
        checked(app.run())
        seen.append((metrics(app)["R² in new areas"], sent(app)["colours"]))
    assert len({one for one, _ in seen}) == 2
    assert len({colours for _, colours in seen}) == 2


@pytest.mark.parametrize(
    ("layer", "title"),
    [("width", "Width of the 90 % interval"), ("folds", "Folds of blocks"), ("error", "Error")],
)
def test_every_layer_has_its_legend(open_app, layer: str, title: str) -> None:
    legend = sent(open_app(target="visitors", layer=layer))["legend"]
    assert legend["title"].startswith(title)
    if layer == "folds":
        assert len(legend["items"]) == 5
    if layer == "width":
        assert "in unseen areas lay inside" in legend["note"]


# ---- learning ------------------------------------------------------------------------------------


def test_the_learning_curve_ends_at_the_score_of_all_labels(open_app) -> None:
    import pyarrow as pa

    app = open_app(target="visitors", tab="learn")
    chart = (app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart"))[0]
    found = [
        pa.ipc.open_stream(one.data.data).read_all().to_pylist() for one in chart.proto.datasets
    ]
    rows = max(found, key=len)
    assert {one["Tested in"] for one in rows} == {
        "new areas (spatial blocks)",
        "scattered gaps (random folds)",
    }
    labels = sorted({one["Labels"] for one in rows})
    assert len(labels) > 3
    assert all(one["low"] <= one["R²"] <= one["high"] for one in rows)
    assert all(one["Subsets"] == (1 if one["Labels"] == labels[-1] else 3) for one in rows)


def test_an_order_of_labelling_is_tried_when_asked_for(open_app) -> None:
    app = open_app(target="visitors", tab="learn")
    assert len(app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart")) == 1
    checked(app.button(key="what-if").click().run())
    assert len(app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart")) == 2
    assert "both orders start from the same ten random labels" in words(app)


# ---- painting ------------------------------------------------------------------------------------


def test_painting_says_what_it_needs(open_app, islands: Place) -> None:
    app = open_app(tab="paint")
    assert "Type what to paint" in words(app)
    some = dict(list(painted(islands, 8).items())[:3])
    app = open_app(labels=some, tab="paint")
    assert "2 more of “west”, 5 cells of a second class" in words(app)
    assert sent(app)["legend"]["title"].startswith("Embedding")
    assert set(sent(app)["marks"]) == set(some)


def test_labels_predict_the_whole_map(open_app, islands: Place) -> None:
    labels = painted(islands, 15)
    app = open_app(labels=labels, tab="paint", layer="predicted")
    legend = sent(app)["legend"]
    assert [one["label"] for one in legend["items"]] == ["east", "west"]
    assert float(metrics(app)["F1 in blocks left out"]) > 0.8
    assert "30 painted cells" in words(app)
    rings = sent(app)["results"]
    assert len(rings) == len(set(rings)) == 10
    assert not set(rings) & set(labels)
    unsure = open_app(labels=labels, tab="paint", layer="unsure")
    assert "unsure" in sent(unsure)["legend"]["title"]


def test_a_suggested_cell_is_labelled_and_that_is_undone(open_app, islands: Place) -> None:
    labels = painted(islands, 15)
    app = open_app(labels=labels, tab="paint")
    assert app.button(key="next-give-1").disabled  # no label is set yet
    checked(app.text_input(key="paint-class").set_value("west").run())
    first = sent(app)["results"][0]
    checked(app.button(key="next-give-1").click().run())
    assert app.session_state["session"].labels[first] == "west"
    assert sent(app)["results"][0] != first
    checked(app.button(key="paint-undo").click().run())
    assert first not in app.session_state["session"].labels


def test_few_labels_have_no_score(open_app, islands: Place) -> None:
    app = open_app(labels=painted(islands, 6), tab="paint")
    assert "F1 in blocks left out" not in metrics(app)
    assert "8 more cells are needed" in words(app)


def test_clicks_paint_strokes_paint_and_the_same_again_takes_it_off(
    open_app, islands: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the map's events do, without a browser."""
    open_app(tab="paint")  # imports the app's modules
    probe_paint, state = sys.modules["views.probe_paint"], sys.modules["state"]
    from cache import PlaceFiles
    from map_component import Area

    kept = Session()

    def keep(changed: Session) -> None:
        nonlocal kept
        kept = changed

    monkeypatch.setattr(state, "session", lambda: kept)
    monkeypatch.setattr(state, "keep", keep)
    files = PlaceFiles(folder=islands.folder)
    one, two = grid.to_strings(islands.cells[[20, 21]])
    probe_paint._on_click(files, "port")(one)
    assert kept.labels == {one: "port"}
    probe_paint._on_click(files, "farm")(one)
    assert kept.labels == {one: "farm"}
    probe_paint._on_click(files, "farm")(one)
    assert kept.labels == {}
    probe_paint._on_area(files, "port")(Area(tool="brush", cells=(two,), k=1))
    assert two in kept.labels
    assert 2 < len(kept.labels) <= 7
    probe_paint._on_area(files, "")(Area(tool="brush", cells=(two,), k=1))  # erasing
    assert kept.labels == {}
    probe_paint._on_click(files, probe_paint.NOTHING)(one)  # nothing to paint with: it chooses
    assert kept.labels == {}
    assert kept.selection.cell == one


def test_numbers_are_painted_and_predicted(open_app, islands: Place) -> None:
    lon = grid.centers(islands.cells)[:, 0]
    rows = np.linspace(0, len(lon) - 1, 30).astype(int)
    names = grid.to_strings(islands.cells[rows])
    labels = {name: f"{10 * lon[row]:.1f}" for name, row in zip(names, rows, strict=True)}
    app = open_app(labels=labels, tab="paint")
    assert sent(app)["legend"]["title"] == "Predicted from your numbers"
    assert "R² in blocks left out" in metrics(app)


# ---- data of one's own ---------------------------------------------------------------------------


def table(place: Place) -> bytes:
    names = grid.to_strings(place.cells)
    west = grid.centers(place.cells)[:, 0] < -30.0
    rng = np.random.default_rng(0)
    rows = [f"{name},{10 * w + rng.normal():.2f}" for name, w in zip(names, west, strict=True)]
    rows[4] = f"{names[4]},lots"
    rows.append("862a1072fffffff,3")
    return ("h3,trees\n" + "\n".join(rows) + "\n").encode()


def test_a_table_is_looked_at_then_probed(open_app, islands: Place) -> None:
    app = open_app(tab="own")
    assert "H3 cell" in words(app)
    checked(app.file_uploader(key="upload").upload("trees.csv", table(islands), "text/csv").run())
    n = len(islands.cells)
    assert f"{n - 1:,} of {n + 1:,} rows" in words(app)
    assert "1 not a number" in words(app)
    assert "1 outside of the place" in words(app)
    assert sent(app)["legend"]["title"] == "Yours: trees"
    assert app.button(key="own-use").disabled  # the licence is asked for
    licence = next(one for one in app.text_input if one.label.startswith("Licence"))
    checked(licence.set_value("CC0-1.0").run())
    checked(app.button(key="own-use").click().run())
    assert float(metrics(app)["R² in new areas"].split(" ±")[0]) > 0.5
    assert sent(app)["legend"]["title"] == "Predicted: trees"
    assert "Licence: CC0-1.0" in words(app)
    chart = (app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart"))[0]
    assert chart is not None  # the ladder of the other embeddings
    checked(app.select_slider(key="budget").set_value(0.2).run())
    assert app.selectbox(key="target").value.startswith("own-")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"h3,h3\n1,2\n", "several columns"),
        ("a.csv", b"name,value\nx,1\ny,2\n", "where in Two islands a row is"),
        ("a.parquet", b"nothing of the kind", "cannot be read"),
    ],
)
def test_bad_files_are_answered_in_words(open_app, name: str, data: bytes, says: str) -> None:
    app = open_app(tab="own")
    app.file_uploader(key="upload").upload(name, data, "text/csv").run()
    assert not app.exception
    assert any(says in one.value for one in app.error)


def brought(open_app, islands: Place) -> tuple[AppTest, str]:
    """A session that has brought a target along, and its name."""
    app = open_app(tab="own")
    checked(app.file_uploader(key="upload").upload("trees.csv", table(islands), "text/csv").run())
    licence = next(field for field in app.text_input if field.label.startswith("Licence"))
    checked(licence.set_value("mine").run())
    checked(app.button(key="own-use").click().run())
    name = app.query_params["target"]
    return app, name if isinstance(name, str) else name[0]


def test_two_sessions_do_not_see_each_others_data(open_app, islands: Place) -> None:
    _, name = brought(open_app, islands)
    other = open_app(target=name)
    assert name not in other.selectbox(key="target").options
    assert "Upload them again" in words(other)


def test_a_saved_session_brings_the_data_along(open_app, islands: Place, tmp_path: Path) -> None:
    one, name = brought(open_app, islands)
    menu, cache = sys.modules["views.session_menu"], sys.modules["cache"]
    target = one.session_state["own_targets"]["islands-r6"][name]
    run = one.selectbox(key="run").value
    selection = Selection(view="probe", place="islands-r6", run=run, target=name)
    files = cache.PlaceFiles(folder=islands.folder)
    text = menu._file(Session(selection=selection), files, {name: target}, None)
    other = open_app()
    checked(other.file_uploader(key="open 0").upload("s.json", text.encode()).run())
    assert other.selectbox(key="target").value == name
    assert metrics(other) == metrics(one)
    # The command line has the same numbers, without a page.
    path = tmp_path / "s.json"
    path.write_text(text)
    data = str(islands.folder.parents[1])
    said = CliRunner().invoke(command_line, ["--data", data, "replay", str(path)])
    assert said.exit_code == 0
    assert "These are the numbers that were saved" in said.output
    blocks = json.loads(text)["said"]["probe"]["blocks"]
    assert f"blocks {blocks:.4f}" in said.output
    # A file in which somebody has changed the data is not taken, and nothing is lost.
    broken = text.replace('"weights": [', '"weights": [[2.0], ', 1)
    third = open_app(target=name)
    third.file_uploader(key="open 0").upload("s.json", broken.encode()).run()
    assert not third.exception
    assert any("a target of the session" in one.value for one in third.warning)
    assert name not in third.selectbox(key="target").options


# ---- downloads -----------------------------------------------------------------------------------


def test_predictions_are_downloaded_with_intervals_and_provenance(open_app, islands: Place) -> None:
    open_app(target="visitors")
    work, probe_export = sys.modules["views.probe_work"], sys.modules["views.probe_export"]
    from cache import PlaceFiles

    files = PlaceFiles(folder=islands.folder)
    target = islands.targets["visitors"]
    asked = work.Setting(run="propagated", share=0.5)
    result = work.result(files, target, asked)
    made = probe_export.predictions(files, target, "", result, asked)
    told = export.provenance_of(made)
    assert told["target"] == "Visitors"
    assert told["labels"] == "50.0%"
    assert 0.8 < told["interval_coverage_found"] <= 1
    back = pq.read_table(io.BytesIO(export.to_geoparquet(made))).to_pydict()
    assert len(back["h3"]) == len(target.values)
    known = np.array(back["measured"])
    np.testing.assert_allclose(known, target.values)
    inside = (known >= np.array(back["low_90"])) & (known <= np.array(back["high_90"]))
    assert inside.mean() == pytest.approx(told["interval_coverage_found"], abs=0.02)
    assert min(back["low_90"]) >= 0  # visitors are counted
    # Files are made where there is no session. Another's target of the same name is another's.
    theirs = replace(target, values=target.values[::-1].copy())
    other = probe_export.predictions(
        files, theirs, "", work.probed_run(files, theirs, "propagated"), asked
    )
    assert other["low_90"].to_pylist() != back["low_90"]
