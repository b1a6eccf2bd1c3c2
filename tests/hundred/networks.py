"""The architectures of tables: estimators, programs in CVXPY, and descents on the networks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from tests.gates.test_faces import realised
from tests.hundred import oracles
from tests.hundred.descent import (
    Parameters,
    constant,
    lowest,
    mean_loss,
    relu,
    sums,
    through,
    times,
)
from tests.hundred.proof import Proof

from cvxnn import (
    BatchNorm,
    BatchNormAfter,
    ConvexClassifier,
    ConvexRegressor,
    GatedReLU,
    Polynomial,
    ReLU,
    Scope,
    Threshold,
    enumerate_patterns,
)
from cvxnn.architectures import Problem
from cvxnn.functions import Logistic, Squared
from cvxnn.training import problem_of

Floats = np.ndarray


class Data(NamedTuple):
    """A problem as users have it."""

    X: Floats
    Y: Floats
    alpha: float
    loss: str
    intercept: bool
    architecture: Any
    skip: bool = False

    @property
    def features(self) -> Floats:
        return np.asarray(self.architecture.features(self.X))


class System(NamedTuple):
    """How a kind of network is drawn, and what others know of it."""

    draw: Callable[[np.random.Generator], Any]
    """An architecture."""
    program: Callable[[Data, Floats], Any]
    """(fit, size, rules) of the program in CVXPY, from the data and the masks of given gates."""
    hidden: Callable[[Data, Parameters], Any]
    """Activations (runs, n, m) of parameters."""
    shapes: Callable[[Data], dict[str, tuple[int, ...]]]
    """Of a descent's inner parameters, neurons first."""
    names: dict[str, str]
    """What a network calls them."""
    decay: tuple[str, ...] | Callable[[Data, Parameters], Any]
    """Half the squares of these are the decay; of none: the sum of |outward weights|. Or a function
    of the data and the parameters, (runs,)."""
    gates: str = "enumerate"
    outputs: int = 2
    """Most of them."""
    samples: int = 7
    """One more than there are before copies."""
    rounding: float = 0.0
    """Products below it are zero in the network in hand."""


def drawn(system: System, number: int) -> Data:
    """The problem of a number: ties, copies, both losses, with and without an intercept."""
    rng = np.random.default_rng([5, number])
    n, d, c = (
        int(rng.integers(*ends)) for ends in ((3, system.samples), (1, 3), (1, system.outputs + 1))
    )
    X, Y = rng.standard_normal((n, d)), rng.standard_normal((n, c))
    if number % 2:
        X = np.round(1.5 * X)
    loss = "logistic" if number % 5 == 1 else "squared"
    if loss == "logistic":
        Y = np.where(Y[:, :1] > 0, 1.0, -1.0)
        Y[0], Y[-1] = 1.0, -1.0
    if number % 3 == 0:  # a sample twice
        X, Y = np.concatenate([X, X[:1]]), np.concatenate([Y, Y[:1]])
    alpha = 10.0 ** rng.uniform(-3, -1)
    return Data(X, Y, alpha, loss, bool(number % 4 > 1), system.draw(rng))


def fitted(system: System, data: Data, seed: int) -> Any:
    """The estimator of the data."""
    kind = ConvexClassifier if data.loss == "logistic" else ConvexRegressor
    words = {"n_gates": 6, "fit_intercept": data.intercept, "tol": 1e-9, "random_state": seed}
    model = kind(data.architecture, alpha=data.alpha, gates=system.gates, skip=data.skip, **words)
    return model.fit(data.X, data.Y[:, 0] if data.Y.shape[1] == 1 else data.Y)


def problem_on(data: Data, generators: Floats | None) -> Problem:
    """The library's problem on gates; None: on all of them."""
    source, features = data.architecture.source, data.features
    return problem_of(
        data.architecture,
        data.X,
        data.Y,
        np.ones(len(data.X)),
        Logistic() if data.loss == "logistic" else Squared(),
        source.every(features) if generators is None else source.given(features, generators),
        scope=Scope.GIVEN_GATES,
        intercept=data.intercept,
        skip=data.skip,
    ).at(data.alpha)


def objective(system: System, data: Data, parameters: Parameters) -> Any:
    """Mean loss + alpha * decay of every run's network, (runs,)."""
    fit = system.hidden(data, parameters) @ parameters["a"]
    fit = fit + parameters["b"] if "b" in parameters else fit
    fit = fit + times(data.X, parameters["k"]) if "k" in parameters else fit
    if callable(system.decay):
        decay = system.decay(data, parameters)
    elif system.decay:
        decay = sum(sums(parameters[name] ** 2) for name in system.decay) / 2
    else:
        decay = sums(abs(parameters["a"]))
    return mean_loss(data.loss, fit, data.Y) + data.alpha * decay


