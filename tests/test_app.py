"""The app's three views through Streamlit's AppTest: what they say, not how they are drawn."""

import gc
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from streamlit.testing.v1 import AppTest

from mobclip import grid, pipeline
from mobclip.place import Place, save_targets
from mobclip.probes import Score
from mobclip.storage import read_json, write_json
from pages import checked, sent

APP = Path(__file__).parents[1] / "app"
COVERS = ("bog", "city", "cliff", "dune", "field", "forest", "heath", "lake", "meadow", "port")
JOBS = ("Services", "Farming and fishing", "Industry")


@pytest.fixture(scope="module")
def kinds_data(
    app_data: Path, manifest_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The test place with a class, a binary and a composition target."""
    data = tmp_path_factory.mktemp("kinds")
    shutil.copytree(app_data / "places", data / "places")
    folder = data / "places" / "islands-r6"
    (folder / "probes.json").unlink()
    place = Place.load(folder)
    number = place.targets["visitors"]
    rng = np.random.default_rng(3)
    n = len(number.values)
    west = np.log(number.values) > 4
    jobs = rng.dirichlet([2, 2, 2], n) + 3 * np.eye(3)[np.where(west, 0, 1)]
    kinds = {
        # Ten classes, the last ones rare.
        "cover": {
            "kind": "class",
            "classes": COVERS,
            "values": np.where(west, 0, 1) + (rng.random(n) < 0.3) * rng.integers(0, 9, n),
        },
        "coast": {"kind": "binary", "values": west ^ (rng.random(n) < 0.1)},
        "jobs": {"kind": "composition", "classes": JOBS, "values": jobs / 4},
    }
    made = {
        name: replace(
            number,
            name=name,
            title=name.capitalize(),
            unit="",
            transform="none",
            **{**one, "values": np.asarray(one["values"], float)},
        )
        for name, one in kinds.items()
    }
    save_targets(folder, place.cells, {**place.targets, **made})
    workspace = pipeline.Workspace.open(manifest=manifest_path, data=data)
    pipeline.probe(workspace, Place.load(folder), seeds=(0,))
    return data


def tables(app: AppTest) -> list[list[list[dict]]]:
    """For each chart the rows of each of its tables."""
    charts = app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart")  # older, newer
    return [
        [pa.ipc.open_stream(one.data.data).read_all().to_pylist() for one in chart.proto.datasets]
        for chart in charts
    ]


def charted(app: AppTest) -> list[list[dict]]:
    """Rows of the largest table of each chart."""
    return [max(chart, key=len) for chart in tables(app)]


def address(app: AppTest, name: str) -> str:
    """One part of the page's address."""
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def words(app: AppTest) -> str:
    """Everything that the page says."""
    kinds = (app.markdown, app.caption, app.info, app.warning, app.code)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def a_cell(app_data: Path, number: int = 40) -> str:
    """One of the place's cells."""
    return grid.to_strings(Place.load(app_data / "places" / "islands-r6").cells[[number]])[0]


def test_without_a_place_the_command_is_named(
    open_app, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    app = open_app()
    assert "mobclip demo" in words(app)
    assert str(tmp_path) in words(app)


def test_a_place_without_embeddings_says_how_to_make_them(
    open_app, app_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "places" / "islands-r6"
    shutil.copytree(app_data / "places" / "islands-r6", folder)
    shutil.rmtree(folder / "runs")
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    assert "mobclip embed islands" in words(open_app())


def test_opens_on_the_run_that_is_best_on_blocks(open_app, app_data: Path) -> None:
    table = read_json(app_data / "places" / "islands-r6" / "probes.json")
    blocks: dict[str, list[float]] = {}
    for row in table["rows"]:
        if (row["protocol"], row["metric"]) == ("blocks", "r2"):
            blocks.setdefault(row["run"], []).append(row["mean"])
    best = max(blocks, key=lambda run: np.mean(blocks[run]))
    app = open_app()
    assert app.selectbox(key="run").value == best
    assert sorted(app.selectbox(key="run").options)[0].startswith("coordinates · R² ")
    assert "PCA" in words(app)  # colours are by PCA until UMAP is there


def test_the_map_shows_every_colouring(open_app, app_data: Path) -> None:
    app = open_app(cell=a_cell(app_data))
    drawn = {}
    for option in ("embedding", "similarity", "evidence", "has:poi", "target:visitors"):
        checked(app.selectbox(key="colour").set_value(option).run())
        drawn[option] = sent(app)
    assert len({one["colours"] for one in drawn.values()}) == 5
    assert drawn["target:visitors"]["legend"]["title"] == "Visitors (people a day)"
    assert [item["label"] for item in drawn["evidence"]["legend"]["items"]] == [
        "0 of 2", "1 of 2", "2 of 2",
    ]  # fmt: skip
    assert address(app, "colour") == "target:visitors"


def test_cells_travel_once_and_the_same_view_is_the_same_bytes(open_app, app_data: Path) -> None:
    app = open_app()
    count = len(Place.load(app_data / "places" / "islands-r6").cells)
    first = sent(app)["blobs"]
    assert first["cells"][1] == 8 * count
    assert first["colours"][1] == 3 * count
    assert "cells" not in sent(app.run())["blobs"]
    again = app.get("bidi_component")[0].proto.bytes
    app.run()
    assert app.get("bidi_component")[0].proto.bytes == again


@pytest.mark.parametrize("layer", ["predicted", "actual", "error"])
def test_probe_shows_both_protocols_and_the_gap(open_app, layer: str) -> None:
    app = open_app(view="probe", target="visitors", layer=layer)
    labels = {one.label: one.value for one in app.metric}
    assert set(labels) == {"R² in new areas", "R² in scattered gaps"}
    assert all("±" in value for value in labels.values())
    assert "new areas" in words(app)
    title = sent(app)["legend"]["title"]
    assert title.startswith({"predicted": "Pred", "actual": "Meas", "error": "Error"}[layer])
    if layer == "error":
        assert "log(1 + people a day)" in title


def test_the_probe_of_zones_colours_their_cells(open_app) -> None:
    app = open_app(view="probe")
    assert app.selectbox(key="target").value == "income"
    assert "Invented for a test." in words(app)
    assert len(charted(app)) == 2


def test_switching_run_and_view_keeps_the_cell(open_app, app_data: Path) -> None:
    cell = a_cell(app_data)
    app = open_app(cell=cell)
    checked(app.selectbox(key="run").set_value("coordinates").run())
    find = next(one for one in app.button if one.label == "Find similar places")
    checked(find.click().run())
    assert address(app, "view") == "similar"
    assert address(app, "run") == "coordinates"
    assert sent(app)["selected"] == cell


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"place": "atlantis-r6"}, "atlantis-r6"),
        ({"run": "gpt"}, "gpt"),
        ({"cell": "862a1072fffffff"}, "862a1072fffffff"),
        ({"cell": "<script>"}, "not a cell"),
        ({"view": "nonsense"}, ""),
        ({"colour": "target:nonsense"}, ""),
        ({"view": "probe", "target": "nonsense", "layer": "nonsense"}, ""),
        ({"view": "similar", "count": "many", "apart": "nan"}, ""),
        ({"view": "similar", "count": "-5", "apart": "1e99"}, ""),
    ],
)
def test_bad_links_open_something_and_say_what_was_ignored(
    open_app, address: dict[str, str], said: str
) -> None:
    assert said in words(open_app(**address))


