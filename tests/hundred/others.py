"""The systems that are not architectures of tables: margins, directions, splines, balls, series."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
from tests.hundred import oracles
from tests.hundred.descent import (
    RUNS,
    Parameters,
    constant,
    lowest,
    mean_loss,
    relu,
    softplus,
    sums,
    through,
    times,
)
from tests.hundred.proof import Proof

from cvxnn import (
    ConvexSpline,
    ReLU,
    RobustClassifier,
    enumerate_patterns,
    fit_quantised,
    interpolate,
    max_margin,
    wasserstein_direction,
)
from cvxnn.everywhere.signs import KRIVINE
from cvxnn.gates import Gates

Floats = np.ndarray


def widened(X: Floats, bias: bool) -> Floats:
    return np.column_stack([X, np.ones(len(X))]) if bias else X


def there_and_back(network: Any, Z: Floats) -> tuple[Floats, float, Floats, float]:
    """Fit and size of a ReLU network's neurons in the program of all patterns, and once again."""
    kind, gates = ReLU(bias=False), enumerate_patterns(Z)
    none, skip = np.zeros(1), np.zeros((Z.shape[1], 1))
    lift, penalty = kind.lift(Z, gates, 1), kind.penalty(1.0, 1)
    plain = kind.network(
        {
            "weights_in": network.weights_in,
            "weights_out": network.weights_out,
            "intercept": none,
            "skip": skip,
        }
    )
    found = []
    for _ in range(2):
        blocks = kind.unlift(plain, gates, Z)
        found += [lift.apply(blocks), penalty.value(blocks)]
        plain = kind.recover(gates, blocks, none, skip, Z)
    return tuple(found)


def decay_of(network: Any) -> float:
    lengths = np.linalg.norm(network.weights_in, axis=1)
    return float((lengths * np.linalg.norm(network.weights_out, axis=1)).sum())


# J: weights -1 and 1


def quantised(number: int) -> Proof:
    rng = np.random.default_rng([11, number])
    n, d, bias, intercept = (
        int(rng.integers(4, 9)),
        int(rng.integers(1, 4)),
        *rng.integers(2, size=2),
    )
    X, y = rng.standard_normal((n, d)), 2 * rng.standard_normal(n)
    name = "logistic" if number % 4 == 1 else "squared"
    if name == "logistic":
        y = np.sign(y)
        y[:2] = 1.0, -1.0
    alpha = 10.0 ** rng.uniform(-2, -1)
    words = {"bias": bool(bias), "fit_intercept": bool(intercept), "n_neurons": 50}
    found = fit_quantised(X, y, alpha=alpha, loss=name, random_state=number, **words)
    network, Z, Y = found.network, widened(X, bool(bias)), y[:, None]
    side = Z.shape[1]
    # one matrix of order 2 d with a constant diagonal
    W, rho = cp.Variable((2 * side, 2 * side), PSD=True), cp.Variable()
    fit = cp.reshape(cp.sum(cp.multiply(Z @ W[:side, side:], Z), axis=1), (n, 1), order="C")
    parts = fit, rho, [cp.diag(W) == rho]
    # the form of the network
    u, v, a = network.first, network.second, network.weights_out[:, 0]
    form = (u.T * a) @ v
    outputs = ((Z @ form) * Z).sum(axis=1)[:, None] + network.intercept

    def hidden(parameters: Parameters) -> Any:
        signs = [through(2.0 * (parameters[k] >= 0) - 1.0, parameters[k]) for k in ("u", "v")]
        return times(Z, signs[0]) * times(Z, signs[1])

    def objective(parameters: Parameters) -> Any:
        each = hidden(parameters) @ parameters["a"] + (parameters["b"] if intercept else 0.0)
        return mean_loss(name, each, Y) + alpha * sums(abs(parameters["a"]))

    own = {"u": u[None], "v": v[None], "a": a[None, :, None], "b": network.intercept[None, None]}
    assert set(np.unique([u, v])) <= {-1.0, 1.0}
    return Proof(
        upper=found.guarantee - (KRIVINE - 1) * alpha * found.penalty,
        lower=found.certificate.lower,
        optimum=oracles.trained(name, parts, Y, alpha, np.ones((n, int(intercept)))),
        network=float(objective(own)[0]),
        program=found.certificate.upper,
        fit=(network(X), outputs),
        penalty=(network.weight_decay(), float(np.abs(a).sum())),
        bound=found.certificate.lower,
        descend=lambda: lowest(
            objective,
            {"u": (8, side), "v": (8, side), "a": (8, 1)} | ({"b": (1, 1)} if intercept else {}),
            number,
        ),
        size=float(mean_loss(name, np.zeros((1, n, 1)), Y)[0]),
        network_is_program=False,
    )


# K: margins and interpolants


