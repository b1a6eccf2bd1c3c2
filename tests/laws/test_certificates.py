"""The laws of a certificate: it never says more than is true, and a false one is caught."""

import math
from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.linalg import orth
from scipy.optimize import nnls
from tests.instances import ARCHITECTURES, WITH_GATES, with_bias
from tests.solvers.problems import LOSSES, Drawn, Sizes, draw

from cvxnn import Certificate, ConvexRegressor, Exactness, Scope
from cvxnn.architectures import (
    Architecture,
    Attention,
    BatchNorm,
    BatchNormAfter,
    Circular,
    ConvGated,
    DeepThreshold,
    GatedReLU,
    GatedRidge,
    Mixer,
    Polynomial,
    ReLU,
    Threshold,
    in_places,
)
from cvxnn.certificate import certify, check, feasible_dual, resolution
from cvxnn.functions import Quantile, SampleLoss
from cvxnn.gates import SubNetworks
from cvxnn.program import Iterate
from cvxnn.projection import inside_cones, nearest, project_onto_cone, unit_rows
from cvxnn.solve import solve
from cvxnn.solvers import Reference
from cvxnn.solvers.working_set import restrict
from cvxnn.training import problem_of

SIZES = Sizes(n=10, d=3, p=5, outputs=3)
SEEDS = st.integers(0, 2**16)
NO_FACES = np.zeros(0, dtype=np.int64)

laws = settings(max_examples=15, deadline=None)
few = settings(max_examples=6, deadline=None)

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
with_gates = pytest.mark.parametrize("architecture", WITH_GATES, ids=lambda one: one.name)
every = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.name)


def drawn(loss: SampleLoss, architecture: Any, seed: int) -> Drawn:
    chosen = with_bias(architecture, bool(seed % 2))
    return draw([seed, LOSSES.index(loss)], chosen, loss, SIZES)


def some_point(problem: Any, rng: np.random.Generator) -> Iterate:
    """A feasible primal point and an arbitrary dual one, of any size."""
    program = problem.program
    size = 10.0 ** rng.uniform(-3, 1)
    blocks = size * rng.standard_normal(program.lift.in_shape)
    blocks *= rng.uniform(size=(len(blocks), 1, 1)) < 0.5
    free = size * rng.standard_normal((program.free.shape[1], program.lift.out_shape[1]))
    dual = program.loss.weights * rng.standard_normal(program.lift.out_shape)
    dual *= 10.0 ** rng.uniform(-3, 1)
    return Iterate(inside_cones(program, blocks), free, dual)


def shares_of(problem: Any) -> np.ndarray:
    """How much every sample counts in statistics, with mean one."""
    weights = problem.program.loss.weights[:, 0]
    return np.asarray(weights / weights.mean())


def dense_features(problem: Any) -> np.ndarray:
    X = problem.X
    if isinstance(problem.architecture, BatchNorm):  # in another basis: norms do not see it
        shares = shares_of(problem)[:, None]
        U = orth(np.sqrt(shares) * (X - (shares * X).mean(axis=0)), rcond=1e-10) / np.sqrt(shares)
        return np.column_stack([len(X) ** 0.5 * U, np.ones(len(X))])
    return np.column_stack([X, np.ones(len(X))]) if problem.architecture.bias else X


# the two bounds


@every_loss
@every
@laws
@given(seed=SEEDS)
def test_lower_is_below_every_objective(
    loss: SampleLoss, architecture: Architecture, seed: int
) -> None:
    """Any dual point at all gives a bound that holds at every feasible point."""
    problem, rng = drawn(loss, architecture, seed).problem, np.random.default_rng(seed)
    program = problem.program
    points = [some_point(problem, rng) for _ in range(4)]
    slopes = [-program.loss.gradient(program.predict(point.blocks, point.free)) for point in points]
    values = [program.objective(point.blocks, point.free) for point in points]
    for dual in [*slopes, *(point.dual for point in points), 0 * slopes[0]]:
        lower, _ = feasible_dual(program, dual)
        assert not math.isnan(lower)
        assert lower <= min(values) + resolution(program)


