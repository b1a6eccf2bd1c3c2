"""Networks of several outputs: the optima of sections F and L, and what lies between them."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from cvxnn import ConvexRegressor, ConvGated, GatedReLU, Polynomial, ReLU, Scope, enumerate_patterns
from cvxnn.functions import ColumnNorm, GroupNorm, Squared, mean_loss
from cvxnn.gates import Gates
from cvxnn.program import Program
from cvxnn.solve import solve
from cvxnn.solvers import FISTA

X = np.array([[1.0, 2.0], [0.5, -1.0], [-2.0, 1.0], [1.0, -1.0]])
Y = np.array([[1.0, 0.0], [-1.0, 0.5], [2.0, -1.0], [0.0, 1.0]])
N, LAM = 4, 0.3
WORDS: dict[str, Any] = {"alpha": LAM / N, "fit_intercept": False, "tol": 1e-8}


@pytest.fixture(scope="module")
def cells() -> Gates:
    found = enumerate_patterns(X)
    assert len(found) == 8
    return found


def optimum(model: ConvexRegressor) -> float:
    """The optimum in the notes' units, proved to 1e-8."""
    claim = model.fit(X, Y).certificate_
    assert claim.relative_gap <= 1e-7
    return N * claim.upper


def of_penalty(cells: Gates, penalty: Any) -> float:
    """The optimum of gated networks under a penalty of the blocks that is no architecture's."""
    kind = GatedReLU(bias=False)
    loss, lift = mean_loss(Squared(), Y), kind.lift(X, cells, 2)
    program = Program(loss=loss, lift=lift, penalty=penalty, free=np.zeros((N, 0)))
    found = solve(program, FISTA(), tol=1e-8, max_iter=50_000)
    assert found.certificate.relative_gap <= 1e-7
    return N * found.certificate.upper


def test_section_F1_the_penalties_are_ordered(cells: Gates) -> None:
    nuclear = optimum(ConvexRegressor(GatedReLU(bias=False), gates="enumerate", **WORDS))
    assert nuclear == pytest.approx(0.541310, abs=6e-7)
    frobenius = of_penalty(cells, GroupNorm(LAM / N))
    assert frobenius == pytest.approx(0.513434, abs=6e-7)
    columns = of_penalty(cells, ColumnNorm(LAM / N))
    assert columns == pytest.approx(0.562980, abs=6e-7)
    assert frobenius <= nuclear <= columns


def test_section_F1_weight_decay_of_relu_networks_is_not_columns_in_cones() -> None:
    every = ConvexRegressor(ReLU(bias=False), gates="grow", **WORDS)
    assert optimum(every) == pytest.approx(0.856895, abs=6e-7)
    assert every.certificate_.scope is Scope.ALL_NETWORKS
    angles = np.linspace(0, 2 * np.pi, 20_000)
    hidden = np.maximum(X @ np.stack([np.cos(angles), np.sin(angles)]), 0)
    most = np.linalg.norm(N * every.dual_.T @ hidden, axis=0).max()
    assert most == pytest.approx(LAM, rel=1e-4)  # the dual touches the circle
    columns = ConvexRegressor(ReLU(bias=False), gates="enumerate", **WORDS)
    assert optimum(columns) == pytest.approx(0.985277, abs=1e-6)  # .9852777: the notes cut digits


def test_section_F5_gated_convolution_with_several_outputs_and_cells() -> None:
    """Cells {1, 2} and {3}; the program and 20 descents on its network agree."""
    signals = np.array([[1.0, 2, -1, 0], [0, -1, 2, 1], [-2, 1, 1, -1], [1, -1, 0, 2]])
    half = np.array([[0.9732, 0.2298], [0.8112, 0.5847]])
    gates = np.concatenate([half, half[::-1, ::-1]])
    kind = ConvGated(shape=(1, 4), kernel=2, pooling="sum", cells=2, bias=False)
    model = ConvexRegressor(kind, gates=gates, **WORDS).fit(signals, Y)
    assert model.certificate_.relative_gap <= 1e-7
    assert N * model.certificate_.upper == pytest.approx(0.592567, abs=6e-7)

    windows = np.stack([signals[:, k : k + 2] for k in range(3)], axis=1)
    seen = windows[None] * (windows @ gates.T >= 0).transpose(2, 0, 1)[..., None]
    phi = np.stack([seen[:, :, :2].sum(axis=2), seen[:, :, 2]], axis=2)  # (p, n, cell, h)

    def slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        u, w = flat[:16].reshape(4, 2, 2), flat[16:].reshape(4, 2, 2, 2)  # (p, unit, ...)
        hidden = np.einsum("pnah,pth->pnat", phi, u)
        left = np.einsum("pnat,ptac->nc", hidden, w) - Y
        back = np.einsum("nc,ptac->pnat", left, w)
        pulls = (
            np.einsum("pnat,pnah->pth", back, phi) + LAM * u,
            np.einsum("nc,pnat->ptac", left, hidden) + LAM * w,
        )
        value = (left**2).sum() / 2 + LAM / 2 * (flat**2).sum()
        return float(value), np.concatenate([each.ravel() for each in pulls])

    rng = np.random.default_rng(0)
    ends = [minimize(slope, rng.standard_normal(48), jac=True).fun for _ in range(20)]
    assert min(ends) == pytest.approx(0.592567, abs=2e-6)
    assert min(ends) >= N * model.certificate_.lower - 1e-9


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Polynomial(square=0.09, linear=0.5, constant=0.47, bias=False), 1.2940992),
        (Polynomial(square=1.0, linear=0.0, constant=0.0, bias=False), 0.2832836),
    ],
)
def test_section_L_activations_of_degree_two(kind: Polynomial, value: float) -> None:
    data = np.array([[1, 0], [0, 1], [-1, 0.5], [0.5, -1], [1, 1], [-0.5, -0.5]])
    y = np.array([1.0, -1.0, 2.0, 0.5, -0.5, 0.0])
    words: dict[str, Any] = {"alpha": 0.05 / 6, "fit_intercept": False, "tol": 1e-8}
    model = ConvexRegressor(kind, **words).fit(data, y)
    assert 6 * model.certificate_.upper == pytest.approx(value, abs=2e-7)
    assert 6 * model.certificate_.lower == pytest.approx(value, abs=2e-7)
    assert model.certificate_.scope is Scope.ALL_NETWORKS
