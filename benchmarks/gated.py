"""Time to a duality gap on gated ReLU programs: ours and R-FISTA of scnn, side by side."""

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from problems import PROBLEMS, Data
from threadpoolctl import threadpool_limits

from cvxnn.certificate import certify
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.gates import gaussian
from cvxnn.maps import Gated
from cvxnn.program import Iterate, Program
from cvxnn.solve import solve
from cvxnn.training import SOLVERS, solver_for

try:
    from scnn.metrics import Metrics
    from scnn.models import ConvexGatedReLU
    from scnn.private.interface import build_internal_model, build_optimizer, set_device
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import RFISTA
except ModuleNotFoundError as error:
    sys.exit(
        f"skipped: {error.name} is not installed; scnn goes in without its dependencies:\n"
        "  pip install torch opt_einsum tqdm cvxpy\n"
        "  pip install --no-deps pyscnn==0.0.10 linalg-backends"
    )

Floats = NDArray[np.floating[Any]]

MOST = 10_000
"""Iterations after which either solver is given up."""


@dataclass(frozen=True, eq=False)
class Task:
    """One convex program, as each side states it."""

    ours: Program
    """In float32."""
    judge: Program
    """The same masks and data with the arithmetic in float64: what every gap is computed on."""
    theirs: Any
    """A model of scnn; it drew up the masks."""
    generators: Floats

    def gap(self, blocks: Floats) -> float:
        """Return the relative duality gap that blocks (p, d, 1) prove with their own residual."""
        wide = blocks.astype(np.float64)
        free = np.zeros((0, 1))
        dual = -self.judge.loss.gradient(self.judge.predict(wide, free))
        return certify(self.judge, Iterate(wide, free, dual))[0].relative_gap


def state(data: Data, share: float, rng: np.random.Generator) -> Task:
    """Return the task at alpha = share * the least alpha of which the solution is zero."""
    lengths = np.linalg.norm(data.features, axis=0)
    generators = gaussian(data.features, data.n_gates, rng).generators * lengths
    X = (data.features / lengths).astype(np.float32)
    model = ConvexGatedReLU(generators.T)
    masks = build_internal_model(model, NeuronGL1(1.0), X).D  # in an order of its own
    lift = Gated(X, np.ascontiguousarray(masks, dtype=np.float32), outputs=1)

    def program(dtype: type, alpha: float) -> Program:
        loss = mean_loss(Squared(), data.target.astype(dtype))
        free = np.zeros((len(X), 0), dtype=dtype)
        return Program(loss=loss, lift=lift, penalty=GroupNorm(alpha), free=free)

    wide = program(np.float64, 1.0)
    slope = wide.lift.adjoint(wide.loss.gradient(np.zeros_like(wide.loss.target)))
    alpha = share * float(wide.penalty.polar(slope).max())
    return Task(program(np.float32, alpha), program(np.float64, alpha), model, generators)


class Result(NamedTuple):
    """CPU seconds, iterations and the gap at the end."""

    seconds: float
    iterations: int
    gap: float


def run_ours(task: Task, tol: float, solver: str) -> Result:
    """Time all of `solve`: the float64 checks that tell it when to stop are on the clock."""
    begin = time.process_time()
    solution = solve(
        task.ours,
        solver_for(task.ours, solver)[0],
        tol=tol,
        max_iter=MOST,
        judge=lambda iterate: certify(task.judge, iterate),
    )
    seconds = time.process_time() - begin
    return Result(seconds, solution.iterations, task.gap(solution.iterate.blocks))


class Oracle:
    """Stops scnn at the first iterate that is good enough, off the clock.

    It takes the place of scnn's own rule, whose cost is thereby not counted either. The first run
    looks at every iterate; later runs are told how many iterations it takes, and look at none.
    """

    def __init__(self, good: Callable[[Floats], bool], stop: int | None) -> None:
        self.good, self.stop = good, stop
        self.iterations, self.begin, self.seconds = -1, time.process_time(), 0.0

    def __call__(self, model: Any, *_: object) -> bool:
        self.seconds += time.process_time() - self.begin
        self.iterations += 1
        if self.stop is None:
            end = self.iterations == MOST - 1 or self.good(blocks_of(model))
        else:
            end = self.iterations == self.stop
        self.begin = time.process_time()
        return end


def blocks_of(model: Any) -> Floats:
    """Return the weights of a model of scnn, (1, p, d), as blocks (p, d, 1)."""
    return np.asarray(model.weights)[0, :, :, None]


def run_theirs(task: Task, tol: float, stop: int | None) -> Result:
    """Time R-FISTA from its first gradient on: building its model is off the clock."""
    gated, program = task.ours.lift, task.ours
    penalty = NeuronGL1(program.penalty.alpha)
    model = build_internal_model(task.theirs, penalty, gated.features)
    if not np.array_equal(model.D, gated.masks):
        raise RuntimeError("scnn made other masks than before; the programs differ")
    quiet = Metrics(objective=False, grad_norm=False, time=False)
    procedure = build_optimizer(RFISTA(task.theirs, max_iters=MOST), penalty, quiet)
    data, none = (gated.features, program.loss.target), ([], [], [])
    oracle = Oracle(lambda blocks: task.gap(blocks) <= tol, stop)
    procedure.term_criterion = oracle
    logger = logging.getLogger("scnn")
    _, model, _ = procedure(logger, model, lambda model: model, data, data, none)
    return Result(oracle.seconds, oracle.iterations, task.gap(blocks_of(model)))


def compare(name: str, args: argparse.Namespace) -> tuple[str, ...]:
    """Return one row of the table: medians over interleaved repeats."""
    rng = np.random.default_rng(args.seed)
    task = state(PROBLEMS[name](rng), args.alpha, rng)
    ours: list[Result] = []
    theirs: list[Result] = []
    for _ in range(args.repeats):
        ours.append(run_ours(task, args.tol, args.solver))
        theirs.append(run_theirs(task, args.tol, theirs[0].iterations if theirs else None))
    seconds, peer = (statistics.median(run.seconds for run in side) for side in (ours, theirs))
    (n, d), p = task.ours.lift.features.shape, task.ours.lift.masks.shape[1]
    return (
        f"{name} ({n}, {d}, {p})",
        f"{seconds:.3f}",
        f"{peer:.3f}",
        f"{peer / seconds:.1f}",
        f"{ours[0].iterations}",
        f"{theirs[0].iterations}",
        f"{max(run.gap for run in ours):.1e}",
        f"{max(run.gap for run in theirs):.1e}",
    )


def options() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", default="A,digits,B", help="names from: A, digits, B")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alpha", type=float, default=0.1, help="share of the largest alpha")
    parser.add_argument("--tol", type=float, default=1e-3, help="relative duality gap")
    parser.add_argument("--solver", default="auto", choices=["auto", *SOLVERS])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.problems = args.problems.split(",")
    if unknown := set(args.problems) - set(PROBLEMS):
        parser.error(f"unknown problems {sorted(unknown)}; choose from {', '.join(PROBLEMS)}")
    if args.repeats < 1:
        parser.error(f"--repeats is {args.repeats}; run at least once")
    return args


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    args = options()
    set_device("cpu", "float32")
    heads = ("problem (n, d, p)", "ours s", "scnn s", "ratio", "ours it", "scnn it")
    widths = (24, 8, 8, 6, 8, 8, 9, 9)
    for row in ((*heads, "ours gap", "scnn gap"), *args.problems):
        cells = compare(row, args) if isinstance(row, str) else row
        print("".join(c.rjust(w) for c, w in zip(cells, widths, strict=True)), flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
