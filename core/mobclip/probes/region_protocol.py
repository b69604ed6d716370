"""The protocol of region-embedding papers, as their published code has it.

Ridge(alpha=1) on the vectors as they are, folds of consecutive regions, negative predictions set
to 0; and k-means with as many clusters as there are land-use classes. Nothing is chosen by
cross-validation and nothing is scaled, so that the size of the vectors matters: a table in this
protocol says how good vectors are for this protocol. Our own probes choose both.

Read in: HAFusion (Sun et al. 2024; 10 folds in New York, 25 shuffled ones in other cities), READ
(Chen et al. 2025; 5 folds) and MV-PN, MGFN and HREP before them.
"""

import warnings

import numpy as np
from jaxtyping import Float64, Int64
from threadpoolctl import threadpool_limits

from mobclip.errors import ConfigError

ALPHA = 1.0
CLUSTER_SEEDS = 10


def region_regression(
    vectors: Float64[np.ndarray, "regions dims"],
    labels: Float64[np.ndarray, "regions"],
    *,
    folds: int,
) -> dict[str, float]:
    """MAE, RMSE and R² of held-out predictions, `_pooled` over all regions and `_mean` over folds.

    Published code pools (the predictions of all folds are put together, then scored); papers that
    speak of the mean over folds have other numbers for the same predictions.

    Raises
    ------
    ConfigError : folds that leave fewer than two regions each
    """
    from sklearn.linear_model import Ridge
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
    from sklearn.model_selection import KFold

    if not 2 <= folds <= len(labels) // 2:
        raise ConfigError(
            f"{folds} folds of {len(labels)} regions: folds are 2 or more, of two regions or more."
        )
    predicted = np.empty(len(labels))
    parts = [test for _, test in KFold(n_splits=folds).split(vectors)]
    with threadpool_limits(1, "blas"):  # small problems: threads only wait for each other
        for test in parts:
            training = np.ones(len(labels), bool)
            training[test] = False
            model = Ridge(alpha=ALPHA).fit(vectors[training], labels[training])
            predicted[test] = np.maximum(model.predict(vectors[test]), 0)
    metrics = {
        "mae": mean_absolute_error,
        "rmse": lambda actual, found: mean_squared_error(actual, found) ** 0.5,
        "r2": r2_score,
    }
    scores = {}
    for name, metric in metrics.items():
        scores[f"{name}_pooled"] = float(metric(labels, predicted))
        scores[f"{name}_mean"] = float(np.mean([metric(labels[p], predicted[p]) for p in parts]))
    return scores


def region_clustering(
    vectors: Float64[np.ndarray, "regions dims"], classes: Int64[np.ndarray, "regions"]
) -> dict[str, float]:
    """NMI and ARI of k-means (k = number of classes) with the classes, mean and spread over seeds.

    Published code has one seed (and 10 starts for it, as here); the spread says what that is
    worth. NMI is normalised by the arithmetic mean of the entropies, scikit-learn's default.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    count = len(np.unique(classes))
    if not 2 <= count < len(classes):
        raise ConfigError(
            f"{count} classes in {len(classes)} regions: clusters need 2 classes, and more regions."
        )
    nmi, ari = [], []
    with threadpool_limits(1), warnings.catch_warnings():
        # Fewer distinct vectors than classes is an answer too: fewer clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for seed in range(CLUSTER_SEEDS):
            found = KMeans(n_clusters=count, n_init=10, random_state=seed).fit_predict(vectors)
            nmi.append(normalized_mutual_info_score(classes, found))
            ari.append(adjusted_rand_score(classes, found))
    return {
        "nmi": float(np.mean(nmi)),
        "nmi_spread": float(np.std(nmi, ddof=1)),
        "ari": float(np.mean(ari)),
        "ari_spread": float(np.std(ari, ddof=1)),
    }
