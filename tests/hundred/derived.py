"""Estimators that train ReLU and gated networks on data of their own making."""

from collections.abc import Sequence

import numpy as np
from tests.hundred.networks import SYSTEMS as NETWORKS
from tests.hundred.networks import Data, fitted, proof_of
from tests.hundred.proof import Proof

from cvxnn import ConvexDenoiser, ConvexDensity, ConvexForecaster, GatedReLU, ReLU

RELU, GATED = NETWORKS["A relu"], NETWORKS["G gated"]
EXACT = {"tol": 1e-9, "n_gates": 5}


def closed(number: int) -> Proof:
    """Section M: features of rank one, or orthogonal rows; no solver runs."""
    rng = np.random.default_rng([21, number])
    n, d = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    if number % 2:
        X = np.outer(rng.normal(size=n), rng.normal(size=d))
    else:
        turn = np.linalg.qr(rng.normal(size=(n, n)))[0]
        X = rng.uniform(0.3, 3.0, size=n)[:, None] * turn
    intercept = bool(number % 4 == 1)
    alpha = 10.0 ** rng.uniform(-3, -1)
    data = Data(X, rng.normal(size=(n, 1)), alpha, "squared", intercept, ReLU(bias=False))
    model = fitted(RELU._replace(gates="auto"), data, number)
    assert model.certificate_.bound == "closed form"
    return proof_of(RELU, data, model, None, number)


def forecaster(number: int) -> Proof:
    """Section N: the features are the Hankel matrix, here written out, and columns beside it."""
    rng = np.random.default_rng([22, number])
    lags, length, bias = int(rng.integers(1, 3)), int(rng.integers(6, 9)), bool(number % 2)
    y = rng.standard_normal(length)
    gated, exog = number % 4 > 1, rng.standard_normal((length, 1)) if number % 3 == 0 else None
    system, architecture = (GATED, GatedReLU(bias)) if gated else (RELU, ReLU(bias))
    alpha = 10.0 ** rng.uniform(-3, -1)
    words = {"gates": system.gates, "scale": False, "skip": False, "random_state": number}
    model = ConvexForecaster(architecture, lags=lags, alpha=alpha, **words, **EXACT).fit(y, exog)
    rows = np.array([y[t : t + lags] for t in range(length - lags)])
    rows = rows if exog is None else np.column_stack([rows, exog[lags:]])
    data = Data(rows, y[lags:, None], alpha, "squared", True, architecture)
    return proof_of(system, data, model, model.regressor_.generators_, number)


def density(number: int) -> Proof:
    """Section N: a logistic program for every coordinate on those before it."""
    rng = np.random.default_rng([23, number])
    n, d, bias, gated = int(rng.integers(5, 9)), int(rng.integers(2, 4)), *rng.integers(2, size=2)
    X = (rng.uniform(size=(n, d)) < 0.5).astype(float)
    X[:2] = [[0.0], [1.0]]
    # nor is any coordinate told by those before it, or an intercept would be without bound
    X[2:4] = [np.arange(d) % 2, 1 - np.arange(d) % 2]
    system, kind = (GATED, GatedReLU) if gated else (RELU, ReLU)
    architecture, alpha = kind(bias=bool(bias)), 10.0 ** rng.uniform(-2.5, -1)
    words = {"gates": system.gates, "random_state": number}
    model = ConvexDensity(architecture, alpha=alpha, **words, **EXACT).fit(X)
    proofs = []
    for part, seen, _ in model.parts(X):
        i = seen.shape[1]
        Y = 2 * X[:, i : i + 1] - 1
        data = Data(2 * X[:, :i] - 1, Y, alpha, "logistic", True, architecture)
        proofs.append(proof_of(system, data, part, part.generators_, number))
    whole = total(proofs)
    return whole._replace(upper=model.certificate_.upper, lower=model.certificate_.lower)


def total(proofs: Sequence[Proof]) -> Proof:
    """Several problems as one."""
    names = ("upper", "lower", "optimum", "network", "program", "bound", "size")
    return Proof(
        **{name: sum(getattr(each, name) for each in proofs) for name in names},
        fit=tuple(np.concatenate([each.fit[k] for each in proofs]) for k in (0, 1)),
        penalty=tuple(sum(each.penalty[k] for each in proofs) for k in (0, 1)),
        descend=lambda: np.sum([each.descend() for each in proofs], axis=0),
    )


def denoiser(number: int) -> Proof:
    """Section O: dense networks on the patches, here cut by hand."""
    rng = np.random.default_rng([24, number])
    gated, bias, skip = (bool(flag) for flag in rng.integers(2, size=3))
    side = 3 if gated else 1
    clean = (rng.uniform(size=(3, 3)) < 0.5).astype(float)
    clean[1, :2] = 0.0, 1.0  # not all of one colour, or the optimum is zero
    noisy = clean + 0.3 * rng.standard_normal((3, 3))
    if number % 3 == 0:
        noisy[0, 0], clean[0, 0] = noisy[2, 2], clean[2, 2]  # a pixel twice
    system, architecture = (GATED, GatedReLU(bias)) if gated else (RELU, ReLU(bias))
    alpha = 10.0 ** rng.uniform(-3, -1)
    words = {"gates": system.gates, "skip": skip, "random_state": number}
    model = ConvexDenoiser(architecture, patch=side, alpha=alpha, **words, **EXACT)
    model.fit(noisy, clean)
    wide = np.pad(noisy, side // 2, mode="reflect")
    rows = [wide[i : i + side, j : j + side].ravel() for i in range(3) for j in range(3)]
    data = Data(np.array(rows), clean.reshape(-1, 1), alpha, "squared", True, architecture, skip)
    return proof_of(system, data, model, model.regressor_.generators_, number)


SYSTEMS = {
    "M closed": closed,
    "N forecaster": forecaster,
    "N density": density,
    "O denoiser": denoiser,
}
