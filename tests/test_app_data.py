"""The data view: the report of a place, and a place of one's own files from upload to map."""

import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from streamlit.testing.v1 import AppTest

from mobclip.place import Place
from mobclip.storage import write_json

APP = Path(__file__).parents[1] / "app"


@pytest.fixture
def data(app_data, tmp_path, monkeypatch):
    """A copy of the test place, beside which things may be made."""
    shutil.copytree(app_data / "places", tmp_path / "places")
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def points():
    """A CSV of 900 points, as bytes; the third has no longitude."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "lng": 10 + 0.3 * rng.random(900),
            "lat": 50 + 0.3 * rng.random(900),
            "category": rng.choice(["bar", "shop", "farm"], 900),
        }
    )
    frame.loc[2, "lng"] = np.nan
    return frame.to_csv(index=False).encode()


def checked(app: AppTest) -> AppTest:
    assert not app.exception, [one.message for one in app.exception]
    return app


def said(app) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning, app.success, app.error, app.code)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def button(app, label: str):
    return next((one for one in app.button if one.label == label), None)


def section(app, name: str):
    control = next(one for one in app.get("button_group") if one.label == "Section")
    control.set_value(name).run()
    return checked(app)


def uploaders(app) -> dict:
    """Kind -> its uploader; the session menu has one too."""
    kinds = (one.label.split(":")[0].lower() for one in app.file_uploader)
    return {
        kind: one for kind, one in zip(kinds, app.file_uploader, strict=True) if " " not in kind
    }


def upload(app, kind: str, name: str, content: bytes):
    uploaders(app)[kind].set_value((name, content, "")).run()
    return checked(app)


def fill(app, **texts: str):
    for name, text in texts.items():
        app.text_input(key=f"upload_{name}").set_value(text)
    app.number_input(key="upload_resolution").set_value(7)
    app.run()
    return checked(app)


# ---- the report --------------------------------------------------------------------------------


def test_every_section_of_the_report(open_app, data):
    folder = data / "places" / "islands-r6"
    leak = {"target": "income", "modality": "poi", "column": "log_total", "r2_column": 0.93}
    write_json(folder / "evaluation" / "results.json", {"leakage": [{**leak, "near_copy": True}]})
    place = Place.load(folder)
    app = checked(open_app(view="data", place="islands-r6"))
    overview = app.table[0].value
    assert list(overview["Cells"]) == [f"{int(one.sum()):,}" for one in place.present.values()]
    assert "“Median income” is nearly held by the input poi: log_total (R² 0.93" in said(app)
    section(app, "columns")
    names = app.dataframe[0].value["Column"].tolist()
    assert names == list(place.tables["poi"].columns)
    section(app, "flows")
    assert "no flows" in said(app)
    section(app, "targets")
    table = app.dataframe[0].value.set_index("Target")
    assert table.loc["Median income", "Nearest input"] == "poi: log_total (0.93)"
    assert table.loc["Visitors", "Unit"] == "people a day"
    assert table.loc["Visitors", "Units"] == len(place.targets["visitors"].values)
    section(app, "sources")
    assert "venues: Nobody. Licence: CC0-1.0." in said(app)
    section(app, "manifest")
    assert "No manifest on this machine has an entry for “islands”" in said(app)
    assert "`islands`" in said(app)  # the key of its inputs


def test_a_place_without_embeddings_has_a_report(open_app, data):
    shutil.rmtree(data / "places" / "islands-r6" / "runs")
    app = checked(open_app(view="data"))
    assert "What to know of it" in said(app)
    assert button(checked(open_app(view="train")), "Start training") is not None


# ---- uploads -----------------------------------------------------------------------------------


def test_bad_files_are_explained_and_nothing_is_written(open_app, data, points):
    app = section(open_app(view="data"), "add")
    before = sorted(data.rglob("*"))
    upload(app, "points", "venues.parquet", b"\x80\x04\x95 a pickle")
    assert "venues.parquet is no whole Parquet file" in said(app)
    assert button(app, "Make the place") is None
    upload(app, "points", "venues.csv", b"")
    assert "venues.csv is empty" in said(app)
    upload(app, "points", "venues.csv", points.replace(b"category", b"sort of"))
    assert button(app, "Make the place").disabled
    next(one for one in app.selectbox if one.label == "Latitude").set_value("lng").run()
    button(app, "Check the files").click().run()
    assert "longitude and latitude are the same column" in said(checked(app))
    assert button(app, "Make the place").disabled
    assert sorted(data.rglob("*")) == before


def test_a_place_from_upload_to_map(open_app, data, points, monkeypatch):
    monkeypatch.syspath_prepend(str(APP))
    import jobs

    app = section(open_app(view="data"), "add")
    upload(app, "points", "venues of my town.csv", points)
    assert "CSV, 900 rows, 3 columns" in [one.label for one in app.expander][-2]
    button(app, "Check the files").click().run()
    tables = [one.value for one in checked(app).table]
    assert tables[0][["Rows", "Used"]].iloc[0].tolist() == ["900", "899"]
    assert tables[1][["Why", "Rows", "The first"]].iloc[0].tolist() == ["no coordinates", "1", "3"]
    assert "licence" in said(app)
    assert button(app, "Make the place").disabled
    fill(app, name="islands", title="My town", licence="own data")
    assert "check the files again" in said(app)  # the resolution is another one
    button(app, "Check the files").click().run()
    assert "There is a place called “islands” already" in said(checked(app))
    fill(app, name="my-town", title="My town", licence="own data")
    button(app, "Make the place").click().run()
    assert button(checked(app), "Stop") is not None
    end = time.monotonic() + 60
    while jobs.latest(data).running:
        assert time.monotonic() < end
        time.sleep(0.1)
    work = jobs.latest(data)
    assert work.state == "done", work.problem + work.log
    app.run()
    assert app.query_params["place"] in ("my-town-r7", ["my-town-r7"])
    place = Place.load(data / "places" / "my-town-r7")
    assert place.provenance["sources"]["points"]["licence"] == "own data"
    assert {"poi", "pca", "propagated"} <= set(place.runs())
    again = section(open_app(view="data", place="my-town-r7"), "manifest")
    assert "origin: uploaded in the app as venues of my town.csv" in said(again)


def test_a_failed_place_leaves_nothing_and_says_why(open_app, data, points, monkeypatch):
    monkeypatch.syspath_prepend(str(APP))
    import jobs

    app = section(open_app(view="data"), "add")
    upload(app, "points", "venues.csv", points)
    fill(app, name="my-town", title="My town", licence="own data")
    button(app, "Check the files").click().run()
    # What goes wrong after the check: here the place has no interpreter to be made by.
    code = "import json, sys; json.load(open('/nowhere'))"
    monkeypatch.setattr(jobs, "WORKER", (jobs.sys.executable, "-S", "-c", code))
    button(app, "Make the place").click().run()
    end = time.monotonic() + 20
    while jobs.latest(data).running:
        assert time.monotonic() < end
        time.sleep(0.1)
    app.run()
    assert "Making My town has failed" in said(checked(app))
    assert "/nowhere" in said(app)
    assert not (data / "uploads" / "my-town").exists()
    assert not (data / "places" / "my-town-r7").exists()


def test_a_server_that_only_shows_takes_no_files(open_app, data, monkeypatch):
    monkeypatch.setenv("MOBCLIP_READ_ONLY", "1")
    app = section(open_app(view="data"), "add")
    assert not uploaders(app)
    assert "MOBCLIP_READ_ONLY" in said(app)


def test_an_empty_app_takes_files(open_app, tmp_path, monkeypatch):
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    assert set(uploaders(open_app())) == {"points", "flows", "zones"}
