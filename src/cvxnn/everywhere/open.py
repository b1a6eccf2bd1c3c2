"""The training problem itself, no gates given: what `Problem` is to a program."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import Free, Network, Problem, assemble, evaluate
from cvxnn.architectures.base import Growing
from cvxnn.arrays import Array, double, to_numpy
from cvxnn.certificate import Certificate, Exactness, Scope, in_domain, resolution
from cvxnn.everywhere.bound import Proof, prove, recheck
from cvxnn.everywhere.duals import scaled
from cvxnn.everywhere.grow import unpack
from cvxnn.everywhere.neurons import Training
from cvxnn.everywhere.pooling import Pooling, merged
from cvxnn.everywhere.price import price
from cvxnn.functions import Mean
from cvxnn.gates import Gates
from cvxnn.program import Iterate, Program
from cvxnn.streamed import pick

_UNCLAIMED = 0.01
"""Share of a gap proved by search that is not claimed: another rounding proves a little less."""
_SEARCH = {"starts": 300, "steps": 24, "generations": 3}
"""The search behind an estimate, in single precision."""
_ROUGH, _BEST = {"starts": 300, "steps": 40, "generations": 1}, 8
"""The same behind a gauge, and how many candidates it hands on to double precision."""


@dataclass(frozen=True, eq=False)
class OpenProblem:
    """Training a network of any width; its iterates are neurons, (k, d + c) blocks."""

    base: Problem
    """The problem without any gate: data, loss, free columns, alpha."""
    architecture: Growing
    """Of the networks."""
    features: NDArray[np.float64]
    """Data on which neurons are ReLU neurons, turned and in units, (n, d)."""
    turn: NDArray[np.float64] | None
    """(d, n), an orthonormal basis of the row space where there are more columns than rows."""
    unit: float
    """The power of two next to the length of a row."""
    pooling: Pooling | None
    """How rows add up to samples; None: every row is one."""

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

    def at(self, alpha: float) -> "OpenProblem":
        """Return the same problem at another strength."""
        return replace(self, base=self.base.at(alpha))

    def subset(self, index: Array, weights: Array) -> "OpenProblem":
        """Return the problem of the samples at `index`, weighted by `weights`."""
        return _open(self.architecture.weighted(weights), self.base.subset(index, weights))

    def within(self, interior: Array | None) -> "OpenProblem":
        """Return the same problem with a dual point inside the domain of its loss's conjugate."""
        return replace(self, base=self.base.within(interior))

    def working(self) -> Training:
        """Return what solvers see, in host memory and float64."""
        loss = self.program.loss
        target, weights = (to_numpy(double(x)) for x in (loss.target, loss.weights))
        return Training(
            self.features,
            Mean(loss.loss, target, weights),
            to_numpy(self.free.columns),
            self.alpha / self.unit,
            self.turn,
            self.unit,
            self.pooling,
        )

    def admits(self, blocks: Array) -> bool:
        """Tell whether a solver may start from these neurons."""
        d = self.features.shape[1] if self.turn is None else len(self.turn)
        width = d + self.working().outputs
        return bool(blocks.ndim == 2 and blocks.shape[1] == width)

    def gauge(self, dual: Array) -> float:
        """Return the largest price that was found for a dual point (n, c): a lower bound."""
        training, rng = self.working(), np.random.default_rng(0)
        pulls = training.pulls(to_numpy(double(dual)))
        size = float(np.abs(pulls).max(initial=0.0)) or 1.0
        rough = price(
            training.single,
            (pulls / size).astype(np.float32),
            rng,
            **_ROUGH,
            whitening=training.whitening,
        )
        own = rough.directions[:_BEST].astype(np.float64)
        found = price(
            training.features,
            pulls,
            rng,
            starts=0,
            steps=40,
            own=own,
            whitening=training.whitening,
        )
        return max(float(found.values[0]), 0.0) * self.unit

    def judge(self, iterate: Iterate) -> tuple[Certificate, Iterate]:
        """Return the objective of the neurons; the lower bound is that losses are nonnegative."""
        training = self.working()
        certificate = self.certificate(training.objective(unpack(training, iterate)))
        return certificate, iterate

    def network(self, iterate: Iterate) -> Network:
        """Return the network of an iterate, its layers balanced."""
        training = self.working()
        neurons = unpack(training, iterate)
        weights = training.outward(neurons.weights)
        roots = np.sqrt(np.linalg.norm(weights, axis=1))[:, None]
        skip, intercept = self.free.weights(iterate.free)
        parameters = {
            "weights_in": weights / np.where(roots > 0, roots, 1.0),
            "weights_out": roots * neurons.outputs,
            "intercept": intercept,
            "skip": skip,
        }
        return self.architecture.grown(parameters, self.architecture.features(self.X))

    def outputs(self, part: "OpenProblem", iterate: Iterate, rows: Array) -> Array:
        """Return the outputs (k, c), at some samples (k,) of this problem, that a subset found."""
        return evaluate(part.network(iterate), pick(self.X, rows))

    def settle(
        self,
        network: Network,
        iterate: Iterate,
        certificate: Certificate,
        tol: float,
        budget: float,
    ) -> tuple[Certificate, Array, Proof]:
        """Prove a lower bound over all networks within `budget` seconds; 0: the quick one alone."""
        training = self.working()
        return self._proved(network, training.dual(unpack(training, iterate)), tol, budget)

    def assess(
        self, network: Network, tol: float, budget: float
    ) -> tuple[Certificate, Array, Proof]:
        """Return what `settle` does for any network, from its own dual point."""
        dual = -self.program.loss.gradient(evaluate(network, self.X))
        return self._proved(network, to_numpy(double(dual)), tol, budget)

    def _proved(
        self, network: Network, dual: NDArray[np.float64], tol: float, budget: float
    ) -> tuple[Certificate, Array, Proof]:
        upper = self.objective(network)
        proof = prove(
            self.working(),
            dual=dual,
            objective=upper,
            interior=self.program.interior,
            tol=tol,
            seconds=budget,
            rng=np.random.default_rng(0),
        )
        return self.certificate(upper, proof), proof.dual, proof

    def estimate(self, iterate: Iterate) -> float:
        """Return the relative gap if a search for the largest price missed nothing: no proof."""
        training = self.working()
        neurons = unpack(training, iterate)
        dual = in_domain(
            training.loss, training.columns, self.program.interior, training.dual(neurons)
        )
        found = price(
            training.single,
            training.pulls(dual).astype(np.float32),
            np.random.default_rng(1),
            **_SEARCH,
            own=neurons.weights / neurons.sizes[:, None],
            whitening=training.whitening,
        )
        upper = training.objective(neurons)
        lower = scaled(training, dual, max(float(found.values[0]) / training.alpha, 0.0)).lower
        return max(upper - lower, 0.0) / upper if upper > 0 else 0.0

    def bounding(self, iterate: Iterate) -> None:
        """Return None: the bound is over all networks."""

    def certificate(self, upper: float, proof: Proof | None = None) -> Certificate:
        """Return the certificate of an objective; without a proof losses are nonnegative."""
        lower = 0.0 if proof is None else proof.lower
        if proof is not None and proof.bound == "search":
            lower -= _UNCLAIMED * max(upper - lower, 0.0)
        return Certificate(
            upper=upper,
            lower=lower,
            scope=Scope.ALL_NETWORKS,
            exactness=Exactness.EXACT,
            bound="trivial" if proof is None else proof.bound,
            resolution=resolution(self.program),
        )

    def recheck(self, proof: Proof, dual: Array) -> float:
        """Return the lower bound on all networks that a stored proof gives for a dual (n, c)."""
        return recheck(self.working(), replace(proof, dual=dual))

    def objective(self, network: Network) -> float:
        """Return mean loss + alpha * weight decay of a network, in float64 on these data."""
        return self.base.objective(network)


