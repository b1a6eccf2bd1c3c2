"""Single fits against the clock: a quadratic network, a forecaster, and strengths by ten folds."""

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from cvxnn import ConvexClassifierCV, ConvexForecaster, ConvexRegressor
from cvxnn.experiments.loaders import data_folder
from cvxnn.experiments.series import taxi

HELD_OUT = 0.2
"""Share of a series, its end, that is forecast."""


class Timed(NamedTuple):
    """One fit."""

    what: str
    seconds: float
    cpu_seconds: float
    gap: float
    score: float
    """R2, on the data or on steps after them; accuracy on the data."""
    beside: str
    """The same of another model."""


def quadratic(args: argparse.Namespace) -> Timed:
    """Fit f(x) = sum_j a_j (x'u_j)^2 to a noisy teacher of five neurons."""
    rng = np.random.default_rng(args.seed)
    X = rng.standard_normal((args.n, args.d))
    teacher = rng.standard_normal((args.d, 5)) / np.sqrt(args.d)
    y = ((X @ teacher) ** 2) @ rng.choice([-1.0, 1.0], 5)
    y += 0.1 * y.std() * rng.standard_normal(args.n)
    model = ConvexRegressor("quadratic", alpha=1e30, tol=args.gap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no neurons are wanted: it is for alpha_max_
        model.fit(X, y)
    model.set_params(alpha=args.share * model.alpha_max_)
    wall, cpu = clocked(lambda: model.fit(X, y))
    what = f"quadratic, n={args.n}, d={args.d}, {args.share:g} of alpha_max"
    return Timed(what, wall, cpu, model.certificate_.relative_gap, model.score(X, y), "")


def forecaster(args: argparse.Namespace) -> Timed:
    """Fit 48 lags of half-hourly taxi rides, alpha by a path over the last fifth of the steps."""
    series = taxi(data_folder())
    count = round(len(series.values) * (1 - HELD_OUT))
    model = ConvexForecaster(lags=48, random_state=args.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the gap is in the table
        wall, cpu = clocked(lambda: model.fit(series.values[:count]))
    later = series.values[count - 48 :]
    ridge = RidgeCV(np.logspace(-4, 4, 15))
    ridge.fit(sliding_window_view(series.values[: count - 1], 48), series.values[48:count])
    linear = ridge.score(sliding_window_view(later[:-1], 48), later[48:])
    what = f"forecaster, {len(series.values)} steps, 48 lags ({series.source})"
    gap = model.certificate_.relative_gap
    return Timed(what, wall, cpu, gap, model.score(later), f"ridge {linear:.4f}")


def validated(architecture: str, args: argparse.Namespace) -> Timed:
    """Choose the strength of networks for breast_cancer by ten folds of twenty strengths."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = ConvexClassifierCV(architecture, alphas=20, cv=10, random_state=args.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the gap is in the table
        wall, cpu = clocked(lambda: model.fit(X, y))
    what = f"breast_cancer, {architecture}, ten folds of 20 strengths"
    return Timed(what, wall, cpu, model.certificate_.relative_gap, model.score(X, y), "")


FITS: dict[str, Callable[[argparse.Namespace], Timed]] = {
    "quadratic": quadratic,
    "forecaster": forecaster,
    "gated": partial(validated, "gated"),
    "relu": partial(validated, "relu"),
}


def clocked(fit: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of wall and of CPU that a call took."""
    begin, cpu = time.perf_counter(), time.process_time()
    fit()
    return time.perf_counter() - begin, time.process_time() - cpu


def main() -> None:
    """Print a row a fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=200)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--gap", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fits", default=",".join(FITS))
    args = parser.parse_args()
    for name in args.fits.split(","):
        row = FITS[name](args)
        print(
            f"{row.what}: {row.seconds:.1f} s, {row.cpu_seconds:.1f} CPU s, gap {row.gap:.1e}, "
            f"score {row.score:.4f} {row.beside}",
            flush=True,
        )


if __name__ == "__main__":
    main()
