"""Training from the page: work in processes, folders of runs read while they grow, the view."""

import itertools
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("streamlit", reason="the app needs the extra 'app'")

from mobclip import runs
from mobclip.config import FusionConfig
from mobclip.runs import RunLog
from mobclip.storage import read_json, write_json
from pages import checked

APP = Path(__file__).parents[1] / "app"


def write_run(folder: Path, *, epochs: int = 3, recipe: str = "", **settings) -> Path:
    """A folder as a training leaves it."""
    folder.mkdir(parents=True)
    config = {"places": ["islands"], **FusionConfig(**settings).to_dict()}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [
        {
            "epoch": i + 1,
            "loss": 2.0 - i / 10,
            "validation": 2.0 - i / 5 if i < 2 else 1.9,
            "seconds": 4.0,
            "recall": {"poi": 0.1 * i, "demographics": 0.3},
        }
        for i in range(epochs)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    steps = [{"step": i + 1, "epoch": i // 4 + 1, "loss": 2 - i / 100} for i in range(4 * epochs)]
    (folder / "steps.jsonl").write_text("".join(json.dumps(one) + "\n" for one in steps))
    if recipe:
        runs.record_recipe(folder, recipe, FusionConfig(**settings).to_dict())
    return folder


# ---- folders of runs ---------------------------------------------------------------------------


def test_a_run_tells_where_it_stands(tmp_path):
    log = RunLog.load(write_run(tmp_path / "mobclip", epochs=3, seed=2), ["mobclip"])
    assert (log.recipe, log.limit, log.trained) == ("mobclip", 40, False)
    assert log.best["epoch"] == 2
    assert runs.mean_of(log.epochs[2], "recall") == pytest.approx(0.25)
    assert runs.mean_of(log.epochs[2], "closeness") is None
    ended = (tmp_path / "mobclip" / "metrics.jsonl").stat().st_mtime
    assert log.seconds_left(ended) == pytest.approx(37 * 4)
    assert log.seconds_left(ended + 3) == pytest.approx(37 * 4 - 3)
    assert log.seconds_left(ended + 300) == pytest.approx(36 * 4)  # never below whole epochs
    assert RunLog.load(tmp_path / "nothing").seconds_left(0.0) is None


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    folder = write_run(tmp_path / "a", epochs=2)
    for name in ("metrics.jsonl", "steps.jsonl"):
        with (folder / name).open("a") as file:
            file.write('{"epoch": 3, "los')
    assert [one["epoch"] for one in RunLog.load(folder).epochs] == [1, 2]
    assert RunLog.load(folder).steps()[-1]["step"] == 8


@pytest.mark.parametrize("whole", [10**9, 1000])
def test_long_curves_are_thinned_from_first_to_last(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(runs, "WHOLE", whole)  # the second reads only pieces of the file
    path = tmp_path / "steps.jsonl"
    path.write_text("".join(json.dumps({"step": i, "loss": i}) + "\n" for i in range(1, 5001)))
    found = [one["step"] for one in runs.thinned(path, 100)]
    assert len(found) <= 101
    assert found[0] == 1
    assert found[-1] == 5000
    assert found == sorted(set(found))
    gaps = [b - a for a, b in itertools.pairwise(found)]
    # In pieces the last kilobytes, longer than any line, come as one.
    assert max(gaps) < (60 if whole > 10**6 else 250)


def test_other_settings_recipes_and_places_are_named(tmp_path):
    log = RunLog.load(write_run(tmp_path / "fast", recipe="mobclip", epochs=1), ["mobclip"])
    same = FusionConfig().to_dict()
    assert log.differences("mobclip", same, "islands") == []
    other = FusionConfig(epochs=7).to_dict()
    assert log.differences("mobclip", other, "islands") == ["epochs 40, not 7"]
    found = log.differences("mobclip-paper", same, "changed")
    assert found == ["recipe mobclip, not mobclip-paper", "an earlier version of the place"]
    assert RunLog.load(tmp_path / "new").differences("mobclip", same, "islands") == []


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "ä", "a" * 41, "a/b", "pca"])
def test_names_that_cannot_be(name):
    assert runs.name_problem(name, ["pca"])


def test_a_good_name_can_be():
    assert runs.name_problem("fast-2", ["pca"]) == ""


def test_settings_side_by_side_show_what_differs_and_is_shared(tmp_path):
    logs = [
        RunLog.load(write_run(tmp_path / "a", recipe="mobclip", epochs=1)),
        RunLog.load(write_run(tmp_path / "b", recipe="mobclip", epochs=1, seed=4)),
    ]
    assert runs.table_of_settings(logs) == {"seed": ["0", "4"]}


# ---- work in processes -------------------------------------------------------------------------


@pytest.fixture
def jobs(monkeypatch):
    monkeypatch.syspath_prepend(str(APP))
    import jobs

    return jobs


def sleeper(jobs, monkeypatch, code: str) -> None:
    monkeypatch.setattr(jobs, "WORKER", (sys.executable, "-S", "-c", code))


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_one_at_a_time_and_what_died_is_noticed(jobs, tmp_path, monkeypatch):
    sleeper(jobs, monkeypatch, "import time; print('half way', flush=True); time.sleep(60)")
    half = tmp_path / "half-made"
    half.mkdir()
    work = jobs.start(tmp_path, {"kind": "place", "title": "Making X", "undo": [str(half)]})
    assert jobs.latest(tmp_path).state == "running"
    with pytest.raises(jobs.Busy, match="Making X is under way"):
        jobs.start(tmp_path, {"kind": "train"})
    until(lambda: "half way" in work.log)
    os.kill(read_json(work.folder / "pid.json")["pid"], signal.SIGKILL)
    until(lambda: not jobs.latest(tmp_path).running)
    dead = jobs.latest(tmp_path)
    assert dead.state == "died"
    assert "killed" in dead.problem
    assert "half way" in dead.problem
    assert not half.exists()  # nothing half-made stays behind
    half.mkdir()  # made again, by other means
    assert jobs.latest(tmp_path).state == "died"
    assert half.exists()
    again = jobs.start(tmp_path, {"kind": "train"})  # the machine is free
    jobs.stop(tmp_path)
    until(lambda: not jobs.latest(tmp_path).running)
    assert jobs.latest(tmp_path).folder == again.folder
    assert jobs.latest(tmp_path).state == "stopped"


def test_work_that_does_not_listen_is_killed(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "GRACE", 0.5)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    sleeper(jobs, monkeypatch, deaf + "; time.sleep(60)")
    work = jobs.start(tmp_path, {"kind": "train"})
    until(lambda: "1" in work.log)
    jobs.stop(tmp_path)
    assert jobs.latest(tmp_path).state == "stopping"
    until(lambda: not jobs.latest(tmp_path).running)
    assert jobs.latest(tmp_path).state == "stopped"


def test_a_server_that_only_shows_starts_nothing(jobs, tmp_path, monkeypatch):
    monkeypatch.setenv("MOBCLIP_READ_ONLY", "1")
    with pytest.raises(jobs.Busy, match="only shows"):
        jobs.start(tmp_path, {"kind": "train"})
    assert not (tmp_path / "jobs").exists()


# ---- the view ----------------------------------------------------------------------------------


@pytest.fixture
def data(app_data, tmp_path, monkeypatch):
    """A copy of the test place, in which things may be made."""
    shutil.copytree(app_data / "places", tmp_path / "places")
    monkeypatch.setenv("MOBCLIP_DATA_DIR", str(tmp_path))
    return tmp_path


def said(app) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning, app.success)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


def button(app, label: str):
    return next((one for one in app.button if one.label == label), None)


def named(app, label: str):
    kinds = (app.text_input, app.number_input, app.selectbox, app.checkbox, app.multiselect)
    return next((one for kind in kinds for one in kind if one.label.startswith(label)), None)


def test_nothing_is_replaced_without_saying_so(open_app, data):
    folder = data / "places" / "islands-r6" / "runs"
    write_run(folder / "fast", recipe="mobclip", epochs=2)
    app = open_app(view="train", place="islands-r6")
    assert "“" not in said(app) or not button(app, "Start training").disabled
    named(app, "Name of the run").set_value("demographics").run()
    assert button(app, "Start training").disabled
    named(app, "Name of the run").set_value("../x").run()
    assert "is no name of a run" in said(app)
    named(app, "Name of the run").set_value("fast").run()
    assert not button(app, "Start training").disabled  # the same settings: it goes on
    named(app, "Epochs").set_value(5).run()
    checked(app)
    assert button(app, "Start training").disabled
    box = named(app, "Replace “fast”")
    assert "epochs 40, not 5" in box.label
    box.check().run()
    assert not button(app, "Start training").disabled


def test_runs_side_by_side(open_app, data):
    folder = data / "places" / "islands-r6" / "runs"
    write_run(folder / "one", recipe="mobclip", epochs=3)
    write_run(folder / "two", recipe="mobclip", epochs=2, seed=5)
    write_json(folder / "one" / "trained.json", {})
    app = checked(open_app(view="train", place="islands-r6"))
    assert "**two** was stopped after epoch 2 of 40" in said(app)
    ends, settings = (one.value for one in app.table)
    assert list(ends["Run"]) == ["one", "two"]
    assert list(ends["Best epoch"]) == ["2 of 3", "2 of 2"]
    assert settings.iloc[0].tolist() == ["seed", "0", "5"]
    named(app, "Runs").set_value([]).run()
    assert "Choose a run" in said(checked(app))


def test_a_server_that_only_shows_has_no_buttons(open_app, data, monkeypatch):
    monkeypatch.setenv("MOBCLIP_READ_ONLY", "1")
    app = checked(open_app(view="train", place="islands-r6"))
    assert button(app, "Start training") is None
    assert "MOBCLIP_READ_ONLY" in said(app)


def test_a_training_from_the_page_to_the_map(open_app, data, jobs):
    app = open_app(view="train", place="islands-r6")
    named(app, "Name of the run").set_value("quick-1").run()
    named(app, "Epochs").set_value(2).run()
    button(app, "Start training").click().run()
    assert button(checked(app), "Stop") is not None
    assert button(app, "Start training") is None
    assert button(open_app(view="train"), "Stop") is not None  # also after a reload, or for others
    until(lambda: not jobs.latest(data).running, 60)
    assert jobs.latest(data).state == "done", jobs.latest(data).problem
    app.run()
    assert "Done: Training quick-1 on Two islands" in said(checked(app))
    assert "quick-1" in named(app, "Runs").options
    button(app, "Embed and look at it").click().run()
    until(lambda: not jobs.latest(data).running, 60)
    assert jobs.latest(data).state == "done", jobs.latest(data).problem
    app.run()
    checked(app)
    assert app.query_params["run"] in ("quick-1", ["quick-1"])
    assert "view" not in app.query_params  # the map
    scored = {
        row["run"] for row in read_json(data / "places" / "islands-r6" / "probes.json")["rows"]
    }
    assert "quick-1" in scored
