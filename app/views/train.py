"""Train: start a training on this machine, watch it, stop and resume it, and compare runs."""

import time
from collections.abc import Sequence

import cache
import jobs
import streamlit as st
from cache import PlaceFiles
from jobs import Work

from mobclip import recipes
from mobclip.baselines import BASELINES
from mobclip.probes import ladder
from mobclip.recipes import TRAINED
from mobclip.runs import RunLog, name_problem, table_of_settings
from mobclip.session import Selection
from views import frame, map_colours, train_charts, working

MOST = 4  # runs side by side


def show(selection: Selection, files: PlaceFiles) -> None:
    """The view."""
    left, right = st.columns([1, 1.15], gap="medium")
    with right:
        st.markdown("#### Train on this machine")
        working.refused()
        read_only = working.read_only_note("training")
        work = working.now()
        if work is not None:
            working.open_when_done(work)
        if work is not None and work.running:
            _watch()
        else:
            if work is not None and work.kind in ("train", "embed") and _of(work) == files.key:
                _ended(work)
            if not read_only:
                _form(files)
                _unfinished(files)
        logs = _logs(files)
        if logs:
            _side_by_side(logs, selection, files)
        else:
            st.caption("Nothing has been trained on this place yet.")
    frame.draw(left, selection, files, map_colours.embedding_or_evidence(selection, files))


def _logs(files: PlaceFiles) -> list[RunLog]:
    """Runs of the place that have curves, by name; those of studies are left out."""
    folders = sorted(path.parent for path in files.folder.glob("runs/*/metrics.jsonl"))
    return [RunLog.load(folder, list(TRAINED)) for folder in folders]


# ---- under way ---------------------------------------------------------------------------------


@st.fragment(run_every="2s")
def _watch() -> None:
    """Redrawn by itself, without the rest of the page."""
    work = jobs.latest(cache.data_dir())
    if work is None or not work.running:
        st.rerun()
    log = _log_of(work) if work.kind == "train" else None
    left = log.seconds_left(time.time()) if log else None
    working.bar(work, f" · at most {working.duration(left)} left" if left is not None else "")
    if log is None:
        return
    each = log.seconds_per_epoch
    if each is not None:
        best = log.best or {}
        st.caption(
            f"{each:.2g} s per epoch; best so far: epoch {best.get('epoch')}, validation loss "
            f"{best.get('validation', float('nan')):.4f}. It ends sooner when that gets no better."
        )
    train_charts.steps(log)
    one, two = st.columns(2, gap="small")
    for column, measure in ((one, "validation"), (two, "recall")):
        with column:
            st.markdown(f"**{train_charts.MEASURES[measure]}**", help=train_charts.HELP)
            train_charts.epochs([log], measure, key=f"live {measure}")


def _of(work: Work) -> str:
    """The place that it is about."""
    return str(work.job["opens"]["place"])


def _log_of(work: Work) -> RunLog:
    folder = cache.data_dir() / "places" / _of(work) / "runs" / work.job["run"]
    return RunLog.load(folder, list(TRAINED))


def _ended(work: Work) -> None:
    working.ended(work)
    first, hide = st.columns([1.4, 1], gap="small", vertical_alignment="center")
    if work.kind == "train" and not jobs.read_only():
        if work.state == "done":
            first.button(
                "Embed and look at it",
                key="embed_run",
                type="primary",
                icon=":material/map:",
                help="Makes the embeddings of all cells, their colours and their scores, then "
                "opens the map on them.",
                on_click=working.start,
                args=(
                    _embedding_job(_of(work), work.job["run"], work.job["place"]),
                ),
                kwargs={"open_it": True},
            )  # fmt: skip
        else:
            first.button(
                "Resume" if work.state == "stopped" else "Try again",
                key="resume",
                type="primary",
                icon=":material/play_arrow:",
                help="Goes on from the last checkpoint; at most a few steps are done again.",
                on_click=working.start,
                args=(dict(work.job),),
            )
    with hide:
        working.hide_button(work)


def _embedding_job(key: str, run: str, folder: str) -> dict:
    return {
        "kind": "embed",
        "title": f"Embedding {run} of {key}",
        "place": folder,
        "run": run,
        "opens": {"view": "map", "place": key, "run": run},
    }