def open_problem(architecture: Growing, X: Array, loss: Mean, free: Free) -> OpenProblem:
    """Return the problem of networks of any width at alpha = 1."""
    rows, width = architecture.features(X[:1]).shape
    none = Gates(np.zeros((0, width)), np.zeros((0, rows * X.shape[0]), dtype=np.bool_))
    outputs = loss.target.shape[1]
    scope = Scope.ALL_NETWORKS
    base = assemble(architecture, X, none, loss, 1.0, free=free, outputs=outputs, scope=scope)
    return _open(architecture, base)


def _open(architecture: Growing, base: Problem) -> OpenProblem:
    features = to_numpy(double(architecture.plain(architecture.features(base.X))))
    sums, pooling = architecture.sums(base.X.shape[0]), None
    if sums is not None:
        features, pooling = merged(features, sums, sums.shape[0] // base.X.shape[0])
    n, d = features.shape
    turn = np.linalg.svd(features, full_matrices=False)[2].T if d > n else None
    largest = float(np.abs(features).max(initial=0.0)) or 1.0
    length = largest * float(np.linalg.norm(features / largest)) / np.sqrt(n)
    unit = 2.0 ** round(np.log2(length or 1.0))
    turned = (features if turn is None else features @ turn) / unit
    return OpenProblem(base, architecture, turned, turn, unit, pooling)