@every_loss
@every
@few
@given(seed=SEEDS)
def test_lower_never_exceeds_the_optimum(
    loss: SampleLoss, architecture: Architecture, seed: int
) -> None:
    problem, rng = drawn(loss, architecture, seed).problem, np.random.default_rng(seed)
    program = problem.program
    solution = solve(program, Reference(), tol=1e-7)
    optimum = solution.certificate.upper
    slack = 1e-12 * optimum + resolution(program)
    assert solution.certificate.lower <= optimum + slack
    for _ in range(4):
        point = some_point(problem, rng)
        mixture = rng.uniform() * point.dual + (1 - rng.uniform()) * solution.iterate.dual
        for dual in (point.dual, mixture, solution.iterate.dual * rng.uniform(0.5, 2)):
            assert feasible_dual(program, dual)[0] <= optimum + slack


@every_loss
@with_gates
@few
@given(seed=SEEDS)
def test_more_gates_never_raise_the_optimum(
    loss: SampleLoss, architecture: Architecture, seed: int
) -> None:
    problem = drawn(loss, architecture, seed).problem
    p = len(problem.gates)
    half = np.arange((p + 1) // 2)
    copies = problem.program.lift.in_shape[0] // p  # one for each sign of a neuron with cones
    index = np.concatenate([half + k * p for k in range(copies)])
    fewer = solve(restrict(problem.program, index), Reference(), tol=1e-7).certificate
    more = solve(problem.program, Reference(), tol=1e-7).certificate
    slack = 1e-12 * fewer.upper + resolution(problem.program)
    assert more.lower <= fewer.upper + slack
    assert more.upper <= fewer.upper * (1 + 2e-7) + slack


@every_loss
@every
@laws
@given(seed=SEEDS)
def test_the_dual_point_is_feasible(
    loss: SampleLoss, architecture: Architecture, seed: int
) -> None:
    """Checked with dense matrices: F'v = 0, and the dual norm of every block, or its price."""
    problem, rng = drawn(loss, architecture, seed).problem, np.random.default_rng(seed)
    own = in_places(architecture)  # patches, or another norm
    program = problem.program
    deep = isinstance(architecture, DeepThreshold)  # its gates see inner layers
    X = problem.architecture.features(problem.X) if own or deep else dense_features(problem)
    lower, v = feasible_dual(program, some_point(problem, rng).dual)
    price = 0.0
    if isinstance(architecture, GatedRidge):
        slopes = [(mask[:, None] * X).T @ v for mask in problem.gates.masks]
        price = sum(float((slope**2).sum()) for slope in slopes) / (2 * problem.alpha)
    if math.isfinite(lower):
        value = -program.loss.conjugate(-v) - price
        assert value == pytest.approx(lower, rel=1e-9, abs=1e-12 * (1 + price))
    size = np.abs(program.free).sum(axis=0).max(initial=0.0) * np.abs(v).max(initial=0.0)
    assert np.abs(program.free.T @ v).max(initial=0.0) <= 1e-12 * size + 1e-15
    alpha, slack = problem.alpha * (1 + 1e-9), 1e-12 * np.abs(v).sum() * (1 + np.abs(X).max())
    if isinstance(architecture, Polynomial):
        units = rng.standard_normal((X.shape[1], 50))
        units /= np.linalg.norm(units, axis=0)
        weights = architecture.square, architecture.linear, architecture.constant
        assert np.abs(np.polyval(weights, X @ units).T @ v).max() <= alpha + slack
    if isinstance(architecture.source, SubNetworks):
        for gate in range(len(problem.gates)):
            reached = sub_network_reach(problem, problem.gates.take([gate]), v, X, rng)
            assert reached <= alpha + slack
        return
    if isinstance(architecture, Attention | Mixer):
        masks = problem.gates.masks if architecture.gated else [None]
        reaching = unit_reach if isinstance(architecture, Mixer) else head_reach
        for mask in masks:
            assert reaching(problem.architecture, mask, X, v) <= alpha + slack
        return
    if own:
        reach = circular_reach if isinstance(architecture, Circular) else filter_reach
        for mask in problem.gates.masks:
            assert reach(problem.architecture, mask, X, v, rng) <= alpha + slack
        return
    for mask in () if isinstance(architecture, GatedRidge) else problem.gates.masks:
        slope = (mask[:, None] * X).T @ v
        if isinstance(architecture, Threshold | DeepThreshold):
            slope = (2.0 * mask - 1 if architecture.sign else 1.0 * mask) @ v
        if isinstance(architecture, GatedReLU | Threshold | DeepThreshold):
            assert np.linalg.norm(np.atleast_2d(slope), 2) <= alpha + slack
            continue
        for u in cone_members(mask, X, rng):
            reach = np.maximum(X @ u, 0) @ v  # what a neuron of this cone gains, either sign
            if isinstance(architecture, BatchNormAfter):
                reach = normalised_reach(np.maximum(X @ u, 0), v, shares_of(problem))
            assert np.abs(reach).max() <= alpha + slack


def head_reach(kind: Any, mask: np.ndarray | None, X: np.ndarray, v: np.ndarray) -> float:
    """What a head with weights of unit length gains at most: a spectral norm, token by token."""
    tokens = X.reshape(len(v), kind.tokens.count, -1)
    there = tokens.any(axis=2)
    shares = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    if kind.readout == "first":
        shares = there * (np.arange(kind.tokens.count) == 0)
    seen = np.ones((len(v), *2 * [kind.tokens.count])) if mask is None else mask
    seen = seen.reshape(len(v), *2 * [kind.tokens.count])
    words = "nt,ntu,ntl,nuk,num,nc->lkmc", shares, seen, tokens, tokens, tokens, v
    d = tokens.shape[2]
    return float(np.linalg.norm(np.einsum(*words, optimize=True).reshape(d * d, -1), 2))


def unit_reach(kind: Any, mask: np.ndarray | None, X: np.ndarray, v: np.ndarray) -> float:
    """The same of a mixer's unit."""
    tokens = X.reshape(len(v), kind.tokens.count, -1)
    there = tokens.any(axis=2)
    shares = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    shares = there if kind.readout == "sum" else shares
    open_ = np.ones(tokens.shape) if mask is None else mask.reshape(tokens.shape)
    words = "nt,ntm,num,nc->tumc", 1.0 * shares, open_, tokens, v
    s = tokens.shape[1]
    return float(np.linalg.norm(np.einsum(*words, optimize=True).reshape(s * s, -1), 2))


def sub_network_reach(
    problem: Any, gate: Any, v: np.ndarray, X: np.ndarray, rng: np.random.Generator
) -> float:
    """What sub-networks of one gate gain at most: gated ones, or ReLU ones near the gate's own."""
    by_layers = problem.architecture.decay == "layers"
    source, found = problem.architecture.source, 0.0
    views = [X[path % source.views :: source.views] for path in range(gate.generators.shape[1])]
    if not source.signed:
        slopes = zip(views, gate.masks[0].T, strict=True)
        columns = [(mask[:, None] * x).T @ v for x, mask in slopes]
        if source.tied:  # sub-networks of one output each
            matrices = np.stack(columns, axis=1)
            return max(float(np.linalg.norm(each, 2)) for each in matrices.transpose(2, 0, 1))
        whole = columns if by_layers else [np.concatenate(columns)]
        return max(float(np.linalg.norm(each, 2)) for each in whole)
    for scale in (0.0, 1e-3, 0.1, 1.0, 1.0):
        moved = gate.generators + scale * rng.standard_normal(gate.generators.shape)
        if (source.given(X, moved).masks == gate.masks).all():
            inner, weights = moved[0, :, :-1], moved[0, :, -1]  # three layers
            first = np.stack([x @ u for x, u in zip(views, inner, strict=True)], axis=1)
            output = np.maximum(np.maximum(first, 0) @ weights, 0)
            sizes = np.linalg.norm(inner, axis=1) * np.abs(weights)
            size = sizes.sum() if by_layers else np.linalg.norm(sizes)
            found = max(found, float(np.abs(output @ v).max() / size))
    return found


def filter_reach(
    kind: Any, mask: np.ndarray, X: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> float:
    """What a unit filter of a pattern gains at most, place by place."""
    patches, n = kind.patches, len(v)
    count, h = patches.count, X.shape[1]
    inside = [patches.cell == cell for cell in range(patches.n_cells)]
    shares = [on / on.sum() if kind.pooling == "average" else 1.0 * on for on in inside]
    rows, open_ = X.reshape(n, count, h), mask.reshape(n, count)
    if isinstance(kind, ConvGated):
        slopes = [np.einsum("k,nk,nkh,nc->hc", share, open_, rows, v) for share in shares]
        return float(np.linalg.norm(np.concatenate(slopes, axis=1), 2))
    if kind.pooling == "max":  # in the cone where the winner wins, and is not negative
        cone = []
        for sample, on in zip(rows, open_, strict=True):
            for cell in inside:
                won = on & cell
                best = sample[won]  # one or none
                cone += [*(best - sample[cell]), *best] if won.any() else [*-sample[cell]]
        units = [moreau(np.array(cone), g) for g in rng.standard_normal((20, h))]
    else:
        units = cone_members(mask, X, rng)
    gains = [0.0]
    for u in units:
        values = np.maximum(rows @ u, 0) * (open_ if kind.pooling == "max" else 1.0)
        inward = np.abs(np.stack([(values * share).sum(axis=1) @ v for share in shares])).max()
        gains.append(float(inward) / max(float(np.linalg.norm(u)), 1e-3))
    return max(gains)


def circular_reach(
    kind: Any, mask: np.ndarray, X: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> float:
    """What a vector with |F z|_1 = sqrt(d) gains at most."""
    root = X.shape[1] ** 0.5
    if kind.gated:
        slope = (mask[:, None] * X).T @ v
        return root * float(np.abs(np.fft.fft(slope, axis=0, norm="ortho")).max())
    gains = [0.0]
    for u in cone_members(mask, X, rng):
        size = np.abs(np.fft.fft(u, norm="ortho")).sum() / root
        gains.append(float(np.abs(np.maximum(X @ u, 0) @ v).max() / size))
    return max(gains)


def normalised_reach(neuron: np.ndarray, v: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """What a neuron that is normalised and shifted gains at most, per output."""
    centred = neuron - (shares * neuron).mean()
    size = np.sqrt((shares * centred**2).mean())
    scaled = centred / size if size > 1e-6 else 0 * centred
    return np.hypot(scaled @ v, v.sum(axis=0))


def cone_members(mask: np.ndarray, X: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Unit vectors of the cone of a mask: projections, by someone else's solver, of random ones."""
    rows = (2.0 * mask - 1)[:, None] * X
    projected = [moreau(rows, g) for g in rng.standard_normal((20, X.shape[1]))]
    units = [u / np.linalg.norm(u) for u in projected if np.linalg.norm(u) > 1e-3]
    return [u for u in units if (rows @ u >= -1e-10 * (1 + np.abs(X).max())).all()]


def moreau(rows: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The projection of g onto {u : rows u >= 0}, by SciPy's nonnegative least squares."""
    return g + rows.T @ nnls(rows.T, -g)[0] if len(rows) else g


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@every_loss
@every
def test_a_dual_point_that_is_no_number_proves_what_zero_proves(
    loss: SampleLoss, architecture: Architecture, bad: float
) -> None:
    program = drawn(loss, architecture, 3).problem.program
    dual = np.zeros(program.lift.out_shape)
    with np.errstate(invalid="ignore"):
        found, v = feasible_dual(program, dual + bad)
    assert np.isfinite(v).all()
    assert found == feasible_dual(program, dual)[0]


# projection onto cones


def degenerate(data: st.DataObject) -> tuple[np.ndarray, np.ndarray]:
    """Rows with zeros, copies, opposite, parallel and nearly parallel ones; and a vector."""
    d = data.draw(st.integers(1, 5))
    entries = st.integers(-3, 3).map(float)
    rows = data.draw(hnp.arrays(np.float64, (data.draw(st.integers(0, 8)), d), elements=entries))
    if len(rows) and data.draw(st.booleans()):
        extra = rows[data.draw(st.integers(0, len(rows) - 1))]
        factor = data.draw(st.sampled_from([1.0, 2.5, -1.0, 0.0]))
        nudge = data.draw(st.sampled_from([0.0, 1e-9, 1e-5])) * np.arange(d)
        rows = np.concatenate([rows, (factor * extra + nudge)[None]])
    if data.draw(st.booleans()):
        rng = np.random.default_rng(data.draw(SEEDS))
        rows = rows + rng.standard_normal(rows.shape)
    g = data.draw(hnp.arrays(np.float64, d, elements=entries))
    return rows, g


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_projection_is_the_interior_point_solvers(data: st.DataObject) -> None:
    rows, g = degenerate(data)
    unit = unit_rows(rows)
    u = cp.Variable(len(g))
    oracle = cp.Problem(cp.Minimize(cp.sum_squares(u - g)), [unit @ u >= 0] if len(unit) else [])
    oracle.solve(solver=cp.CLARABEL)
    size = 1 + float(np.linalg.norm(g))
    distance = float(np.linalg.norm(project_onto_cone(rows, g[:, None])[:, 0] - g))
    assert distance**2 == pytest.approx(oracle.value, abs=1e-6 * size**2)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_projection_is_nonnegative_least_squares(data: st.DataObject) -> None:
    rows, g = degenerate(data)
    unit = unit_rows(rows)
    point, faces = nearest(unit, g, NO_FACES)
    close = {"rtol": 0, "atol": 1e-7 * (1 + float(np.linalg.norm(g)))}
    np.testing.assert_allclose(point, moreau(unit, g), **close)
    whole = project_onto_cone(rows, np.stack([g, -g], axis=1))
    np.testing.assert_allclose(whole, np.stack([point, moreau(unit, -g)], axis=1), **close)
    # a good guess of the faces, and a bad one, lead to the same point
    np.testing.assert_allclose(nearest(unit, g, faces)[0], point, **close)
    np.testing.assert_allclose(nearest(unit, g, np.arange(len(unit)))[0], point, **close)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_projection_splits_a_vector(data: st.DataObject) -> None:
    """g is a member of the cone minus a nonnegative sum of its rows, orthogonal [Moreau1962]."""
    rows, g = degenerate(data)
    unit = unit_rows(rows)
    point, _ = nearest(unit, g, NO_FACES)
    size = 1 + float(np.linalg.norm(g))
    assert (unit @ point >= -1e-9 * size).all()
    rest = point - g
    assert abs(point @ rest) <= 1e-9 * size**2
    if len(unit):  # in the span of nonnegative weights
        assert nnls(unit.T, rest)[1] <= 1e-9 * size
    else:
        assert not rest.any()


# rounding, and bounds that contradict each other


def certificate(upper: float, lower: float, unit: float = 0.0) -> Certificate:
    return Certificate(
        upper=upper,
        lower=lower,
        scope=Scope.GIVEN_GATES,
        exactness=Exactness.EXACT,
        resolution=unit,
    )


@given(upper=st.floats(0, 1e6), share=st.floats(-1, 1), digits=st.integers(3, 16))
def test_the_relative_gap_hides_rounding_only(upper: float, share: float, digits: int) -> None:
    unit = 10.0**-digits
    found = certificate(upper, upper - share, unit)
    if found.gap > unit:
        assert found.relative_gap >= found.gap / max(upper, 1e-300) * (1 - 1e-12)
        assert found.relative_gap > 0
    elif found.gap < -unit - 1e-9 * upper:
        assert found.relative_gap == math.inf  # contradictory bounds prove nothing
        assert not found.proves(1e300)
    else:
        assert found.relative_gap == 0


@pytest.mark.parametrize("upper", [math.inf, math.nan, -math.inf])
@pytest.mark.parametrize("unit", [0.0, math.inf, math.nan])
def test_no_number_proves_nothing(upper: float, unit: float) -> None:
    for lower in (0.0, math.inf, -math.inf):
        assert not certificate(upper, lower, unit).proves(1e300)


@every_loss
@every
@few
@given(seed=SEEDS)
def test_bounds_of_a_program_do_not_contradict(
    loss: SampleLoss, architecture: Architecture, seed: int
) -> None:
    """Solved as well as float64 can, upper stays above lower up to the tolerance of a cone."""
    problem = drawn(loss, architecture, seed).problem
    solution = solve(problem.working(), Reference(), tol=1e-300, judge=problem.judge)
    assert certificate_of(problem, solution).relative_gap < 1e-5


@pytest.mark.parametrize("level", [0.01, 0.99])
@pytest.mark.parametrize("side", [-1, 1])
def test_rounding_of_a_fitted_quantile_is_no_gap(level: float, side: int) -> None:
    """A few units in the last place beside the target, on the steep side too, are an optimum."""
    y = np.array([[1.0], [2.0], [3.0]])
    arch = GatedReLU(bias=False)
    gates = arch.source.draw(arch.features(y), 1, np.random.default_rng(0))
    kind: dict[str, Any] = {"scope": Scope.GIVEN_GATES, "intercept": False, "skip": True}
    program = problem_of(arch, y, y, None, Quantile(level=level), gates, **kind).at(1.0).program
    slope = (1 + side * 4 * np.finfo(float).eps) * np.linalg.lstsq(program.free, y)[0]
    point = Iterate(np.zeros(program.lift.in_shape), slope, np.zeros(y.shape))
    certificate, _ = certify(program, point)
    assert certificate.upper > 0
    assert certificate.proves(0.0)


def certificate_of(problem: Any, solution: Any) -> Certificate:
    return problem.certificate(problem.network(solution.iterate), solution.certificate)


# verification


@pytest.fixture(scope="module")
def claim() -> Any:
    """A true claim, and what shows it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 2))
    y = np.abs(X[:, 0]) - X[:, 1]
    words = {"alpha": 0.02, "n_gates": 12, "solver": "fista", "random_state": 0}
    return ConvexRegressor("gated", **words).fit(X, y).evidence(X, y)


def test_a_true_claim_is_accepted(claim: Any) -> None:
    verdict = check(claim)
    assert verdict.accepted, verdict.reason
    assert verdict.certificate.upper == pytest.approx(claim.claim.upper, rel=1e-12)


@given(factor=st.floats(0, 3).filter(lambda x: abs(x - 1) > 1e-3))
@laws
def test_a_wrong_objective_is_rejected(claim: Any, factor: float) -> None:
    verdict = check(claim._replace(objective=factor * claim.objective))
    assert not verdict
    assert "objective is" in verdict.reason


@given(seed=SEEDS, size=st.floats(1e-2, 10))
@laws
def test_a_wrong_dual_is_rejected(claim: Any, seed: int, size: float) -> None:
    noise = np.random.default_rng(seed).standard_normal(claim.dual.shape)
    wrong = claim.dual + size * np.abs(claim.dual).max() * noise
    verdict = check(claim._replace(dual=wrong))
    assert not verdict
    assert "dual vector proves" in verdict.reason


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_none_are_rejected(claim: Any, bad: float) -> None:
    with np.errstate(invalid="ignore"):
        assert not check(claim._replace(dual=claim.dual * bad))
    assert not check(claim._replace(objective=bad))
    assert not check(claim._replace(claim=replace(claim.claim, upper=bad)))
    assert not check(claim._replace(claim=replace(claim.claim, lower=bad)))


def test_a_claim_of_more_than_is_proved_is_rejected(claim: Any) -> None:
    upper, lower = claim.claim.upper, claim.claim.lower
    for other in (
        replace(claim.claim, lower=(upper + lower) / 2),
        replace(claim.claim, lower=upper),
        replace(claim.claim, upper=lower),
        replace(claim.claim, lower=2 * upper),
    ):
        assert not check(claim._replace(claim=other))


def test_an_objective_below_the_bound_is_rejected(claim: Any) -> None:
    """A network that beats the bound of its scope is not in its scope."""
    lucky = 0.5 * claim.claim.lower
    boast = replace(claim.claim, upper=lucky)
    assert not check(claim._replace(claim=boast, objective=lucky))


def test_objections_reject(claim: Any) -> None:
    assert "other data" in check(claim._replace(objections=("other data",))).reason


def test_upper_is_the_objective_inside_the_cones() -> None:
    for seed in range(20):
        problem = drawn(LOSSES[0], ReLU(), seed).problem
        rng = np.random.default_rng(seed)
        outside = rng.standard_normal(problem.program.lift.in_shape)
        point = some_point(problem, rng)._replace(blocks=outside)
        found, inside = certify(problem.program, point)
        assert found.violation <= 1e-9
        assert found.upper == problem.program.objective(inside.blocks, inside.free)
