"""Column generation: inner solves that are cut off, and the prices that a path hands on."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.solvers.problems import Sizes, draw

from cvxnn.architectures import GatedReLU
from cvxnn.certificate import certify
from cvxnn.functions import GroupNorm, Quantile, Squared, mean_loss
from cvxnn.maps import Gated
from cvxnn.program import Program
from cvxnn.projection import gauges
from cvxnn.solve import Status, solve
from cvxnn.solvers import Reference, WorkingSet


def test_inner_solves_that_are_cut_off_get_more_iterations() -> None:
    problem = draw([11], GatedReLU(), Quantile(), Sizes(n=20, d=3, p=8, outputs=1)).problem
    program = problem.working()
    truth = solve(program, Reference(), tol=1e-8, judge=problem.judge).certificate
    found = solve(program, WorkingSet(max_iter=3), tol=1e-6, max_iter=100, judge=problem.judge)
    assert found.status is Status.OPTIMAL
    assert abs(found.certificate.upper - truth.upper) <= 1e-6 * truth.upper


def test_a_path_is_priced_by_the_gauges_of_the_last_certificate() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(80, 6))
    y = np.maximum(X @ rng.normal(size=6), 0.0)[:, None]
    lift = Gated(X, (X @ rng.normal(size=(6, 400)) > 0).astype(float), 1)
    loss, free = mean_loss(Squared(), y), np.ones((80, 1))
    here, there = (
        Program(loss=loss, lift=lift, penalty=GroupNorm(alpha), free=free) for alpha in (0.05, 0.04)
    )
    end = solve(here, WorkingSet(), tol=1e-6).iterate
    assert end.gauges is not None
    state = WorkingSet().init(there, end)
    assert state.score == pytest.approx(np.asarray(gauges(there, end.dual)), rel=1e-9)
    priced, again = (
        solve(there, WorkingSet(), start=start, tol=1e-6)
        for start in (end, end._replace(gauges=None))
    )
    assert priced.certificate.upper == pytest.approx(again.certificate.upper, rel=2e-6)
    assert priced.certificate.proves(1e-6)
    other = end._replace(gauges=end.gauges[:7])  # of other gates
    assert WorkingSet().init(there, other).score is None
    # those of other data choose the first working set, and no more
    wrong = end._replace(gauges=rng.uniform(size=400))
    assert solve(there, WorkingSet(), start=wrong, tol=1e-6).certificate.proves(1e-6)


@dataclass(frozen=True, eq=False)
class Counted(Gated):
    """A map that notes every product with all of its gates; a part of it does not."""

    products: list[int]

    def adjoint(self, z: Any) -> Any:
        self.products.append(1)
        return super().adjoint(z)


def test_a_round_is_priced_by_its_certificate() -> None:
    rng = np.random.default_rng(8)
    X, products = rng.normal(size=(80, 6)), list[int]()
    y = np.maximum(X @ rng.normal(size=6), 0.0)[:, None]
    lift = Counted(X, (X @ rng.normal(size=(6, 400)) > 0).astype(float), 1, products)
    loss, free = mean_loss(Squared(), y), np.ones((80, 1))
    program = Program(loss=loss, lift=lift, penalty=GroupNorm(0.02), free=free)
    solution = solve(program, WorkingSet(), tol=1e-7)
    assert solution.certificate.proves(1e-7)
    assert solution.iterations > 1
    assert len(products) == len(solution.trace)  # one in each, and no other
    # what a certificate brings proves nothing: the last round measures for itself
    misled = WorkingSet()
    state = misled.init(program, None)
    for _ in range(60):
        wrong = state.iterate._replace(gauges=rng.uniform(size=400))
        state = misled.step(program, misled.checked(program, state, wrong))
        if misled.done(state):
            break
    assert misled.done(state)
    found = certify(program, misled.read(program, state))[0]
    assert found.proves(1e-7)


@dataclass(frozen=True, eq=False)
class Parted(Gated):
    """A map that notes how many gates its parts have."""

    sizes: list[int]

    def restrict(self, blocks: Any) -> Gated:
        self.sizes.append(len(blocks))
        return super().restrict(blocks)


@pytest.mark.parametrize(
    ("share", "size", "first"), [(0.5, 20, 20), (0.9, 20, 10), (0.999, 20, 10), (0.999, 1, 1)]
)
def test_half_as_many_blocks_are_added_close_to_the_solution_and_never_none(
    share: float, size: int, first: int
) -> None:
    """The gap of the zero network is (1 - share)^2."""
    rng = np.random.default_rng(2)
    X, sizes = rng.normal(size=(60, 5)), list[int]()
    y = np.maximum(X @ rng.normal(size=5), 0.0)[:, None]
    lift = Parted(X, (X @ rng.normal(size=(5, 300)) > 0).astype(float), 1, sizes)
    loss, free = mean_loss(Squared(), y), np.zeros((60, 0))
    program = Program(loss=loss, lift=lift, penalty=GroupNorm(1.0), free=free)
    largest = float(gauges(program, -program.loss.gradient(np.zeros((60, 1)))).max())
    program = replace(program, penalty=GroupNorm(share * largest))
    found = solve(program, WorkingSet(size=size), tol=1e-9, max_iter=200)
    assert found.status is Status.OPTIMAL
    assert found.iterate.blocks.any()
    assert sizes[:2] == [1, first]  # one price that the certificate brings is measured again
