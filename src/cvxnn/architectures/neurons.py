"""What networks have in common: neurons side by side, an outward weight each, a linear part."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.gates.base import Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class Neurons:
    """f(x) = sum_j h_j(x) a_j + x'S + s; an architecture says what its neurons h_j are.

    A neuron may give several numbers, one for each of its cells, with an outward weight for each.

    >>> import numpy as np
    >>> class Linear(Neurons):
    ...     def hidden(self, X):
    ...         return X @ self.weights_in.T
    >>> net = Linear(
    ...     weights_in=np.array([[2.0]]),
    ...     weights_out=np.array([[3.0]]),
    ...     intercept=np.ones(1),
    ...     skip=np.zeros((1, 1)),
    ... )
    >>> net(np.array([[1.0], [-1.0]])).tolist(), net.weight_decay()
    ([[7.0], [-5.0]], 6.0)
    """

    weights_in: Array
    """u, (m, d), or (m, d + 1) with the hidden bias last."""
    weights_out: Array
    """a, (m, c)."""
    intercept: Array
    """s, (c,)."""
    skip: Array
    """S, (d, c)."""

    settings: ClassVar[tuple[str, ...]] = ()
    """Fields that are no arrays."""

    @property
    def rules(self) -> Array:
        """The generators of the neurons' patterns: the first-layer weights."""
        return self.weights_in

    @property
    def lengths(self) -> Floats:
        """What weight decay counts of each neuron before its output, |u_j|, (m,)."""
        return norms(self.weights_in)

    @property
    def n_neurons(self) -> int:
        """Number of neurons, m."""
        return int(self.weights_in.shape[0])

    def hidden(self, X: Array) -> Array:
        """Return the activations, (n, d) to (n, m), or to (n, m * cells) neuron by neuron."""
        raise NotImplementedError

    def __call__(self, X: Array) -> Array:
        """Return the outputs, (n, d) to (n, c)."""
        linear = X @ like(self.skip, X) + like(self.intercept, X)
        outward = like(self.weights_out, X)
        flat = namespace(X).reshape(outward, (-1, outward.shape[-1]))
        return self.hidden(X) @ flat + linear

    def weight_decay(self) -> float:
        """Return the sum over neurons of `lengths` times |a_j|, what alpha multiplies."""
        return float((self.lengths * norms(self.weights_out)).sum())

    def parameters(self) -> dict[str, Array]:
        """Return every array by name; the constructor takes them back."""
        held = {name: value for name, value in vars(self).items() if name not in self.settings}
        return {name: value for name, value in held.items() if value is not None}


def norms(weights: Array) -> Floats:
    """Return the norm of each neuron's weights, (m, ...) to (m,), in host memory."""
    host = to_numpy(weights)
    return np.asarray(np.sqrt((host**2).sum(axis=tuple(range(1, host.ndim)))))
