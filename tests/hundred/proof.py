"""What is to hold of every system, and the harness that says it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

TOL = 1e-6


class Proof(NamedTuple):
    """One random problem of a system, solved by the library and by others."""

    upper: float
    lower: float
    """The library's bounds on the optimum of its program."""
    optimum: float
    """Clarabel's, or a closed form's."""
    network: float
    """The objective of the network in hand, by a formula of the test's own."""
    program: float
    """The objective of the program at the blocks of that network."""
    fit: tuple[Any, Any]
    """Predictions on the data at blocks u, and at unlift(recover(u))."""
    penalty: tuple[float, float]
    """Of u, and of unlift(recover(u))."""
    bound: float
    """No network is said to be below."""
    descend: Callable[[], np.ndarray]
    """The least objectives of twenty descents, (20,)."""
    size: float
    """What objectives are measured by: that of the empty network."""
    network_is_program: bool = True
    """Not so of a relaxation, whose network has an objective of its own."""


def faults(proof: Proof) -> list[str]:
    """What is wrong with the solution of a problem; empty: nothing."""
    size = max(abs(proof.optimum), 1e-3 * proof.size)
    known = max(proof.size, size)
    before, after = (np.asarray(each) for each in proof.fit)
    apart = {
        "upper bound and optimum": abs(proof.upper - proof.optimum) / size,
        "lower bound and optimum": abs(proof.lower - proof.optimum) / size,
        "lower bound above the optimum": max(proof.lower - proof.optimum, 0.0) / size,
        "network and program": abs(proof.network - proof.program) / size,
        "fit there and back": np.abs(after - before).max(initial=0.0) / (1 + np.abs(before).max()),
        "penalty there and back": abs(proof.penalty[1] - proof.penalty[0]) / known,
    }
    if proof.network_is_program:
        apart["network and upper bound"] = abs(proof.network - proof.upper) / size
    return [f"{name}: {value:.1e}" for name, value in apart.items() if not value <= TOL]


def descents(proof: Proof) -> tuple[list[str], float]:
    """What is wrong with the bound, and how far above it the best descent ended, in sizes."""
    values = proof.descend()
    size = max(abs(proof.optimum), 1e-3 * proof.size)
    below = values[~(values >= proof.bound - 1e-10 * size)]
    wrong = [f"{value:.10g} is below {proof.bound:.10g}" for value in below]
    return wrong, float(np.min(values) - proof.bound) / max(proof.size, size)
