"""Newton's system against a dense solve, pulls on neurons, refined prices, and rotated data."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from cvxnn import ConvexRegressor, verify
from cvxnn.everywhere import neurons
from cvxnn.everywhere import system as everywhere_system
from cvxnn.everywhere.descend import _kinks
from cvxnn.everywhere.neurons import Training, pulled
from cvxnn.everywhere.polish import refine
from cvxnn.everywhere.pooling import Pooling
from cvxnn.everywhere.price import best_of, price
from cvxnn.everywhere.system import Inverse, System
from cvxnn.functions import Squared, mean_loss


def training_of(n: int, d: int, q: int, rng: np.random.Generator) -> Training:
    X, y = rng.standard_normal((n, d)), rng.standard_normal((n, 1))
    return Training(X, mean_loss(Squared(), y), rng.standard_normal((n, q)), 0.01)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("n", "d", "k", "q"), [(40, 5, 12, 0), (40, 5, 3, 1), (15, 6, 9, 4)])
def test_the_step_solves_the_dense_system(
    n: int, d: int, k: int, q: int, paired: bool, pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where three rows of patches, shared by samples, add up to each."""
    for module in (neurons, everywhere_system):
        monkeypatch.setattr(module, "MOST_PAIRED", 4000 if paired else 0)
    rng = np.random.default_rng(n + k + q)
    training = training_of(n, d, q, rng)
    sums = np.eye(n)
    if pooled:
        sums = (rng.uniform(size=(n, 3 * n)) < 1 / n) / 3.0  # means of about three
        features = rng.standard_normal((3 * n, d))
        pooling = Pooling(sparse.csr_array(sums), 1)
        training = replace(training, features=features, pooling=pooling)
    unit = rng.standard_normal((k, d))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    roots = rng.standard_normal((k, d, d))
    blocks = roots @ roots.transpose(0, 2, 1) / d + 0.3 * np.eye(d)
    slopes = rng.uniform(0, 1, (len(training.features), k)) * rng.choice([-1, 1], k)
    root = rng.uniform(0.5, 1.5, (n, 1))
    g, h = rng.standard_normal((k, d)), rng.standard_normal(q)
    system = System(training, unit, np.linalg.inv(blocks), (slopes, root))
    steps, fewer = [system.solve(g, h)], unit[1:]
    other = System(training, fewer, np.linalg.inv(3 * blocks[1:]), (slopes[:, 1:], 2 * root))
    # what was made for another system serves this one, only later
    taken = System(training, unit, np.linalg.inv(blocks), (slopes, root), other.near)
    assert taken.near is other.near
    steps.append(taken.solve(g, h))
    jacobian = [sums @ (slopes[:, j, None] * training.features) for j in range(k)]
    whole = root * np.column_stack([*jacobian, training.columns])
    hessian = whole.T @ whole
    for j in range(k):
        part = slice(j * d, (j + 1) * d)
        hessian[part, part] += blocks[j]
    exact = np.linalg.solve(hessian, -np.concatenate([g.ravel(), h]))
    for move, free in steps:
        found = np.concatenate([move.ravel(), free])
        assert np.linalg.norm(found - exact) <= 1e-3 * np.linalg.norm(exact)


def test_a_preconditioner_is_worn_by_steps_beyond_its_fewest() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((20, 20)).astype(np.float32)
    matrix = np.asfortranarray(root @ root.T + np.eye(20, dtype=np.float32))
    near = Inverse(lambda: np.asfortranarray(np.tril(matrix)), worth=10)
    right = rng.standard_normal(20).astype(np.float32)
    np.testing.assert_allclose(matrix @ near(right), right, atol=1e-3)
    for steps, worn in ((7, False), (5, False), (14, False), (7, True)):
        near.wear(steps)
        assert near.worn is worn


def test_a_matrix_that_rounding_makes_indefinite_is_helped() -> None:
    ones = np.ones((30, 30), dtype=np.float32, order="F")
    ones[0, 0] -= np.float32(1e-3)
    near = Inverse(lambda: ones.copy(order="F"), worth=10)
    assert np.isfinite(near(np.ones(30, dtype=np.float32))).all()


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_kinks_are_sums_of_outer_products(share: float) -> None:
    """Few of them and many are added up in different ways."""
    rng = np.random.default_rng(0)
    training = training_of(900, 30, 0, rng)
    band = rng.uniform(size=(900, 3)) * (rng.uniform(size=(900, 3)) < share)
    exact = np.einsum("ij,ia,ib->jab", band, training.features, training.features)
    np.testing.assert_allclose(_kinks(training, band), exact, rtol=1e-4, atol=1e-4)
    assert ("row_squares" in vars(training)) is (share > 0.1)


@pytest.mark.parametrize("c", [1, 3])
def test_what_outputs_ask_of_neurons_is_the_gradient(c: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(c)
    X, pull = rng.standard_normal((20, 4)), rng.standard_normal((20, c))
    weights, outputs = rng.standard_normal((5, 4)), rng.standard_normal((5, c))
    a = torch.tensor(weights, requires_grad=True)
    fit = torch.relu(torch.tensor(X) @ a.T) @ torch.tensor(outputs)
    (fit * torch.tensor(pull)).sum().backward()
    found = pulled(X, np.maximum(X @ weights.T, 0.0), pull, outputs)
    np.testing.assert_allclose(found, a.grad.numpy(), atol=1e-12)


def test_refined_prices_are_attained_and_no_lower() -> None:
    rng = np.random.default_rng(0)
    training = training_of(60, 6, 0, rng)
    v = rng.standard_normal((60, 1))
    found = best_of([price(training.features, v, rng, starts=20, steps=3) for _ in range(2)])
    better = refine(training, v, found, 8)
    assert float(better.values[0]) > float(found.values[0]) * (1 + 1e-6)
    hidden = np.maximum(training.features @ better.directions.T, 0)
    attained = (hidden.T @ v * better.outputs)[:, 0]
    assert attained == pytest.approx(better.values, rel=1e-9)
    assert np.linalg.norm(better.directions, axis=1) == pytest.approx(1)


def test_more_columns_than_rows_are_a_rotation() -> None:
    """The objective depends on X through X X' only."""
    rng = np.random.default_rng(1)
    narrow, y = rng.standard_normal((12, 4)), rng.standard_normal(12)
    basis = np.linalg.qr(rng.standard_normal((200, 4)))[0]
    words = {"architecture": "relu", "alpha": 0.05, "tol": 1e-6, "random_state": 0}
    small = ConvexRegressor(**words).fit(narrow, y)
    wide = ConvexRegressor(**words).fit(narrow @ basis.T, y)
    assert wide.network_.weights_in.shape[1] == 201
    assert wide.certificate_.upper == pytest.approx(small.certificate_.upper, rel=1e-6)
    assert verify(wide, narrow @ basis.T, y)
