import numpy as np
from benchmark_utils.running import Reached, next_tolerance, only
from benchopt import BaseSolver

from cvxnn.certificate import certify
from cvxnn.solve import solve
from cvxnn.solver_choice import solver_for


class Solver(BaseSolver):
    """This library on the gated program, asked for gap after gap; its checks are on the clock."""

    name = "cvxnn"
    sampling_strategy = "tolerance"
    stopping_criterion = Reached()
    parameters = {
        "solver": ["auto", "newton", "fista", "working_set"],
        "precision": ["float64"],
    }
    test_config = {"solver": "auto"}

    def skip(self, problem):
        return only("gated", problem)

    def set_objective(self, problem):
        self.problem, self.result = problem, problem.nothing()
        self.program = problem.program(np.dtype(self.precision))
        self.chosen = solver_for(self.program, self.solver)[0]

    def get_next(self, tol):
        return next_tolerance(tol)

    def run(self, tol):
        self.result = self.problem.nothing()
        if tol > 1:
            return
        wide = self.problem.judging
        found = solve(
            self.program,
            self.chosen,
            tol=0.9 * tol,  # the judge of the benchmark may round otherwise
            max_iter=10**6,
            judge=lambda iterate: certify(wide, iterate),
        ).iterate
        self.result = {"blocks": found.blocks[:, :, 0], "dual": found.dual[:, 0]}

    def get_result(self):
        return self.result
