"""The set of all optimal networks: worked polytopes, exhaustive oracles and laws of exact moves."""

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvxnn import ConvexClassifier, ConvexRegressor, GatedReLU, ReLU, ReLUNetwork
from cvxnn.architectures import free_columns
from cvxnn.errors import UnsupportedError
from cvxnn.functions import Hinge, Huber
from cvxnn.optima import OptimalSet, optimal_set, prune, split

CROSS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
ANGLES = np.arange(8) * np.pi / 4
OCTAGON = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
SEEDS = st.integers(0, 10**6)


def enumerated(X: np.ndarray, y: np.ndarray, beta: float, **options: object) -> ConvexRegressor:
    """The optimum of sum of losses + beta * weight decay over all networks without free part."""
    model = ConvexRegressor(
        ReLU(bias=False), alpha=beta / len(X), gates="enumerate", fit_intercept=False, **options
    )
    return model.fit(X, y)


def objective(network: ReLUNetwork, X: np.ndarray, y: np.ndarray, beta: float) -> float:
    return ((network(X)[:, 0] - y) ** 2).sum() / 2 + beta * network.weight_decay()


def random_network(rng: np.random.Generator, m: int, d: int, bias: bool = False) -> ReLUNetwork:
    return ReLUNetwork(
        weights_in=rng.standard_normal((m, d + bias)),
        weights_out=rng.standard_normal((m, 1)),
        intercept=rng.standard_normal(1),
        skip=rng.standard_normal((d, 1)),
    )


@pytest.fixture(scope="module")
def cross() -> OptimalSet:
    return optimal_set(enumerated(CROSS, np.ones(4), 0.2), CROSS, np.ones(4))


@pytest.fixture(scope="module")
def octagon() -> OptimalSet:
    return optimal_set(enumerated(OCTAGON, np.ones(8), 0.3), OCTAGON, np.ones(8))


@pytest.fixture(scope="module", params=range(6))
def random_set(request: pytest.FixtureRequest) -> tuple[OptimalSet, ConvexRegressor]:
    """Optima with intercept, and with a linear part for odd seeds, whose sets are not points."""
    rng = np.random.default_rng(request.param)
    X, y = rng.standard_normal((10, 2)), rng.standard_normal(10)
    model = ConvexRegressor(alpha=0.01, gates="enumerate", skip=request.param % 2 == 1).fit(X, y)
    return optimal_set(model, X, y), model


def test_section_E8_cross(cross: OptimalSet) -> None:
    np.testing.assert_allclose(cross.fit, 1 - 0.1 * 2**0.5, rtol=1e-12)
    np.testing.assert_allclose(np.abs(cross.directions), 0.5**0.5, rtol=1e-12)
    assert len(np.unique(np.sign(cross.directions), axis=0)) == 4
    assert cross.dimension == 1
    assert not cross.is_unique()
    vertices = cross.vertices()
    assert len(vertices) == 2
    for sizes in vertices:
        first, second = cross.directions[sizes > 0]
        np.testing.assert_allclose(first, -second, atol=1e-12)
        value = objective(cross.network(sizes), CROSS, np.ones(4), 0.2)
        assert value == pytest.approx(0.5256854, abs=1e-7)


def test_section_E8_octagon(octagon: OptimalSet) -> None:
    assert len(octagon.signs) == 8
    assert octagon.dimension == 8 - 5
    assert not octagon.is_unique()
    vertices = octagon.vertices()
    assert sorted(np.count_nonzero(vertices, axis=1).tolist()) == [4] * 2 + [5] * 8
    for sizes in vertices:
        value = objective(octagon.network(sizes), OCTAGON, np.ones(8), 0.3)
        assert value == pytest.approx(0.8657195, abs=1e-7)
    assert np.count_nonzero(octagon.sparsest()) == 4
    np.testing.assert_allclose(octagon.minimum_norm(), octagon.sizes.sum() / 8)


