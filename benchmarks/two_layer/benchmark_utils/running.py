"""When runs end, and at which of their iterations they are looked at; all off the clock."""

from benchopt.stopping_criterion import StoppingCriterion

GOAL = 1e-6
"""The relative gap at which a run has nothing left to show."""
PATIENCE = 3
"""Tolerances in a row without a gain after which no smaller one is tried."""


class Reached(StoppingCriterion):
    """Ends a run at the goal, or when smaller tolerances change nothing."""

    def __init__(self, strategy=None, key_to_monitor="value", minimize=True):
        super().__init__(strategy=strategy, key_to_monitor=key_to_monitor, minimize=minimize)

    def check_convergence(self, curve):
        gaps = [point["objective_relative_gap"] for point in curve]
        stuck = (
            self.strategy == "tolerance"
            and len(gaps) > PATIENCE + 1
            and min(gaps[-PATIENCE:]) >= min(gaps[:-PATIENCE])
        )
        return gaps[-1] <= GOAL or stuck, 0.0


def next_look(iteration):
    """Look at every iteration first, at every tenth part of the run later."""
    return iteration + max(1, iteration // 10)


def next_tolerance(tol):
    """Ask for another digit; the first tolerance that benchopt gives is as good as infinite."""
    return min(0.1, tol / 10)


def only(network, problem):
    """Return benchopt's (skip, reason) of a solver for one kind of network."""
    wanted = problem.network == network
    return (False, None) if wanted else (True, f"it trains {network} networks")
