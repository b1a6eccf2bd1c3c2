from benchmark_utils.running import only
from benchopt import BaseSolver

from cvxnn.everywhere.grow import Grow
from cvxnn.solve import solve
from cvxnn.training import null_start


class Solver(BaseSolver):
    """This library over all ReLU networks; the last point has the bound and the time it took."""

    name = "cvxnn-grow"
    sampling_strategy = "callback"
    parameters = {"proof_time": [10.0]}
    test_config = {"proof_time": 0.5, "objective": {"network": "relu"}}

    def skip(self, problem):
        return only("relu", problem)

    def set_objective(self, problem):
        self.problem, self.open = problem, problem.open()
        self.result = problem.nothing()

    def get_next(self, iteration):
        return iteration + 1

    def run(self, look):
        self.found, self.lower = None, 0.0

        def seen(progress):
            self.found = progress.iterate
            return not look()

        grown = solve(
            self.open.working(),
            Grow(),
            start=null_start(self.open),
            tol=1e-4,
            callbacks=[seen],
            judge=self.open.judge,
        )
        if not look():
            return
        network = self.open.network(grown.iterate)
        proved, _, _ = self.open.settle(
            network, grown.iterate, grown.certificate, 1e-4, self.proof_time
        )
        self.lower = proved.lower
        look()

    def get_result(self):
        if self.found is None:
            return self.problem.nothing()
        network = self.open.network(self.found)
        inward, outward = network.weights_in, network.weights_out[:, 0]
        return {"inward": inward, "outward": outward, "lower": self.lower}