def margin(number: int) -> Proof:
    rng = np.random.default_rng([12, number])
    bias = bool(number % 2)
    n, d = int(rng.integers(3, 8)), int(rng.integers(1 if bias else 2, 3))
    X, y = rng.standard_normal((n, d)), np.where(rng.uniform(size=n) < 0.5, -1.0, 1.0)
    y[:2] = 1.0, -1.0
    Z = widened(X, bias)
    gates = ("enumerate", "grow")[number // 2 % 2]
    found = max_margin(X, y, architecture=ReLU(bias=bias), gates=gates, random_state=number)
    network = found.network
    fit, size, rules = oracles.relu(Z, enumerate_patterns(Z).masks)
    own = np.maximum(Z @ network.weights_in.T, 0) @ network.weights_out
    before, first, after, second = there_and_back(network, Z)

    def margins(parameters: Parameters) -> Any:
        outputs = (relu(times(Z, parameters["w"])) @ parameters["a"])[:, :, 0]
        return outputs * constant(y, outputs)

    def norm(parameters: Parameters) -> Any:
        lengths = (parameters["w"] ** 2).sum(axis=2) ** 0.5
        return (lengths * abs(parameters["a"][:, :, 0])).sum(axis=1)

    def objective(parameters: Parameters) -> Any:
        return norm(parameters) / margins(parameters).min(axis=1).values.clamp(min=0.0).abs()

    def surrogate(parameters: Parameters) -> Any:
        return softplus(-margins(parameters)).mean(axis=1) + 1e-3 * norm(parameters)

    optimum = oracles.optimum(size, [*rules, cp.multiply(y[:, None], fit) >= 1])
    return Proof(
        upper=found.certificate.upper,
        lower=found.certificate.lower,
        optimum=optimum,
        network=decay_of(network) if (y * own[:, 0]).min() >= 1 - 1e-9 else np.inf,
        program=first,
        fit=(before, after),
        penalty=(first, second),
        bound=found.certificate.lower,
        descend=lambda: lowest(
            objective,
            {"w": (10, Z.shape[1]), "a": (10, 1)},
            number,
            surrogate=surrogate,
            steps=500,
        ),
        size=optimum,
    )


def isometry(number: int) -> Proof:
    rng = np.random.default_rng([13, number])
    n, d = int(rng.integers(3, 8)), 2
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) if number % 3 == 0 else rng.standard_normal(n)
    found = interpolate(X, y)
    network = found.network
    fit, size, rules = oracles.relu(X, enumerate_patterns(X).masks)
    w = cp.Variable((d, 1))
    straight = float(np.linalg.norm(network.skip))
    before, first, after, second = there_and_back(network, X)
    outputs = np.maximum(X @ network.weights_in.T, 0) @ network.weights_out + X @ network.skip

    def objective(parameters: Parameters) -> Any:
        """The norm of the outward weights of least length that meet the data."""
        import torch

        units = parameters["w"] / (parameters["w"] ** 2).sum(axis=2)[:, :, None] ** 0.5
        M = torch.cat([torch.tensor(X).expand(RUNS, n, d), relu(times(X, units))], dim=2)
        target = torch.tensor(y[:, None]).expand(RUNS, n, 1)
        weights = torch.linalg.pinv(M) @ target
        off = abs(M @ weights - target).amax(dim=(1, 2))
        value = (weights[:, :d] ** 2).sum(dim=(1, 2)) ** 0.5 + abs(weights[:, d:]).sum(dim=(1, 2))
        return value + (0.0 / (off < 1e-9))  # those that miss the data do not count

    return Proof(
        upper=found.certificate.upper,
        lower=found.certificate.lower,
        optimum=oracles.optimum(size + cp.norm(w, 2), [*rules, fit + X @ w == y[:, None]]),
        network=straight + decay_of(network) if abs(outputs[:, 0] - y).max() < 1e-6 else np.inf,
        program=straight + first,
        fit=(before, after),
        penalty=(first, second),
        bound=found.certificate.lower,
        descend=lambda: lowest(objective, {"w": (14, d)}, number),
        size=float(np.linalg.norm(y)),
    )


# L: directions