# ---- to be started -----------------------------------------------------------------------------


def _form(files: PlaceFiles) -> None:
    place = cache.load_place(files)
    offered = [name for name in recipes.possible(place) if name in TRAINED]
    if not offered:
        st.info("This place has too little evidence to train anything.", icon=":material/info:")
        return
    offered.sort(key=lambda name: (name != recipes.MOBCLIP, name != recipes.PAPER))
    what, name = st.columns(2, gap="small")
    recipe = what.selectbox(
        "Recipe",
        offered,
        key="train_recipe",
        help="What is trained.\n\n"
        + "\n".join(f"- **{one}**: {recipes.about(one)}" for one in offered),
    )
    run = name.text_input(
        "Name of the run",
        value=recipe,
        key=f"train_name {recipe}",
        max_chars=40,
        help="Letters, digits and “-”. The run is a folder of the place by this name; with another "
        "name than that of the recipe you can keep several trainings side by side.",
    ).strip()
    usual = TRAINED[recipe].settings()
    length, random = st.columns(2, gap="small")
    epochs = length.number_input(
        "Epochs, at most",
        min_value=1,
        max_value=10_000,
        value=getattr(usual, "epochs", None),
        placeholder="as the recipe has it",
        key=f"train_epochs {recipe}",
        help="One epoch shows every cell once. Early stopping usually ends before.",
    )
    seed = random.number_input(
        "Seed",
        min_value=0,
        max_value=2**31 - 1,
        value=0,
        key="train_seed",
        help="Of the first weights and the order of the cells: another seed, another model of the "
        "same kind. Several seeds show how sure a score is.",
    )
    given = {"seed": int(seed)} | ({"epochs": int(epochs)} if epochs else {})
    settings = TRAINED[recipe].settings.from_dict({**usual.to_dict(), **given})
    problem = _problem(files, recipe, run, settings.to_dict())
    st.button(
        "Start training",
        key="start_training",
        type="primary",
        icon=":material/model_training:",
        disabled=bool(problem),
        help="It runs beside this page, gives way to everything else on the machine, and can be "
        "stopped and resumed.",
        on_click=working.start,
        args=(_training_job(files, recipe, run, settings.to_dict()),),
    )
    if problem and problem != REPLACING:
        st.caption(f":material/info: {problem}")


REPLACING = "Tick the box to replace it, or choose another name."


def _problem(files: PlaceFiles, recipe: str, run: str, settings: dict) -> str:
    """Why this training cannot be started as it stands; asks before anything is replaced."""
    reserved = [one for one in (*BASELINES, *TRAINED) if one != recipe]
    if problem := name_problem(run, reserved):
        return problem
    folder = files.folder / "runs" / run
    log = RunLog.load(folder, list(TRAINED))
    if not log.config:
        if log.embedded:
            return f"“{run}” is there and was not trained here: choose another name."
        return ""
    key = cache.load_place(files).provenance.get("key")
    differences = log.differences(recipe, settings, key)
    if not differences:
        return (
            f"“{run}” was trained with exactly these settings already: change one, or look at it."
            if log.trained
            else ""
        )
    agreed = st.checkbox(
        f"Replace “{run}”, which was trained with {'; '.join(differences)}",
        key=f"replace {files.key} {run} {differences}",
        help="Its model, curves and checkpoints are deleted when the new training starts; its "
        "embeddings stay until the new ones are made.",
    )
    return "" if agreed else REPLACING


def _training_job(files: PlaceFiles, recipe: str, run: str, settings: dict) -> dict:
    place = cache.load_place(files)
    return {
        "kind": "train",
        "title": f"Training {run} on {place.title}",
        "place": str(files.folder.resolve()),
        "run": run,
        "recipe": recipe,
        "settings": settings,
        "opens": {"view": "train", "place": files.key},
    }


