import os

from benchmark_utils.adelie_client import ASK, Adelie
from benchmark_utils.running import Reached, next_tolerance, only
from benchopt import BaseSolver


class Solver(BaseSolver):
    """adelie in its own environment: from the largest alpha down to the problem's own."""

    name = "adelie"
    sampling_strategy = "tolerance"
    stopping_criterion = Reached()
    parameters = {"points": [1, 10]}
    test_config = {"points": 1}

    def skip(self, problem):
        if not os.environ.get("CVXNN_ADELIE"):
            return True, ASK
        return only("gated", problem)

    def set_objective(self, problem):
        self.problem, self.result = problem, problem.nothing()
        top = problem.alpha_max
        alphas = [top * (problem.alpha / top) ** (k / self.points) for k in range(1, self.points)]
        self.peer = Adelie(problem.X, problem.masks, problem.y, [*alphas, problem.alpha])

    def get_next(self, tol):
        return next_tolerance(tol)

    def run(self, tol):
        self.solved = tol <= 1
        if self.solved:
            self.peer.solve(tol)

    def get_result(self):
        return {"blocks": self.peer.paths()[1][-1]} if self.solved else self.problem.nothing()
