"""Gradient boosted trees (LightGBM; Ke et al. 2017, NeurIPS): minutes, so for the background.

`held_out` is a probe like the others. `paper_protocol` is how MobCLIP scored its embeddings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import log_softmax, softmax

from mobclip.errors import MobclipError
from mobclip.place import TargetKind
from mobclip.probes import metrics
from mobclip.probes.nested import check, choosers
from mobclip.splits import Folds

Level = Literal["grid", "county", "city"]
OnStep = Callable[[int, int], None]  # (done, total)

TREES = 200  # at most, for each column; how many is chosen inside the folds
PATIENCE = 20  # trees without gain after which more are not tried
# 63 bins, and half of the dimensions for each tree: a fourth of the time of LightGBM's defaults.
SETTINGS = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "max_bin": 63,
    "feature_fraction": 0.5,
    "feature_pre_filter": False,  # so that units too few for any split are no error
}
LEAST = 1e-6  # probability at which a class starts that no training unit is of

PAPER_SEED = 42
PAPER_TREES = 1000
PAPER_SETTINGS = {
    "grid": {"learning_rate": 0.05, "max_depth": 7, "num_leaves": 63, "min_child_samples": 30},
    "county": {"learning_rate": 0.05, "max_depth": 7, "num_leaves": 31, "min_child_samples": 50},
}


def held_out(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, "n t"],
    folds: Folds,
    *,
    kind: TargetKind = "number",
    on_step: OnStep | None = None,
    threads: int = 1,
) -> Float64[np.ndarray, "n t"]:
    """Prediction of each unit by boosted trees that saw none of its fold.

    For each outer fold, trees are added while they help on one other fold, held out for that
    (the one with the most units to choose on); then as many are fitted on all training folds.
    Squared error for numbers, column by column. For probabilities, cross entropy of a softmax
    over one tree for each column: LightGBM's multiclass, which itself takes no shares.

    Parameters
    ----------
    on_step : told (done, total) after each fold of each target
    threads : of LightGBM; the result does not depend on it. One by default: on busy cores, two that
        wait for each other took 5 to 26 times as long as one

    Raises
    ------
    ConfigError : too few folds or units (see `nested`)
    MobclipError : LightGBM does not load on this machine
    """
    lightgbm = load_lightgbm()
    check(folds)
    count, t = folds.count, actual.shape[1]
    columns = np.arange(t)
    targets = columns[:, None] if kind == "number" else columns[None]
    predicted = np.empty_like(actual)
    done = 0
    grown = partial(_Grown.on, lightgbm, kind=kind, threads=threads)
    for i in range(count):
        inner = _largest_choice(folds, i)
        fewer, chooses = folds.training(i, inner), choosers(folds, outer=i, inner=inner)
        training, test = folds.training(i), folds.test(i)
        # The bins of the features serve all targets.
        partly = lightgbm.Dataset(features[fewer])
        watched = lightgbm.Dataset(features[chooses], reference=partly)
        wholly = lightgbm.Dataset(features[training])
        for target in targets:
            y = actual[:, target]
            sizing = grown(partly, y[fewer], TREES, watch=(watched, y[chooses]))
            final = grown(wholly, y[training], max(sizing.booster.best_iteration, 1))
            predicted[np.ix_(test, target)] = final.predict(features[test])
            done += 1
            if on_step is not None:
                on_step(done, count * len(targets))
    return predicted


def _largest_choice(folds: Folds, outer: int) -> int:
    """The other fold with the most units to choose on, the first of equals."""
    units = [
        -1 if inner == outer else choosers(folds, outer=outer, inner=inner).sum()
        for inner in range(folds.count)
    ]
    return int(np.argmax(units))


def paper_protocol(
    features: Float64[np.ndarray, "n d"],
    actual: Float64[np.ndarray, " n"],
    *,
    level: Level,
    on_step: OnStep | None = None,
    threads: int = 1,
) -> dict[str, float | int | str]:
    """R² and RMSE as MobCLIP's authors computed theirs, to be comparable and for nothing else.

    Source: MobCLIP (arXiv 2506.01297) and its code, github.com/ylzhouchris/MobCLIP, evaluation/
    (MIT). Cells ("grid") and counties: LightGBM with the parameters of `PAPER_SETTINGS`, all else
    LightGBM's default, no early stopping, one random split into 80 % and 20 % with seed 42, scored
    on the fifth. Cities: ridge regression with penalty 1, random 5 folds with seed 42, pooled
    predictions. Units without a label (NaN) are dropped, nothing is scaled. The vector of a county
    or city is the plain mean of its cells, which is the caller's to give.

    What this overstates: neighbours of test units are trained on, one split has no spread, and
    the penalty of 1 depends on the scale of the embedding. Not known: whether their labels were
    transformed before, and any parameter of v4 of the paper that its public code does not show.

    Parameters
    ----------
    on_step : told (done, total) after each tree, or each fold of cities

    Returns
    -------
    dict : r2, rmse, n (labelled units, training included), probe ("lightgbm" or "ridge")
    """
    labelled = ~np.isnan(actual)
    features, actual = features[labelled], actual[labelled]
    if level == "city":
        test, predicted = np.arange(len(actual)), _paper_ridge(features, actual, on_step)
    else:
        test, predicted = _paper_trees(
            features, actual, PAPER_SETTINGS[level] | repeatable(PAPER_SEED, threads), on_step
        )
    scores = metrics.regression(actual[test], predicted)
    return {
        "r2": scores["r2"],
        "rmse": scores["rmse"],
        "n": len(actual),
        "probe": "ridge" if level == "city" else "lightgbm",
    }


def _paper_trees(
    features: np.ndarray, actual: np.ndarray, settings: dict[str, Any], on_step: OnStep | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the test fifth, and their predictions."""
    from sklearn.model_selection import train_test_split

    lightgbm = load_lightgbm()
    training, test = train_test_split(
        np.arange(len(actual)), test_size=0.2, random_state=PAPER_SEED
    )
    booster = lightgbm.train(
        settings | {"objective": "regression"},
        lightgbm.Dataset(features[training], actual[training]),
        PAPER_TREES,
        callbacks=on_step and [lambda state: on_step(state.iteration + 1, PAPER_TREES)],
    )
    return test, booster.predict(features[test])


