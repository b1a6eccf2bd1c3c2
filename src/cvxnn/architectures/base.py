"""What every architecture gives, and how its pieces become one program."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np

from cvxnn.architectures.free import Free, free_columns
from cvxnn.arrays import Array, double, namespace, to_numpy
from cvxnn.certificate import (
    Certificate,
    Exactness,
    Scope,
    certify,
    feasible_dual,
    resolution,
)
from cvxnn.functions import Cells, Mean, Nuclear, Outputs, Parts, Penalty, mean_loss
from cvxnn.gates import Gates, Source
from cvxnn.maps import Lift, row_blocks
from cvxnn.prices import Prices
from cvxnn.program import Constraint, Iterate, Program
from cvxnn.projection import polar_bound
from cvxnn.streamed import pick, row_width

_WIDE = 4096
"""Width of a row at which blocks grow no shorter: a network's weights are read for each of them."""
_SEARCHES = Parts | Cells | Outputs
"""Penalties whose polar in a cone is found by a search for multipliers."""
_SEARCHED = 1e-7
"""By which share a bound that needs a search for multipliers is claimed lower."""
_SHORT, _FEW = 1e-4, 8
"""The same for nuclear norms in cones where blocks have more entries than these few: cutting planes
stop short there, by 2e-5 at ten entries."""


def _share(program: Program) -> float:
    """Return by which share a bound is claimed lower than the search for multipliers proves it."""
    norm: Any = program.penalty
    while isinstance(norm, Cells | Outputs):
        norm = norm.norm
    short = isinstance(norm, Nuclear) and program.lift.in_shape[1] > _FEW
    return _SHORT if short else _SEARCHED


class Network(Protocol):
    """A trained network: its weights, and nothing that is needed only for training."""

    @property
    def architecture(self) -> str:
        """Name of the architecture that it belongs to."""

    @property
    def rules(self) -> Array:
        """(m, d) or (m, d + 1): the vectors whose half-spaces are the neurons' patterns."""

    @property
    def weights_in(self) -> Array:
        """(m, d), or (m, d + 1) with the hidden bias last."""

    @property
    def weights_out(self) -> Array:
        """(m, c), or (m, cells, c)."""

    @property
    def intercept(self) -> Array:
        """(c,), zeros when it was not fitted."""

    @property
    def skip(self) -> Array:
        """(d, c), zeros when it was not fitted."""

    @property
    def lengths(self) -> Array:
        """(m,): what weight decay counts of each neuron's first layer, on the host."""

    @property
    def n_neurons(self) -> int:
        """m."""

    def __call__(self, X: Array) -> Array:
        """Return the outputs (n, c) for samples (n, d)."""

    def hidden(self, X: Array) -> Array:
        """Return the activations (n, m) of the neurons, or (n, m * cells) of each in every cell."""

    def weight_decay(self) -> float:
        """Return sum over neurons of |w_in| |w_out|, what alpha multiplies."""

    def parameters(self) -> dict[str, Array]:
        """Return every array by name; the constructor takes them back."""


class Sizes(NamedTuple):
    """How many numbers a program holds."""

    lift: int
    """In its maps, beside the data."""
    blocks: int
    """In one primal point."""
    rows: int
    """In one point of its cones."""
    wide: int = 0
    """In its maps too, but in float64 whatever the data are in."""


AXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "weights_in": ("neurons", "width"),
        "weights_out": ("neurons", "outputs"),
        "intercept": ("outputs",),
        "skip": ("features", "outputs"),
    }
)
"""The axes of what the networks of two layers have in common; width counts the bias."""


