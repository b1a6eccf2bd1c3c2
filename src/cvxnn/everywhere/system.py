"""The Newton system of all neurons, solved in the samples' outputs by conjugate gradients."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from scipy.linalg.blas import ssyrk, strsv
from scipy.linalg.lapack import spotrf

from cvxnn.everywhere.neurons import MOST_PAIRED, Floats, Training

Single = NDArray[np.float32]

_STEPS = 200
"""Steps of conjugate gradients, at most."""


class System:
    """min over z, b of sum_j (z_j' B_j z_j / 2 + g_j' z_j) + h' b + |J z + C b|^2 / 2.

    J z = sum_j f_j o (X z_j). With e = J z + C b the optimum solves C' e = -h and
    (I + J B^-1 J') e = C b - J B^-1 g: n unknowns, however many neurons. Conjugate gradients are
    preconditioned by the matrix in which every inverse block is e_j u_j u_j' + c_j (I - u_j u_j'),
    u_j the neuron's direction: it costs d times less to form, and later systems that differ little
    take it over, as `near`, until it is worn. The constraint is kept by projection [Gould2001].
    Products are in single precision. `factors` are the slopes (N, k) with the neurons' signs, and
    the roots (n, 1) of the loss's curvature. Where rows add up to samples J is written out,
    (n, k * d): the rows are not seen again.
    """

    def __init__(
        self,
        training: Training,
        unit: Floats,
        inverse: Floats,
        factors: tuple[Floats, Floats],
        near: "Inverse | None" = None,
    ) -> None:
        self.training, self.unit, self.inverse = training, unit, inverse
        self.features, (slopes, root) = training.single, factors
        self.blocks = inverse.astype(np.float32)
        self.columns = (root * training.columns).astype(np.float32)
        self.jacobian: Single | None = None
        if training.pooling is None:
            self.factors = (slopes * root).astype(np.float32)
        else:
            sums, single = training.pooling.at(root[:, 0]), slopes.astype(np.float32)
            parts = [sums @ (column[:, None] * self.features) for column in single.T]
            self.jacobian = np.concatenate(parts, axis=1)
        n, width = len(self.columns), unit.size if self.jacobian is not None else len(unit)
        worth = n * (width + n / 3) / (4 * unit.size + 2 * n)  # of a new one, in steps
        self.near = Inverse(self._model, worth) if near is None or near.worn else near

    def __call__(self, change: Single) -> Single:
        """Return (I + J B^-1 J') e for e (n,)."""
        pulled = self._back(change)
        moved: Single = (self.blocks @ pulled[:, :, None])[:, :, 0]
        return np.asarray(change + self._forward(moved))

    def solve(
        self, gradient: Floats, free_gradient: Floats, rtol: float = 1e-5
    ) -> tuple[Floats, Floats]:
        """Return z (k, d) and b (q,) for g (k, d) and h (q,), but for `rtol` of the residual."""
        first = (self.inverse @ gradient[:, :, None])[:, :, 0]
        scale = float(np.abs(first).max()) or 1.0
        gap = self._forward((first / scale).astype(np.float32))
        change, free = self._change(-gap, -(free_gradient / scale).astype(np.float32), rtol)
        pulled = self._back(change)
        move = -(first + scale * (self.inverse @ pulled[:, :, None].astype(np.float64))[:, :, 0])
        return move, scale * free.astype(np.float64)

    def _change(self, right: Single, total: Single, rtol: float) -> tuple[Single, Single]:
        """Return e and b with (I + J B^-1 J') e - C b = `right` and C' e = `total`."""
        near, columns = self.near, self.columns
        spread = near(columns)
        inner = np.linalg.pinv(columns.T @ spread, rtol=1e-6, hermitian=True)

        def project(r: Single) -> tuple[Single, Single, Single]:
            """Return r without the columns' part, what is near it, and the part."""
            ahead = near(r)
            shares = inner @ (columns.T @ ahead)
            return r - columns @ shares, ahead - spread @ shares, shares

        whole = near(right)
        size = float(right @ whole)
        change = whole + spread @ (inner @ (total - columns.T @ whole))
        rest, ahead, shares = project(right - self(change))
        free, toward, left, steps = -shares, ahead, float(rest @ ahead), 0
        while steps < _STEPS and left > rtol**2 * size:
            steps += 1
            image = self(toward)
            step = left / float(toward @ image)
            change = change + step * toward
            rest, ahead, shares = project(rest - step * image)
            free, before, left = free - shares, left, float(rest @ ahead)
            toward = ahead + left / before * toward
        near.wear(steps)
        return change, free

    def _back(self, change: Single) -> Single:
        if self.jacobian is not None:
            return (change @ self.jacobian).reshape(self.unit.shape)
        return np.asarray(((self.features * change[:, None]).T @ self.factors).T)

    def _forward(self, weights: Single) -> Single:
        if self.jacobian is not None:
            return self.jacobian @ weights.ravel()
        return np.asarray(np.einsum("ij,ij->i", self.features, self.factors @ weights))

    def _model(self) -> Single | None:
        """Return (n, n), the matrix with inverse blocks that are round but for the neuron.

        Where J is written out it is the system's own. The lower triangle, in Fortran order.
        """
        if self.jacobian is not None:
            return self._written_out(self.jacobian)
        kernel = self.training.kernel
        if kernel is None:
            return None
        d = self.unit.shape[1]
        along = np.einsum("ka,kab,kb->k", self.unit, self.inverse, self.unit)
        across = (np.trace(self.inverse, axis1=1, axis2=2) - along) / max(d - 1, 1)
        products = self.factors * (self.features @ self.unit.T.astype(np.float32))
        rounds = self.factors * np.sqrt(np.maximum(across, 0)).astype(np.float32)
        lines = products * np.sqrt(np.maximum(along - across, 0)).astype(np.float32)
        model: Single = ssyrk(1.0, rounds.T, trans=1, lower=1)
        model *= kernel.T
        return _one_more(ssyrk(1.0, lines.T, beta=1.0, c=model, trans=1, lower=1, overwrite_c=1))

    def _written_out(self, jacobian: Single) -> Single | None:
        n, (k, d) = len(jacobian), self.unit.shape
        if n > MOST_PAIRED:
            return None
        # rounding may leave a block indefinite: its negative part is left out
        values, axes = np.linalg.eigh((self.inverse + self.inverse.swapaxes(1, 2)) / 2)
        roots = (axes * np.sqrt(np.maximum(values, 0.0))[:, None, :]).astype(np.float32)
        turned: Single = jacobian.reshape(n, k, d).swapaxes(0, 1) @ roots
        wide = turned.swapaxes(0, 1).reshape(n, k * d)
        return _one_more(ssyrk(1.0, wide.T, trans=1, lower=1))


def _one_more(matrix: Single) -> Single:
    diagonal = np.einsum("ii->i", matrix)
    diagonal += 1
    return matrix


class Inverse:
    """The inverse of a positive definite matrix, or nothing done where there is none.

    `make` returns its lower triangle in Fortran order, or None. It is worn once the systems that
    took it over have cost more than `worth` steps more than the first.
    """

    def __init__(self, make: Callable[[], Single | None], worth: float) -> None:
        self.factor = _cholesky(make)
        self._left, self._fewest = worth, _STEPS

    def __call__(self, right: Single) -> Single:
        if self.factor is None:
            return right
        if right.ndim == 1:  # LAPACK takes six times as long for one
            half = strsv(self.factor, right, lower=1)
            return np.asarray(strsv(self.factor, half, lower=1, trans=1, overwrite_x=1))
        return np.asarray(cho_solve((self.factor, True), right, check_finite=False))

    @property
    def worn(self) -> bool:
        """Whether a new one would have been cheaper."""
        return self._left < 0

    def wear(self, steps: int) -> None:
        """Count a system that took so many steps."""
        self._fewest = min(self._fewest, steps)
        self._left -= steps - self._fewest


def _cholesky(make: Callable[[], Single | None]) -> Single | None:
    """Return a lower factor, of a larger matrix where rounding takes this one's definiteness."""
    for more in (1e-6, 1e-4, 1e-2):
        matrix = make()
        if matrix is None:
            return None
        diagonal = np.einsum("ii->i", matrix)
        diagonal += more * diagonal.mean()
        roots = np.sqrt(diagonal)
        factor, failed = spotrf(matrix, lower=1, clean=0, overwrite_a=1)
        if not failed:
            return np.asarray(factor)
    return np.diag(roots)
