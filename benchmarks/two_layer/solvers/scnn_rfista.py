import logging

import numpy as np
from benchmark_utils.running import next_look, only
from benchopt import BaseSolver
from scnn.metrics import Metrics
from scnn.models import ConvexGatedReLU
from scnn.private.interface import build_optimizer, set_device
from scnn.private.models import ConvexMLP, GroupL1Regularizer
from scnn.regularizers import NeuronGL1
from scnn.solvers import RFISTA

MOST = 100_000


class Solver(BaseSolver):
    """R-FISTA of pyscnn, on the very masks of the problem, without its own stopping rule."""

    name = "scnn-rfista"
    sampling_strategy = "callback"
    # Its pins would move other packages: pip install --no-deps pyscnn==0.0.10 linalg-backends
    requirements = ["pip::torch", "pip::opt_einsum", "pip::tqdm", "pip::cvxpy"]
    parameters = {"precision": ["float32"]}

    def skip(self, problem):
        return only("gated", problem)

    def set_objective(self, problem):
        self.problem, self.result = problem, problem.nothing()
        set_device("cpu", self.precision)
        self.X, self.masks = (
            np.ascontiguousarray(one, dtype=self.precision) for one in (problem.X, problem.masks)
        )
        self.y = problem.y[:, None].astype(self.precision)

    def get_next(self, iteration):
        return next_look(iteration)

    def run(self, look):
        generators, penalty = self.problem.gates.generators.T, NeuronGL1(self.problem.alpha)
        public = ConvexGatedReLU(generators)
        model = ConvexMLP(
            self.X.shape[1],
            self.masks,
            generators.astype(self.precision),
            "einsum",
            regularizer=GroupL1Regularizer(self.problem.alpha),
        )
        quiet = Metrics(objective=False, grad_norm=False, time=False)
        procedure = build_optimizer(RFISTA(public, max_iters=MOST), penalty, quiet)

        def stop(model, *_):
            self.result = {"blocks": np.asarray(model.weights)[0]}
            return not look()

        procedure.term_criterion = stop
        none = ([], [], [])
        logger = logging.getLogger("scnn")
        procedure(logger, model, lambda model: model, (self.X, self.y), (self.X, self.y), none)

    def get_result(self):
        return self.result
