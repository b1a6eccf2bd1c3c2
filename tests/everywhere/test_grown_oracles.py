"""The worked examples of two-layer ReLU networks, by growth alone: no pattern is enumerated.

Objectives are sums over the samples, n times ours at alpha = beta / n [Pilanci2020; Ergen2021;
Mishkin2023].
"""

from collections.abc import Sequence

import numpy as np
import pytest

from cvxnn import ConvexRegressor, GatedReLU, ReLU, ReLUNetwork
from cvxnn.certificate import Scope
from cvxnn.everywhere import bound
from cvxnn.gates import enumerate as enumeration
from cvxnn.optima import OptimalSet, optimal_set, prune
from cvxnn.solve import Status

X = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])

# y, beta, ReLU optimum, gated optimum
ROWS = [
    ((1, -1, 1), 0.1, 1.10026751, 1.06178544),
    ((1, -1, 1), 0.5, 1.44749140, 1.35892719),
    ((1, 2, -1), 0.1, 0.23103674, 0.17678350),
    ((1, 2, -1), 0.5, 0.79364524, 0.62622517),
    ((-1, 1, 2), 0.1, 1.22881546, 1.15653846),
    ((-1, 1, 2), 0.5, 2.09451092, 1.83653846),
]
PATH = [(0.7, 0.9503341), (0.72, 0.9616000), (2.0, 1.5422534), (5.0, 2.3930054), (10.6302, 3.0)]
LARGEST = [((1, -1, 1), 1.0), ((1, 2, -1), 113**0.5), ((-1, 1, 2), 10**0.5)]

TURN = np.arange(8) * np.pi / 4
OCTAGON = np.column_stack([np.cos(TURN), np.sin(TURN)])
CROSS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
# data, beta, optimum, fit, atoms, their rank, sizes of the vertices
SYMMETRIC = [
    pytest.param(CROSS, 0.2, 0.5256854, 4, 3, [2, 2], id="cross"),
    pytest.param(OCTAGON, 0.3, 0.8657195, 8, 5, [4] * 2 + [5] * 8, id="octagon"),
]


pytestmark = [
    pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning"),  # some have no neurons
]


