"""What solvers and certificates need of a closed convex function."""

from typing import Protocol

from cvxnn.arrays import Array


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


class Cone(ConvexFunction, Protocol):
    """The indicator of a closed convex cone; `prox` is the projection for every step."""

    def violation(self, x: Array) -> float:
        """Return the largest distance of an entry (or matrix) of `x` to the cone."""


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

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Return argmin over z of step * loss(z, y) + |z - f|^2 / 2, row by row; `step` (n, 1)."""

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return sup over f of <g, f> - loss(f, y) for every sample, (n,); may hold `inf`."""