def solved(system: System, number: int) -> Proof:
    """The proof of a number."""
    data = drawn(system, number)
    model = fitted(system, data, number)
    return proof_of(system, data, model, model.generators_, number)


def proof_of(system: System, data: Data, model: Any, generators: Floats | None, seed: int) -> Proof:
    """What a fitted model and its program say, and what others say of the data."""
    claim, network, problem = model.certificate_, model.network_, problem_on(data, generators)
    program, architecture, features = problem.program, problem.architecture, data.features
    n, gates = len(data.X), problem.gates
    # the program at the network's blocks, there and back
    blocks = architecture.unlift(network, gates, features)
    unpenalised = np.tile(network.intercept, (n, 1)) + data.X @ network.skip
    again = architecture.recover(gates, blocks, network.intercept, network.skip, features)
    back = architecture.unlift(again, gates, features)
    free = (
        np.concatenate([data.X] * data.skip + [np.ones((n, 1))] * data.intercept, axis=1)
        if (data.skip or data.intercept)
        else np.zeros((n, 0))
    )
    parts = system.program(data, gates.masks)
    return Proof(
        upper=claim.upper,
        lower=claim.lower,
        optimum=oracles.trained(data.loss, parts, data.Y, data.alpha, free),
        network=float(objective(system, data, parameters_of(system, network))[0]),
        program=program.objective(blocks, problem.free.coefficients(unpenalised)),
        fit=(program.lift.apply(blocks), program.lift.apply(back)),
        penalty=(program.penalty.value(blocks), program.penalty.value(back)),
        bound=claim.lower,
        descend=lambda: descended(system, data, gates.generators, seed),
        size=program.loss.value(np.zeros_like(data.Y)),
    )


def parameters_of(system: System, network: Any) -> Parameters:
    """Those of a network, as of a single run."""
    names = system.names | {"a": "weights_out", "b": "intercept"}
    given = {name: np.asarray(getattr(network, own))[None] for name, own in names.items()}
    straight = {"b": given["b"][:, None], "k": np.asarray(network.skip).T[None]}
    return given | straight | {"rounding": system.rounding}


def descended(system: System, data: Data, generators: Floats, seed: int) -> Floats:
    """The least objectives of twenty descents, (20,)."""
    c, d = data.Y.shape[1], data.X.shape[1]
    shapes, fixed = system.shapes(data), {}
    if system.gates == "sample":  # every gate twice
        fixed = {"rules": np.concatenate([generators, generators])[None]}
        count = 2 * len(generators)
        shapes = {name: (count, *shape[1:]) for name, shape in shapes.items()}
    shapes = shapes | {"a": (next(iter(shapes.values()))[0], c)}
    shapes = shapes | ({"b": (1, c)} if data.intercept else {})
    shapes = shapes | ({"k": (c, d)} if data.skip else {})
    return lowest(lambda each: objective(system, data, each | fixed), shapes, seed)


# ReLU and gated


def relu_hidden(data: Data, parameters: Parameters) -> Any:
    return relu(times(data.features, parameters["w"]))


def gated_hidden(data: Data, parameters: Parameters) -> Any:
    open_here = 1.0 * (data.features @ parameters["rules"].swapaxes(1, 2) >= 0)
    return constant(open_here, parameters["w"]) * times(data.features, parameters["w"])


# threshold and sign


def steps_hidden(data: Data, parameters: Parameters) -> Any:
    products = times(data.features, parameters["w"])
    hard = 1.0 * (products >= -parameters.get("rounding", 0.0))
    steps = through(hard, 1 / (1 + np.e ** (-4 * products)))
    steps = 2 * steps - 1 if data.architecture.sign else steps
    return steps * parameters["s"][:, None, :]


# batch normalisation


def normal(values: Any) -> Any:
    """Values (runs, n, m) less their mean over samples, over their deviation."""
    centred = values - values.mean(axis=1)[:, None]
    return centred / ((centred**2).mean(axis=1)[:, None] + 1e-24) ** 0.5


def units_of(data: Data) -> tuple[float, float]:
    root = len(data.X) ** -0.5
    kind = data.architecture
    return root if kind.unit_scale else 1.0, root if kind.unit_shift else 1.0


def before_hidden(data: Data, parameters: Parameters) -> Any:
    scale, shift = units_of(data)
    turned = normal(times(data.X, parameters["w"])) * parameters["g"][:, None, :]
    return relu(scale * turned + shift * parameters["t"][:, None, :])


