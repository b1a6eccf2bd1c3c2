"""Torch modules give the outputs of the networks that they are made of."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from tests.instances import ARCHITECTURES
from tests.solvers.problems import LOSSES, Sizes, draw

from cvxnn import ConvexDenoiser, ConvexRegressor, ConvexSpline, RobustClassifier, fit_quantised
from cvxnn.architectures import evaluate
from cvxnn.errors import UnsupportedError
from cvxnn.export import to_torch
from cvxnn.program import Iterate
from cvxnn.projection import inside_cones

torch = pytest.importorskip("torch")


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.name)
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


STEPS = ("threshold", "sign", "deep_threshold", "deep_sign")
LEARNING = [one for one in ARCHITECTURES if one.name not in STEPS]


@pytest.mark.parametrize("architecture", LEARNING, ids=lambda one: one.name)
def test_the_inner_weights_have_gradients(architecture: Any) -> None:
    """Their gradient is that of central differences."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    model = ConvexRegressor(architecture, alpha=0.02, n_gates=16, random_state=0).fit(X, y)
    # elsewhere: the best networks have kinks at samples
    module, inputs = to_torch(model), torch.asarray(rng.standard_normal((20, 3)))
    weights = next(each for name, each in module.named_parameters() if name.startswith("hidden"))
    module(inputs).square().sum().backward()
    direction = torch.asarray(rng.standard_normal(tuple(weights.shape)))
    values = []
    with torch.no_grad():
        start = weights.clone()
        for step in (1e-6, -1e-6):
            weights.copy_(start + step * direction)
            values.append(float(module(inputs).square().sum()))
    slope = float((weights.grad * direction).sum())
    assert abs(slope) > 0
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_what_is_no_network_has_no_module() -> None:
    with pytest.raises(UnsupportedError, match="no torch module of a LinearRegression"):
        to_torch(LinearRegression())


RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((15, 2)), RNG.standard_normal(15)


@pytest.mark.parametrize("bias", [False, True])
def test_a_quantised_fit_has_a_module(bias: bool) -> None:
    found = fit_quantised(X, Y, alpha=0.02, bias=bias, random_state=0)
    assert found.network.n_neurons > 0
    outputs = to_torch(found)(torch.asarray(X)).detach().numpy()[:, 0]
    np.testing.assert_allclose(outputs, found.predict(X), atol=1e-12)
    np.testing.assert_allclose(to_torch(found.network)(torch.asarray(X)).detach()[:, 0], outputs)


def test_a_robust_classifier_and_a_spline_have_modules() -> None:
    model = RobustClassifier(0.01, radius=0.05).fit(X, Y > 0)
    outputs = to_torch(model)(torch.asarray(X)).detach().numpy()[:, 0]
    np.testing.assert_allclose(outputs, model.decision_function(X), atol=1e-12)
    spline = ConvexSpline(0.01, skip=True).fit(X[:, :1], Y)
    outputs = to_torch(spline)(torch.asarray(X[:, :1])).detach().numpy()[:, 0]
    np.testing.assert_allclose(outputs, spline.predict(X[:, :1]), atol=1e-12)


@pytest.mark.parametrize("border", ["reflect", "edge", "constant", "wrap"])
@pytest.mark.parametrize("architecture", ["gated", "relu"])
def test_a_denoiser_is_a_module_of_images(architecture: str, border: str) -> None:
    clean = RNG.uniform(size=(2, 6, 5))
    words = {"alpha": 1e-3, "gates": "sample", "n_gates": 4, "random_state": 0, "border": border}
    model = ConvexDenoiser(architecture, **words).fit(RNG.uniform(size=(2, 6, 5)), clean)
    assert model.network_.n_neurons > 0
    outputs = to_torch(model)(torch.asarray(clean)).detach().numpy()
    np.testing.assert_allclose(outputs, model.predict(clean), atol=1e-12)
