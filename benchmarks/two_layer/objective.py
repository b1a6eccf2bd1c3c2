from benchmark_utils.problems import pose
from benchmark_utils.running import Reached
from benchmark_utils.tables import standard
from benchopt import BaseObjective


class Objective(BaseObjective):
    """Two-layer networks with weight decay: gated on drawn gates, or ReLU of any width."""

    name = "Two-layer networks"
    min_benchopt_version = "1.8"
    parameters = {"network": ["gated", "relu"], "share": [0.1, 0.01], "n_gates": [500]}
    stopping_criterion = Reached()  # of all that are watched as they run; others have their own
    test_config = {"dataset": {"name": "generated", "n": 40, "d": 4}, "n_gates": 10}

    def skip(self, X, y, missing=None):
        return missing is not None, missing

    def set_data(self, X, y, missing=None):
        X, y = standard(X, y)
        self.problem = pose(self.network, X, y, self.share, self.n_gates, seed=0)

    def get_objective(self):
        return {"problem": self.problem}

    def get_one_result(self):
        return self.problem.nothing()

    def evaluate_result(self, **result):
        return self.problem.judge(**result)
