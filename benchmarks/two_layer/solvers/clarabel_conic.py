import cvxpy
import numpy as np
from benchmark_utils.running import only
from benchopt import BaseSolver
from benchopt.stopping_criterion import SingleRunCriterion

MOST = 2e6
"""Entries of the expanded matrix; the conic form grows with them."""


class Solver(BaseSolver):
    """Clarabel's interior point method through CVXPY, which is on the clock too."""

    name = "clarabel"
    sampling_strategy = "run_once"
    stopping_criterion = SingleRunCriterion()
    requirements = ["pip::cvxpy", "pip::clarabel"]

    def skip(self, problem):
        size = problem.X.size * len(problem.gates)
        if size > MOST:
            return True, f"the expanded matrix has {size:.0e} entries, more than {MOST:.0e}"
        return only("gated", problem)

    def set_objective(self, problem):
        self.problem, self.result = problem, problem.nothing()
        wide = problem.masks[:, :, None] * problem.X[:, None, :]
        self.expanded = wide.reshape(len(problem.X), -1)

    def run(self, _):
        n, (p, d) = len(self.problem.y), self.problem.nothing()["blocks"].shape
        u = cvxpy.Variable((p, d))
        misfit = self.expanded @ cvxpy.reshape(u, (p * d,), order="C") - self.problem.y
        penalty = self.problem.alpha * cvxpy.sum(cvxpy.norm(u, axis=1))
        program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(misfit) / (2 * n) + penalty))
        program.solve(solver="CLARABEL")
        self.result = {"blocks": np.asarray(u.value)}

    def get_result(self):
        return self.result