@settings(max_examples=30)
@given(weights=st.lists(st.floats(0.1, 1.0), min_size=10, max_size=10))
def test_octagon_is_pruned_to_a_vertex(octagon: OptimalSet, weights: list[float]) -> None:
    inside = np.array(weights) @ octagon.vertices() / sum(weights)
    full = octagon.network(inside)
    assert full.n_neurons == 8
    small = octagon.prune(full)
    assert small.n_neurons in (4, 5)
    np.testing.assert_allclose(small(OCTAGON), full(OCTAGON), atol=1e-13)
    assert small.weight_decay() == pytest.approx(full.weight_decay(), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_support_is_where_a_grid_of_directions_attains_alpha(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = (CROSS, np.ones(4)) if seed == 0 else (rng.standard_normal((7, 2)), rng.normal(size=7))
    optima = optimal_set(enumerated(X, y, 0.3), X, y)
    angles = np.linspace(0, 2 * np.pi, 400_001)[:-1]
    grid = np.column_stack([np.cos(angles), np.sin(angles)])
    prices = (y - optima.fit) @ np.maximum(X @ grid.T, 0.0)
    for sign in (1.0, -1.0):
        mine = optima.directions[optima.signs == sign]
        assert (sign * prices).max() <= 0.3 * (1 + 1e-9)
        near = grid[sign * prices > 0.3 * (1 - 1e-4)]
        apart = np.linalg.norm(near[:, None] - mine, axis=2)
        assert (apart.min(axis=1, initial=np.inf) < 0.02).all()
        assert (apart.min(axis=0, initial=np.inf) < 1e-4).all()


def test_every_vertex_is_an_optimum(random_set: tuple[OptimalSet, ConvexRegressor]) -> None:
    optima, model = random_set
    y = optima.fit  # outputs and weight decay, so the objective for any target, agree
    for sizes in optima.vertices():
        network = optima.network(sizes)
        np.testing.assert_allclose(network(optima.X)[:, 0], y, atol=1e-9)
        assert network.weight_decay() == pytest.approx(optima.sizes.sum(), rel=1e-9)
        assert network.n_neurons <= len(optima.equations)
    np.testing.assert_allclose(model.network_(optima.X)[:, 0], y, atol=1e-2)


def test_ranges_are_those_of_the_vertices(random_set: tuple[OptimalSet, ConvexRegressor]) -> None:
    optima, _ = random_set
    vertices, scale = optima.vertices(), float(optima.sizes.sum())
    expected = np.column_stack([vertices.min(axis=0), vertices.max(axis=0)])
    np.testing.assert_allclose(optima.ranges(), expected, atol=1e-7 * scale)
    assert optima.is_unique() == (len(vertices) == 1)
    X_new = np.random.default_rng(0).standard_normal((5, 2))
    outputs = np.stack([optima.network(sizes)(X_new)[:, 0] for sizes in vertices])
    expected = np.column_stack([outputs.min(axis=0), outputs.max(axis=0)])
    np.testing.assert_allclose(optima.prediction_range(X_new), expected, atol=1e-6 * scale)
    at_data = optima.prediction_range(optima.X)
    np.testing.assert_allclose(at_data, np.column_stack([optima.fit] * 2), atol=1e-7 * scale)
    least = np.count_nonzero(vertices, axis=1).min()
    assert np.count_nonzero(optima.sparsest(60)) == least


def test_some_random_sets_are_points_and_some_are_not() -> None:
    unique = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((10, 2)), rng.standard_normal(10)
        model = ConvexRegressor(alpha=0.01, gates="enumerate", skip=seed % 2 == 1).fit(X, y)
        unique.append(optimal_set(model, X, y).is_unique())
    assert set(unique) == {True, False}


def test_minimum_norm_is_that_of_cvxpy(random_set: tuple[OptimalSet, ConvexRegressor]) -> None:
    optima, _ = random_set
    c = cvxpy.Variable(len(optima.signs))
    same = optima.equations @ c == optima.equations @ optima.sizes
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(c)), [same, c >= 0]).solve(solver=cvxpy.CLARABEL)
    sizes = optima.minimum_norm()
    np.testing.assert_allclose(sizes, c.value, atol=1e-5 * sizes.sum())
    np.testing.assert_allclose(optima.network(sizes)(optima.X)[:, 0], optima.fit, atol=1e-9)


def test_a_linear_skip_trades_with_pairs_of_neurons() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((10, 2)), rng.standard_normal(10)
    model = ConvexRegressor(alpha=0.01, gates="enumerate", skip=True).fit(X, y)
    optima = optimal_set(model, X, y)
    skips = np.stack([optima.network(sizes).skip[:, 0] for sizes in optima.vertices()])
    assert np.ptp(skips, axis=0).max() > 1e-2


