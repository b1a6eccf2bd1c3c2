"""What solvers and certificates need of a closed convex function."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from cvxnn.arrays import Array, namespace


class ConvexFunction(Protocol):
    """A closed convex function of an array; losses, penalties and cones are all of this kind."""

    @property
    def smoothness(self) -> float:
        """Lipschitz constant of the gradient; `inf` when there is none."""

    def value(self, x: Array) -> float:
        """Return f(x); `inf` outside the domain."""

    def gradient(self, x: Array) -> Array:
        """Return the gradient at `x`, or one subgradient where f has a kink."""

    def prox(self, x: Array, step: float) -> Array:
        """Return the minimiser over z of step * f(z) + |z - x|^2 / 2; `step` > 0."""

    def conjugate(self, v: Array) -> float:
        """Return sup over x of <v, x> - f(x); `inf` outside its domain."""


class Penalty(ConvexFunction, Protocol):
    """A penalty on blocks, block axis first."""

    def polar(self, v: Array) -> Array:
        """Return (p,), the gauge of the conjugate's domain per block: `v` is in it iff all <= 1."""

    def direction(self, v: Array) -> Array:
        """Return, per block, the u of penalty at most 1 that maximises <v, u>."""

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the derivative of prox(., step) at `x`, symmetric; at kinks one of its limits."""


class Cone(ConvexFunction, Protocol):
    """The indicator of a closed convex cone; `prox` is the projection for every step."""

    def violation(self, x: Array) -> float:
        """Return the largest distance of an entry (or matrix) of `x` to the cone."""


class Root(NamedTuple):
    """B = (I - a 1') diag(s) in every row: B B' is a loss's Hessian.

    Separable losses have a = 0; for the softmax a = p and s = sqrt(p), since
    (I - p 1') diag(p) (I - 1 p') = diag(p) - p p'.
    """

    scale: Array
    """s, (n, c)."""
    pull: Array | None
    """a, (n, c); None for zero."""

    def astype(self, dtype: object) -> "Root":
        """Return the same in another precision."""
        xp = namespace(self.scale)
        pull = None if self.pull is None else xp.astype(self.pull, dtype, copy=False)
        return Root(xp.astype(self.scale, dtype, copy=False), pull)

    def apply(self, z: Array) -> Array:
        """Return B z in every row, (n, c)."""
        spread = self.scale * z
        if self.pull is None:
            return spread
        return spread - self.pull * namespace(z).sum(spread, axis=1, keepdims=True)

    def adjoint(self, z: Array) -> Array:
        """Return B' z in every row, (n, c)."""
        if self.pull is None:
            return self.scale * z
        return self.scale * (z - namespace(z).sum(self.pull * z, axis=1, keepdims=True))

    def adjoints(self, z: Array) -> Array:
        """Return B' z in every row of every column, (n, c, m)."""
        if self.pull is not None:
            z = z - namespace(z).sum(self.pull[:, :, None] * z, axis=1, keepdims=True)
        return self.scale[:, :, None] * z


class SampleLoss(Protocol):
    """One loss for one sample; `f`, `y` and `g` are (n, c), and every row is a sample."""

    @property
    def name(self) -> str:
        """How users call it."""

    @property
    def smoothness(self) -> float:
        """Lipschitz constant of the gradient in `f`; `inf` when there is none."""

    def value(self, f: Array, y: Array) -> Array:
        """Return the loss of every sample, (n,)."""

    def gradient(self, f: Array, y: Array) -> Array:
        """Return the gradient (or one subgradient) of every sample's loss in `f`, (n, c)."""

    def curvature(self, f: Array, y: Array) -> Array:
        """Return the second derivative in every entry of `f`, (n, c), its left limit at kinks."""

    def root(self, f: Array, y: Array) -> Root:
        """Return a root of the Hessian of every sample's loss in `f`."""

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Return argmin over z of step * loss(z, y) + |z - f|^2 / 2, row by row; `step` (n, 1)."""

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return sup over f of <g, f> - loss(f, y) for every sample, (n,); may hold `inf`."""
