"""How the cost of gated programs grows in n, d and P, and how near its products are to the peak."""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from two_layer.benchmark_utils.problems import GatedProblem, pose
from two_layer.benchmark_utils.tables import standard, teacher

from cvxnn.solve import solve
from cvxnn.solvers import WorkingSet

Floats = NDArray[np.float64]
MIDDLE = {"n": 2000, "d": 50, "P": 300}
"""Sizes from which one at a time is varied."""
DECADE = {"n": (1000, 2000, 5000, 10_000), "d": (20, 50, 100, 200), "P": (100, 200, 500, 1000)}
"""What it is varied over."""


def problem_of(n: int, d: int, P: int) -> GatedProblem:
    """Return the program of a generated table at a tenth of the largest strength."""
    problem = pose("gated", *standard(*teacher(n, d)), 0.1, P, 0)
    assert isinstance(problem, GatedProblem)
    return problem


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Return the least CPU seconds of a call."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def slope(sizes: tuple[int, ...], costs: list[float]) -> float:
    """Return the exponent k of cost ~ size^k by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def products(problem: GatedProblem, dtype: Any) -> tuple[float, float]:
    """Return the seconds of A u and of A'v."""
    program, rng = problem.program(dtype), np.random.default_rng(0)
    u = rng.standard_normal(program.lift.in_shape).astype(dtype)
    v = rng.standard_normal(program.lift.out_shape).astype(dtype)
    return seconds(lambda: program.lift.apply(u), 9), seconds(lambda: program.lift.adjoint(v), 9)


def peak(dtype: Any, side: int = 1500) -> float:
    """Return the operations a second of a square matrix product."""
    a = np.random.default_rng(0).standard_normal((side, side)).astype(dtype)
    return 2 * side**3 / seconds(lambda: a @ a, 5)


def shares() -> Iterator[str]:
    """Yield lines: the share of the peak of both products, by precision and size."""
    for dtype in (np.float64, np.float32):
        top = peak(dtype)
        for n, d, P in ((1000, 50, 500), (5000, 100, 1000), (2000, 200, 300)):
            flops = 2 * n * d * P
            parts = [flops / time_ / top for time_ in products(problem_of(n, d, P), dtype)]
            name = np.dtype(dtype).name
            sizes = f"{name}  n={n} d={d} P={P}"
            yield f"{sizes}  A u {parts[0]:.0%}, A'v {parts[1]:.0%} of {top:.1e}/s"


def growth(gap: float) -> Iterator[str]:
    """Yield lines: the exponents of the products and of a solution in each size."""
    for name, sizes in DECADE.items():
        both, whole = [], []
        for size in sizes:
            problem = problem_of(**{**MIDDLE, name: size})
            both.append(sum(products(problem, np.float64)))
            program = problem.program()
            whole.append(seconds(lambda p=program: solve(p, WorkingSet(), tol=gap), 2))
        yield (
            f"{name} from {sizes[0]} to {sizes[-1]}: products ~ {name}^{slope(sizes, both):.2f}, "
            f"to gap {gap:g} ~ {name}^{slope(sizes, whole):.2f} "
            f"({', '.join(f'{one:.2f}' for one in whole)} s)"
        )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gap", type=float, default=1e-3)
    for lines in (shares(), growth(parser.parse_args().gap)):
        for line in lines:
            print(line, flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