def direction(number: int) -> Proof:
    rng = np.random.default_rng([14, number])
    d, bias = (1, True) if number % 2 else (2, False)
    n = int(rng.integers(4, 8))
    X, alpha = rng.standard_normal((n, d)), float(rng.uniform(2.5, 5.0)) / n
    score = -X if number % 3 else np.tanh(2 * X) - X
    least = wasserstein_direction(X, score, bias=bias).threshold
    alpha = max(alpha, 1.2 * least)
    found = wasserstein_direction(X, score, alpha=alpha, bias=bias)
    network, Z = found.network, widened(X, bias)
    masks = enumerate_patterns(Z).masks

    def value(pull: Any, lap: Any, size: Any) -> Any:
        each = (pull**2).sum(axis=-1) / 2 + lap + (constant(score, pull) * pull).sum(axis=-1)
        return each.mean(axis=-1) + alpha * size

    def objective(parameters: Parameters) -> Any:
        w, a = parameters["w"], parameters["a"]
        inward = w[:, :, :d]
        hidden = times(Z, w)
        pull = 2 * (relu(hidden) * a[:, None, :]) @ inward
        lap = 2 * ((1.0 * (hidden >= 0)) * (a * (inward**2).sum(axis=2))[:, None, :]).sum(axis=2)
        return value(pull, lap, (abs(a) * (w**2).sum(axis=2)).sum(axis=1))

    # forms by pattern and sign, from the network's neurons
    forms: dict[tuple[bytes, float], Floats] = {}
    for w, a in zip(network.weights_in, network.weights_out, strict=True):
        key = (Z @ w >= 0).tobytes(), float(np.sign(a))
        forms[key] = forms.get(key, 0) + abs(a) * np.outer(w, w)
    pull, lap, size = np.zeros((n, d)), np.zeros(n), 0.0
    for (key, sign), S in forms.items():
        on = np.frombuffer(key, dtype=bool)
        rows = np.where(on[:, None], Z, -Z)
        assert (rows @ S @ rows.T).min() >= -1e-9  # in the cone of the pattern
        pull += 2 * sign * on[:, None] * (Z @ S)[:, :d]
        lap += 2 * sign * on * np.trace(S[:d, :d])
        size += float(np.trace(S))
    own = {"w": network.weights_in[None], "a": network.weights_out[None]}
    energy = float((score**2).sum(axis=1).mean()) / 2
    return Proof(
        upper=found.certificate.upper,
        lower=found.certificate.lower,
        optimum=semidefinite(Z, masks, score, alpha),
        network=float(objective(own)[0]),
        program=float(value(pull, lap, size)),
        fit=(network.gradient(X), pull),
        penalty=(network.penalty(), size),
        bound=found.certificate.lower,
        descend=lambda: lowest(objective, {"w": (10, Z.shape[1]), "a": (10,)}, number, scale=0.5),
        size=energy,
    )


def semidefinite(Z: Floats, masks: Floats, score: Floats, alpha: float) -> float:
    """The program of section L with every pair of rows as a wall."""
    (n, d), pull, lap, size, rules = score.shape, 0, 0, 0, []
    for mask in masks:
        rows = np.where(mask[:, None], Z, -Z)
        for sign in (2.0, -2.0):
            S = cp.Variable((Z.shape[1], Z.shape[1]), PSD=True)
            pull = pull + sign * (mask[:, None] * Z) @ S[:, :d]
            lap = lap + sign * float(mask.sum()) * cp.trace(S[:d, :d])
            size = size + cp.trace(S)
            rules.append(rows @ S @ rows.T >= 0)
    cost = (cp.sum_squares(pull) / 2 + lap + cp.sum(cp.multiply(score, pull))) / n
    return oracles.optimum(cost + alpha * size, rules)


# M: splines


