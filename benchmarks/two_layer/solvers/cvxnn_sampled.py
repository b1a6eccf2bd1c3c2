import numpy as np
from benchmark_utils.running import only
from benchopt import BaseSolver

from cvxnn.architectures import ReLU
from cvxnn.certificate import Scope
from cvxnn.functions import Squared
from cvxnn.solve import solve
from cvxnn.solver_choice import solver_for
from cvxnn.training import problem_of


class Solver(BaseSolver):
    """This library on the ReLU program of sampled patterns, which bounds those networks alone."""

    name = "cvxnn-sampled"
    sampling_strategy = "callback"
    parameters = {"solver": ["auto", "admm"]}
    test_config = {"solver": "auto", "objective": {"network": "relu"}}

    def skip(self, problem):
        return only("relu", problem)

    def set_objective(self, problem):
        self.problem, self.result = problem, problem.nothing()
        self.given = problem_of(
            ReLU(bias=False),
            problem.X,
            problem.y[:, None],
            np.ones(len(problem.y)),
            Squared(),
            problem.gates,
            scope=Scope.GIVEN_GATES,
            intercept=False,
            skip=False,
        ).at(problem.alpha)

    def get_next(self, iteration):
        return iteration + 1

    def run(self, look):
        self.found = None

        def seen(progress):
            self.found = progress.iterate
            return not look()

        program = self.given.program
        solve(
            program,
            solver_for(program, self.solver)[0],
            tol=1e-4,
            max_iter=10**6,
            callbacks=[seen],
            judge=self.given.judge,
        )

    def get_result(self):
        if self.found is None:
            return self.problem.nothing()
        network = self.given.network(self.found)
        return {"inward": network.weights_in, "outward": network.weights_out[:, 0]}
