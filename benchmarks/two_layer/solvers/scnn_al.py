import logging

import numpy as np
from benchmark_utils.running import Reached, only
from benchopt import BaseSolver
from scnn.metrics import Metrics
from scnn.models import ConvexReLU
from scnn.optimize import optimize_model
from scnn.regularizers import NeuronGL1
from scnn.solvers import AL


class Solver(BaseSolver):
    """The augmented Lagrangian of pyscnn on sampled patterns, run for more and more iterations."""

    name = "scnn-al"
    sampling_strategy = "iteration"
    stopping_criterion = Reached()
    requirements = ["pip::torch", "pip::opt_einsum", "pip::tqdm", "pip::cvxpy"]
    test_config = {"objective": {"network": "relu"}}

    def skip(self, problem):
        return only("relu", problem)

    def set_objective(self, problem):
        self.problem, self.result = problem, problem.nothing()
        self.X = problem.X.astype(np.float32)
        self.y = problem.y[:, None].astype(np.float32)

    def get_next(self, iterations):
        return max(10, 3 * iterations)

    def run(self, iterations):
        logging.getLogger("scnn").setLevel(logging.ERROR)  # that it was stopped is no news
        if iterations == 0:
            self.result = self.problem.nothing()
            return
        model = ConvexReLU(self.problem.gates.generators.T)
        found, _ = optimize_model(
            model,
            AL(model, max_primal_iters=iterations),
            Metrics(objective=False, grad_norm=False, time=False),
            self.X,
            self.y,
            regularizer=NeuronGL1(self.problem.alpha),
            return_convex=False,
        )
        inward, outward = found.parameters[:2]
        self.result = {"inward": inward, "outward": outward[0]}

    def get_result(self):
        return self.result