def after_hidden(data: Data, parameters: Parameters) -> Any:
    scale, shift = units_of(data)
    turned = normal(relu(times(data.features, parameters["w"])))
    return scale * turned * parameters["g"][:, None, :] + shift * parameters["t"][:, None, :]


def normalising(count: int) -> Callable[[Data], dict[str, tuple[int, ...]]]:
    return lambda data: {"w": (count, data.features.shape[1]), "g": (count,), "t": (count,)}


def whitened_program(data: Data, masks: Floats) -> Any:
    kind = data.architecture
    Z = oracles.whitened(data.X, (kind.unit_scale, kind.unit_shift))
    return oracles.relu(Z, enumerate_patterns(Z).masks)


def after_program(data: Data, masks: Floats) -> Any:
    kind, Z = data.architecture, data.features
    units = kind.unit_scale, kind.unit_shift
    return oracles.normalised_after(Z, enumerate_patterns(Z).masks, units)


# polynomials


def polynomial_hidden(data: Data, parameters: Parameters) -> Any:
    w, kind = parameters["w"], data.architecture
    t = times(data.features, w / ((w**2).sum(axis=2)[:, :, None]) ** 0.5)
    return (kind.square * t + kind.linear) * t + kind.constant


def polynomial_program(data: Data, masks: Floats) -> Any:
    kind = data.architecture
    coefficients = kind.square, kind.linear, kind.constant
    return oracles.polynomial(data.features, coefficients, data.Y.shape[1])


def inward(count: int) -> Callable[[Data], dict[str, tuple[int, ...]]]:
    return lambda data: {"w": (count, data.features.shape[1])}


def flags(rng: np.random.Generator, count: int) -> list[bool]:
    return [bool(flag) for flag in rng.integers(2, size=count)]


STEPS = {
    "hidden": steps_hidden,
    "shapes": lambda data: {"w": (12, data.features.shape[1]), "s": (12,)},
    "names": {"w": "weights_in", "s": "amplitudes"},
    "decay": ("s", "a"),
    "rounding": 1e-9,
}
NORMAL = {"names": {"w": "weights_in", "g": "gammas", "t": "shifts"}, "decay": ("g", "t", "a")}
POLYNOMIAL = {
    "program": polynomial_program,
    "hidden": polynomial_hidden,
    "shapes": inward(8),
    "names": {"w": "weights_in"},
    "decay": (),
    "gates": "auto",
}

SYSTEMS = {
    "A relu": System(
        draw=lambda rng: ReLU(*flags(rng, 1)),
        program=lambda data, masks: oracles.relu(
            data.features, enumerate_patterns(data.features).masks
        ),
        hidden=relu_hidden,
        shapes=inward(10),
        names={"w": "weights_in"},
        decay=("w", "a"),
        outputs=1,
    ),
    "G gated": System(
        draw=lambda rng: GatedReLU(*flags(rng, 1)),
        program=lambda data, masks: oracles.gated(data.features, masks, data.Y.shape[1]),
        hidden=gated_hidden,
        shapes=inward(12),
        names={"w": "weights_in", "rules": "rules"},
        decay=("w", "a"),
        gates="sample",
    ),
    "H batchnorm": System(
        draw=lambda rng: BatchNorm(*flags(rng, 2)),
        program=whitened_program,
        hidden=before_hidden,
        shapes=lambda data: {"w": (10, data.X.shape[1]), "g": (10,), "t": (10,)},
        outputs=1,
        **NORMAL,
    ),
    "H batchnorm_after": System(
        draw=lambda rng: BatchNormAfter(*flags(rng, 3)),
        program=after_program,
        hidden=after_hidden,
        shapes=normalising(10),
        outputs=1,
        **NORMAL,
    ),
    "I threshold": System(
        draw=lambda rng: Threshold(*flags(rng, 1)),
        program=lambda data, masks: oracles.steps(
            sorted(realised(data.features)), False, data.Y.shape[1]
        ),
        **STEPS,
    ),
    "I sign": System(
        draw=lambda rng: Threshold(*flags(rng, 1), sign=True),
        program=lambda data, masks: oracles.steps(
            sorted(realised(data.features)), True, data.Y.shape[1]
        ),
        **STEPS,
    ),
    "J polynomial": System(
        draw=lambda rng: Polynomial(*flags(rng, 1), *rng.standard_normal(3)), **POLYNOMIAL
    ),
    "J quadratic": System(
        draw=lambda rng: Polynomial(
            *flags(rng, 1), square=rng.choice([-1.0, 0.7, 1.0]), linear=0.0, constant=0.0
        ),
        **POLYNOMIAL,
    ),
}
