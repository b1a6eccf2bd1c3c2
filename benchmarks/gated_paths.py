"""A path of gated ReLU programs to one duality gap: ours, and adelie in its own environment."""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from problems import PROBLEMS
from threadpoolctl import threadpool_limits

from cvxnn.certificate import certify
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.gates import distinct, from_generators, gaussian
from cvxnn.maps import Gated
from cvxnn.program import Iterate, Program
from cvxnn.solve import solve
from cvxnn.solvers import WorkingSet

Floats = NDArray[np.float64]
TOLS = 10.0 ** -np.arange(5.0, 14.0)
"""Those of adelie that are tried; the quickest that meets the gap counts."""


class Problem(NamedTuple):
    """Data with unit columns, masks (n, p), and the strengths."""

    X: Floats
    masks: Floats
    y: Floats
    alphas: Floats

    def program(self, alpha: float) -> Program:
        """Return the program at a strength."""
        lift = Gated(self.X, self.masks, outputs=1)
        free = np.zeros((len(self.X), 0))
        loss = mean_loss(Squared(), self.y[:, None])
        return Program(loss=loss, lift=lift, penalty=GroupNorm(alpha), free=free)

    def gap(self, alpha: float, blocks: Floats) -> float:
        """Return the relative gap that blocks (p, d) prove with their own residual."""
        program = self.program(alpha)
        wide, none = blocks[:, :, None], np.zeros((0, 1))
        dual = -program.loss.gradient(program.predict(wide, none))
        return certify(program, Iterate(wide, none, dual))[0].relative_gap


def state(name: str, args: argparse.Namespace) -> Problem:
    """Return the problem of a name, its strengths from the largest down to `args.ratio` of it."""
    rng = np.random.default_rng(args.seed)
    data = PROBLEMS[name](rng)
    X = np.asarray(data.features / np.linalg.norm(data.features, axis=0), dtype=np.float64)
    gates = distinct(from_generators(X, gaussian(X, data.n_gates, rng).generators))
    masks, y = gates.masks.T.astype(np.float64), np.asarray(data.target[:, 0], dtype=np.float64)
    one = Problem(X, np.ascontiguousarray(masks), y, np.ones(1))
    dual = one.program(1.0).loss.target / len(y)
    largest = float(one.program(1.0).penalty.polar(one.program(1.0).lift.adjoint(dual)).max())
    return one._replace(alphas=largest * np.geomspace(1.0, args.ratio, args.points + 1)[1:])


def ours(problem: Problem, gap: float) -> tuple[float, float, float]:
    """Return the CPU seconds of the path and of its last point alone, and the worst gap."""
    begin, start, worst = time.process_time(), None, 0.0
    for alpha in problem.alphas:
        solution = solve(problem.program(float(alpha)), WorkingSet(), start=start, tol=gap)
        start, worst = solution.iterate, max(worst, solution.certificate.relative_gap)
    path = time.process_time() - begin
    begin = time.process_time()
    solve(problem.program(float(problem.alphas[-1])), WorkingSet(), tol=gap)
    return path, time.process_time() - begin, worst


def theirs(problem: Problem, python: str) -> list[tuple[float, float, float]]:
    """Return (tolerance, CPU seconds of the path, worst gap) of adelie for every tolerance."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "problem.npz", Path(folder) / "path.npz"
        held: dict[str, Any] = {**problem._asdict(), "tols": TOLS}
        np.savez(source, **held)
        rival = Path(__file__).with_name("adelie_rival.py")
        subprocess.run([python, str(rival), str(source), str(target)], check=True)
        found = np.load(target)
        rows = []
        for k, tol in enumerate(TOLS):
            pairs = zip(found[f"alphas{k}"], found[f"blocks{k}"], strict=True)
            gaps = [problem.gap(float(alpha), blocks) for alpha, blocks in pairs]
            missing = len(gaps) < len(problem.alphas)
            rows.append((float(tol), float(found[f"seconds{k}"]), np.inf if missing else max(gaps)))
    return rows


def main() -> None:
    """Print a row for every problem and gap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", default="A,digits")
    parser.add_argument("--gaps", default="1e-4,1e-6")
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--ratio", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adelie", help="the Python of an environment with adelie (numpy < 2)")
    args = parser.parse_args()
    heads = ("problem", "gap", "ours s", "last alone s", "adelie s", "its tol", "its gap", "ratio")
    print("".join(head.rjust(13) for head in heads), flush=True)
    for name in args.problems.split(","):
        problem = state(name, args)
        rows = theirs(problem, args.adelie) if args.adelie else []
        for gap in map(float, args.gaps.split(",")):
            seconds, last, _ = ours(problem, gap)
            cells = [name, f"{gap:.0e}", f"{seconds:.2f}", f"{last:.2f}"]
            good = [row for row in rows if row[2] <= gap]
            if good:
                tol, peer, reached = min(good, key=lambda row: row[1])
                cells += [f"{peer:.2f}", f"{tol:.0e}", f"{reached:.1e}", f"{peer / seconds:.1f}"]
            print("".join(cell.rjust(13) for cell in cells), flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
