"""Gated networks of several outputs to a gap: ours, and plain proximal gradient in numpy."""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cvxnn.architectures import GatedReLU
from cvxnn.certificate import certify
from cvxnn.functions import GroupNorm, Nuclear, Squared, mean_loss
from cvxnn.program import Iterate, Program
from cvxnn.solve import solve
from cvxnn.solver_choice import solver_for

Floats = NDArray[np.float64]
PENALTIES = {"nuclear": Nuclear, "group": GroupNorm}
"""Weight decay of gated networks, and the Euclidean norm of whole blocks."""
CHUNK = 50
"""Gates whose products are held at a time."""


def pose(n: int, d: int, P: int, c: int, share: float, penalty: str, seed: int) -> Program:
    """Return the program of a noisy teacher with ten ReLU neurons, at a share of alpha_max."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(d)
    y = np.maximum(X @ rng.standard_normal((d, 10)), 0.0) @ rng.standard_normal((10, c))
    y += 0.1 * y.std() * rng.standard_normal((n, c))
    gated = GatedReLU(bias=False)
    lift = gated.lift(X, gated.source.draw(X, P, rng), c)
    loss = mean_loss(Squared(), y)
    pull = lift.adjoint(-loss.gradient(np.zeros_like(y)))
    alpha = share * float(PENALTIES[penalty](1.0).polar(pull).max())
    return Program(loss=loss, lift=lift, penalty=PENALTIES[penalty](alpha), free=np.zeros((n, 0)))


def gap_of(program: Program, u: Floats) -> float:
    """Return the relative gap that blocks and their own residual prove, in float64."""
    dual = -program.loss.gradient(program.lift.apply(u))
    none = np.zeros((0, u.shape[2]))
    return certify(program, Iterate(u, none, dual))[0].relative_gap


def ours(program: Program, gap: float) -> tuple[float, float, str]:
    """Return the CPU seconds of the solver that "auto" takes, the gap reached, and its name."""
    solver, _ = solver_for(program, "auto")
    begin = time.process_time()
    solution = solve(program, solver, tol=gap)
    return time.process_time() - begin, solution.certificate.relative_gap, solver.name


def proximal_gradient(
    X: Floats, masks: Floats, y: Floats, alpha: float, penalty: str
) -> Iterator[Floats]:
    """Yield the blocks (P, d, c) of every step of length 1 / L, from zero, in numpy alone."""
    n, d = X.shape
    P, c = masks.shape[1], y.shape[1]
    parts = [slice(first, first + CHUNK) for first in range(0, P, CHUNK)]

    def apply(u: Floats) -> Floats:
        fit = np.zeros((n, u.shape[2]))
        for part in parts:
            wide = X @ u[part].transpose(1, 0, 2).reshape(d, -1)
            fit += (wide.reshape(n, -1, u.shape[2]) * masks[:, part, None]).sum(axis=1)
        return fit

    def adjoint(v: Floats) -> Floats:
        wide = [(masks[:, part, None] * v[:, None, :]).reshape(n, -1) for part in parts]
        pulls = [(X.T @ one).reshape(d, -1, v.shape[1]).transpose(1, 0, 2) for one in wide]
        return np.concatenate(pulls)

    def shrink(u: Floats, floor: float) -> Floats:
        if penalty == "group":
            lengths = np.linalg.norm(u, axis=(1, 2), keepdims=True)
            return u * np.maximum(1 - floor / np.maximum(lengths, 1e-300), 0.0)
        left, values, right = np.linalg.svd(u, full_matrices=False)
        return (left * np.maximum(values - floor, 0.0)[:, None, :]) @ right

    u = np.random.default_rng(0).standard_normal((P, d, 1))
    for _ in range(20):  # the largest eigenvalue of A'A by power iteration
        u = adjoint(apply(u / np.linalg.norm(u)))
    step = n / (1.02 * float(np.linalg.norm(u)))
    u = np.zeros((P, d, c))
    while True:
        u = shrink(u - step * adjoint((apply(u) - y) / n), step * alpha)
        yield u


def theirs(program: Program, penalty: str, gap: float, limit: float) -> tuple[float, int, float]:
    """Return CPU seconds, steps and gap of proximal gradient, which ends at the gap or the limit.

    The gap is looked at after every fifth more steps, off the clock.
    """
    lift: Any = program.lift
    steps = proximal_gradient(
        np.asarray(lift.features), np.asarray(lift.masks, dtype=float),
        program.loss.target, program.penalty.alpha, penalty,
    )  # fmt: skip
    seconds, count, look = 0.0, 0, 1
    while True:
        begin = time.process_time()
        u = next(steps)
        seconds, count = seconds + time.process_time() - begin, count + 1
        if count >= look or seconds >= limit:
            reached = gap_of(program, u)
            print(f"  step {count}, {seconds:.1f} s, gap {reached:.1e}", flush=True)
            if reached <= gap or seconds >= limit:
                return seconds, count, reached
            look = max(count + 1, int(1.2 * count))


def main() -> None:
    """Print a row for every penalty."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--penalties", default="nuclear,group")
    parser.add_argument("--sizes", default="5000,100,500,10", help="n, d, gates, outputs")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--gap", type=float, default=1e-3)
    parser.add_argument("--times", type=float, default=12.0, help="limit of the peer, times ours")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for penalty in args.penalties.split(","):
        program = pose(*map(int, args.sizes.split(",")), args.share, penalty, args.seed)
        mine, reached, name = ours(program, args.gap)
        print(f"{penalty}: {name} {mine:.1f} s, gap {reached:.1e}", flush=True)
        seconds, steps, left = theirs(program, penalty, args.gap, args.times * mine)
        more = "" if left <= args.gap else "more than "
        print(
            f"{penalty}: proximal gradient {seconds:.1f} s, {steps} steps, gap {left:.1e}; "
            f"{more}{seconds / mine:.1f} times ours",
            flush=True,
        )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
