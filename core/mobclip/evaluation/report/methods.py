"""How it was measured, in words and formulas."""

from collections.abc import Mapping
from typing import Any

from mobclip.evaluation.document import Block, Bullets, Cell, Column, Strong, Table, Text
from mobclip.evaluation.report.results import Results
from mobclip.evaluation.report.words import whole

# metric -> (name, what it says in one sentence, formula)
METRICS: dict[str, tuple[str, str, str]] = {
    "r2": (
        "R²",
        "The share of the differences between places that a prediction gets right: 1 is perfect, "
        "0 no better than always saying the average, below 0 worse than that.",
        "1 − Σ(y − ŷ)² / Σ(y − ȳ)², over the held-out predictions of all folds together",
    ),
    "rmse": (
        "RMSE",
        "The typical size of an error, large errors counting more, in the target's unit (after "
        "its transform).",
        "√ mean (y − ŷ)²",
    ),
    "mae": ("MAE", "The mean size of an error, in the same unit.", "mean |y − ŷ|"),
    "spearman": (
        "Spearman",
        "How well the order of places is found: 1 is the same order, 0 none.",
        "correlation of the ranks of y and ŷ",
    ),
    "auc": (
        "AUC",
        "How often a place of a class gets a higher probability of it than a place of another "
        "class: 1 is always, 0.5 is chance.",
        "P(p̂(member) > p̂(other)) + ½ P(equal); of several classes the plain mean of each against "
        "the rest",
    ),
    "f1": (
        "F1",
        "How well each class is found without false alarms, all classes counting the same: 1 is "
        "perfect, 0 nothing right.",
        "mean over classes of 2 · hits / (members + times predicted)",
    ),
    "ece": (
        "ECE",
        "How far stated probabilities are from how often they come true: 0 is honest.",
        "Σ over 10 bins of confidence (bin / n) · |share right − mean confidence|",
    ),
    "skill": (
        "skill",
        "How much of the error of always saying the average shares is avoided: 1 is perfect, 0 no "
        "better than the average.",
        "1 − KL / KL of the mean shares",
    ),
    "kl": (
        "KL",
        "How far predicted shares are from the actual ones, in nats: 0 is the same.",
        "mean Σ y log(y / ŷ)",
    ),
    "dirichlet_nll": (
        "Dirichlet NLL",
        "How surprising the actual shares are under the predicted ones: lower is better.",
        "− mean log density of y under Dirichlet(precision · ŷ)",
    ),
}


def section(of: Results) -> list[Block]:
    """Protocols, scores, licences."""
    used = {str(row.get("metric")) for name in ("scores", "probes") for row in of.rows(name)}
    used |= {"r2"} if of.ladder else set()
    folds = whole(of.all.get("folds"))
    items: list[Text] = [
        [
            Strong("Embedding. "),
            "A list of numbers for every H3 cell (hexagon). A unit of several cells, such as a "
            "tract, gets the weighted mean of theirs. Nothing below changes an embedding.",
        ],
        [
            Strong("Probe. "),
            "A small supervised model from embedding to target; a ridge regression unless said "
            "otherwise. Its settings (penalty, scaling of the dimensions) are chosen inside the "
            "training folds, never on what is tested.",
        ],
        [
            Strong("Folds. "),
            f"Units are dealt into {folds} parts; each is predicted by a probe that saw the others "
            "only. Random: units one by one. Spatial blocks: all units of an H3 parent together. "
            "Regions: compact parts of the map, by k-means of the positions.",
        ],
        [
            Strong("Seeds. "),
            f"{of.how_often}. A seed sets the folds and all that is random in a run, training "
            "included. Scores are means over seeds.",
        ],
        [
            Strong("Intervals. "),
            "95 %, by resampling whole spatial blocks, and the seeds, with replacement (bootstrap, "
            "corrected for bias), so that places that are alike because they are near do not count "
            "as independent. Differences are paired: both runs on the same resampled blocks and "
            "seeds.",
        ],
        [
            Strong("Training-free. "),
            "Made by counting, averaging and linear algebra, in seconds. A trained model that does "
            "not beat it has earned nothing yet. Published models that appear among the runs were "
            "trained again on this place's data; they are not their authors' models, unless a run "
            "is marked “made elsewhere”.",
        ],
        [
            Strong("Targets. "),
            "Whether a target is taken as it is or as log(1 + x) is declared before, in the "
            "manifest, not chosen by score.",
        ],
    ]
    blocks: list[Block] = [Bullets(items=items)]
    words = [
        [METRICS[metric][0], METRICS[metric][1], METRICS[metric][2]]
        for metric in METRICS
        if metric in used
    ]
    if words:
        blocks.append(
            Table(
                title="Scores: y is measured, ŷ predicted, ȳ the mean",
                columns=[
                    Column(title="score", align="left"),
                    Column(title="in words", align="left"),
                    Column(title="formula", align="left"),
                ],
                rows=words,
            )
        )
    for key, title in (("licences", "Licences of the data"), ("provenance", "Origin of the data")):
        lines = _flat(of.all.get(key))
        if lines:
            columns = [Column(title="source", align="left"), Column(title=key, align="left")]
            blocks.append(Table(title=title, columns=columns, rows=lines))
    return blocks


def _flat(found: Any) -> list[list[Cell | Text]]:
    """A dict or a list of anything, as lines of two fields."""
    pairs = found.items() if isinstance(found, Mapping) else enumerate(found or (), 1)
    return [[str(name), str(what)] for name, what in pairs]