class Architecture(Protocol):
    """A recipe from data and gates to a program, and from its solution to a network and back."""

    @property
    def name(self) -> str:
        """How users call it."""

    @property
    def exactness(self) -> Exactness:
        """How the program stands to the network."""

    @property
    def source(self) -> Source:
        """Where its gates come from."""

    @property
    def grows(self) -> bool:
        """Whether it is trained over all networks by adding neurons, where the loss is smooth."""

    @property
    def streams(self) -> bool:
        """Whether row blocks of the data will do for training on given gates."""

    @property
    def steady(self) -> bool:
        """Whether a neuron's output moves no faster than x'u, and its size is |u|."""

    @property
    def axes(self) -> Mapping[str, tuple[str, ...]]:
        """Axes of its network's parameters, by name; axes of one name have one length."""

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return what a bound over given gates speaks of; `every`: they are all patterns.

        All networks on any gates says that there are none to choose.
        """

    def weighted(self, weights: Array) -> "Architecture":
        """Return the architecture whose statistics count training samples `weights` (n,) times."""

    def features(self, X: Array) -> Array:
        """Return what the neurons see, (n, d) or (n, d + 1); some rows for each sample, or one."""

    def lift(self, features: Array, gates: Gates, outputs: int) -> Lift:
        """Return A."""

    def constraint(self, features: Array, gates: Gates, outputs: int) -> Constraint | None:
        """Return C and K, or None."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the penalty that weight decay becomes."""

    def of(self, network: Any) -> "Architecture":
        """Return the architecture with the options that this network shows."""

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> Network:
        """Return the network of some blocks; `features` are those of the training data."""

    def unlift(self, network: Any, gates: Gates, features: Array) -> Array:
        """Return blocks whose network computes the same; the inverse of `recover`."""

    def stated(self, network: Any, X: Array) -> Network:
        """Return the network that does the same on these data and holds their statistics."""

    def network(self, parameters: dict[str, Array]) -> Network:
        """Return the network with these arrays, as its `parameters` gave them."""

    def mean(self, networks: Sequence[Any]) -> Network:
        """Return the network whose outputs are the mean of theirs; arrays in host memory."""

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return how many numbers its maps and points hold, for features (n, d)."""


class Growing(Architecture, Protocol):
    """An architecture that `grows`: on data made of its features its neurons are ReLU neurons."""

    def weighted(self, weights: Array) -> "Growing":
        """Return the architecture whose statistics count training samples `weights` (n,) times."""

    def plain(self, features: Array) -> Array:
        """Return data X' (n, D) on which every neuron is max(0, X'u), of length |u|."""

    def sums(self, n: int) -> Any:
        """Return the sparse matrix (n * cells, N) that adds up rows of X', (N, D), to n samples.

        None where every sample is a row.
        """

    def grown(self, parameters: dict[str, Array], features: Array) -> Network:
        """Return the network of a ReLU network's parameters on X'; `features` are in training."""


def growing(architecture: Architecture) -> TypeGuard[Growing]:
    """Tell whether it is trained over all networks by adding neurons, where the loss is smooth."""
    return architecture.grows


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A network's training problem, and the program that solves it."""

    architecture: Architecture
    X: Array
    gates: Gates
    free: Free
    program: Program
    """In float64: loss and free columns; the lift widens its data as it goes."""
    alpha: float
    scope: Scope
    prices: Prices = field(default_factory=Prices)
    """Of this problem at all of its strengths."""

    def at(self, alpha: float) -> "Problem":
        """Return the same problem at another strength."""
        penalty = self.architecture.penalty(alpha, self.program.lift.out_shape[-1])
        return replace(self, alpha=alpha, program=replace(self.program, penalty=penalty))

    def subset(self, index: Array, weights: Array) -> "Problem":
        """Return the problem of samples, weighted anew, on the gates that stay distinct there."""
        xp, loss, host = namespace(self.X), self.program.loss, to_numpy(index)
        X = pick(self.X, index)
        return assemble(
            self.architecture.weighted(weights),
            X,
            self.architecture.source.useful(
                self.gates.of_samples(host, self.X.shape[0]),
                self.architecture.features(X),
            ),
            mean_loss(loss.loss, xp.take(loss.target, index, axis=0), weights),
            self.alpha,
            free=free_columns(X, intercept=self.free.intercept, skip=self.free.skip),
            outputs=self.program.lift.out_shape[-1],
            scope=self.scope,
        )

    def admits(self, blocks: Array) -> bool:
        """Tell whether a solver may start from these blocks."""
        return bool(blocks.shape == self.program.lift.in_shape)

    def gauge(self, dual: Array) -> float:
        """Return the smallest alpha at which a dual point (n, c) is feasible."""
        return polar_bound(self.at(1.0).program, dual, enough=0.0)

    def within(self, interior: Array | None) -> "Problem":
        """Return the same problem with a dual point inside the domain of its loss's conjugate."""
        return replace(self, program=replace(self.program, interior=interior))

    def working(self) -> Program:
        """Return the program in the dtype of the data, for solvers."""
        dtype, loss, xp = self.X.dtype, self.program.loss, namespace(self.X)
        columns = xp.astype(self.free.columns, dtype, copy=False)
        target = xp.astype(loss.target, dtype, copy=False)
        weights = xp.astype(loss.weights, dtype, copy=False)
        return replace(
            self.program, loss=replace(loss, target=target, weights=weights), free=columns
        )

    def judge(self, iterate: Iterate) -> tuple[Certificate, Iterate]:
        """Certify an iterate of the program."""
        exactness, prices = self.architecture.exactness, self.prices
        return certify(self.program, iterate, scope=self.scope, exactness=exactness, prices=prices)

    def network(self, iterate: Iterate) -> Network:
        """Return the network of an iterate whose blocks are inside their cones."""
        skip, intercept = self.free.weights(iterate.free)
        features = self.architecture.features(self.X)
        blocks = double(iterate.blocks)
        return self.architecture.recover(self.gates, blocks, intercept, skip, features)

    def outputs(self, part: "Problem", iterate: Iterate, rows: Array) -> Array:
        """Return the outputs (k, c), at some samples (k,) of this problem, that a subset found."""
        return evaluate(part.network(iterate), pick(self.X, rows))

    def bounding(self, iterate: Iterate) -> Gates:
        """Return the gates that the bound speaks of."""
        return self.gates

    def objective(self, network: Network) -> float:
        """Return mean loss + alpha * weight decay of a network, in float64 on these data."""
        return objective(network, self.X, self.program.loss, self.alpha)

    def settle(
        self,
        network: Network,
        iterate: Iterate,
        certificate: Certificate,
        tol: float,
        budget: float,
    ) -> tuple[Certificate, Array, Any]:
        """Return the network's certificate, the dual (n, c) that proves it, and no search tree.

        A solver's multipliers prove a bound exactly; where a search for them will do so only
        nearly, the claim is what it proves of the dual point alone.
        """
        if self.program.constraint is not None and isinstance(self.program.penalty, _SEARCHES):
            alone = feasible_dual(self.program, iterate.dual)[0]
            lower = min(certificate.lower, alone - _share(self.program) * abs(alone))
            certificate = replace(certificate, lower=lower)
        return self.certificate(network, certificate), iterate.dual, None

    def assess(self, network: Network, tol: float, budget: float) -> tuple[Certificate, Array, Any]:
        """Return what `settle` does for a network that no iterate stands for, by its dual point."""
        dual = -self.program.loss.gradient(evaluate(network, self.X))
        lower, dual = feasible_dual(self.program, dual)
        exactness = self.architecture.exactness
        claim = Certificate(upper=np.inf, lower=lower, scope=self.scope, exactness=exactness)
        return self.certificate(network, claim), dual, None

    def certificate(self, network: Network, certificate: Certificate) -> Certificate:
        """Return the certificate with the network's own objective as its upper bound."""
        listed = self.scope is Scope.ALL_NETWORKS and len(self.gates) > 0
        return replace(
            certificate,
            upper=self.objective(network),
            bound="enumeration" if listed else "dual",
            resolution=resolution(self.program),
        )


