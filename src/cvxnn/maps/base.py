"""What solvers need of a linear map on blocks: shapes and adjoints, nothing of losses."""

from typing import Protocol

from cvxnn.arrays import Array


class LinearMap(Protocol):
    """A linear map of blocks, block axis first."""

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of the blocks, the block axis first."""

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of the image."""

    def apply(self, u: Array) -> Array:
        """Return A u, computed in the dtype of `u`."""

    def adjoint(self, z: Array) -> Array:
        """Return A* z, computed in the dtype of `z`."""

    def restrict(self, blocks: Array) -> "LinearMap":
        """Return the map of the blocks with these indices alone."""


class Lift(LinearMap, Protocol):
    """A map from blocks (p, d, c) to predictions (n, c) that treats every output alike."""

    def restrict(self, blocks: Array) -> "Lift":
        """Return the map of the blocks with these indices alone."""

    def astype(self, dtype: object) -> "Lift":
        """Return the same map with its data in another precision."""

    def outer(self, inner: Array) -> Array:
        """Return A (I x inner) A* as one (n, n) matrix, `inner` (d, d) standing at every block.

        It is (p, d, d), one for each block, where the rows of a constraint differ.
        """

    def block_norm(self) -> float:
        """Return a bound on the spectral norm of every single block's map."""


class Rows(LinearMap, Protocol):
    """A map whose image has one row of constraints per block and sample."""

    def restrict(self, blocks: Array) -> "Rows":
        """Return the rows of the blocks with these indices alone."""

    def gram(self) -> Array:
        """Return C* C: the one (d, d) matrix of every block, or (p, d, d), each block's own."""

    def rows(self, block: int) -> Array:
        """Return the (k, d) matrix of one block."""
