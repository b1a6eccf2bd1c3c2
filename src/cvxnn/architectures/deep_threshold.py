"""Threshold and sign networks of more layers: half-spaces over the outputs of drawn half-spaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cvxnn.architectures.base import AXES, Sizes
from cvxnn.architectures.neurons import Neurons
from cvxnn.architectures.shared import with_bias
from cvxnn.architectures.threshold import Threshold, ThresholdNetwork
from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.certificate import Exactness, Scope
from cvxnn.functions import Penalty
from cvxnn.gates import Faces, Gates, reached
from cvxnn.maps import Gated


@dataclass(frozen=True, eq=False, kw_only=True)
class DeepThresholdNetwork(Neurons):
    """f(x) = sum_j s_j step(z'w_j) a_j + x'S + s, z the steps of inner layers and a last one.

    A layer takes z to step(W (z, 1)); step is 1[t >= 0], or +-1 with `sign`.

    >>> import numpy as np
    >>> layer = np.array([[1.0, 1.0], [-1.0, 1.0]])  # x >= -1 and x <= 1
    >>> net = DeepThresholdNetwork(
    ...     layers=(layer,),
    ...     weights_in=np.array([[1.0, 1.0, -2.0]]),  # both of them
    ...     amplitudes=np.ones(1),
    ...     weights_out=np.ones((1, 1)),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> net(np.array([[-2.0], [0.0], [2.0]]))[:, 0].tolist()
    [0.0, 1.0, 0.0]
    """

    layers: tuple[Array, ...]
    """W, (h, d + 1) and (h, h + 1) from then on, the bias last."""
    weights_in: Array
    """w, (m, h + 1); only directions count."""
    amplitudes: Array
    """s, (m,)."""
    sign: bool = False
    """Steps give -1, not 0, outside their half-spaces."""

    settings = ("layers", "sign")

    @property
    def architecture(self) -> str:
        """The name of its architecture."""
        return "deep_sign" if self.sign else "deep_threshold"

    @property
    def lengths(self) -> Array:
        """What weight decay counts of each neuron, (m,)."""
        return np.abs(to_numpy(self.amplitudes))

    @property
    def depth(self) -> int:
        """How many layers there are, the outputs counted."""
        return len(self.layers) + 2

    def hidden(self, X: Array) -> Array:
        """Return the activations s_j step(z'w_j), (n, d) to (n, m)."""
        features = with_bias(through(self.layers, X, self.sign), True)
        xp = namespace(X)
        steps = reached(xp.astype(features, xp.float64), like(self.weights_in, features))
        return _levels(xp.astype(steps, X.dtype), self.sign) * like(self.amplitudes, X)

    def parameters(self) -> dict[str, Array]:
        """Return every array by name, the inner layers as layer0, layer1, ..."""
        layers = {f"layer{k}": layer for k, layer in enumerate(self.layers)}
        return layers | super().parameters()


@dataclass(frozen=True)
class DeepThreshold:
    """Threshold networks whose inner layers are drawn and whose last two are trained [Ergen2023].

    minimise L(sum_i d_i z_i) + alpha * sum_i |z_i|

    over columns d_i = 1[Z w_i >= 0], Z the outputs of `depth` - 2 layers of `hidden` random
    half-spaces: half-spaces of half-spaces. It is the Lasso of `Threshold` on other features, with
    more patterns. Where the rows of Z are independent, as they are if `hidden` is large enough,
    every 0/1 column is one of them: no threshold network of any depth and width is then better,
    and the bound says so, with one output or few samples. Else it is about the gates at hand.

    >>> DeepThreshold().name, DeepThreshold(sign=True, depth=4).depth
    ('deep_threshold', 4)
    """

    depth: int = 3
    """Layers, the outputs counted: at least 3."""
    hidden: int = 64
    """Half-spaces of every inner layer."""
    seed: int = 0
    """Of the inner layers, whatever the seed of the estimator."""
    sign: bool = False
    """Neurons, the inner ones too, give -1, not 0, outside their half-space."""

    exactness = Exactness.EXACT
    grows = False
    streams = False
    steady = False
    layers: tuple[Array, ...] | None = field(default=None, init=False, repr=False, compare=False)
    """Those of a network at hand; None: drawn."""

    def __post_init__(self) -> None:
        for name, least in (("depth", 3), ("hidden", 1)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} is {value!r}; expected an integer of at least {least}")

    @property
    def name(self) -> str:
        """How users call it."""
        return "deep_sign" if self.sign else "deep_threshold"

    @property
    def axes(self) -> Mapping[str, tuple[str, ...]]:
        """Axes of its network's parameters, by name."""
        inner = {"layer0": ("units0", "inputs")} | {
            f"layer{k}": (f"units{k}", f"inputs{k}") for k in range(1, self.depth - 2)
        }
        own = {"amplitudes": ("neurons",), "weights_in": ("neurons", "above")}
        return {**AXES, **own, **inner}

    @property
    def source(self) -> Faces:
        """Half-spaces of the inner layers' outputs."""
        return Faces(both=self.sign)

    @property
    def _last(self) -> Threshold:
        return Threshold(sign=self.sign)

    def scope(self, *, every: bool, outputs: int) -> Scope:
        """Return the given gates: even all of the last layer have the inner layers drawn."""
        return Scope.GIVEN_GATES

    def weighted(self, weights: Array) -> "DeepThreshold":
        """Return the architecture itself."""
        return self

    def inner(self, width: int) -> tuple[Array, ...]:
        """Return the inner layers for data of `width` columns: those at hand, or drawn ones.

        Their half-spaces are drawn for columns of mean 0 and variance 1, and for steps of -1 and 1.
        """
        if self.layers is not None:
            return self.layers
        rng, layers = np.random.default_rng([self.seed, width]), []
        for k in range(self.depth - 2):
            weights = rng.standard_normal((self.hidden, width))
            bias = rng.standard_normal(self.hidden) * np.sqrt(width) / 2
            if k and not self.sign:  # of steps of 0 and 1
                weights, bias = 2 * weights, bias - weights.sum(axis=1)
            layers.append(np.column_stack([weights, bias]))
            width = self.hidden
        return tuple(layers)

    def features(self, X: Array) -> Array:
        """Return the outputs of the inner layers and a column of ones, (n, hidden + 1)."""
        return with_bias(through(self.inner(X.shape[1]), X, self.sign), True)

    def lift(self, features: Array, gates: Gates, outputs: int) -> Gated:
        """Return A z = sum_i d_i z_i."""
        return self._last.lift(features, gates, outputs)

    def constraint(self, features: Array, gates: Gates, outputs: int) -> None:
        """Return None: every vector with the pattern will do."""

    def penalty(self, alpha: float, outputs: int) -> Penalty:
        """Return the Euclidean norm of every pattern's row, |z_i| for one output."""
        return self._last.penalty(alpha, outputs)

    def of(self, network: DeepThresholdNetwork) -> "DeepThreshold":
        """Return the architecture whose inner layers are those of the network."""
        layers = tuple(to_numpy(layer) for layer in network.layers)
        found = DeepThreshold(depth=network.depth, hidden=len(layers[-1]), sign=network.sign)
        object.__setattr__(found, "layers", layers)
        return found

    def recover(
        self, gates: Gates, blocks: Array, intercept: Array, skip: Array, features: Array
    ) -> DeepThresholdNetwork:
        """Return one balanced neuron per nonzero block, over the inner layers."""
        last = self._last.recover(gates, blocks, intercept, skip, features)
        layers = tuple(like(layer, blocks) for layer in self.inner(skip.shape[0]))
        return DeepThresholdNetwork(layers=layers, **last.parameters(), sign=self.sign)

    def unlift(self, network: DeepThresholdNetwork, gates: Gates, features: Array) -> Array:
        """Return the blocks s_j a_j summed at each pattern; ValueError for one that is no gate."""
        return self._last.unlift(_outer(network), gates, features)

    def stated(self, network: DeepThresholdNetwork, X: Array) -> DeepThresholdNetwork:
        """Return the network: it holds no statistics."""
        return network

    def network(self, parameters: dict[str, Array]) -> DeepThresholdNetwork:
        """Return the network with these arrays."""
        rest = dict(parameters)
        layers = tuple(rest.pop(f"layer{k}") for k in range(self.depth - 2))
        return DeepThresholdNetwork(layers=layers, **rest, sign=self.sign)

    def mean(self, networks: Sequence[DeepThresholdNetwork]) -> DeepThresholdNetwork:
        """Return the network whose outputs are the mean of theirs; their inner layers are one."""
        last = self._last.mean([_outer(network) for network in networks])
        arrays = {name: x for name, x in last.parameters().items()}
        return replace(networks[0], **arrays)

    def sizes(self, n: int, d: int, p: int, outputs: int) -> Sizes:
        """Return the numbers held: the inner outputs, the columns, a row of weights each."""
        return Sizes(lift=n * (p + d), blocks=p * outputs, rows=0)


def through(layers: Sequence[Array], X: Array, sign: bool) -> Array:
    """Return the steps (n, h) of inner layers on data (n, d), in the dtype of the data."""
    xp = namespace(X)
    # in float64, as in training, so that float32 data switch alike
    z = xp.astype(X, xp.float64)
    for layer in layers:
        z = _levels(xp.astype(reached(with_bias(z, True), like(layer, z)), xp.float64), sign)
    return xp.astype(z, X.dtype)


def _outer(network: DeepThresholdNetwork) -> ThresholdNetwork:
    """Return the last two layers as a network of the inner layers' outputs."""
    own = {name: x for name, x in network.parameters().items() if not name.startswith("layer")}
    return ThresholdNetwork(**own, sign=network.sign)


def _levels(steps: Array, sign: bool) -> Array:
    return 2 * steps - 1 if sign else steps