def objective(network: Network, X: Array, loss: Mean, alpha: float) -> float:
    """Return mean loss + alpha * weight decay of a network, in float64."""
    return loss.value(evaluate(network, X)) + alpha * network.weight_decay()


def evaluate(network: Network, X: Array) -> Array:
    """Return a network's outputs in float64, the data widened by row blocks."""
    return by_rows(lambda x: network(double(x)), X, network.n_neurons)


def by_rows(function: Callable[[Array], Array], X: Array, neurons: int) -> Array:
    """Return function(X), computed for some rows of X at a time."""
    blocks = row_blocks(X.shape[0], min(row_width(X) + neurons, _WIDE))
    parts = [function(X[rows, :]) for rows in blocks] or [function(X[:0, :])]
    return parts[0] if len(parts) == 1 else namespace(*parts).concat(parts, axis=0)


def assemble(
    architecture: Architecture,
    X: Array,
    gates: Gates,
    loss: Mean,
    alpha: float,
    *,
    free: Free,
    outputs: int,
    scope: Scope = Scope.GIVEN_GATES,
    interior: Array | None = None,
) -> Problem:
    """Return the problem of training `architecture` on `X` with these gates."""
    features = architecture.features(X)
    program = Program(
        loss=loss,
        lift=architecture.lift(features, gates, outputs),
        penalty=architecture.penalty(alpha, outputs),
        free=free.columns,
        constraint=architecture.constraint(features, gates, outputs),
        interior=interior,
    )
    return Problem(
        architecture=architecture,
        X=X,
        gates=gates,
        free=free,
        program=program,
        alpha=alpha,
        scope=scope,
    )
