"""The laws of a closed convex function, on every one we have and every array library."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.conftest import Backend
from tests.instances import CONES, FUNCTIONS, LOSSES, NORMS, PENALTIES, FunctionInstance

from cvxnn.arrays import Array

STEPS = st.floats(-3, 3).map(lambda power: 10.0**power)
ENTRIES = st.floats(-4, 4, width=32).map(lambda x: x if abs(x) > 1e-6 else 0.0)
"""Exact in either dtype, and 0 or large enough that no square underflows beside another."""
DTYPES = st.sampled_from([np.float64, np.float32])
SMOOTH = [one for one in FUNCTIONS if one.make(np.asarray).smoothness < math.inf]
KINKED = [one for one in [*LOSSES, *NORMS] if one.make(np.asarray).smoothness == math.inf]

laws = settings(max_examples=10, deadline=None)
few = settings(max_examples=3, deadline=None)


def every(instances: list[FunctionInstance]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("instance", instances, ids=lambda one: one.name)


class Bench:
    """One function in one library and dtype, with points for it; sums are taken in float64."""

    def __init__(self, backend: Backend, instance: FunctionInstance, data: st.DataObject) -> None:
        self.backend, self.instance, self.data = backend, instance, data
        self.dtype = data.draw(DTYPES, label="dtype")
        self.eps = float(np.finfo(self.dtype).eps)
        self.function = instance.make(self.cast)

    def cast(self, x: np.ndarray) -> Array:
        return self.backend.asarray(x.astype(self.dtype))

    def point(self) -> Array:
        points = hnp.arrays(np.float64, self.instance.shape, elements=ENTRIES)
        return self.cast(self.data.draw(points))

    def step(self) -> float:
        return self.data.draw(STEPS, label="step")

    def near(self, x: Array) -> Array:
        """Return a point at a distance of any size from `x`."""
        return x + self.point() * 10.0 ** -self.data.draw(st.integers(0, 6), label="digits")

    def inside(self, x: Array) -> Array:
        """Return a point of the domain."""
        return self.function.prox(x, 1.0)


def dot(x: Array, y: Array) -> float:
    return float(np.sum(np.asarray(x, dtype=np.float64) * np.asarray(y, dtype=np.float64)))


def square(x: Array) -> float:
    return dot(x, x)


@every(FUNCTIONS)
@laws
@given(data=st.data())
def test_prox_is_the_minimiser(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    """The prox objective is 1-strongly convex: it grows at least like half the squared distance."""
    bench = Bench(backend, instance, data)
    x, step, function = bench.point(), bench.step(), bench.function
    best = function.prox(x, step)
    low = step * function.value(best) + square(best - x) / 2
    outside = bench.near(best)
    for other in (outside, bench.inside(outside)):
        value = step * function.value(other) + square(other - x) / 2
        size = 1 + abs(low) + square(x) + step * dot(abs(x), abs(x))
        assert value - low >= square(other - best) / 2 - 100 * bench.eps * size


@every(FUNCTIONS)
@laws
@given(data=st.data())
def test_prox_is_firmly_nonexpansive(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    bench = Bench(backend, instance, data)
    x, step = bench.point(), bench.step()
    y = bench.near(x)
    move = bench.function.prox(x, step) - bench.function.prox(y, step)
    assert square(move) <= dot(move, x - y) + 100 * bench.eps * (1 + square(x) + square(y))


@every(SMOOTH)
@laws
@given(data=st.data())
def test_prox_is_an_implicit_gradient_step(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    bench = Bench(backend, instance, data)
    x, step = bench.point(), bench.step()
    best = bench.function.prox(x, step)
    back = best + step * bench.function.gradient(best)
    size = (1 + step) * (8 + math.sqrt(square(x)))
    assert math.sqrt(square(back - x)) <= 50 * bench.eps * size


@every(KINKED)
@laws
@given(data=st.data())
def test_moreau(backend: Backend, instance: FunctionInstance, data: st.DataObject) -> None:
    """What a prox takes off, over the step, is a subgradient at the prox."""
    bench = Bench(backend, instance, data)
    x, step = bench.point(), bench.step()
    best = bench.function.prox(x, step)
    noise = 1000 * bench.eps * (1 + 1 / step)
    slope = (x - best) / step * max(0.0, 1 - noise)  # the quotient may lie just outside the domain
    total = bench.function.value(best) + bench.function.conjugate(slope)
    size = 1 + bench.function.value(best) + square(best)
    assert total == pytest.approx(dot(best, slope), abs=2 * noise * size)


@every(FUNCTIONS)
@laws
@given(data=st.data())
def test_fenchel_young(backend: Backend, instance: FunctionInstance, data: st.DataObject) -> None:
    """f(x) + f*(v) >= <x, v>, and equal for the gradient at x."""
    bench = Bench(backend, instance, data)
    x, y = bench.inside(bench.point()), bench.inside(bench.point())
    for point in (x, y):
        slope = bench.function.gradient(point)
        total = bench.function.value(x) + bench.function.conjugate(slope)
        size = 1 + bench.function.value(x) + square(x) + square(slope)
        assert total >= dot(x, slope) - 100 * bench.eps * size
        if point is x:
            assert total <= dot(x, slope) + 100 * bench.eps * size


@every(FUNCTIONS)
@laws
@given(data=st.data())
def test_gradient_supports(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    """f(y) >= f(x) + <gradient(x), y - x>: also where f has a kink."""
    bench = Bench(backend, instance, data)
    x = bench.inside(bench.point())
    y = bench.near(x)
    base = bench.function.value(x)
    size = 1 + abs(base) + square(x) + square(y)
    rise = dot(bench.function.gradient(x), y - x)
    assert bench.function.value(y) >= base + rise - 100 * bench.eps * size


@every(SMOOTH)
@laws
@given(data=st.data())
def test_smoothness_bounds_the_gradient(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    bench = Bench(backend, instance, data)
    x = bench.point()
    y = bench.near(x)
    change = bench.function.gradient(x) - bench.function.gradient(y)
    bound = bench.function.smoothness * math.sqrt(square(x - y))
    assert math.sqrt(square(change)) <= bound * (1 + 100 * bench.eps) + 100 * bench.eps


@every(SMOOTH)
@laws
@given(data=st.data())
def test_gradient_matches_differences(instance: FunctionInstance, data: st.DataObject) -> None:
    function = instance.make(np.asarray)
    points = hnp.arrays(np.float64, instance.shape, elements=ENTRIES)
    x, direction = data.draw(points), data.draw(points)
    step = 1e-5
    ahead, behind = function.value(x + step * direction), function.value(x - step * direction)
    slope = dot(function.gradient(x), direction)
    # a kink of the gradient inside the difference costs smoothness * step * |direction|^2
    slack = 1e-8 + function.smoothness * step * square(direction)
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, abs=slack)


@every(NORMS)
@laws
@given(data=st.data())
def test_polar_and_direction_are_dual(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    """<v, u> <= polar(v) penalty(u) per block, and `direction` attains it."""
    bench = Bench(backend, instance, data)
    v, u = bench.point(), bench.inside(bench.point())
    polar, best = bench.function.polar(v), bench.function.direction(v)
    assert tuple(polar.shape) == (v.shape[0],)
    for b in range(v.shape[0]):
        block = (slice(b, b + 1), ...)
        size = float(polar[b])
        slack = 100 * bench.eps * (1 + size)
        assert dot(v[block], best[block]) == pytest.approx(size, abs=slack)
        assert bench.function.value(best[block]) == pytest.approx(float(size > 0), abs=slack)
        penalty = bench.function.value(u[block])
        assert dot(v[block], u[block]) <= size * penalty + slack * (1 + penalty)


@every(PENALTIES)
@laws
@given(data=st.data())
def test_polar_bounds_the_domain_of_the_conjugate(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    bench = Bench(backend, instance, data)
    v = bench.point()
    largest = float(max(bench.function.polar(v)))
    assert math.isfinite(bench.function.conjugate(v)) == (largest <= 1 + 8 * bench.eps)
    if 1e-30 < largest < math.inf:
        assert math.isfinite(bench.function.conjugate(v / largest * (1 - 4 * bench.eps)))
        assert bench.function.conjugate(v / largest * (1 + 100 * bench.eps)) == math.inf


@every(CONES)
@laws
@given(data=st.data())
def test_projection_splits_a_point(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    """A point is a member of K plus an orthogonal member of its polar cone [Moreau1962]."""
    bench = Bench(backend, instance, data)
    x = bench.point()
    part = bench.function.prox(x, bench.step())
    size = square(x)
    assert bench.function.value(part) == 0
    assert bench.function.conjugate(-part) == 0
    assert abs(dot(part, x - part)) <= 100 * bench.eps * size
    opposite = bench.function.prox(x - part, 1.0)
    assert math.sqrt(square(opposite)) <= 100 * bench.eps * math.sqrt(size)
    assert bench.function.violation(x) <= math.sqrt(square(x - part)) * (1 + 8 * bench.eps)


@every(FUNCTIONS)
@few
@given(data=st.data())
def test_library_and_dtype_are_kept(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    bench = Bench(backend, instance, data)
    x, function = bench.point(), bench.function
    for answer in (function.gradient(x), function.prox(x, 0.5)):
        assert type(answer) is type(x)
        assert answer.dtype == x.dtype
        assert answer.shape == x.shape
    for number in (function.value(x), function.conjugate(x), function.smoothness):
        assert type(number) is float


@every(PENALTIES)
@few
@given(data=st.data())
def test_polar_and_direction_keep_library_and_dtype(
    backend: Backend, instance: FunctionInstance, data: st.DataObject
) -> None:
    bench = Bench(backend, instance, data)
    x = bench.point()
    polar, best = bench.function.polar(x), bench.function.direction(x)
    assert type(polar) is type(best) is type(x)
    assert polar.dtype == best.dtype == x.dtype
    assert best.shape == x.shape