def test_the_network_itself_is_in_its_set(random_set: tuple[OptimalSet, ConvexRegressor]) -> None:
    _, model = random_set
    rng = np.random.default_rng(7)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    model = ConvexRegressor(alpha=0.02, gates="enumerate", tol=1e-8).fit(X, y)
    known = optimal_set(model, X, y)
    found = optimal_set(model.network_, X, y, alpha=0.02)
    order, other = (np.lexsort(s.directions.round(6).T) for s in (known, found))
    np.testing.assert_allclose(known.directions[order], found.directions[other], atol=1e-7)
    np.testing.assert_allclose(known.fit, found.fit, atol=1e-9)
    own = optimal_set(model.network_, X, y, alpha=0.02, gates="own")
    assert len(own.signs) <= len(known.signs)
    np.testing.assert_allclose(own.fit, known.fit, atol=1e-7)


def test_sampled_gates_and_their_set() -> None:
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
    model = ConvexRegressor(alpha=0.01, gates="sample", n_gates=60, random_state=0).fit(X, y)
    optima = optimal_set(model, X, y)
    best = optima.network()
    ours = ((best(X)[:, 0] - y) ** 2).mean() / 2 + 0.01 * best.weight_decay()
    claim = model.certificate_
    assert claim.lower - 1e-12 <= ours <= claim.upper + 1e-12
    X, y = X[:8, :2], y[:8]
    model = ConvexRegressor(alpha=0.01, gates=np.eye(3), tol=1e-7).fit(X, y)
    few, every = (optimal_set(model, X, y, gates=g, tol=10.0) for g in ("own", "enumerate"))
    values = [
        ((s.fit - y) ** 2).mean() / 2 + 0.01 * s.network().weight_decay() for s in (few, every)
    ]
    assert values[1] < values[0]


@pytest.mark.parametrize(
    "loss", ["logistic", "squared_hinge", "hinge", "squared"], ids=lambda name: name
)
def test_classifiers_and_every_loss(loss: str) -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((14, 2))
    labels = np.where(X[:, 0] * X[:, 1] > 0, "in", "out")
    model = ConvexClassifier(alpha=0.02, loss=loss, gates="enumerate", tol=1e-6).fit(X, labels)
    optima = optimal_set(model, X, labels)
    best = optima.network()
    evidence = model.evidence(X, labels)
    value = evidence.program.loss.value(best(X)) + 0.02 * best.weight_decay()
    assert value == pytest.approx(model.certificate_.lower, rel=2e-6)


@pytest.mark.parametrize("loss", [Huber(0.5), Hinge()], ids=lambda loss: loss.name)
def test_vertices_with_losses_that_are_not_strictly_convex(loss: object) -> None:
    optima = optimal_set(
        ConvexRegressor(ReLU(bias=False), alpha=0.05, loss=loss, gates="enumerate").fit(
            CROSS, np.array([1.0, 1.0, -1.0, 1.0])
        ),
        CROSS,
        np.array([1.0, 1.0, -1.0, 1.0]),
    )
    for sizes in optima.vertices():
        np.testing.assert_allclose(optima.network(sizes)(CROSS)[:, 0], optima.fit, atol=1e-6)


def test_weights_count_copies_and_zero_drops() -> None:
    rng = np.random.default_rng(11)
    X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
    weights = np.array([1.0, 2.0, 0.0, 1.0, 1.0, 3.0, 1.0, 1.0])
    model = ConvexRegressor(alpha=0.02, gates="enumerate").fit(X, y, weights)
    weighted = optimal_set(model, X, y, weights)
    copies = np.repeat(np.arange(8), weights.astype(int))
    model = ConvexRegressor(alpha=0.02, gates="enumerate").fit(X[copies], y[copies])
    repeated = optimal_set(model, X[copies], y[copies])
    order, other = (np.lexsort(s.directions.round(6).T) for s in (weighted, repeated))
    np.testing.assert_allclose(weighted.directions[order], repeated.directions[other], atol=1e-7)
    np.testing.assert_allclose(weighted.ranges()[order], repeated.ranges()[other], atol=1e-6)


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")
def test_above_the_largest_alpha_the_set_is_the_zero_network() -> None:
    X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    optima = optimal_set(enumerated(X, y, 11.0), X, y)
    assert optima.signs.size == 0
    assert optima.is_unique()
    assert optima.vertices().shape == (1, 0)
    assert optima.ranges().shape == (0, 2)
    assert optima.minimum_norm().shape == optima.sparsest().shape == (0,)
    assert optima.network().n_neurons == 0
    np.testing.assert_array_equal(optima.prediction_range(X), np.zeros((3, 2)))


