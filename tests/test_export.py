"""Torch modules give the outputs of the networks that they are made of."""

from typing import Any

import numpy as np
import pytest
from tests.instances import ARCHITECTURES
from tests.solvers.problems import LOSSES, Sizes, draw

from cvxnn import ConvexRegressor
from cvxnn.architectures import evaluate
from cvxnn.errors import UnsupportedError
from cvxnn.export import to_torch
from cvxnn.program import Iterate
from cvxnn.projection import inside_cones

torch = pytest.importorskip("torch")

EXPORTED = [one for one in ARCHITECTURES if one.name != "gated"]


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("architecture", EXPORTED, ids=lambda one: one.name)
@pytest.mark.parametrize("seed", range(8))
def test_a_module_is_the_network(architecture: Any, seed: int) -> None:
    problem = draw([seed], architecture, LOSSES[0], Sizes(n=12, d=3, p=6, outputs=3)).problem
    rng, program = np.random.default_rng(seed), problem.program
    blocks = inside_cones(program, rng.standard_normal(program.lift.in_shape))
    free = rng.standard_normal((program.free.shape[1], blocks.shape[2]))
    network = problem.network(Iterate(blocks, free, np.zeros(program.lift.out_shape)))
    for X in (problem.X, rng.standard_normal((50, problem.X.shape[1]))):
        ours = evaluate(network, X)
        theirs = to_torch(network)(torch.asarray(X)).detach().numpy()
        np.testing.assert_allclose(theirs, ours, atol=1e-10 * (1 + np.abs(ours).max()))


def test_a_gated_network_has_no_module() -> None:
    model = ConvexRegressor("gated", alpha=0.1).fit([[0.0], [1.0]], [0.0, 1.0])
    with pytest.raises(UnsupportedError, match="no torch module of 'gated'"):
        to_torch(model)