def _paper_ridge(features: np.ndarray, actual: np.ndarray, on_step: OnStep | None) -> np.ndarray:
    """Prediction of each city by a model that did not see it."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold

    predicted = np.empty_like(actual)
    folds = KFold(5, shuffle=True, random_state=PAPER_SEED)
    for done, (training, test) in enumerate(folds.split(features), start=1):
        model = Ridge(alpha=1.0).fit(features[training], actual[training])
        predicted[test] = model.predict(features[test])
        if on_step is not None:
            on_step(done, 5)
    return predicted


@dataclass(frozen=True, kw_only=True)
class _Grown:
    """Boosted trees for one target."""

    booster: Any
    start: np.ndarray | None  # (t,) log shares that the trees of probabilities add to

    @classmethod
    def on(
        cls,
        lightgbm: ModuleType,
        data: Any,
        actual: np.ndarray,
        trees: int,
        *,
        kind: TargetKind,
        threads: int,
        watch: tuple[Any, np.ndarray] | None = None,
    ) -> "_Grown":
        """Trees for `actual` (m, t); not more than help on `watch`, where there is one."""
        settings = SETTINGS | repeatable(0, threads)
        parts = [(data, actual)] if watch is None else [(data, actual), watch]
        start = None
        if kind == "number":
            settings |= {"objective": "regression", "metric": "l2"}
            for part, target in parts:
                part.set_label(target[:, 0])
        else:
            start = np.log(np.maximum(actual.mean(0), LEAST))
            for part, target in parts:
                part.set_label(np.zeros(len(target)))
                part.set_init_score(np.tile(start, (len(target), 1)))
            settings |= {
                "objective": lambda raw, data: _slopes(raw, actual),
                "num_class": actual.shape[1],
                "metric": "None",
            }

        def cross_entropy(raw: np.ndarray, data: Any) -> tuple[str, float, bool]:
            return "cross entropy", -(parts[-1][1] * log_softmax(raw, axis=1)).sum(), False

        booster = lightgbm.train(
            settings,
            data,
            trees,
            valid_sets=watch and [watch[0]],
            feval=None if kind == "number" else cross_entropy,
            callbacks=watch and [lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        return cls(booster=booster, start=start)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(m, t) numbers or probabilities."""
        raw = self.booster.predict(features, raw_score=True)
        return raw[:, None] if self.start is None else softmax(self.start + raw, axis=1)


def _slopes(raw: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative of the cross entropy, the second as LightGBM's multiclass."""
    probability = softmax(raw, axis=1)
    classes = actual.shape[1]
    return probability - actual, classes / (classes - 1) * probability * (1 - probability)


def repeatable(seed: int, threads: int) -> dict[str, Any]:
    """Settings under which LightGBM gives one result on any number of threads, and is silent."""
    return {
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }


def load_lightgbm() -> ModuleType:
    try:
        import lightgbm
    except OSError as error:
        raise MobclipError(
            f"LightGBM does not load on this machine: {error}. It needs the OpenMP library of the "
            "system; on Debian and Ubuntu: apt-get install libgomp1"
        ) from error
    return lightgbm