def test_the_optimum_is_concave_in_beta_with_slope_the_sum_of_sizes() -> None:
    X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    betas, values, sizes = np.linspace(0.1, 2.0, 20), [], []
    for beta in betas:
        optima = optimal_set(enumerated(X, y, beta), X, y)
        values.append(objective(optima.network(), X, y, beta))
        sizes.append(float(optima.sizes.sum()))
    assert (np.diff(values, 2) <= 1e-10).all()
    assert (np.diff(sizes) <= 1e-10).all()
    slopes = np.diff(values) / np.diff(betas)  # between the slopes at both ends
    assert (slopes <= np.array(sizes[:-1]) + 1e-9).all()
    assert (slopes >= np.array(sizes[1:]) - 1e-9).all()


def test_slope_at_one_half() -> None:
    X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    ends = [objective(optimal_set(enumerated(X, y, b), X, y).network(), X, y, b)
            for b in (0.4999, 0.5001)]  # fmt: skip
    middle = optimal_set(enumerated(X, y, 0.5), X, y)
    assert middle.sizes.sum() == pytest.approx(0.99114, abs=1e-5)
    assert (ends[1] - ends[0]) / 2e-4 == pytest.approx(middle.sizes.sum(), abs=1e-7)


@settings(max_examples=40)
@given(seed=SEEDS, bias=st.booleans(), free=st.booleans())
def test_pruning_keeps_outputs_and_ends_independent(seed: int, bias: bool, free: bool) -> None:
    rng = np.random.default_rng(seed)
    n, d, m = rng.integers(2, 8), rng.integers(1, 4), rng.integers(1, 20)
    X, network = rng.standard_normal((n, d)), random_network(rng, m, d, bias)
    small = prune(network, X, fit_intercept=free, skip=free)
    np.testing.assert_allclose(small(X), network(X), atol=1e-9 * (1 + np.abs(network(X)).max()))
    assert small.weight_decay() <= network.weight_decay() * (1 + 1e-12)
    rank = np.linalg.matrix_rank(small.hidden(X)) if small.n_neurons else 0
    assert small.n_neurons == rank <= n
    again = prune(small, X, fit_intercept=free, skip=free)
    assert again.n_neurons == small.n_neurons
    if not free:
        np.testing.assert_array_equal(small.skip, network.skip)
        np.testing.assert_array_equal(small.intercept, network.intercept)


def test_pruning_dead_zero_and_duplicate_neurons() -> None:
    X = np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 0.0]])
    network = ReLUNetwork(
        weights_in=np.array(
            [[1.0, 1.0], [2.0, 2.0], [-1.0, -1.0], [0.0, 0.0], [1.0, -1.0], [0.0, 1.0]]
        ),
        weights_out=np.array([[1.0], [0.5], [7.0], [1.0], [-1.0], [0.0]]),
        intercept=np.ones(1),
        skip=np.zeros((2, 1)),
    )
    small = prune(network, X)
    assert small.n_neurons == 2  # the twins in one, and the negative one
    np.testing.assert_allclose(small(X), network(X))
    total = np.linalg.norm(network.weights_in[[0, 1, 4]], axis=1) @ [1.0, 0.5, 1.0]
    assert small.weight_decay() == pytest.approx(total)
    nothing = prune(
        ReLUNetwork(
            weights_in=np.zeros((0, 2)),
            weights_out=np.zeros((0, 1)),
            intercept=np.ones(1),
            skip=np.zeros((2, 1)),
        ),
        X,
    )
    assert nothing.n_neurons == 0


