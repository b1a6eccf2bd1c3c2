"""adelie from outside: it pins numpy < 2, so it lives in an environment of its own."""

import os
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ASK = "set CVXNN_ADELIE to the Python of an environment with adelie (numpy < 2)"
WORKER = Path(__file__).with_name("adelie_worker.py")


class Adelie:
    """A process that holds one problem and solves its path again at every tolerance asked for."""

    def __init__(self, X: Floats, masks: Floats, y: Floats, alphas: Sequence[float]) -> None:
        self.folder = TemporaryDirectory()
        self.shape = (masks.shape[1], X.shape[1])
        source = Path(self.folder.name) / "problem.npz"
        np.savez(source, X=X, masks=masks, y=y, alphas=np.asarray(alphas))
        self.process = subprocess.Popen(
            [os.environ["CVXNN_ADELIE"], str(WORKER), str(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
        )
        self.ask("ready")
        weakref.finalize(self, self.process.kill)

    def ask(self, line: str) -> str:
        """Send a line and return the answer; RuntimeError if the process ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"adelie's process ended with {self.process.wait()}")
        return answer

    def solve(self, tol: float) -> float:
        """Solve the path and return its CPU seconds; the answer stays with the process."""
        return float(self.ask(f"solve {tol!r}"))

    def paths(self) -> tuple[Floats, Floats]:
        """Return the strengths that were reached, (k,), and their blocks (k, p, d)."""
        target = Path(self.folder.name) / "found.npz"
        self.ask(f"save {target}")
        found = np.load(target)
        return found["alphas"], found["blocks"].reshape(-1, *self.shape)
