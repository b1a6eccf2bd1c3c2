"""The best network of several outputs, by adding neurons where every neuron can be priced."""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from cvxnn.experiments.circle import walls
from cvxnn.experiments.descent import Floats
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.maps import Gated
from cvxnn.program import Program
from cvxnn.solve import solve
from cvxnn.solvers import Reference

Price = Callable[[Floats], tuple[float, Floats]]
"""Turns a dual point V (n, c) into max |V'q| over all activations q, and candidates (k, n)."""


class Generated(NamedTuple):
    """The optimum over all networks."""

    value: float
    bound: float
    activations: Floats
    """(k, n), of the neurons of unit length."""
    outward: Floats
    """(k, c)."""


def generate(Y: Floats, beta: float, price: Price, rounds: int = 60) -> Generated:
    """Return min of 1/2 |sum_j q_j g_j' - Y|^2 + beta sum_j |g_j| over activations, and a bound.

    Neurons are added until the largest price is beta to 1e-9. A dual point V that is scaled to a
    price of beta proves 1/2 |Y|^2 - 1/2 |Y - V|^2.

    >>> Y = np.eye(3)[[0, 0, 1]]
    >>> found = generate(Y, 0.5, in_cone)  # sum of 0.5 sqrt(n_k) - 0.125
    >>> bool(abs(found.value - 0.5 * (2**0.5 + 1) + 0.25) < 1e-8)
    True
    """
    largest, activations = price(Y)
    value, bound = (Y**2).sum() / 2, -np.inf
    best = activations[:0], np.zeros((0, Y.shape[1]))
    for _ in range(rounds):
        loss = mean_loss(Squared(), Y, np.ones(len(Y)))
        lift = Gated(np.ones((len(Y), 1)), activations.T, Y.shape[1])
        free, penalty = np.zeros((len(Y), 0)), GroupNorm(beta / len(Y))
        program = Program(loss=loss, lift=lift, penalty=penalty, free=free)
        found = solve(program, Reference(), tol=1e-9)
        outward = found.iterate.blocks[:, 0]
        if len(Y) * found.certificate.upper < value:
            value, best = len(Y) * found.certificate.upper, (activations, outward)
        dual = len(Y) * found.iterate.dual
        largest, more = price(dual)
        inside = min(1.0, beta / largest) * dual
        bound = max(bound, float((inside * Y).sum() - (inside**2).sum() / 2))
        if largest <= beta * (1 + 1e-9):
            break
        used = np.linalg.norm(activations @ dual, axis=1) > 0.9 * beta
        activations = np.concatenate([activations[used], more])
    return Generated(value, bound, *best)


def in_plane(X: Floats) -> Price:
    """Return the pricing of ReLU neurons on samples of the plane: a quadratic on every arc."""
    edges = np.unique(walls(X).round(12))
    middles = (edges + np.append(edges[1:], edges[0] + 2 * np.pi)) / 2
    rays, inner = (np.stack([np.cos(t), np.sin(t)], axis=1) for t in (edges, middles))

    def price(V: Floats) -> tuple[float, Floats]:
        found = [*rays]
        for mask in inner @ X.T > 0:
            top = np.linalg.svd(V.T @ (mask[:, None] * X))[2][0]
            found += [u for u in (top, -top) if ((X @ u > 0) == mask).all()]
        return _best(np.maximum(np.array(found) @ X.T, 0), V)

    return price


def in_cone(V: Floats) -> tuple[float, Floats]:
    """Return the prices for orthonormal samples, whose activations are all q >= 0, |q| <= 1.

    The best q is an eigenvector of V V' on the samples where it is positive.
    """
    n = len(V)
    found = []
    for size in range(1, n + 1):
        for chosen in map(list, combinations(range(n), size)):
            for q in np.linalg.eigh(V[chosen] @ V[chosen].T)[1].T:
                if (q >= 0).all() or (q <= 0).all():
                    found.append(np.zeros(n))
                    found[-1][chosen] = np.abs(q)
    return _best(np.array(found), V)


def _best(activations: Floats, V: Floats) -> tuple[float, Floats]:
    prices = np.linalg.norm(activations @ V, axis=1)
    return float(prices.max()), activations[prices > 0.9 * prices.max()]