def test_a_damaged_file_is_an_error_in_words(
    open_app, app_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "places" / "islands-r6"
    shutil.copytree(app_data / "places" / "islands-r6", folder)
    for path in folder.glob("runs/*/projection.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(APP))
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=60).run()
    assert not app.exception
    assert "projection.parquet" in app.error[0].value


def test_starting_the_app_imports_nothing_slow(app_data: Path) -> None:
    import subprocess

    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cache, state; "
        "from views import frame, map, probe, similar; "
        "print([m for m in ('torch', 'umap', 'geopandas', 'sklearn', 'rasterio', 'numba',"
        " 'altair', 'lightgbm', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(APP)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_run_without_colours_on_disk_is_coloured_by_pca(
    open_app, app_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "places" / "islands-r6"
    shutil.copytree(app_data / "places" / "islands-r6", folder)
    for path in folder.glob("runs/*/projection.parquet"):
        path.unlink()
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(APP))
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=60).run()
    assert not app.error
    assert not app.exception
    assert app.get("bidi_component")


# ---- targets that are no numbers -------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "metric"), [("cover", "F1"), ("coast", "AUC"), ("jobs", "Skill")]
)
@pytest.mark.parametrize("layer", ["predicted", "actual", "error"])
def test_every_kind_of_target_has_its_metric_and_its_layers(
    open_app,
    kinds_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    metric: str,
    layer: str,
) -> None:
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(kinds_data))
    app = open_app(view="probe", target=target, layer=layer, run="propagated")
    table = read_json(kinds_data / "places" / "islands-r6" / "probes.json")["rows"]
    (row,) = (
        one
        for one in table
        if (one["run"], one["target"]) == ("propagated", target)
        and (one["metric"], one["protocol"]) == (metric.lower(), "blocks")
    )
    labels = {one.label: one.value for one in app.metric}
    assert set(labels) == {f"{metric} in new areas", f"{metric} in scattered gaps"}
    assert labels[f"{metric} in new areas"].startswith(f"{row['mean']:.3f}")
    ladder, _ = charted(app)
    assert (
        sorted(one["Embedding"] for one in ladder)
        == sorted(2 * list(app.selectbox("run").options_))
        if False
        else len(ladder) == 6
    )
    word = {"predicted": "Predicted", "actual": "Measured", "error": "Error"}[layer]
    title = sent(app)["legend"]["title"]
    wrong = layer == "error" and target != "jobs"
    assert title.startswith("How right" if wrong else word)


