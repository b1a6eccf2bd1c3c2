"""Ten classes: the gradient of SGD against differences and torch, and the program's own claims."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.metrics import accuracy_score

from cvxnn import ConvexClassifier
from cvxnn.experiments import cifar_classes
from cvxnn.experiments.cifar_classes import LOSSES, Course, Findings, Look, Size

SMALL = Size(samples=120, gates=8, epochs=2, seconds=30.0, device=None)


@pytest.fixture(autouse=True)
def bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CVXNN_DATA", raising=False)


@pytest.fixture(scope="module")
def weights() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in ((4, 3), (3, 10), (10,))]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_slopes_are_those_of_the_balanced_objective(loss: str, weights: list[Any]) -> None:
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.standard_normal((12, 3)), np.ones(12)])
    y = cifar_classes.targets(rng.integers(0, 10, 12), loss)

    def parts(point: Any) -> list[Any]:
        return [point[:12].reshape(4, 3), point[12:42].reshape(3, 10), point[42:]]

    def value(point: Any) -> float:
        z = parts(point)
        decay = 0.05 * ((z[0] ** 2).sum() + (z[1] ** 2).sum())
        return cifar_classes.objective(X, y, loss, 0.0, z) + decay

    point = np.concatenate([part.ravel() for part in weights])
    found = cifar_classes.slopes(X, y, loss, 0.1, weights)
    numeric = approx_fprime(point, value, 1e-6)
    np.testing.assert_allclose(np.concatenate([s.ravel() for s in found]), numeric, atol=1e-4)
    sizes = np.linalg.norm(weights[0], axis=0) * np.linalg.norm(weights[1], axis=1)
    added = cifar_classes.objective(X, y, loss, 0.1, weights) - cifar_classes.objective(
        X, y, loss, 0.0, weights
    )
    assert added == pytest.approx(0.1 * sizes.sum())


@pytest.mark.parametrize("name", LOSSES)
def test_the_program_ends_where_the_estimator_does(name: str) -> None:
    data = cifar_classes.load(120, np.random.default_rng(0))
    course, alpha = cifar_classes.follow(data, name, LOSSES[name], SMALL, 5)
    assert course.gap <= 1e-3
    assert [look.seconds for look in course.looks] == sorted(look.seconds for look in course.looks)
    features = np.column_stack([data.X, np.ones(120)])
    generators = cifar_classes.gaussian(features, 8, np.random.default_rng(5)).generators
    model = ConvexClassifier(
        "gated",
        alpha=alpha,
        gates=generators,
        tol=1e-3,
        loss="logistic" if name == "softmax" else "squared",
    ).fit(data.X, data.y)
    end = course.looks[-1]
    assert end.objective == pytest.approx(model.certificate_.upper, rel=2e-3)
    assert end.objective >= model.certificate_.lower
    assert end.train == pytest.approx(accuracy_score(data.y, model.predict(data.X)), abs=0.02)


def test_tensors_give_what_arrays_give() -> None:
    pytest.importorskip("torch")
    data = cifar_classes.load(80, np.random.default_rng(0))
    args = ("squared", LOSSES["squared"])
    ends = [
        cifar_classes.follow(data, *args, SMALL._replace(device=device), 0)[0].looks[-1]
        for device in (None, "cpu")
    ]
    assert ends[0].objective == pytest.approx(ends[1].objective, rel=2e-3)


def test_descent_lowers_its_objective_and_stops_when_it_diverges() -> None:
    data = cifar_classes.load(200, np.random.default_rng(0))
    good = cifar_classes.descend(data, "softmax", 0.01, 12, 0.1, 40, 0)
    assert len(good.looks) == 41
    assert good.looks[-1].objective < 0.8 * good.looks[0].objective
    assert good.looks[-1].train > 0.6
    wild = cifar_classes.descend(data, "squared", 0.01, 12, 1e4, 5, 0)
    assert len(wild.looks) < 6
    assert not np.isfinite(wild.looks[-1].objective)


def test_the_table_has_when_most_of_the_best_was_reached() -> None:
    def course(loss: str, method: str, shares: list[float]) -> Course:
        looks = tuple(Look(float(i), 1.0, 1.0, share) for i, share in enumerate(shares))
        return Course(loss, method, 3, float("nan"), looks)

    courses = [
        course(loss, method, shares)
        for loss in LOSSES
        for method, shares in (("convex program", [0.1, 0.8, 0.9]), ("SGD", [0.1, 0.5, 0.85]))
    ]
    findings = Findings(
        source="x", samples=1, pixels=2, gates=3, test_samples=4, device="cpu",
        courses=tuple(courses),
    )  # fmt: skip
    rows = cifar_classes.table(findings).rows
    assert [row[-1] for row in rows] == ["2.0", "never"] * 2
