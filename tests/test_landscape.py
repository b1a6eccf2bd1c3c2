"""Stationary points are optima of convex programs; polishing; networks trained elsewhere."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.neural_network import MLPClassifier, MLPRegressor

from cvxnn import ConvexRegressor, GatedReLU, ReLU, ReLUNetwork, certify_network
from cvxnn.errors import UnsupportedError
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.landscape import Stationarity, from_sklearn, from_torch, kink_rows, polish, stationarity
from cvxnn.maps import Gated
from cvxnn.optima import optimal_set, prune, split
from cvxnn.program import Program
from cvxnn.solve import solve
from cvxnn.solvers import Reference
from cvxnn.support import problem_at

X3, Y3 = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
SEEDS = st.integers(0, 10**6)


def network(weights_in: np.ndarray, weights_out: np.ndarray, d: int) -> ReLUNetwork:
    return ReLUNetwork(
        weights_in=np.array(weights_in),
        weights_out=np.array(weights_out).reshape(-1, 1),
        intercept=np.zeros(1),
        skip=np.zeros((d, 1)),
    )


def seed_optimum(beta: float) -> ReLUNetwork:
    """The two neurons of the worked example, in closed form for beta < 1 / sqrt(2)."""
    t, q = (8 - beta) / 13, 2**0.5 * (1 - 2**0.5 * beta)
    directions = np.array([[0.0, 1.0], [0.5**0.5, -(0.5**0.5)]])
    roots = np.sqrt([t, q])
    return network(roots[:, None] * directions, roots * [1.0, -1.0], 2)


def objective(net: ReLUNetwork, X: np.ndarray, y: np.ndarray, alpha: float) -> float:
    return ((net(X)[:, 0] - y) ** 2).mean() / 2 + alpha * net.weight_decay()


def descended(X: np.ndarray, y: np.ndarray, alpha: float, m: int, seed: int) -> ReLUNetwork:
    """A network of m neurons trained by L-BFGS on mean loss + alpha / 2 * squared weights."""
    (n, d), rng = X.shape, np.random.default_rng(seed)

    def value(z: np.ndarray) -> tuple[float, np.ndarray]:
        inner, outer = z[: m * d].reshape(m, d), z[m * d :]
        products = X @ inner.T
        hidden = np.maximum(products, 0.0)
        pull = (hidden @ outer - y) / n
        back = ((products > 0) * np.outer(pull, outer)).T @ X
        slope = np.concatenate([back.ravel(), hidden.T @ pull]) + alpha * z
        return n * float(pull @ pull) / 2 + alpha / 2 * float(z @ z), slope

    found = minimize(
        value,
        rng.standard_normal(m * (d + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5000, "ftol": 1e-16, "gtol": 1e-12},
    )
    return network(found.x[: m * d].reshape(m, d), found.x[m * d :], d)


def fractional_optimum(
    net: ReLUNetwork, found: Stationarity, X: np.ndarray, y: np.ndarray, alpha: float
) -> float:
    """The group lasso on D + Diag(t) of every neuron, each block used with its sign."""
    masks = (X @ net.weights_in.T > 0).astype(float)
    for j, (rows, t) in enumerate(zip(found.kinks, found.shares, strict=True)):
        masks[rows, j] = t
    program = Program(
        loss=mean_loss(Squared(), y[:, None]),
        lift=Gated(X, masks * np.sign(net.weights_out[:, 0]), 1),
        penalty=GroupNorm(alpha),
        free=np.zeros((len(X), 0)),
    )
    return solve(program, Reference(), tol=1e-10).certificate.upper


def test_the_worked_example_is_stationary_with_fractional_gates() -> None:
    net = seed_optimum(0.1)
    found = stationarity(net, X3, Y3, alpha=0.1 / 3, fit_intercept=False)
    assert found.residual < 1e-12
    assert found.balance < 1e-12
    assert found.dead.size == 0
    assert [rows.tolist() for rows in found.kinks] == [[2], [0, 1]]
    np.testing.assert_allclose(found.shares[0], [0.5**0.5], atol=1e-12)
    # rows 0 and 1 are parallel: in the limit of neurons nearby they are on or off together
    np.testing.assert_allclose(found.shares[1], [0.5**0.5] * 2, atol=1e-12)
    value = 3 * fractional_optimum(net, found, X3, Y3, 0.1 / 3)
    assert value == pytest.approx(0.23103674, abs=1e-8)
    assert 3 * objective(net, X3, Y3, 0.1 / 3) == pytest.approx(0.23103674, abs=1e-8)


def test_unequal_shares_of_parallel_rows_are_an_outer_approximation() -> None:
    net = seed_optimum(0.1)
    v = (Y3 - net(X3)[:, 0]) / 3
    pull = -(X3 * np.array([0.4809, 0.5235, 1.0])[:, None]).T @ v
    unit = net.weights_in[1] / np.linalg.norm(net.weights_in[1])
    np.testing.assert_allclose(pull, 0.1 / 3 * unit, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_polished_networks_are_optimal_for_their_fractional_gates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y, alpha = rng.standard_normal((10, 3)), rng.standard_normal(10), 0.03
    start = descended(X, y, alpha, 8, seed)
    best = polish(start, X, y, alpha=alpha, fit_intercept=False)
    value = objective(best, X, y, alpha)
    assert value <= objective(start, X, y, alpha)
    found = stationarity(best, X, y, alpha=alpha, fit_intercept=False)
    assert found.residual < 1e-5 * alpha
    assert found.balance < 1e-12
    assert fractional_optimum(best, found, X, y, alpha) == pytest.approx(value, rel=1e-6)
    every = ConvexRegressor(
        ReLU(bias=False), alpha=alpha, gates="enumerate", fit_intercept=False, tol=1e-7
    ).fit(X, y)
    assert value >= every.certificate_.lower
    assert value <= every.certificate_.upper * 1.05


def test_smooth_stationary_points_of_descent_are_optimal_for_their_patterns() -> None:
    smooth = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, y, alpha = rng.standard_normal((6, 3)), rng.standard_normal(6), 0.05
        net = descended(X, y, alpha, 2, seed)
        found = stationarity(net, X, y, alpha=alpha, fit_intercept=False)
        if found.residual > 1e-5 * alpha or any(len(rows) for rows in found.kinks):
            continue
        smooth += 1
        assert found.balance < 1e-4
        own = certify_network(net, X, y, alpha=alpha, fit_intercept=False)
        assert own.gap <= 1e-4 * own.upper
        polished = polish(net, X, y, alpha=alpha, fit_intercept=False)
        assert objective(polished, X, y, alpha) == pytest.approx(own.upper, rel=1e-5)
    assert smooth >= 5


def test_descent_in_torch_ends_in_a_local_minimum_and_polishing_leads_out_of_it() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    layers = torch.nn.Linear(2, 6, bias=False), torch.nn.ReLU(), torch.nn.Linear(6, 1, bias=False)
    module = torch.nn.Sequential(*layers).double()
    X, y = torch.tensor(X3), torch.tensor(Y3)[:, None]
    descent = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=0.5 / 3)
    rates = torch.optim.lr_scheduler.ExponentialLR(descent, 0.994)
    for _ in range(1500):
        descent.zero_grad()
        (((module(X) - y) ** 2).mean() / 2).backward()
        descent.step()
        rates.step()
    net = prune(from_torch(module), X3)  # without the neurons that are closed and fade away
    # one neuron along (0, 1) of the best size, where the optimum has a second one
    t = 7.5 / 13
    single = ((2 * t - 1) ** 2 + (3 * t - 2) ** 2 + 1) / 2 + 0.5 * t
    assert 3 * objective(net, X3, Y3, 0.5 / 3) == pytest.approx(single, rel=1e-5)
    found = stationarity(net, X3, Y3, alpha=0.5 / 3, fit_intercept=False, near=1e-4)
    assert found.residual < 1e-3 * 0.5 / 3
    assert [rows.tolist() for rows in found.kinks] == [[2]]
    value = fractional_optimum(net, found, X3, Y3, 0.5 / 3)
    assert 3 * value == pytest.approx(single, rel=1e-5)
    best = polish(net, X3, Y3, alpha=0.5 / 3, fit_intercept=False)
    assert 3 * objective(best, X3, Y3, 0.5 / 3) == pytest.approx(0.79364524, abs=1e-7)


@settings(max_examples=15)
@given(seed=SEEDS, loss=st.sampled_from(["squared", "logistic", "squared_hinge", "huber"]))
def test_polishing_never_increases_and_is_stationary(seed: int, loss: str) -> None:
    rng = np.random.default_rng(seed)
    n, d, m = rng.integers(2, 8), rng.integers(1, 3), rng.integers(1, 5)
    X, y = rng.standard_normal((n, d)), rng.choice([-1.0, 1.0], n)
    start = ReLUNetwork(
        weights_in=rng.standard_normal((m, d + 1)),
        weights_out=rng.standard_normal((m, 1)),
        intercept=rng.standard_normal(1),
        skip=np.zeros((d, 1)),
    )
    weights = rng.uniform(0.5, 2.0, n)
    settings = {"alpha": 0.05, "loss": loss, "sample_weight": weights}
    best = polish(start, X, y, **settings)
    problem = problem_at(start, X, y, **settings)
    before, after = problem.objective(start), problem.objective(best)
    assert after <= before
    assert best.n_neurons <= n
    found = stationarity(best, X, y, **settings)
    assert found.residual < 1e-3 * 0.05
    again = polish(best, X, y, **settings)
    assert after * (1 - 1e-5) <= problem.objective(again) <= after


def test_polishing_crosses_faces() -> None:
    net = network(np.array([[0.3, -0.3], [-1.0, 1.5]]), np.array([-1.0, 0.2]), 2)
    best = polish(net, X3, Y3, alpha=0.1 / 3, fit_intercept=False)
    own = certify_network(net, X3, Y3, alpha=0.1 / 3, fit_intercept=False)
    value = objective(best, X3, Y3, 0.1 / 3)
    assert 3 * value == pytest.approx(0.23103674, abs=1e-7)
    assert value < own.upper


def test_polishing_an_optimum_leaves_its_objective_and_dead_networks_are_fine() -> None:
    net = seed_optimum(0.1)
    best = polish(net, X3, Y3, alpha=0.1 / 3, fit_intercept=False)
    assert 3 * objective(best, X3, Y3, 0.1 / 3) == pytest.approx(0.23103674, abs=1e-8)
    dead = network(np.zeros((2, 2)), np.zeros(2), 2)
    best = polish(dead, X3, Y3, alpha=0.1 / 3)
    value = problem_at(best, X3, Y3, alpha=0.1 / 3).objective(best)
    assert value <= np.var(Y3) / 2 + 1e-12


def test_a_polished_optimum_has_an_optimal_set() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    model = ConvexRegressor(alpha=0.05, gates="enumerate").fit(X, y)
    best = polish(model.network_, X, y, alpha=0.05)
    found = optimal_set(best, X, y, alpha=0.05, tol=1e-5)
    np.testing.assert_allclose(best(X)[:, 0], found.fit, atol=1e-4)
    assert stationarity(found.network(), X, y, alpha=0.05).residual < 1e-9 * 0.05


def test_dead_kinked_and_unbalanced_neurons() -> None:
    net = network(
        np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [0.0, -2.0]]),
        np.array([1.0, 1.0, 0.0, 1.0]),
        2,
    )
    found = stationarity(net, X3, Y3, alpha=0.1, fit_intercept=False)
    assert found.dead.tolist() == [0, 1, 2, 3]
    assert found.balance == 1.0
    assert [rows.tolist() for rows in found.kinks] == [[], [0, 1, 2], [], [2]]
    # a neuron that is closed everywhere only shrinks; one with a kink may be pulled back
    assert found.residuals[0] == pytest.approx(0.1)
    assert found.residuals[1] == found.residuals[2] == 0


def test_opposite_rows_on_a_kink_share_t_and_one_minus_t() -> None:
    X, y = np.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]]), np.array([3.0, 1.0, 2.0])
    net = network(np.array([[0.0, 1.0]]), np.array([1.0]), 2)
    found = stationarity(net, X, y, alpha=1 / 3, fit_intercept=False)
    assert found.kinks[0].tolist() == [0, 1]
    assert found.shares[0].sum() == pytest.approx(1.0)
    # X' (D + Diag(t)) v = (3 t - 2 (1 - t), 1) / 3, which is alpha (0, 1) at t = 0.4
    np.testing.assert_allclose(found.shares[0], [0.4, 0.6])
    assert found.residual < 1e-12


@given(seed=SEEDS)
def test_residuals_are_distances_of_gradients(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((7, 3)), rng.standard_normal(7)
    directions, roots = rng.standard_normal((4, 4)), rng.uniform(0.5, 2.0, 4)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    net = ReLUNetwork(
        weights_in=roots[:, None] * directions,
        weights_out=(roots * rng.choice([-1.0, 1.0], 4))[:, None],
        intercept=rng.standard_normal(1),
        skip=rng.standard_normal((3, 1)),
    )
    found = stationarity(net, X, y, alpha=0.1, skip=True)
    inner, intercept, skip = (
        torch.tensor(w, requires_grad=True) for w in (net.weights_in, net.intercept, net.skip)
    )
    rows = torch.tensor(np.column_stack([X, np.ones(7)]))
    outputs = torch.relu(rows @ inner.T) @ torch.tensor(net.weights_out)
    outputs = outputs + torch.tensor(X) @ skip + intercept
    loss = ((outputs[:, 0] - torch.tensor(y)) ** 2).mean() / 2 + 0.05 * (inner**2).sum()
    loss.backward()
    slopes = np.linalg.norm(inner.grad.numpy(), axis=1) / roots
    np.testing.assert_allclose(found.residuals, slopes, rtol=1e-9)
    free = np.sqrt(float((skip.grad**2).sum() + (intercept.grad**2).sum()))
    assert found.residual == pytest.approx(max(slopes.max(), free), rel=1e-9)


def test_samples_without_weight_keep_their_numbers() -> None:
    X, y = np.concatenate([[[9.0, 9.0]], X3]), np.append(100.0, Y3)
    found = stationarity(
        seed_optimum(0.1),
        X,
        y,
        alpha=0.1 / 3,
        fit_intercept=False,
        sample_weight=[0.0, 1.0, 1.0, 1.0],
    )
    assert found.residual < 1e-12
    assert [rows.tolist() for rows in found.kinks] == [[3], [1, 2]]


def test_kinks_are_judged_relative_to_the_lengths() -> None:
    rows = np.array([[1e6, 0.0], [0.0, 0.0], [1.0, 1.0]])
    assert kink_rows(rows, np.array([1e-9, 1.0])).tolist() == [0]
    assert kink_rows(rows, np.array([1e-5, 1.0])).tolist() == []


@pytest.mark.parametrize("weights", [(5,), (1,)], ids=str)
def test_networks_from_scikit_learn(weights: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    options = {"solver": "lbfgs", "max_iter": 5000, "random_state": 0, "alpha": 0.1}
    regressor = MLPRegressor(hidden_layer_sizes=weights, **options).fit(X, y)
    np.testing.assert_allclose(from_sklearn(regressor)(X)[:, 0], regressor.predict(X))
    labels = np.where(y > 0, "up", "down")
    classifier = MLPClassifier(hidden_layer_sizes=weights, **options).fit(X, labels)
    chances = 1 / (1 + np.exp(-from_sklearn(classifier)(X)[:, 0]))
    np.testing.assert_allclose(chances, classifier.predict_proba(X)[:, 1])
    start = from_sklearn(regressor)
    best = polish(start, X, y, alpha=0.01)
    assert objective(best, X, y, 0.01) <= objective(start, X, y, 0.01)


def test_other_estimators_are_refused() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    options = {"solver": "lbfgs", "max_iter": 5000, "random_state": 0, "tol": 1e-2}

    def mlp(*layers: int, target: np.ndarray = y[:, 0], **more: object) -> MLPRegressor:
        return MLPRegressor(hidden_layer_sizes=layers, **options, **more).fit(X, target)

    with pytest.raises(UnsupportedError, match="has 2 hidden layers; expected one"):
        from_sklearn(mlp(3, 3))
    with pytest.raises(UnsupportedError, match="the activation is 'tanh'; expected 'relu'"):
        from_sklearn(mlp(3, activation="tanh"))
    with pytest.raises(UnsupportedError, match="has 2 outputs"):
        from_sklearn(mlp(3, target=y))
    classes = MLPClassifier(hidden_layer_sizes=(3,), **options).fit(X, rng.integers(3, size=30))
    with pytest.raises(UnsupportedError, match=r"has 3 outputs \(softmax\)"):
        from_sklearn(classes)
    with pytest.raises(ValueError, match="not fitted; call fit first"):
        from_sklearn(MLPRegressor())
    with pytest.raises(UnsupportedError, match="not a ConvexRegressor"):
        from_sklearn(ConvexRegressor())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_networks_from_torch(bias: bool, last: bool) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 5, bias=bias), torch.nn.ReLU(), torch.nn.Linear(5, 1, bias=last)
    )
    X = torch.randn(20, 3)
    net = from_torch(module)
    assert net.weights_in.shape == (5, 3 + bias)
    assert net.weights_in.dtype == np.float64
    expected = module(X).detach().numpy()
    np.testing.assert_allclose(net(X.numpy().astype(float)), expected, atol=1e-6)
    before = net(np.ones((1, 3)))
    with torch.no_grad():  # a network of its own, not a view of the module
        module[2].weight.zero_()
        module[0].weight.zero_()
    np.testing.assert_array_equal(net(np.ones((1, 3))), before)


def test_other_modules_are_refused() -> None:
    nn = pytest.importorskip("torch").nn
    with pytest.raises(UnsupportedError, match=r"not \(Linear, Tanh, Linear\)"):
        from_torch(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)))
    with pytest.raises(UnsupportedError, match="has 3 outputs; expected one"):
        from_torch(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3)))
    with pytest.raises(UnsupportedError, match="not a Linear"):
        from_torch(nn.Linear(2, 1))
    with pytest.raises(UnsupportedError, match="not a SimpleNamespace"):
        from_torch(SimpleNamespace())


def test_wrong_networks_and_data() -> None:
    net = seed_optimum(0.1)
    gated = ConvexRegressor(GatedReLU(), alpha=0.01, gates="sample", random_state=0).fit(X3, Y3)
    for call in (stationarity, polish):
        with pytest.raises(UnsupportedError, match="one output, not for 'gated'"):
            call(gated.network_, X3, Y3, alpha=0.1)
        with pytest.raises(ValueError, match=r"X has shape \(3, 3\); expected \(n, 2\)"):
            call(net, np.ones((3, 3)), Y3, alpha=0.1)
        with pytest.raises(ValueError, match=r"y has shape \(2,\) and X 3 rows"):
            call(net, X3, Y3[:2], alpha=0.1)
        with pytest.raises(ValueError, match="expected a positive number"):
            call(net, X3, Y3, alpha=-1.0)
        with pytest.raises(ValueError, match="loss is 'cubic'"):
            call(net, X3, Y3, alpha=0.1, loss="cubic")
        wide = network(np.ones((2, 2)), np.ones(2), 2)
        several = ReLUNetwork(
            weights_in=wide.weights_in,
            weights_out=np.ones((2, 3)),
            intercept=np.zeros(3),
            skip=np.zeros((2, 3)),
        )
        with pytest.raises(UnsupportedError, match="the network has 3"):
            call(several, X3, Y3, alpha=0.1)
        with pytest.raises(
            ValueError, match="weights_in has 5 columns; expected 2, or 3 with the bias"
        ):
            call(network(np.ones((2, 5)), np.ones(2), 2), X3, Y3, alpha=0.1)
        with pytest.raises(ValueError, match="weights_in has 2 rows and weights_out 3"):
            call(network(np.ones((2, 2)), np.ones(3), 2), X3, Y3, alpha=0.1)
    with pytest.raises(UnsupportedError, match="the hinge loss has kinks"):
        stationarity(net, X3, np.sign(Y3), alpha=0.1, loss="hinge")
    with pytest.raises(ValueError, match="rounds is 0"):
        polish(net, X3, Y3, alpha=0.1, rounds=0)
    shifted = split(with_intercept(net), 0)
    with pytest.raises(ValueError, match="an intercept or a skip connection"):
        polish(shifted, X3, Y3, alpha=0.1, fit_intercept=False)


def with_intercept(net: ReLUNetwork) -> ReLUNetwork:
    """The same neurons beside an intercept."""
    return ReLUNetwork(
        weights_in=net.weights_in,
        weights_out=net.weights_out,
        intercept=np.ones(1),
        skip=net.skip,
    )