def test_many_classes_share_one_colour_and_keep_it_on_every_map(
    open_app, kinds_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(kinds_data))
    measured = sent(open_app(view="probe", target="cover", layer="actual"))
    predicted = sent(open_app(view="probe", target="cover", layer="predicted"))
    on_the_map = sent(open_app(colour="target:cover"))
    values = Place.load(kinds_data / "places" / "islands-r6").targets["cover"].values
    sizes = np.bincount(values.astype(int), minlength=10)
    labels = [item["label"] for item in measured["legend"]["items"]]
    assert labels[:2] == [COVERS[one] for one in np.argsort(-sizes, kind="stable")[:2]]
    assert labels[-1] == "3 smaller classes"
    assert len({item["colour"] for item in measured["legend"]["items"]}) == 8
    assert predicted["legend"]["items"] == measured["legend"]["items"]
    assert on_the_map["colours"] == measured["colours"] != predicted["colours"]
    assert predicted["tip"]["labels"] == list(COVERS)


def test_the_confusion_table_counts_every_unit(
    open_app, kinds_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(kinds_data))
    app = open_app(view="probe", target="cover", run="propagated")
    _, table = charted(app)
    values = Place.load(kinds_data / "places" / "islands-r6").targets["cover"].values
    measured = {name: int((values == i).sum()) for i, name in enumerate(COVERS)}
    rows: dict[str, int] = {}
    for one in table:
        rows[one["Measured"]] = rows.get(one["Measured"], 0) + one["Units"]
    smaller = rows.pop("3 smaller classes")
    assert rows == {name: measured[name] for name in rows}
    assert sum(rows.values()) + smaller == len(values)


def test_the_part_of_a_composition_is_chosen(
    open_app, kinds_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(kinds_data))
    app = open_app(view="probe", target="jobs", layer="actual")
    shares = Place.load(kinds_data / "places" / "islands-r6").targets["jobs"].values
    assert app.selectbox(key="part").value == JOBS[shares.mean(axis=0).argmax()]
    checked(app.selectbox(key="part").set_value("Industry").run())
    assert sent(app)["legend"]["title"] == "Measured: Jobs: Industry"
    assert address(app, "part") == "Industry"
    _, dots = charted(app)
    assert max(dot["Measured"] for dot in dots) == pytest.approx(shares[:, 2].max())
    checked(app.selectbox(key="target").set_value("visitors").run())
    assert "part" not in app.query_params
    checked(open_app(view="probe", target="jobs", part="nonsense"))


