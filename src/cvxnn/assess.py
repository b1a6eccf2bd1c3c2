"""How far a network, however it was trained, is from the best."""

from typing import Any

import numpy as np

from cvxnn.architectures import BY_NAME, Architecture, Network, as_rows, evaluate, growing
from cvxnn.arrays import Array, is_sparse
from cvxnn.certificate import Certificate, Scope
from cvxnn.errors import UnsupportedError
from cvxnn.everywhere.bound import prove
from cvxnn.everywhere.grow import Grow, unpack
from cvxnn.everywhere.open import OpenProblem
from cvxnn.functions import SampleLoss
from cvxnn.gates import Gates
from cvxnn.linalg import threads
from cvxnn.samples import positive_weights
from cvxnn.solve import solve_part
from cvxnn.solver_choice import named
from cvxnn.streamed import held
from cvxnn.training import (
    LOSSES,
    gates_of,
    open_problem_of,
    problem_of,
    without_gates,
)

CHOICES = ("own", "enumerate", "all")


def certify_network(
    network: Network,
    X: Array,
    y: Array,
    *,
    alpha: float,
    loss: str | SampleLoss = "squared",
    sample_weight: Any = None,
    gates: str = "own",
    proof_time: float = 1.0,
    fit_intercept: bool = True,
    skip: bool = False,
) -> Certificate:
    """Return bounds on how far any network, however it was trained, is from the best in scope.

    `network` is a `ReLUNetwork`, `GatedNetwork` or `PolynomialNetwork`, `y` (n,) or (n, c) the
    targets as the loss takes them: numbers, labels -1 and 1, or one-hot rows. With gates "own" the
    scope is the networks with the patterns of this one's neurons; with "enumerate" all networks, by
    listing every pattern; with "all" all networks too, by the relaxed network and, given
    `proof_time`, by growing a better network and branch and bound from there, for so many seconds
    each. Polynomial networks have no gates: any choice is over all networks of their kind.
    `fit_intercept` and `skip` say whether the networks compared with may have them.

    Raises ValueError for data of the wrong shape and unknown words, UnsupportedError for "all" with
    a gated network, whose gates are fixed.

    >>> from cvxnn import ReLUNetwork
    >>> X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    >>> net = ReLUNetwork(
    ...     weights_in=np.array([[0.0, 0.8]]),
    ...     weights_out=np.array([[0.8]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((2, 1)),
    ... )
    >>> found = certify_network(net, X, y, alpha=0.1 / 3, gates="all", fit_intercept=False)
    >>> found.lower <= 0.23103675 / 3 <= found.upper
    True
    """
    architecture: Architecture = BY_NAME[network.architecture].of(network)
    target = np.asarray(y, dtype=np.float64)
    target = target[:, None] if target.ndim == 1 else target
    weights, keep = positive_weights(sample_weight, len(target))
    given: Any = X.tocsr() if is_sparse(X) else as_rows(architecture, np.asarray(X))
    rows = held(given, architecture.streams and not skip)[keep]
    sample_loss: SampleLoss = named("loss", loss, LOSSES, LOSSES)
    data = (rows, target[keep], weights[keep], sample_loss)
    words: dict[str, Any] = {"intercept": fit_intercept, "skip": skip}
    choice = named("gates", gates, dict(zip(CHOICES, CHOICES, strict=True)), CHOICES)
    if without_gates(architecture):
        choice = "auto"
    if choice == "all":
        with threads(None):
            return _among_all(network, architecture, data, alpha, proof_time, words)
    drawn, scope = _gates(architecture, rows, network, choice)
    problem = problem_of(architecture, *data, drawn, scope=scope, **words).at(alpha)
    network = problem.architecture.stated(network, problem.X)
    return problem.assess(network, tol=0.0, budget=0.0)[0]


def _gates(
    architecture: Architecture, rows: Array, network: Network, choice: str
) -> tuple[Gates, Scope]:
    rng = np.random.default_rng(0)  # given and enumerated gates draw nothing
    if choice == "own" and network.n_neurons == 0:
        count, width = len(architecture.features(rows)), network.rules.shape[1]
        return Gates(np.zeros((0, width)), np.zeros((0, count), bool)), Scope.GIVEN_GATES
    return gates_of(architecture, rows, network.rules if choice == "own" else choice, 1, rng)


def _among_all(
    network: Network,
    architecture: Architecture,
    data: tuple[Any, Any, Any, SampleLoss],
    alpha: float,
    proof_time: float,
    words: dict[str, Any],
) -> Certificate:
    if not growing(architecture):
        raise UnsupportedError(
            f"gates='all' speaks of networks that grow and this one is {architecture.name}; pass "
            "gates='own' or 'enumerate'"
        )
    problem: OpenProblem = open_problem_of(architecture, *data, **words).at(alpha)
    network = problem.architecture.stated(network, problem.X)
    training, upper = problem.working(), problem.objective(network)
    goal, dual = upper, -problem.program.loss.gradient(evaluate(network, data[0]))
    if proof_time > 0 and Grow().why_not(training) is None:
        # the dual point of a poor network proves little: a better network's is used
        solution = solve_part(training, Grow(), max_time=proof_time, judge=problem.judge)
        if solution.certificate.upper < goal:
            goal = solution.certificate.upper
            dual = training.dual(unpack(training, solution.iterate))
    proof = prove(
        training,
        dual=dual,
        objective=goal,
        interior=problem.program.interior,
        seconds=proof_time,
        rng=np.random.default_rng(0),
    )
    return problem.certificate(upper, proof)