@given(seed=SEEDS, share=st.floats(1e-3, 1 - 1e-3))
def test_splitting_keeps_the_function_and_pruning_undoes_it(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    network, X = random_network(rng, 3, 3, bias=True), rng.standard_normal((12, 3))
    twins = split(network, int(rng.integers(3)), share)
    assert twins.n_neurons == 4
    everywhere = 10 * rng.standard_normal((50, 3))
    np.testing.assert_allclose(twins(everywhere), network(everywhere), rtol=1e-9, atol=1e-9)
    assert twins.weight_decay() == pytest.approx(network.weight_decay(), rel=1e-12)
    squares = [(net.weights_in**2).sum() + (net.weights_out**2).sum() for net in (twins, network)]
    assert squares[0] == pytest.approx(squares[1], rel=1e-12)
    assert prune(twins, X).n_neurons == prune(network, X).n_neurons


def test_wrong_models_and_networks() -> None:
    X, y = CROSS, np.array([1.0, 1.0, 1.0, -2.0])
    gated = ConvexRegressor(GatedReLU(), alpha=0.01, gates="sample", random_state=0).fit(X, y)
    with pytest.raises(UnsupportedError, match="one output, not for 'gated'"):
        optimal_set(gated, X, y)
    several = ConvexRegressor(alpha=0.01, gates="sample", random_state=0).fit(X, np.eye(4)[:, :2])
    with pytest.raises(UnsupportedError, match="the network has 2"):
        optimal_set(several, X, np.eye(4)[:, :2])
    model = enumerated(X, y, 0.2)
    with pytest.raises(ValueError, match="not the data that the model was trained on"):
        optimal_set(model, X, 2 * y)
    with pytest.raises(TypeError, match="alpha"):
        optimal_set(model, X, y, alpha=0.1)
    with pytest.raises(ValueError, match="gates is 'sample'"):
        optimal_set(model, X, y, gates="sample")
    with pytest.raises(TypeError, match="alpha"):
        optimal_set(model.network_, X, y)
    with pytest.raises(UnsupportedError, match="not for 'int'"):
        optimal_set(3, X, y, alpha=0.1)
    with pytest.raises(UnsupportedError, match="not for 'gated'"):
        prune(gated.network_, X)
    with pytest.raises(UnsupportedError, match="the network has 2"):
        split(several.network_, 0)


def test_a_network_that_is_not_optimal() -> None:
    model = enumerated(CROSS, np.ones(4), 0.2)
    with pytest.raises(ValueError, match=r"and the optimum 0\.0"):
        optimal_set(model.network_, CROSS, np.ones(4), alpha=0.01, fit_intercept=False)


@pytest.mark.parametrize(
    ("X", "y", "alpha", "message"),
    [
        (CROSS[:, :1], np.ones(4), 0.05, r"X has shape \(4, 1\); expected \(n, 2\)"),
        (CROSS, np.ones(3), 0.05, r"y has shape \(3,\) and X 4 rows"),
        (CROSS, np.ones((4, 2)), 0.05, r"y has shape \(4, 2\)"),
        (np.where(CROSS == 1, np.nan, CROSS), np.ones(4), 0.05, "NaN or infinite"),
        (CROSS, np.ones(4), 0.0, "alpha is 0.0; expected a positive number"),
    ],
)
def test_wrong_data(X: np.ndarray, y: np.ndarray, alpha: float, message: str) -> None:
    network = enumerated(CROSS, np.ones(4), 0.2).network_
    with pytest.raises(ValueError, match=message):
        optimal_set(network, X, y, alpha=alpha, fit_intercept=False)


def test_wrong_arguments_of_the_set(cross: OptimalSet, octagon: OptimalSet) -> None:
    with pytest.raises(ValueError, match=r"56 bases and the limit is 10"):
        octagon.vertices(limit=10)
    with pytest.raises(ValueError, match=r"sizes have shape \(3,\)"):
        cross.network(np.ones(3))
    with pytest.raises(ValueError, match="each at least 0"):
        cross.network(-cross.sizes)
    with pytest.raises(ValueError, match="off the fit"):
        cross.network(2 * cross.sizes)
    with pytest.raises(ValueError, match="trials is 0"):
        cross.sparsest(0)
    with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
        cross.prediction_range(np.ones((3, 3)))
    with pytest.raises(ValueError, match="neuron is 9"):
        split(cross.network(), 9)
    with pytest.raises(ValueError, match=r"share is 1\.0"):
        split(cross.network(), 0, 1.0)
    wrong = OptimalSet(
        X=CROSS,
        directions=cross.directions[:1],
        signs=np.ones(1),
        fit=cross.fit,
        free=free_columns(CROSS, intercept=False, skip=False),
    )
    with pytest.raises(ValueError, match="of the fit unexplained"):
        wrong.is_unique()
