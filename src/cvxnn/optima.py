"""All optimal two-layer ReLU networks with one output, and exact moves between them.

The optimal neurons share a dual point v: each is a multiple of a unit direction u with
s v' max(0, X u) = alpha. Those directions are finitely many, and the optimal networks, up to the
order and the splitting of neurons, are the sizes c >= 0 that give the optimal fit
[Mishkin2023; Wang2022].
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, islice
from typing import Any

import numpy as np
from scipy.optimize import linprog, nnls

from cvxnn.architectures import Free, ReLUNetwork, free_columns
from cvxnn.architectures.shared import with_bias
from cvxnn.everywhere.neurons import Floats
from cvxnn.support import (
    EXPLAINED,
    Support,
    as_data,
    independent,
    least_sizes,
    off,
    require_network,
    support_of_model,
    support_of_network,
)

_RANK = 1e-8
"""Singular values of the atoms below this share of the largest are rounding."""
_CONDITION = 1e6
"""Bases of the equations that are worse than this are dependent up to rounding."""
_ZERO = 1e-9
"""Sizes below this share of their sum are zero."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OptimalSet:
    """The networks sum_j c_j s_j max(0, x'u_j) + free part over sizes c >= 0 with one training fit.

    {c >= 0 : atoms c + F b = fit for some b} is a polytope, on which the sum of sizes, and so the
    objective, is constant [Mishkin2023; Wang2022]; with squared or logistic loss it holds every
    optimal network of the program, with other losses those with this fit. Its vertices are the
    networks of which no part is a network with that fit. Raises ValueError on use where the atoms
    cannot make the fit.

    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) / 2**0.5
    >>> cross = OptimalSet(
    ...     X=X,
    ...     directions=corners,
    ...     signs=np.ones(4),
    ...     fit=np.full(4, 0.9),
    ...     free=free_columns(X, intercept=False, skip=False),
    ... )
    >>> cross.is_unique(), (cross.vertices() > 0).astype(int).tolist()
    (False, [[0, 1, 1, 0], [1, 0, 0, 1]])
    """

    X: Floats
    """(n, d)."""
    directions: Floats
    """u, (m, d) unit rows, or (m, d + 1) with the hidden bias last."""
    signs: Floats
    """s, (m,)."""
    fit: Floats
    """(n,), the training outputs of every optimal network."""
    free: Free
    """F, the unpenalised columns of intercept and skip."""

    @cached_property
    def atoms(self) -> Floats:
        """Return s_j max(0, X u_j), (n, m)."""
        return self._atoms(self.X)

    def _atoms(self, X: Floats) -> Floats:
        features = with_bias(X, self.directions.shape[1] > self.X.shape[1])
        return np.asarray(np.maximum(features @ self.directions.T, 0.0) * self.signs)

    @cached_property
    def sizes(self) -> Floats:
        """Return the sizes (m,) of one optimal network."""
        sizes, left = least_sizes(self.free, self.atoms, self.fit)
        if left > EXPLAINED * float(np.linalg.norm(self.fit)):
            raise ValueError(
                f"the {len(self.signs)} atoms leave {left:.1e} of the fit unexplained; pass the "
                "fit and the directions of one optimum, found to a smaller tolerance"
            )
        return sizes

    @cached_property
    def equations(self) -> Floats:
        """Return R, (rank, m) orthonormal rows: the sizes c >= 0 with R c = R sizes are optimal."""
        if not len(self.signs):
            return np.zeros((0, 0))
        _, spectrum, right = np.linalg.svd(off(self.free, self.atoms), full_matrices=False)
        return np.asarray(right[spectrum > _RANK * spectrum[0]])

    @property
    def dimension(self) -> int:
        """Return how many directions leave the equations as they are; 0 where c is unique."""
        return len(self.signs) - len(self.equations)

    def is_unique(self) -> bool:
        """Tell whether one network is optimal, up to order and splitting of neurons.

        It is if the atoms are independent; else by the least and the largest size of each neuron.
        """
        total = float(self.sizes.sum())
        if self.dimension == 0 or total == 0:
            return True
        low, high = self.ranges().T
        return bool((high - low <= 1e-7 * total).all())

    def ranges(self) -> Floats:
        """Return the least and the largest size of each neuron, (m, 2): two LPs each."""
        return self._extremes(np.eye(len(self.signs)))

    def prediction_range(self, X: Floats) -> Floats:
        """Return the least and the largest prediction for each row of `X` (k, d), as (k, 2)."""
        X = as_data(X, self.X.shape[1])
        columns = np.column_stack([X, np.ones(len(X))]) @ self.free.transform
        constant = columns @ self.free.coefficients(self.fit[:, None])
        slopes = self._atoms(X) - columns @ self.free.coefficients(self.atoms)
        return np.asarray(self._extremes(slopes) + constant)

    def _extremes(self, costs: Floats) -> Floats:
        """Return min and max of the rows of `costs` (k, m) times c, (k, 2)."""
        if self.dimension == 0:
            return np.repeat((costs @ self.sizes)[:, None], 2, axis=1)
        return np.array([[cost @ self._best(cost), cost @ self._best(-cost)] for cost in costs])

    def _best(self, cost: Floats) -> Floats:
        """Return the vertex of least `cost`; sizes are in units of their sum meanwhile."""
        total = float(self.sizes.sum())
        if self.dimension == 0 or total == 0:
            return self.sizes
        right = self.equations @ self.sizes / total
        scale = float(np.abs(cost).max()) or 1.0
        found = linprog(
            cost / scale,
            A_eq=self.equations,
            b_eq=right,
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if found.x is None:
            raise ArithmeticError(f"the linear program of the sizes failed: {found.message}")
        used = np.flatnonzero(found.x > _ZERO)
        sizes = np.zeros(len(cost))
        sizes[used] = np.linalg.lstsq(self.equations[:, used], right)[0]
        return np.maximum(total * sizes, 0.0)

    def vertices(self, limit: int = 200_000) -> Floats:
        """Return the sizes of all inclusion-minimal networks, (k, m), the smallest networks first.

        Their atoms are independent, so that they are among the C(m, rank) bases, which are tried
        one by one; ValueError where these are more than `limit`.
        """
        rank, count = self.equations.shape
        bases = math.comb(count, rank)
        if bases > limit:
            raise ValueError(
                f"{count} atoms of rank {rank} have {bases:,} bases and the limit is {limit:,}; "
                "use sparsest() or ranges(), or raise the limit"
            )
        total = float(self.sizes.sum())
        if total == 0:
            return np.zeros((1, count))
        right = self.equations @ self.sizes / total
        found: dict[bytes, Floats] = {}
        every = combinations(range(count), rank)
        while chunk := list(islice(every, 4096)):
            index = np.array(chunk)
            square = self.equations[:, index].transpose(1, 0, 2)
            index, square = (x[np.linalg.cond(square) < _CONDITION] for x in (index, square))
            solved = np.linalg.solve(square, np.tile(right[:, None], (len(square), 1, 1)))[:, :, 0]
            good = (solved > -_ZERO).all(axis=1)
            for used, part in zip(index[good], solved[good], strict=True):
                sizes = np.zeros(count)
                sizes[used] = np.where(part > _ZERO, part, 0.0)
                found.setdefault((sizes > 0).tobytes(), total * sizes)
        order = sorted(found, key=lambda key: (sum(key), key))
        return np.stack([found[key] for key in order])

    def sparsest(self, trials: int = 100, seed: int = 0) -> Floats:
        """Return the sizes (m,) of the network of fewest neurons among some random vertices.

        A random linear objective has its optimum at a vertex; `trials` of them are tried and the
        best is kept. The fewest neurons of all are NP-hard to find; `vertices` does, on small sets.
        """
        if trials < 1:
            raise ValueError(f"trials is {trials}; try at least one vertex")
        rng = np.random.default_rng(seed)
        costs = rng.standard_normal((trials, len(self.signs)))
        return min((self._best(cost) for cost in costs), key=np.count_nonzero)

    def minimum_norm(self) -> Floats:
        """Return the sizes c (m,) of least sum c^2, the most even ones; they are unique.

        With c = p + N z, p the least solution of R c = R sizes and N an orthonormal basis of R's
        null space, this is the least z with N z >= -p, by nonnegative least squares [Lawson1974,
        chapter 23].
        """
        total = float(self.sizes.sum())
        if self.dimension == 0 or total == 0:
            return self.sizes
        least = self.equations.T @ (self.equations @ self.sizes) / total
        null = np.linalg.svd(self.equations)[2][len(self.equations) :].T
        system = np.vstack([null.T, -least])
        weights, _ = nnls(system, np.append(np.zeros(len(null.T)), 1.0))
        left = system @ weights
        left[-1] -= 1.0
        sizes = np.maximum(least - null @ (left[:-1] / left[-1]), 0.0)
        return np.where(sizes > _ZERO, total * sizes, 0.0)

    def network(self, sizes: Floats | None = None) -> ReLUNetwork:
        """Return the balanced network of some sizes (m,), by default of one optimal network.

        ValueError unless they are in the set.
        """
        sizes = self.sizes if sizes is None else np.asarray(sizes, dtype=np.float64)
        if sizes.shape != self.signs.shape or not (sizes >= 0).all():
            raise ValueError(
                f"sizes have shape {sizes.shape}; expected {self.signs.shape}, each at least 0"
            )
        rest = self.fit - self.atoms @ sizes
        wrong = float(np.linalg.norm(off(self.free, rest)))
        if wrong > 2 * EXPLAINED * float(np.linalg.norm(self.fit)):
            raise ValueError(
                f"a network of these sizes is {wrong:.1e} off the fit; take sizes from this set"
            )
        skip, intercept = self.free.weights(self.free.coefficients(rest[:, None]))
        used = np.flatnonzero(sizes > 0)
        roots = np.sqrt(sizes[used, None])
        return ReLUNetwork(
            weights_in=roots * self.directions[used],
            weights_out=roots * self.signs[used, None],
            intercept=intercept,
            skip=skip,
        )

    def prune(self, network: ReLUNetwork) -> ReLUNetwork:
        """Return an inclusion-minimal network with the training outputs of `network`; see `prune`.

        Its free part may take over what the neurons can do without.
        """
        return prune(network, self.X, fit_intercept=self.free.intercept, skip=self.free.skip)


def optimal_set(
    model: Any, X: Any, y: Any, sample_weight: Any = None, **settings: Any
) -> OptimalSet:
    """Return all optimal networks of a fitted estimator, or of a network that is optimal.

    With a fitted `ConvexRegressor` or `ConvexClassifier` and its training data: all networks that
    are optimal among those of its gates; of all there are if its gates are every pattern, or with
    gates="enumerate". With a `ReLUNetwork`, `settings` say what it is an optimum of: alpha=, and
    where they differ from these, loss="squared", gates="enumerate" (or "own", the patterns of its
    neurons, or generators), fit_intercept=True, skip=False; `y` is as the loss takes it. The
    program is solved again, to the last digits, as the set is a matter of exact equalities; a few
    thousand samples are the limit. `tol` (1e-3), also a setting, is how far from the optimum the
    network may be, relative to the optimum.

    Raises UnsupportedError for several outputs and other architectures, ValueError for other data
    than the model's and for networks that are not optimal [Mishkin2023].

    >>> from cvxnn import ConvexRegressor, ReLU
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> model = ConvexRegressor(
    ...     ReLU(bias=False), alpha=0.05, gates="enumerate", fit_intercept=False
    ... )
    >>> optima = optimal_set(model.fit(X, np.ones(4)), X, np.ones(4))
    >>> optima.directions.shape, optima.is_unique(), len(optima.vertices())
    ((4, 2), False, 2)
    """
    estimator = getattr(model, "network_", None) is not None
    find = support_of_model if estimator else support_of_network
    found: Support = find(model, X, y, sample_weight, **settings)
    return OptimalSet(
        X=found.X,
        directions=found.directions,
        signs=found.signs,
        fit=found.fit,
        free=found.free,
    )


def split(network: ReLUNetwork, neuron: int, share: float = 0.5) -> ReLUNetwork:
    """Return the network with a neuron (u, a) in two: sqrt(share) and sqrt(1 - share) times it.

    Outputs and weight decay stay as they are, on all inputs [Wang2022]. The second part comes last.
    Raises ValueError unless 0 < share < 1 and there is such a neuron.

    >>> net = ReLUNetwork(
    ...     weights_in=np.array([[2.0]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> twins = split(net, 0, 0.25)
    >>> twins.weights_in.round(3).tolist(), round(twins.weight_decay(), 6)
    ([[1.0], [1.732]], 6.0)
    """
    network = require_network(network)
    if not 0 <= neuron < network.n_neurons:
        raise ValueError(f"neuron is {neuron} but the network has {network.n_neurons}, from 0")
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; it must be between 0 and 1, both excluded")

    def parts(rows: Floats) -> Floats:
        scales = np.ones((len(rows), 1))
        scales[neuron] = math.sqrt(share)
        return np.concatenate([scales * rows, math.sqrt(1 - share) * rows[[neuron]]])

    return replace(
        network, weights_in=parts(network.weights_in), weights_out=parts(network.weights_out)
    )


def prune(
    network: ReLUNetwork,
    X: Any,
    *,
    fit_intercept: bool = False,
    skip: bool = False,
    tol: float = 1e-9,
) -> ReLUNetwork:
    """Return a network of independent neurons with the same outputs on `X` (n, d).

    While the neurons' outputs are dependent, the sizes move along a null vector, in the direction
    in which their sum does not grow, until one is zero [Mishkin2023]. So the objective never
    rises, and at most rank <= n neurons are left; outputs elsewhere may change. With
    `fit_intercept` or `skip` that part of the network may change too. `tol` is the relative
    singular value below which neurons count as dependent. For optimal networks the result is a
    vertex of the `OptimalSet`. Raises UnsupportedError for several outputs and other architectures.

    >>> net = ReLUNetwork(
    ...     weights_in=np.array([[1.0], [2.0], [-1.0]]),
    ...     weights_out=np.ones((3, 1)),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> X = np.array([[1.0], [2.0]])
    >>> small = prune(net, X)
    >>> small.n_neurons, np.allclose(small(X), net(X))
    (1, True)
    """
    network = require_network(network)
    X = as_data(X, len(network.skip))
    free = free_columns(X, intercept=fit_intercept, skip=skip)
    lengths = np.linalg.norm(network.weights_in, axis=1)
    sizes = lengths * np.abs(network.weights_out[:, 0])
    atoms = network.hidden(X) * network.weights_out[:, 0]
    alive = np.flatnonzero((sizes > 0) & atoms.any(axis=0))
    atoms, sizes = atoms[:, alive] / sizes[alive], sizes[alive]
    kept = independent(free, atoms, sizes, tol)
    ratios = np.sqrt(kept / sizes)[:, None]
    used = kept > 0
    change = free.coefficients((atoms @ (sizes - kept))[:, None])
    more, up = free.weights(change)
    return ReLUNetwork(
        weights_in=(ratios * network.weights_in[alive])[used],
        weights_out=(ratios * network.weights_out[alive])[used],
        intercept=network.intercept + up,
        skip=network.skip + more,
    )