def test_the_card_of_a_cell_names_its_class(
    open_app, kinds_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(kinds_data))
    place = Place.load(kinds_data / "places" / "islands-r6")
    app = open_app(cell=grid.to_strings(place.cells[[40]])[0])
    shown = dict(app.dataframe[0].value[["Measured", "Value"]].to_numpy())
    target = place.targets["cover"]
    row = int(target.weights[:, [40]].toarray().argmax())
    assert shown["Cover"] == COVERS[int(target.values[row])]
    assert shown["Coast"] in ("no", "yes")
    assert shown["Jobs"] == JOBS[place.targets["jobs"].values[row].argmax()]


# ---- what must not be overlooked -------------------------------------------------------------


@pytest.fixture
def scored(app_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "ScoredPlace":
    """A copy of the test place, whose scores of “visitors” are to be written."""
    folder = tmp_path / "places" / "islands-r6"
    shutil.copytree(app_data / "places" / "islands-r6", folder)
    shutil.copytree(folder / "runs" / "demographics", folder / "runs" / "mobclip-paper")
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    return ScoredPlace(folder)


class ScoredPlace:
    """Writes probes.json and evaluation/results.json by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, scores: dict[str, tuple[float, float]], **more: object) -> list[dict]:
        return [
            {
                "run": run,
                "probe": "ridge",
                "target": "visitors",
                "protocol": protocol,
                "metric": "r2",
                "mean": mean,
                "spread": 0.01,
                "per_seed": [mean, mean],
                "n": 100,
                "dims": 3,
                **more,
            }
            for run, means in scores.items()
            for protocol, mean in zip(("blocks", "random"), means, strict=True)
        ]

    def probed(self, scores: dict[str, tuple[float, float]]) -> None:
        write_json(self.folder / "probes.json", {"seeds": [0, 1], "rows": self.rows(scores)})

    def evaluated(self, scores: dict[str, tuple[float, float]], **more: object) -> None:
        rows = self.rows(scores)
        for row in rows:
            row["low"], row["high"] = row["mean"] - 0.05, row["mean"] + 0.04
        free = {run: {"training_free": run != "mobclip-paper"} for run in scores}
        results = {"seeds": [0, 1], "runs": free, "scores": rows, **more}
        write_json(self.folder / "evaluation" / "results.json", results)
        (self.folder / "evaluation" / "report.html").write_text("<p>All of it.</p>")


def test_a_training_free_run_that_beats_the_trained_one_is_said(
    open_app, scored: ScoredPlace
) -> None:
    scored.probed({"mobclip-paper": (0.4, 0.6), "propagated": (0.5, 0.5), "coordinates": (0, 0.1)})
    (warning,) = open_app(view="probe", target="visitors", run="mobclip-paper").warning
    assert "`mobclip-paper` has R² 0.400 ± 0.010; `propagated` (not trained) 0.500" in warning.value
    assert "Scattered gaps" not in warning.value  # there the trained one is better
    assert "`mobclip probe`" in warning.value
    assert "overlap" not in warning.value
    assert not open_app(view="probe", target="visitors", run="propagated").warning


def test_position_alone_that_beats_a_run_is_said(open_app, scored: ScoredPlace) -> None:
    scored.probed({"propagated": (0.3, 0.5), "coordinates": (0.295, 0.51)})
    (warning,) = open_app(view="probe", target="visitors", run="propagated").warning
    assert warning.value.startswith("- Scattered gaps: `propagated` has R² 0.500 ± 0.010; ")
    assert "`coordinates` (position alone) 0.510 ± 0.010, the ranges overlap." in warning.value
    assert "New areas" not in warning.value
    assert not open_app(view="probe", target="visitors", run="coordinates").warning


def test_the_evaluation_brings_intervals_the_whole_ladder_and_the_report(
    open_app, scored: ScoredPlace
) -> None:
    scores = {"mobclip-paper": (0.4, 0.6), "propagated": (0.5, 0.7), "neighbours": (0.42, 0.65)}
    scored.probed({"mobclip-paper": (0.1, 0.2)})
    covered = {"run": "mobclip-paper", "target": "visitors", "level": 0.9, "coverage": 0.874}
    other = [
        {"run": "mobclip-paper", "probe": probe, "target": "visitors", "protocol": protocol,
         "metric": "r2", "mean": mean, "spread": 0.0}
        for probe, mean in (("ridge", 0.41), ("boosting", 0.33))
        for protocol in ("blocks", "random")
    ]  # fmt: skip
    scored.evaluated(scores, conformal=[{**covered, "width": 1.5, "n": 100}], probes=other)
    app = open_app(view="probe", target="visitors", run="mobclip-paper")
    assert [(one.label, one.value, one.delta) for one in app.metric] == [
        ("R² in new areas", "0.400", "95 %: 0.35 to 0.44"),
        ("R² in scattered gaps", "0.600", "95 %: 0.55 to 0.64"),
    ]
    (warning,) = app.warning
    assert "`propagated` (not trained) 0.500 [0.45, 0.54];" in warning.value
    assert "`neighbours` (position alone) 0.420 [0.37, 0.46], the ranges overlap." in warning.value
    assert "`mobclip evaluate`" in warning.value
    ladder, _ = charted(app)
    assert {one["Embedding"] for one in ladder} == set(scores)
    assert "90 % intervals of prediction" in words(app)
    assert "held 87 % of 100" in words(app)
    assert "Evaluation report" in [one.label for one in app.get("download_button")]
    (probes,) = (one.value for one in app.table)
    assert probes["New areas"].tolist() == [
        "0.410",
        "0.330",
    ]  # known already: there is nothing to try
    assert not [one for one in app.button if one.key == "boost"]
    assert "neighbours" not in app.selectbox(key="run").options  # on no map: not in the list


def test_an_evaluation_of_other_embeddings_is_not_shown(open_app, scored: ScoredPlace) -> None:
    scored.probed({"propagated": (0.1, 0.2)})
    scored.evaluated({"propagated": (0.5, 0.7)})
    path = scored.folder / "evaluation" / "results.json"
    results = read_json(path)
    results["runs"]["propagated"]["key"] = "of an earlier version"
    write_json(path, results)
    app = open_app(view="probe", target="visitors", run="propagated")
    assert [one.value for one in app.metric] == ["0.100 ± 0.010", "0.200 ± 0.010"]


def test_scores_of_an_older_version_are_not_shown(open_app, scored: ScoredPlace) -> None:
    rows = scored.rows({"propagated": (0.1, 0.2)})
    for row in rows:
        del row["metric"]
    write_json(scored.folder / "probes.json", {"seeds": [0, 1], "rows": rows})
    app = open_app(view="probe", target="visitors", run="propagated")
    assert "Run `mobclip probe`" in words(app)
    assert not app.metric


def test_the_noise_ceiling_is_marked(open_app, scored: ScoredPlace) -> None:
    place = Place.load(scored.folder)
    targets = {**place.targets, "visitors": replace(place.targets["visitors"], ceiling=0.8)}
    save_targets(scored.folder, place.cells, targets)
    (scored.folder / "place.yaml").touch()
    scored.probed({"propagated": (0.1, 0.2)})
    app = open_app(view="probe", target="visitors", run="propagated")
    assert "noise ceiling" in words(app)
    (ladder, _) = tables(app)
    assert [{"at": 0.8, "text": "ceiling 0.80"}] in ladder


# ---- boosted trees ---------------------------------------------------------------------------


class SlowProbe:
    """Stands for the real one: two of four folds, then it waits to be told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.half_way = threading.Event()
        self.ended = threading.Event()

    def __call__(self, embeddings, target, *, on_step, **how):
        assert how == {"seeds": (0,), "probe": "boosting"}
        try:
            on_step(1, 4)
            on_step(2, 4)
            self.half_way.set()
            assert self.go_on.wait(30)
            on_step(3, 4)
            if target.name == "income":
                raise ValueError("out of luck")
            score = Score(per_seed=(0.123,))
            return SimpleNamespace(scores={"blocks": score, "random": score})
        finally:
            self.ended.set()


@pytest.fixture
def slow_probe(open_app, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowProbe]:
    import jobs

    probe = SlowProbe()
    monkeypatch.setattr(jobs, "probe", probe)
    monkeypatch.setattr(jobs, "_scores", {})
    yield probe
    probe.go_on.set()


def until(app: AppTest, condition) -> AppTest:
    """Run the page until it is so, 20 s at most."""
    for _ in range(200):
        checked(app.run())
        if condition(app):
            return app
        time.sleep(0.1)
    raise AssertionError(f"it never came: {words(app)}")


def pressed(app: AppTest, key: str) -> AppTest:
    """The page after a button."""
    return checked(app.button(key=key).click().run())


def has(app: AppTest, key: str) -> bool:
    """Whether there is such a button."""
    return any(one.key == key for one in app.button)


def said_of_the_job(app: AppTest) -> str:
    (bar,) = app.get("progress")
    return bar.proto.text


def test_boosted_trees_run_beside_the_page_and_only_their_session_sees_them(
    open_app, slow_probe: SlowProbe
) -> None:
    mine = pressed(open_app(view="probe", target="visitors", run="propagated"), "boost")
    assert slow_probe.half_way.wait(20)
    checked(mine.run())
    assert "2 of 4 folds" in said_of_the_job(mine)
    assert not has(mine, "boost")  # one at a time

    checked(mine.selectbox(key="target").set_value("income").run())  # the page goes on
    assert "“Visitors” from propagated: 2 of 4 folds" in said_of_the_job(mine)
    assert not has(mine, "boost")

    theirs = open_app(view="probe", target="visitors", run="propagated")
    assert not theirs.get("progress")
    pressed(theirs, "boost")
    assert "waiting for another job" in said_of_the_job(theirs)
    pressed(theirs, "stop")
    assert has(theirs, "boost")

    slow_probe.go_on.set()
    until(mine, lambda app: not app.get("progress"))
    checked(mine.selectbox(key="target").set_value("visitors").run())
    found = mine.table[0].value
    assert found.iloc[:, 0].tolist() == ["Ridge regression", "Boosted trees"]
    assert found["New areas"].iloc[1] == "0.123"
    assert not has(mine, "boost")


def test_a_stopped_job_ends_and_leaves_no_scores(open_app, slow_probe: SlowProbe) -> None:
    app = pressed(open_app(view="probe", target="visitors", run="propagated"), "boost")
    assert slow_probe.half_way.wait(20)
    pressed(app, "stop")
    assert has(app, "boost")
    slow_probe.go_on.set()
    assert slow_probe.ended.wait(20)
    checked(app.run())
    assert has(app, "boost")
    assert not app.get("progress")


def test_a_job_that_fails_says_why(open_app, slow_probe: SlowProbe) -> None:
    slow_probe.go_on.set()
    app = pressed(open_app(view="probe", target="income", run="propagated"), "boost")
    until(app, lambda app: has(app, "boost"))
    assert "could not be tried: out of luck" in words(app)


def test_a_job_stops_when_its_session_is_gone(
    open_app, app_data: Path, slow_probe: SlowProbe
) -> None:
    import jobs

    from mobclip.embeddings import Embeddings

    folder = app_data / "places" / "islands-r6"
    embeddings = Embeddings.load(folder / "runs" / "propagated" / "embeddings.parquet")
    job = jobs.Job("a key", embeddings, Place.load(folder).targets["visitors"])
    assert slow_probe.half_way.wait(20)
    del job
    gc.collect()
    slow_probe.go_on.set()
    assert slow_probe.ended.wait(20)
    assert jobs.scores_of("a key") is None
