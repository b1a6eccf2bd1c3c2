import math

import numpy as np
from benchmark_utils.running import next_look, only
from benchopt import BaseSolver
from sklearn.neural_network import MLPRegressor


class Solver(BaseSolver):
    """scikit-learn's network; its intercepts become weights of the column of ones."""

    name = "sklearn-mlp"
    sampling_strategy = "callback"
    parameters = {"width": [200], "rate": [1e-3, 1e-2], "epochs": [1000]}
    test_config = {"epochs": 5, "objective": {"network": "relu"}}

    def skip(self, problem):
        return only("relu", problem)

    def set_objective(self, problem):
        self.problem, self.model = problem, None

    def get_next(self, epoch):
        return next_look(epoch)

    def run(self, look):
        X, y = self.problem.X, self.problem.y
        batch = min(200, len(y))
        self.model = None
        model = MLPRegressor(
            hidden_layer_sizes=(self.width,),
            alpha=self.problem.alpha * batch,  # it divides by the batch, not by all samples
            batch_size=batch,
            learning_rate_init=self.rate,
            random_state=0,
        )
        for _ in range(self.epochs):
            if not look():
                return
            self.model = model.partial_fit(X, y)

    def get_result(self):
        if self.model is None:
            return self.problem.nothing()
        height = self.problem.X[0, -1]
        inward = self.model.coefs_[0].T.copy()
        inward[:, -1] += self.model.intercepts_[0] / height
        constant = float(self.model.intercepts_[1][0])
        last = np.zeros((1, inward.shape[1]))
        last[0, -1] = math.sqrt(abs(constant) / height)
        outward = np.append(self.model.coefs_[1][:, 0], np.sign(constant) * last[0, -1])
        return {"inward": np.vstack([inward, last]), "outward": outward}
