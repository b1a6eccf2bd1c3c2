"""A ridge problem in the coefficients of its samples: any number of gates costs n^2."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures.base import Architecture, Network, Problem, assemble
from cvxnn.architectures.free import Free, free_columns
from cvxnn.arrays import Array, double, namespace, to_numpy
from cvxnn.certificate import Certificate, Scope, certify
from cvxnn.functions import KernelRidge, mean_loss
from cvxnn.gates import Gates
from cvxnn.maps import Coefficients
from cvxnn.program import Iterate, Program
from cvxnn.streamed import pick

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Represented:
    """A problem with a ridge penalty whose blocks are u = A* a, for coefficients a (n, c).

    Every optimum is of that form [Kimeldorf1971], and so is no worse point left out: the program
    in a has the same optimum, dual and bounds, and no product with the (p, d, c) blocks in it.
    These are made once, when the network is read off. Subsets keep all gates, equal ones too.
    """

    base: Problem
    kernel: Floats
    """A A* of all samples that there were at first, (N, N)."""
    index: NDArray[np.int64]
    """(n,): those of them that the problem has."""

    @property
    def architecture(self) -> Architecture:
        """That of the problem."""
        return self.base.architecture

    @property
    def X(self) -> Array:
        """The data, (n, d)."""
        return self.base.X

    @property
    def gates(self) -> Gates:
        """The gates."""
        return self.base.gates

    @property
    def free(self) -> Free:
        """The unpenalised columns."""
        return self.base.free

    @property
    def alpha(self) -> float:
        """The strength."""
        return self.base.alpha

    @property
    def scope(self) -> Scope:
        """What a lower bound speaks of."""
        return self.base.scope

    @property
    def program(self) -> Program:
        """The program in a, in float64."""
        return self._turned(self.base.program)

    def _turned(self, program: Program) -> Program:
        lift = Coefficients(self.kernel, self.index, program.lift.out_shape[-1])
        return replace(program, lift=lift, penalty=KernelRidge(self.alpha, lift.apply))

    def at(self, alpha: float) -> "Represented":
        """Return the same problem at another strength."""
        return replace(self, base=self.base.at(alpha))

    def subset(self, index: Array, weights: Array) -> "Represented":
        """Return the problem of samples, weighted anew."""
        base, host = self.base, to_numpy(index)
        xp, loss = namespace(base.X), base.program.loss
        X = pick(base.X, index)
        part = assemble(
            base.architecture.weighted(weights),
            X,
            Gates(base.gates.generators, base.gates.masks[:, host]),
            mean_loss(loss.loss, xp.take(loss.target, index, axis=0), weights),
            base.alpha,
            free=free_columns(X, intercept=base.free.intercept, skip=base.free.skip),
            outputs=base.program.lift.out_shape[-1],
            scope=base.scope,
        )
        return Represented(part, self.kernel, self.index[host])

    def admits(self, blocks: Array) -> bool:
        """Tell whether a solver may start from these coefficients."""
        return bool(blocks.shape == self.program.lift.in_shape)

    def gauge(self, dual: Array) -> float:
        """Return 0: every dual point is feasible at every strength."""
        return 0.0

    def within(self, interior: Array | None) -> "Represented":
        """Return the same problem with a dual point inside the domain of its loss's conjugate."""
        return replace(self, base=self.base.within(interior))

    def working(self) -> Program:
        """Return the program in the dtype of the data, for solvers."""
        return self._turned(self.base.working())

    def judge(self, iterate: Iterate) -> tuple[Certificate, Iterate]:
        """Certify an iterate of the program in a."""
        exactness = self.architecture.exactness
        return certify(self.program, iterate, scope=self.scope, exactness=exactness)

    def network(self, iterate: Iterate) -> Network:
        """Return the network of an iterate: the blocks A* a."""
        blocks = self.base.program.lift.adjoint(double(iterate.blocks).sum(axis=0))
        return self.base.network(iterate._replace(blocks=blocks))

    def outputs(self, part: "Represented", iterate: Iterate, rows: Array) -> Array:
        """Return the outputs (k, c), at some samples (k,) of this problem, that a subset found."""
        beside = self.kernel[np.ix_(self.index[to_numpy(rows)], part.index)]
        skip, intercept = part.free.weights(iterate.free)
        found = beside @ double(iterate.blocks).sum(axis=0) + intercept
        return found + double(pick(self.X, rows)) @ skip if part.free.skip else found

    def bounding(self, iterate: Iterate) -> Gates:
        """Return the gates that the bound speaks of."""
        return self.gates

    def objective(self, network: Network) -> float:
        """Return mean loss + alpha * weight decay of a network, in float64 on these data."""
        return self.base.objective(network)

    def settle(
        self,
        network: Network,
        iterate: Iterate,
        certificate: Certificate,
        tol: float,
        budget: float,
    ) -> tuple[Certificate, Array, Any]:
        """Return the network's certificate, the dual (n, c) that proves it, and no search tree."""
        return self.base.settle(network, iterate, certificate, tol, budget)

    def assess(self, network: Network, tol: float, budget: float) -> tuple[Certificate, Array, Any]:
        """Return what `settle` does for a network that no iterate stands for, by its dual point."""
        return self.base.assess(network, tol, budget)

    def certificate(self, network: Network, certificate: Certificate) -> Certificate:
        """Return the certificate with the network's own objective as its upper bound."""
        return self.base.certificate(network, certificate)


def represented(problem: Problem) -> Represented:
    """Return a ridge problem in coefficients of its samples; the kernel is made here."""
    lift: Any = problem.program.lift
    return Represented(problem, lift.kernel(), np.arange(problem.X.shape[0]))
