"""The contract with scikit-learn, check by check."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from cvxnn import ConvexClassifier, ConvexRegressor

# one default estimator each way, and one at a fixed strength: validation multiplies the time
ESTIMATORS = {
    "regressor-gated": ConvexRegressor("gated", n_gates=16),
    "regressor-relu": ConvexRegressor("relu", gates="sample", n_gates=16, alpha=0.01),
    "classifier-gated": ConvexClassifier("gated", n_gates=16, alpha=0.01),
    "classifier-relu": ConvexClassifier("relu", gates="sample", n_gates=16, alpha=0.01),
    "regressor-polynomial": ConvexRegressor("polynomial", alpha=0.01),
    "classifier-quadratic": ConvexClassifier("quadratic", alpha=0.01),
    "regressor-threshold": ConvexRegressor("threshold", gates="sample", n_gates=100, alpha=0.001),
    "classifier-sign": ConvexClassifier("sign", n_gates=16, alpha=0.01),
    "regressor-batchnorm": ConvexRegressor("batchnorm", gates="sample", n_gates=16, alpha=0.01),
    "classifier-batchnorm": ConvexClassifier("batchnorm", alpha=0.2, proof_time=0.0),
    "regressor-batchnorm_after": ConvexRegressor("batchnorm_after", n_gates=16, alpha=0.02),
    "regressor-deep": ConvexRegressor("deep", n_gates=16, alpha=0.02),
    "classifier-deep_gated": ConvexClassifier("deep_gated", n_gates=16, alpha=0.01),
    "regressor-deep_linear": ConvexRegressor("deep_linear", alpha=0.01),
    "regressor-grown": ConvexRegressor(alpha=10.0, proof_time=0.0),
    "classifier-grown": ConvexClassifier(alpha=0.2, proof_time=0.0),
}
LEAST = {"regressor": 60, "classifier": 65}


def checks_of(name: str) -> list[tuple[Any, Any]]:
    return list(estimator_checks_generator(ESTIMATORS[name], legacy=True))


def title(check: Any) -> str:
    return str(getattr(check, "func", check).__name__)


CASES = [(name, k) for name in ESTIMATORS for k in range(len(checks_of(name)))]


@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks provoke warnings on purpose
@pytest.mark.parametrize(
    ("name", "k"), CASES, ids=[f"{name}-{title(checks_of(name)[k][1])}-{k}" for name, k in CASES]
)
def test_check(name: str, k: int) -> None:
    estimator, check = checks_of(name)[k]
    check(estimator)


def test_half_spaces_that_are_searched_fit_as_those_that_are_sampled() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    y = np.sign(X[:, 0]) * np.sign(X[:, 1])
    words: dict[str, Any] = {"n_gates": 100, "alpha": 0.01, "random_state": 0}
    found = [ConvexRegressor("threshold", gates=g, **words).fit(X, y) for g in ("auto", "sample")]
    searched, sampled = (model.certificate_ for model in found)
    assert searched.upper <= sampled.upper * (1 + 1e-9)
    assert searched.relative_gap <= 1e-4
    assert found[0].score(X, y) > 0.8


def test_the_number_of_checks() -> None:
    counts = Counter(name for name, _ in CASES)
    assert set(counts) == set(ESTIMATORS)
    for name, count in counts.items():
        assert count >= LEAST[name.split("-")[0]]
