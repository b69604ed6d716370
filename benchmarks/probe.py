"""The live ridge probe against scikit-learn's Ridge: seconds for one choice of many penalties.

The peer refits scikit-learn's `Ridge` on the rows of every training set, once per penalty, which
is what a grid search does. Both choose among the same penalties by the same inner folds; the peer
is timed for one target and one penalty, and multiplied up.

    python benchmarks/probe.py --units 266000 --dims 128 --targets 11
"""

import argparse
import statistics
import time

import numpy as np
from sklearn.linear_model import Ridge

from mobclip.probes import ALPHAS, LiveRidge
from mobclip.splits import Folds


def timed(do, repeats: int) -> tuple[float, object]:
    """Median seconds and the last answer."""
    seconds, answer = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        answer = do()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), answer


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--units", type=int, default=266_000)
    options.add_argument("--dims", type=int, default=128)
    options.add_argument("--targets", type=int, default=11)
    options.add_argument("--folds", type=int, default=5)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    n, d, t, k = chosen.units, chosen.dims, chosen.targets, chosen.folds
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) * np.linspace(3, 0.1, d)
    y = x @ rng.normal(size=(d, t)) + 10 * rng.normal(size=(n, t))
    folds = Folds(of_unit=rng.permutation(n) % k)

    once, live = timed(lambda: LiveRidge(x, folds), 3)
    scored, r2 = timed(lambda: live.r2(y), chosen.repeats)
    one, _ = timed(lambda: live.r2(y[:, :1]), chosen.repeats)
    whole, _ = timed(lambda: live.predict(live.fit(y)), chosen.repeats)

    learn = folds.training(0)
    scale = np.sqrt(x.var(0).mean())
    fit = live.fit(y[:, :1])
    alpha = float(fit.alpha[0, 0])
    spread = x.std(0) if fit.scaled[0, 0] else scale
    peer, model = timed(
        lambda: Ridge(alpha=alpha * learn.sum()).fit(x[learn] / spread, y[learn, 0]), 3
    )
    off = np.abs(model.coef_ / spread - fit.weights[0, :, 0]).max() / np.abs(fit.weights[0]).max()
    # k outer folds, k - 1 inner ones of each, two scalings, every penalty; and the k final fits.
    fits = t * (k * (k - 1) * 2 * len(ALPHAS) + k)

    print(f"{n:,} units x {d} dims, {k} folds, {t} targets, {len(ALPHAS)} penalties x 2 scalings")
    print(f"live: once per embedding     {once * 1e3:9.0f} ms")
    print(f"live: R² of {t} targets        {scored * 1e3:9.0f} ms   (mean R² {np.mean(r2):.3f})")
    print(f"live: R² of 1 target         {one * 1e3:9.0f} ms")
    print(f"live: {t} targets, predictions {whole * 1e3:9.0f} ms")
    print(f"scikit-learn: one Ridge fit  {peer * 1e3:9.0f} ms   (weights differ by {off:.1e})")
    print(
        f"scikit-learn: all {fits:,} fits would take {fits * peer:,.0f} s: "
        f"{fits * peer / (once + scored):,.0f} x as long"
    )


if __name__ == "__main__":
    main()
