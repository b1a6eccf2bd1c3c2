"""Training networks of neurons that jump, no gates given: what `Problem` is to a program."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import Architecture, Free, Network, Problem, assemble, evaluate
from cvxnn.arrays import Array, double, like, to_numpy
from cvxnn.certificate import Certificate, Exactness, Scope, feasible_dual, resolution
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.bound import Proof
from cvxnn.functions import Mean
from cvxnn.gates import Gates, Search, searching
from cvxnn.program import Iterate, Program
from cvxnn.solve import solve
from cvxnn.solvers import WorkingSet
from cvxnn.streamed import pick

Floats = NDArray[np.float64]

_STARTS, _CIRCLES = 128, 80
"""Of the search behind an estimate."""
_QUICK = 30
"""Circles of the search for the largest useful strength."""
_SHARPER, _ROUNDS = 0.1, 50
"""Relative gap of the last solve, as a share of that asked for, and its iterations at most."""


@dataclass(frozen=True, eq=False)
class JumpProblem:
    """Training a network of any width over all patterns of a source that searches.

    Its iterates are gates and rows of weights side by side, (k, width + c) blocks.
    """

    base: Problem
    """The problem without any gate: data, loss, free columns, alpha."""
    search: Search
    """For the patterns that a dual point asks for."""

    @property
    def architecture(self) -> Architecture:
        """Of the networks."""
        return self.base.architecture

    @property
    def X(self) -> Array:
        """The data, (n, d)."""
        return self.base.X

    @property
    def free(self) -> Free:
        """The unpenalised columns."""
        return self.base.free

    @property
    def program(self) -> Program:
        """The program of the null model."""
        return self.base.program

    @property
    def alpha(self) -> float:
        """Strength of weight decay."""
        return self.base.alpha

    @property
    def width(self) -> int:
        """Entries of a generator."""
        return int(self.base.gates.generators.shape[1])

    def at(self, alpha: float) -> "JumpProblem":
        """Return the same problem at another strength."""
        return replace(self, base=self.base.at(alpha))

    def subset(self, index: Array, weights: Array) -> "JumpProblem":
        """Return the problem of the samples at `index`, weighted by `weights`."""
        return _searched(self.base.subset(index, weights))

    def within(self, interior: Array | None) -> "JumpProblem":
        """Return the same problem with a dual point inside the domain of its loss's conjugate."""
        return replace(self, base=self.base.within(interior))

    def working(self) -> "JumpProblem":
        """Return what solvers see."""
        return self

    def on(self, gates: Gates) -> Problem:
        """Return the problem of some gates."""
        return assemble(
            self.architecture,
            self.X,
            gates,
            self.program.loss,
            self.alpha,
            free=self.free,
            outputs=self.program.lift.out_shape[-1],
            interior=self.program.interior,
        )

    def outputs(self, part: "JumpProblem", iterate: Iterate, rows: Array) -> Array:
        """Return the outputs (k, c), at some samples (k,) of this problem, that a subset found."""
        return evaluate(part.network(iterate), pick(self.X, rows))

    def admits(self, blocks: Array) -> bool:
        """Tell whether a solver may start from these gates and weights."""
        outputs = self.program.lift.out_shape[-1]
        return bool(blocks.ndim == 2 and blocks.shape[1] == self.width + outputs)

    def gauge(self, dual: Array) -> float:
        """Return the largest worth that was found for a dual point (n, c): a lower bound."""
        host, rng = to_numpy(double(dual)), np.random.default_rng(0)
        gates = self.search.wanted(host, rng, circles=_QUICK)
        return float(self.search.worth(gates.take([0]), host)[0])

    def judge(self, iterate: Iterate) -> tuple[Certificate, Iterate]:
        """Return the objective of an iterate; the lower bound is that losses are nonnegative."""
        problem, own = self.on(self.unpack(iterate)[0]), self.start(iterate)
        upper = problem.program.objective(own.blocks, own.free)
        return self._claim(upper, 0.0, Scope.ALL_NETWORKS, "trivial"), iterate

    def network(self, iterate: Iterate) -> Network:
        """Return the network of an iterate."""
        return self.on(self.unpack(iterate)[0]).network(self.start(iterate))

    def settle(
        self,
        network: Network,
        iterate: Iterate,
        certificate: Certificate,
        tol: float,
        budget: float,
    ) -> tuple[Certificate, Array, Proof | None]:
        """Return the network's certificate and the dual (n, c) that proves it.

        It is over all networks where the search goes through every pattern, else over the gates
        of the iterate.
        """
        problem = self.on(self.unpack(iterate)[0])
        solution = solve(
            problem.working(),
            WorkingSet(),
            start=self.start(iterate),
            tol=_SHARPER * tol,
            max_iter=_ROUNDS,
            judge=problem.judge,
        )
        return self._proved(network, solution.iterate.dual, problem)

    def assess(
        self, network: Network, tol: float, budget: float
    ) -> tuple[Certificate, Array, Proof | None]:
        """Return what `settle` does for any network, on its own gates, from its own dual point."""
        dual = -self.program.loss.gradient(evaluate(network, self.X))
        return self._proved(network, dual, self.on(self.gates(to_numpy(network.rules))))

    def _proved(
        self, network: Network, dual: Array, problem: Problem
    ) -> tuple[Certificate, Array, Proof | None]:
        upper = self.objective(network)
        if (lower := self.bound(dual)) is not None:
            value, dual = lower
            proof = Proof(to_numpy(dual), value, "enumeration", None, 0.0)
            return self._claim(upper, value, Scope.ALL_NETWORKS, proof.bound), dual, proof
        value, dual = feasible_dual(problem.program, dual)
        return self._claim(upper, value, Scope.GIVEN_GATES, "dual"), dual, None

    def bound(self, dual: Array) -> tuple[float, Array] | None:
        """Return the bound on all networks that a dual point (n, c) gives, and a feasible point.

        None where no search goes through every pattern.
        """
        shape, search = self.program.lift.out_shape, self.search
        whole = self.architecture.scope(every=True, outputs=shape[-1]) is Scope.ALL_NETWORKS
        # patterns of drawn inner layers are all there are only if every column is one
        if search.most(np.zeros(shape)) is None or not (whole or search.shattered):
            return None
        return self.scaled(dual, lambda v: float(self.search.most(v) or 0.0))

    def scaled(self, dual: Array, most: Callable[[Floats], float]) -> tuple[float, Array]:
        """Return the bound of a dual point where `most` gives the largest worth of a pattern."""
        return feasible_dual(
            self.program, dual, gauge_of=lambda v: most(to_numpy(double(v))) / self.alpha
        )

    def recheck(self, proof: Proof, dual: Array) -> float:
        """Return the lower bound on all networks that a dual (n, c) gives, minus infinity if none.

        Nothing of the proof is used but that there is one.
        """
        found = self.bound(dual)
        return -np.inf if found is None else found[0]

    def estimate(self, iterate: Iterate) -> float:
        """Return the relative gap if a wide search from its dual point missed nothing."""
        gates, rng = self.unpack(iterate)[0], np.random.default_rng(1)
        upper = self.judge(iterate)[0].upper

        def most(v: Floats) -> float:
            near = gates.generators
            found = self.search.wanted(v, rng, near, starts=_STARTS, circles=_CIRCLES)
            every = (self.search.worth(each, v) for each in (found, gates))
            return max(float(values.max(initial=0.0)) for values in every)

        lower, _ = self.scaled(iterate.dual, most)
        return max(upper - lower, 0.0) / upper if upper > resolution(self.program) else 0.0

    def bounding(self, iterate: Iterate) -> Gates:
        """Return the gates that the bound speaks of where it is not over all networks."""
        return self.unpack(iterate)[0]

    def start(self, iterate: Iterate) -> Iterate:
        """Return an iterate as one of the problem of its gates."""
        points = self.unpack(iterate)[1], iterate.free, iterate.dual
        return Iterate(*(like(to_numpy(x), self.program.free) for x in points))

    def gates(self, generators: Floats) -> Gates:
        """Return the gates of some generators (k, width), which may be none."""
        if not len(generators):
            return self.base.gates
        return self.architecture.source.given(self.search.features, generators)

    def pack(self, gates: Gates, blocks: Floats) -> Floats:
        """Return gates (k, width) and weights (k, 1, c) side by side."""
        return np.concatenate([gates.generators, blocks[:, 0]], axis=1)

    def unpack(self, iterate: Iterate) -> tuple[Gates, Floats]:
        """Return the gates and the weights (k, 1, c) of an iterate."""
        blocks = to_numpy(double(iterate.blocks))
        if not self.admits(blocks):  # a start without neurons
            return self.base.gates, np.zeros((0, 1, self.program.lift.out_shape[-1]))
        return self.gates(blocks[:, : self.width]), blocks[:, None, self.width :]

    def objective(self, network: Network) -> float:
        """Return mean loss + alpha * weight decay of a network, in float64 on these data."""
        return self.base.objective(network)

    def _claim(self, upper: float, lower: float, scope: Scope, bound: str) -> Certificate:
        return Certificate(
            upper=upper,
            lower=lower,
            scope=scope,
            exactness=Exactness.EXACT,
            bound=bound,
            resolution=resolution(self.program),
        )


def jump_problem(architecture: Architecture, X: Array, loss: Mean, free: Free) -> JumpProblem:
    """Return the problem of networks of any width at alpha = 1; its source must search."""
    width = architecture.features(X[:1]).shape[1]
    none = Gates(np.zeros((0, width)), np.zeros((0, X.shape[0]), dtype=np.bool_))
    outputs = loss.target.shape[1]
    return _searched(assemble(architecture, X, none, loss, 1.0, free=free, outputs=outputs))


def _searched(base: Problem) -> JumpProblem:
    source = base.architecture.source
    if not searching(source):
        raise UnsupportedError(
            f"{base.architecture.name} networks have no search for patterns; pass gates='sample'"
        )
    return JumpProblem(base, source.search(base.architecture.features(base.X)))