@pytest.fixture
def refuse_to_enumerate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds are as if patterns were too many; whoever asks for the cells is found out."""

    def refuse(*_: object) -> None:
        raise AssertionError("cells of the arrangement were asked for")

    monkeypatch.setattr(bound, "few_patterns", lambda *_: False)
    monkeypatch.setattr(enumeration, "arrange", refuse)


def grown(
    X: np.ndarray,
    y: Sequence[float] | np.ndarray,
    beta: float,
    architecture: ReLU | GatedReLU = ReLU(bias=False),  # noqa: B008  # frozen
    seed: int = 0,
) -> ConvexRegressor:
    model = ConvexRegressor(
        architecture,
        gates="grow",
        alpha=beta / len(X),
        fit_intercept=False,
        tol=1e-7,
        proof_time=0.0,
        random_state=seed,
    )
    return model.fit(X, np.asarray(y, dtype=float))


def is_optimal(model: ConvexRegressor, optimum: float) -> None:
    """The network attains the optimum and the bound is below it; where it may count, at it."""
    n, claim = len(model.dual_), model.certificate_
    assert n * claim.upper == pytest.approx(optimum, abs=1e-6)
    assert 0 <= claim.lower <= claim.upper * (1 + 1e-12)
    assert claim.scope is Scope.ALL_NETWORKS
    if claim.bound == "enumeration":
        assert n * claim.lower == pytest.approx(optimum, abs=1e-6)
        assert model.solution_.status is Status.OPTIMAL
    else:
        assert claim.bound in ("relaxed network", "trivial")


@pytest.fixture(params=[False, True], ids=["search", "enumeration"])
def proved_by(request: pytest.FixtureRequest) -> str:
    """Growth enumerates nothing; its bound may, in the second run of a test."""
    if not request.param:
        request.getfixturevalue("refuse_to_enumerate")
    return "enumeration" if request.param else "search"


@pytest.mark.usefixtures("refuse_to_enumerate")
def test_enumeration_is_found_out() -> None:
    with pytest.raises(AssertionError, match="cells of the arrangement"):
        ConvexRegressor(gates="enumerate", alpha=0.1).fit(X, [1.0, 2.0, -1.0])


@pytest.mark.parametrize(("y", "beta", "relu", "gated"), ROWS)
def test_table(y: tuple[int, ...], beta: float, relu: float, gated: float, proved_by: str) -> None:
    model = grown(X, y, beta)
    is_optimal(model, relu)
    assert (model.certificate_.bound == "enumeration") == (proved_by == "enumeration")
    network = model.network_
    loss = ((network(X)[:, 0] - y) ** 2).sum() / 2
    assert loss + beta * network.weight_decay() == pytest.approx(relu, abs=1e-6)
    # without the cones there is nothing to grow: gates are drawn, here all four patterns
    without = grown(X, y, beta, GatedReLU(bias=False))
    assert 3 * without.certificate_.upper == pytest.approx(gated, abs=1e-6)
    assert 3 * without.certificate_.lower == pytest.approx(gated, abs=1e-6)
    assert without.certificate_.scope is Scope.GIVEN_GATES


@pytest.mark.parametrize(("y", "beta", "relu", "gated"), ROWS)
@pytest.mark.usefixtures("refuse_to_enumerate")
def test_the_slope_in_beta_is_the_sum_of_sizes(
    y: tuple[int, ...], beta: float, relu: float, gated: float
) -> None:
    assert gated < relu
    ends = [3 * grown(X, y, b).certificate_.upper for b in (0.999 * beta, 1.001 * beta)]
    slope = (ends[1] - ends[0]) / (0.002 * beta)
    assert slope == pytest.approx(grown(X, y, beta).network_.weight_decay(), rel=1e-5)


@pytest.mark.parametrize(("beta", "optimum"), PATH)
@pytest.mark.usefixtures("proved_by")
def test_path(beta: float, optimum: float) -> None:
    is_optimal(grown(X, (1, 2, -1), beta), optimum)


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.5, 0.7, 0.705, 0.72, 0.75, 0.9, 0.99])
@pytest.mark.usefixtures("proved_by")
def test_closed_form_of_the_path(beta: float) -> None:
    t, q = (8 - beta) / 13, np.sqrt(2) * max(0.0, 1 - np.sqrt(2) * beta)
    last = np.sqrt(2) * beta if q > 0 else 1.0
    loss = ((2 * t - 1) ** 2 + (3 * t - 2) ** 2 + last**2) / 2
    model = grown(X, (1, 2, -1), beta)
    is_optimal(model, loss + beta * (t + q))
    network = model.network_
    sizes = np.linalg.norm(network.weights_in, axis=1) * network.weights_out[:, 0]
    assert np.sort(sizes) == pytest.approx([-q, t] if q > 0 else [t], abs=1e-5)


@pytest.mark.usefixtures("refuse_to_enumerate")
def test_beyond_one_the_closed_form_is_above() -> None:
    beta = 1.1
    t = (8 - beta) / 13
    above = ((2 * t - 1) ** 2 + (3 * t - 2) ** 2 + 1) / 2 + beta * t
    assert 3 * grown(X, (1, 2, -1), beta).certificate_.upper < above - 1e-5


@pytest.mark.parametrize(("y", "largest"), LARGEST)
@pytest.mark.usefixtures("refuse_to_enumerate")
def test_largest_alpha(y: tuple[int, ...], largest: float) -> None:
    below = grown(X, y, 0.999 * largest)
    assert 3 * below.alpha_max_ == pytest.approx(largest, rel=1e-9)
    assert below.network_.n_neurons >= 1
    assert 3 * below.certificate_.upper < np.dot(y, y) / 2


@pytest.mark.parametrize(("y", "largest"), LARGEST)
@pytest.mark.usefixtures("proved_by")
def test_no_neuron_beyond_it(y: tuple[int, ...], largest: float) -> None:
    beyond = grown(X, y, 1.001 * largest)
    assert beyond.network_.n_neurons == 0
    is_optimal(beyond, np.dot(y, y) / 2)


def turned(network: ReLUNetwork, quarter: float, times: int) -> ReLUNetwork:
    """The mean of a network's rotations: as good, when the data look the same from each side."""
    cos, sin = np.cos(quarter), np.sin(quarter)
    turn = np.array([[cos, sin], [-sin, cos]])
    parts = [network.weights_in @ np.linalg.matrix_power(turn, k) for k in range(times)]
    return ReLUNetwork(
        weights_in=np.concatenate(parts) / times**0.5,
        weights_out=np.tile(network.weights_out, (times, 1)) / times**0.5,
        intercept=network.intercept,
        skip=network.skip,
    )


def every_optimum(network: ReLUNetwork, X: np.ndarray, beta: float) -> OptimalSet:
    words = {"alpha": beta / len(X), "fit_intercept": False, "gates": "own"}
    return optimal_set(network, X, np.ones(len(X)), **words)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("X", "beta", "optimum", "atoms", "rank", "vertices"), SYMMETRIC)
@pytest.mark.usefixtures("proved_by")
def test_symmetric_data(
    X: np.ndarray,
    beta: float,
    optimum: float,
    atoms: int,
    rank: int,
    vertices: list[int],
    seed: int,
) -> None:
    n = len(X)
    model = grown(X, np.ones(n), beta, seed=seed)
    is_optimal(model, optimum)
    if atoms == 4:
        assert model.network_(X)[:, 0] == pytest.approx(1 - 0.1 * 2**0.5, abs=1e-6)
    whole = turned(model.network_, 2 * np.pi / atoms, atoms)
    loss = ((whole(X)[:, 0] - 1) ** 2).sum() / 2
    assert loss + beta * whole.weight_decay() == pytest.approx(optimum, abs=1e-6)
    optima = every_optimum(whole, X, beta)
    assert len(optima.signs) == atoms
    assert optima.dimension == atoms - rank
    assert not optima.is_unique()
    assert np.count_nonzero(optima.vertices(), axis=1).tolist() == vertices
    for network in (model.network_, whole, optima.network(optima.minimum_norm())):
        small = prune(network, X)
        assert small.n_neurons in vertices
        assert small(X) == pytest.approx(network(X), abs=1e-9)
        assert small.weight_decay() == pytest.approx(network.weight_decay(), rel=1e-9)
