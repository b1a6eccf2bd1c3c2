"""Heads on frozen features: the convex one beside scikit-learn's, all tuned on the same samples.

Features of CIFAR-10 by a MobileNet, `cifar10_mobilenet_features.npz` under CVXNN_DATA, are drawn
anew into 10,000 for training and 4,000 for testing. Every method is tuned on the same fifth of the
training samples held out, trained on all of them at its best setting, and tested once. Seconds are
of CPU, tuning and final training together.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cvxnn import ConvexHead
from cvxnn.experiments.loaders import data_folder, mobilenet_features

Data = tuple[NDArray[Any], NDArray[Any]]


def logistic(seed: int) -> Iterable[Any]:
    """Yield logistic regressions, by penalty."""
    for strength in 10.0 ** np.arange(-5, 1):
        yield make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))


def mlp(seed: int) -> Iterable[Any]:
    """Yield networks, by width, penalty and step size, that stop early."""
    for width, alpha, rate in product((256, 1024), (1e-4, 1e-2, 1.0), (3e-4, 1e-3)):
        net = MLPClassifier(
            (width,), alpha=alpha, learning_rate_init=rate, early_stopping=True, random_state=seed
        )
        yield make_pipeline(StandardScaler(), net)


def tuned(models: Callable[[int], Iterable[Any]]) -> Callable[[Data, Data, int], float]:
    """Return what tunes models on held-out samples, trains the best on all and tests it."""

    def score(train: Data, test: Data, seed: int) -> float:
        X, y = train
        fold = StratifiedShuffleSplit(1, test_size=0.2, random_state=seed)
        fit, held = next(fold.split(X, y))
        best = max(
            models(seed), key=lambda model: model.fit(X[fit], y[fit]).score(X[held], y[held])
        )
        return float(best.fit(X, y).score(*test))

    return score


def convex(gates: int) -> Callable[[Data, Data, int], float]:
    """Return what does so for a convex head, which tunes itself."""

    def score(train: Data, test: Data, seed: int) -> float:
        head = ConvexHead(n_gates=gates, random_state=seed).fit(*train)
        claim = head.certificate_
        print(f"  alpha {head.alpha_:.3g}, relative gap {claim.relative_gap:.1e}", flush=True)
        return float(head.score(*test))

    return score


def main() -> None:
    """Print a row for every split and method, then the paired differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--gates", type=int, default=1024)
    parser.add_argument("--methods", default="convex,logistic,mlp")
    args = parser.parse_args()
    features = mobilenet_features(data_folder())
    if features is None:
        parser.error("set CVXNN_DATA to the folder that holds cifar10_mobilenet_features.npz")
    X, y = (
        np.concatenate([features.X, features.X_test]),
        np.concatenate([features.y, features.y_test]),
    )
    every = {"convex": convex(args.gates), "logistic": tuned(logistic), "mlp": tuned(mlp)}
    methods = {name: every[name] for name in args.methods.split(",")}
    scores: dict[str, list[float]] = {name: [] for name in methods}
    split = StratifiedShuffleSplit(args.splits, train_size=10_000, test_size=4_000, random_state=0)
    for seed, (train, test) in enumerate(split.split(X, y)):
        for name, method in methods.items():
            begin = time.process_time()
            scores[name].append(100 * method((X[train], y[train]), (X[test], y[test]), seed))
            seconds = time.process_time() - begin
            print(f"split {seed}: {name:9}{scores[name][-1]:6.2f} %  {seconds:6.0f} s", flush=True)
        report(scores)


def report(scores: dict[str, list[float]]) -> None:
    """Print the means, and the paired difference of the convex head to the best other."""
    print("mean:", ", ".join(f"{name} {np.mean(some):.2f} %" for name, some in scores.items()))
    others = [np.array(some) for name, some in scores.items() if name != "convex"]
    if "convex" in scores and others:
        gain = np.array(scores["convex"]) - max(others, key=np.mean)
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
        print(f"gain over the better: {gain.mean():.2f} +- {error:.2f} points", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
