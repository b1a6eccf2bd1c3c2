import numpy as np
from benchmark_utils.running import GOAL, only
from benchopt import BaseSolver

from cvxnn.certificate import certify
from cvxnn.solve import solve
from cvxnn.solver_choice import solver_for


class Solver(BaseSolver):
    """This library on the gated program; its own checks of the gap are on the clock."""

    name = "cvxnn"
    sampling_strategy = "callback"
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

    def get_next(self, iteration):
        return iteration + 1

    def run(self, look):
        self.result = self.problem.nothing()

        def seen(progress):
            found = progress.iterate
            self.result = {"blocks": found.blocks[:, :, 0], "dual": found.dual[:, 0]}
            return not look()

        wide = self.problem.judging
        solve(
            self.program,
            self.chosen,
            tol=0.9 * GOAL,
            max_iter=10**6,
            callbacks=[seen],
            judge=lambda iterate: certify(wide, iterate),
        )

    def get_result(self):
        return self.result