def _unfinished(files: PlaceFiles) -> None:
    """Trainings that were stopped, and those that have no embeddings yet."""
    key = cache.load_place(files).provenance.get("key")
    for folder in sorted(path.parent for path in files.folder.glob("runs/*/config.yaml")):
        log = RunLog.load(folder, list(TRAINED))
        if log.recipe not in TRAINED or (log.trained and log.embedded):
            continue
        known = TRAINED[log.recipe].settings().to_dict() | {"epochs": 0}
        settings = {name: one for name, one in log.settings.items() if name in known}
        if log.differences(log.recipe, settings, key):
            continue  # of an earlier version of the place
        text, button = st.columns([2.4, 1], gap="small", vertical_alignment="center")
        most = f" of {log.limit}" if log.limit else ""
        if log.trained:
            text.caption(f"**{log.name}** is trained; it has no embeddings yet.")
            job = _embedding_job(files.key, log.name, str(files.folder.resolve()))
            button.button(
                "Embed", key=f"embed {log.name}", on_click=working.start, args=(job,),
                kwargs={"open_it": True}, width="stretch",
                help="Makes its embeddings, colours and scores, and opens the map on them.",
            )  # fmt: skip
        else:
            text.caption(f"**{log.name}** was stopped after epoch {len(log.epochs)}{most}.")
            job = _training_job(files, log.recipe, log.name, settings)
            button.button(
                "Resume", key=f"resume {log.name}", on_click=working.start, args=(job,),
                width="stretch", help="Goes on from its last checkpoint with the same settings.",
            )  # fmt: skip


# ---- side by side ------------------------------------------------------------------------------


def _side_by_side(logs: Sequence[RunLog], selection: Selection, files: PlaceFiles) -> None:
    st.markdown("**Runs side by side**")
    names = [log.name for log in logs]
    first = [name for name in (selection.run, recipes.MOBCLIP, recipes.PAPER) if name in names]
    chosen = st.multiselect(
        "Runs",
        names,
        default=list(dict.fromkeys(first or names))[:2],
        max_selections=MOST,
        key=f"compared {files.key}",
        help="Up to four runs that were trained on this place.",
    )
    measure = st.segmented_control(
        "Curve",
        list(train_charts.MEASURES),
        format_func=train_charts.MEASURES.__getitem__,
        default="validation",
        required=True,
        wrap=True,
        key="measure",
        help=train_charts.HELP,
    )
    picked = [log for log in logs if log.name in chosen]
    if not picked:
        st.caption("Choose a run to see its curve.")
        return
    train_charts.epochs(picked, measure or "validation", height=260)
    if measure in ("validation", "loss") and len({log.recipe for log in picked}) > 1:
        st.caption(
            "These runs are of different recipes, whose losses are different quantities: compare "
            "how they fall, not how low they are."
        )
    _ends(picked, files)
    rows = table_of_settings(picked)
    if len(picked) > 1 and rows:
        st.markdown("**What was set differently**")
        st.table(
            {"Setting": list(rows)}
            | {log.name: [values[i] for values in rows.values()] for i, log in enumerate(picked)},
            border="horizontal",
            hide_index=True,
        )
    elif len(picked) > 1:
        st.caption("The settings of these runs are the same.")


def _ends(picked: Sequence[RunLog], files: PlaceFiles) -> None:
    """Where each run ended, and what its embeddings are worth."""
    table = cache.load_probes(files)
    scores = {line["run"]: line for line in ladder(table["rows"])} if table else {}

    def score(log: RunLog, protocol: str) -> str:
        line = scores.get(log.name)
        return f"{line[protocol]:.3f}" if line else "–"

    best = [log.best or {} for log in picked]
    seconds = [sum(one["seconds"] for one in log.epochs) for log in picked]
    st.table(
        {
            "Run": [log.name for log in picked],
            "Best epoch": [
                f"{one.get('epoch', '–')} of {len(log.epochs)}"
                for one, log in zip(best, picked, strict=True)
            ],
            "Validation": [f"{one['validation']:.3f}" if one else "–" for one in best],
            "Trained": [working.duration(one) for one in seconds],
            "R², new areas": [score(log, "blocks") for log in picked],
            "R², scattered": [score(log, "random") for log in picked],
        },
        border="horizontal",
        hide_index=True,
    )
    missing = [log.name for log in picked if log.name not in scores]
    if missing:
        st.caption(
            f"No scores of {', '.join(missing)} yet: embed it here, or run "
            f"`mobclip probe {cache.load_place(files).arguments}`."
        )