def spline(number: int) -> Proof:
    rng = np.random.default_rng([15, number])
    n, skip = int(rng.integers(3, 12)), bool(number % 2)
    x, y = rng.normal(size=n), rng.normal(size=n)
    if number % 4 == 0:
        x[: n // 2] = x[-1]  # several samples at one place
    alpha = 10.0 ** rng.uniform(-3, -1)
    model = ConvexSpline(alpha=alpha, skip=skip, tol=1e-8).fit(x[:, None], y)
    network, knots, Y = model.network_, np.unique(x), y[:, None]
    gaps = x[:, None] - knots
    F = np.concatenate([np.maximum(gaps, 0), np.maximum(-gaps, 0)], axis=1)
    a = cp.Variable((F.shape[1], 1))
    free = np.column_stack([x] * skip + [np.ones(n)])
    # the network as a point of the lasso: each neuron at a knot, to one side
    w, b = network.weights_in.T
    places = np.abs(knots[:, None] + b / w).argmin(axis=0)
    point = np.zeros(2 * len(knots))
    np.add.at(point, places + len(knots) * (w < 0), np.abs(w) * network.weights_out[:, 0])
    straight = (x * network.skip[0, 0] + network.intercept[0])[:, None]

    def objective(parameters: Parameters) -> Any:
        inner = times(x[:, None], parameters["w"]) + parameters["c"][:, None, :]
        fit = relu(inner) @ parameters["a"] + parameters["b"]
        fit = fit + (times(x[:, None], parameters["k"]) if skip else 0.0)
        decay = (sums(parameters["w"] ** 2) + sums(parameters["a"] ** 2)) / 2
        return mean_loss("squared", fit, Y) + alpha * decay

    lengths = np.sqrt(np.abs(network.weights_out[:, 0] / w))[:, None]  # balanced, the bias free
    own = {
        "w": w[:, None] * lengths,
        "a": network.weights_out / lengths,
        "b": network.intercept[None],
    }
    own |= {"c": b * lengths[:, 0], "k": network.skip.T}
    fit = F @ point[:, None] + straight
    shapes = {"w": (10, 1), "c": (10,), "a": (10, 1), "b": (1, 1)} | ({"k": (1, 1)} if skip else {})
    return Proof(
        upper=model.certificate_.upper,
        lower=model.certificate_.lower,
        optimum=oracles.trained("squared", (F @ a, cp.norm1(a), []), Y, alpha, free),
        network=float(objective({name: each[None] for name, each in own.items()})[0]),
        program=float(((fit - Y) ** 2).mean() / 2 + alpha * np.abs(point).sum()),
        fit=(network(x[:, None]), fit),
        penalty=(model.decay_, float(np.abs(point).sum())),
        bound=model.certificate_.lower,
        descend=lambda: lowest(objective, shapes, number),
        size=float((y**2).mean() / 2),
    )


# O: the worst of balls


def robust(number: int) -> Proof:
    rng = np.random.default_rng([16, number])
    n, norm = int(rng.integers(4, 7)), ("linf", "l2")[number % 2]
    dual = {"linf": 1, "l2": 2}[norm]
    X, y = rng.standard_normal((n, 2)), np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    radius, alpha = 0.05 + 0.1 * rng.uniform(), 10.0 ** rng.uniform(-2.5, -1)
    model = RobustClassifier(alpha, radius=radius, norm=norm, bias=False, gates="enumerate")
    network = model.fit(X, y).network_
    rules, size, slopes = [], 0, [0] * n
    for mask in enumerate_patterns(X).masks:
        for sign in (1.0, -1.0):
            v = cp.Variable(2)
            rules.append(cp.multiply(2.0 * mask - 1, X @ v) >= radius * cp.norm(v, dual))
            size = size + cp.norm(v, 2)
            slopes = [g + sign * v if on else g for g, on in zip(slopes, mask, strict=True)]
    losses = [
        cp.pos(1 - s * (x @ g) + radius * cp.norm(g, dual))
        for x, s, g in zip(X, y, slopes, strict=True)
    ]
    before, first, after, second = there_and_back(network, X)

    def length(g: Any) -> Any:
        return abs(g).sum(axis=-1) if dual == 1 else ((g**2).sum(axis=-1) + 1e-300) ** 0.5

    def objective(parameters: Parameters) -> Any:
        """Of the neurons that keep their side all over every ball: linear on each."""
        w, a = parameters["w"], parameters["a"][:, :, 0]
        products = times(X, w)
        clear = 1.0 * (abs(products) >= (radius * length(w) * (1 - 1e-9))[:, None, :])
        stable = clear.min(axis=1)
        stable = stable if isinstance(stable, np.ndarray) else stable.values
        a = a * stable
        slope = (1.0 * (products > 0) * a[:, None, :]) @ w
        sides = constant(y, slope) * (relu(products) * a[:, None, :]).sum(axis=2)
        decay = (abs(a) * (w**2).sum(axis=2) ** 0.5).sum(axis=1)
        return relu(1 - sides + radius * length(slope)).mean(axis=1) + alpha * decay

    own = {"w": network.weights_in[None], "a": network.weights_out[None]}
    return Proof(
        upper=model.certificate_.upper,
        lower=model.certificate_.lower,
        optimum=oracles.optimum(sum(losses) / n + alpha * size, rules),
        network=float(objective(own)[0]),
        program=float(relu(1 - y * before[:, 0] + radius * worst(network, X, length)).mean())
        + alpha * first,
        fit=(before, after),
        penalty=(first, second),
        bound=model.certificate_.lower,
        descend=lambda: lowest(objective, {"w": (12, 2), "a": (12, 1)}, number),
        size=1.0,
    )


def worst(network: Any, X: Floats, length: Callable[[Floats], Floats]) -> Floats:
    """The lengths of a network's slopes at samples, from its blocks, (n,)."""
    kind, gates = ReLU(bias=False), enumerate_patterns(X)
    gates = Gates(gates.generators, gates.masks)
    blocks = kind.unlift(network, gates, X)[:, :, 0]
    plus, minus = np.split(blocks, 2)
    return length(gates.masks.T.astype(float) @ (plus - minus))


SYSTEMS = {
    "J quantised": quantised,
    "K margin": margin,
    "K isometry": isometry,
    "L direction": direction,
    "M spline": spline,
    "O robust": robust,
}
