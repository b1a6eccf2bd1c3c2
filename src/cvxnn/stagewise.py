"""Stages trained one after the other: columns written out, added up, solved and certified."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, solve_triangular
from scipy.linalg.blas import ssymm

from cvxnn.arrays import norm
from cvxnn.certificate import Certificate, Exactness, Scope, certify
from cvxnn.functions import Ridge, Squared, mean_loss
from cvxnn.linalg import cholesky, cholesky_room, conjugate_gradient
from cvxnn.maps import Dense, Gram, Kept, gram
from cvxnn.maps.gram import CHUNK, without
from cvxnn.memory import available, require
from cvxnn.program import Iterate, Program
from cvxnn.solve import solve
from cvxnn.solvers import Direct
from cvxnn.stages import ENTRIES, PATCHES, SAMPLE, Columns, Stage, columns_of
from cvxnn.whitening import Singles

STRENGTHS = 10.0 ** np.arange(1.0, -6.5, -0.5)
"""Candidates of alpha: columns have unit variance, so that 1 is about as strong as the data."""
BASE = 64 * 2**20
"""Bytes of temporaries that do not grow with the images."""
ROWS = 250
"""Images that go through the stages at a time."""
CONTRAST = 10 / 255**2
"""Variance of pixels from 0 to 1, below which a patch counts as plain [CoatesNg2012]."""
WIDE = 12_000
"""Columns from which a dozen steps of conjugate gradients are quicker than another factor."""
_REACH = 0.099
"""Share of a strength down to which its factor preconditions the systems of others."""
_LEFT, _MOST = 1e-3, 50
"""What is left of a residual where conjugate gradients end, and their steps at most."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A stage after training."""

    columns: Columns
    centre: Singles
    """(D,), taken off the columns."""
    scale: Singles
    """(D,), by which they are divided."""
    blocks: tuple[Singles, ...]
    """Weights (D, c) of the columns of every stage so far."""
    intercept: NDArray[np.float64]
    """(c,)."""
    alpha: float
    certificate: Certificate
    accuracy: float
    """On the images trained on."""
    validated: float | None
    """On those held back while alpha was chosen; None where it was given."""


@dataclass(frozen=True, eq=False)
class Settings:
    """What holds for all stages."""

    shape: tuple[int, ...]
    """Of the images, channels first."""
    largest: float
    """Pixels are divided by it."""
    alpha: float | str
    mirror: bool
    contrast: float | None
    tol: float

    def columns(
        self, stages: Sequence[Columns], images: NDArray[Any], since: int = 0
    ) -> list[Singles]:
        """Return the columns of the stages from `since` on for images (n, C * H * W).

        Stages before it hand on their maps. Of a mirrored network columns are means over every
        image and its mirror image.
        """
        views = [self.pixels(images)]
        if self.mirror:
            flipped = views[0].reshape(-1, *self.shape)[..., ::-1]
            views.append(np.ascontiguousarray(flipped).reshape(views[0].shape))
        found: list[Singles] = []
        for maps in views:
            for number, stage in enumerate(stages):
                if number >= since:
                    part = stage(maps) / np.float32(len(views))
                    if number - since < len(found):
                        found[number - since] += part
                    else:
                        found.append(part)
                maps = stage.maps(maps) if number + 1 < len(stages) else maps
        return found

    def pixels(self, images: NDArray[Any]) -> Singles:
        """Return images as float32, from 0 to 1."""
        return images.astype(np.float32) / np.float32(self.largest)


def row_blocks(n: int) -> Iterator[slice]:
    """Return slices of ROWS rows that cover n."""
    return (slice(first, min(n, first + ROWS)) for first in range(0, n, ROWS))


class _Optimum(NamedTuple):
    """The solution of a stage's program."""

    weights: NDArray[np.float64]
    """(D, c)."""
    intercept: NDArray[np.float64]
    scores: NDArray[np.float64]
    """(n, c)."""
    loss: float
    certificate: Certificate


class Run:
    """A training run: the images in their order, and the columns that were written so far."""

    def __init__(
        self,
        settings: Settings,
        stages: Sequence[Stage],
        images: NDArray[Any],
        codes: NDArray[np.int64],
        held: int,
        rng: np.random.Generator,
        folder: Path,
    ) -> None:
        self.settings, self.images, self.codes = settings, images, codes
        self.held, self.rng = held, rng
        n, count = len(codes), int(codes.max()) + 1
        self.target = np.full((n, count), -1.0)
        self.target[np.arange(n), codes] = 1.0
        self.cuts, self.loss = [0], np.inf
        self.phi = _storage(n, *_sizes(stages, settings.shape), folder)

    def train(self, stage: Stage, before: list[Trained]) -> Trained:
        """Return the next stage, trained beside all columns of those before it."""
        known = [trained.columns for trained in before]
        columns = self._drawn(stage, known)
        centre, scale = self._write([*known, columns])
        n, held = len(self.codes), self.held
        phi = self.phi[:, : self.cuts[-1]]
        sums = self._sums(phi, slice(0, n - held))
        strength, validated = self.settings.alpha, None
        if strength == "auto":
            strength, validated = self._strength(phi, sums)
            rest = self._sums(phi, slice(n - held, n))
            sums.matrix[:] += rest.matrix
            sums = Gram(sums.matrix, sums.beside + rest.beside)
            del rest
        sums.matrix[:] /= np.float32(n)
        alpha = float(strength)
        found = self._solve(phi, sums, alpha)
        while found.loss > self.loss * (1 + 1e-9):  # less of the penalty, so that it cannot rise
            alpha /= 10**0.5
            found = self._solve(phi, sums, alpha)
        self.loss = found.loss
        return Trained(
            columns=columns,
            centre=centre,
            scale=scale,
            blocks=tuple(np.split(found.weights.astype(np.float32), self.cuts[1:-1])),
            intercept=found.intercept,
            alpha=alpha,
            certificate=found.certificate,
            accuracy=float((found.scores.argmax(axis=1) == self.codes).mean()),
            validated=validated,
        )

    def _drawn(self, stage: Stage, known: list[Columns]) -> Columns:
        """Return the stage's columns, its whitening and gates from the maps of some images."""
        some = np.sort(self.rng.permutation(len(self.images))[:SAMPLE])
        maps = self.settings.pixels(self.images[some])
        for before in known:
            maps = np.concatenate([before.maps(maps[rows]) for rows in row_blocks(len(maps))])
        shape = known[-1].mapped if known else self.settings.shape
        contrast = None if known else self.settings.contrast
        return columns_of(stage, shape, maps, self.rng, level=not known, contrast=contrast)

    def _write(self, stages: list[Columns]) -> tuple[Singles, Singles]:
        """Write the last stage's columns, standardised; return their centre and scale."""
        start = self.cuts[-1]
        self.cuts.append(start + stages[-1].width)
        spot, n = slice(start, self.cuts[-1]), len(self.images)
        sums, squares = np.zeros((2, stages[-1].width))
        for rows in row_blocks(n):
            part = self.settings.columns(stages, self.images[rows], len(stages) - 1)[0]
            self.phi[rows, spot] = part
            sums += part.sum(axis=0, dtype=np.float64)
            squares += np.square(part, dtype=np.float64).sum(axis=0)
        centre = sums / n
        deviation = np.sqrt(np.maximum(squares / n - centre**2, 0.0))
        scale = np.where(deviation > 1e-5 * deviation.max(), deviation, 1.0).astype(np.float32)
        middle: Singles = centre.astype(np.float32)
        for rows in row_blocks(n):
            self.phi[rows, spot] = (self.phi[rows, spot] - middle) / scale
        return middle, scale

    def _sums(self, phi: Singles, rows: slice) -> Gram:
        """Return the sums over some images of products of columns and of targets."""
        step = max(1, CHUNK // phi.shape[1])
        blocks = (
            (slice(first, min(rows.stop, first + step)), phi[first : min(rows.stop, first + step)])
            for first in range(rows.start, rows.stop, step)
        )
        beside = np.concatenate([self.target, np.ones((len(phi), 1))], axis=1)
        return gram(blocks, phi.shape[1], np.ones(len(phi)), beside, np.float32)

    def _strength(self, phi: Singles, sums: Gram) -> tuple[float, float]:
        """Return the strength with the best accuracy on the images held back, and it.

        Half decades are gone down until accuracy has fallen twice, or until the rounding of the
        moments, in float32, hides the strength: with fewer images than columns they are singular.
        """
        n = len(phi) - self.held
        middle, level = sums.beside[:, -1:] / n, self.target[:n].mean(axis=0)
        right = (sums.beside[:, :-1] / n - middle * level).astype(np.float32)
        narrow = middle.astype(np.float32)
        moments = without(sums.matrix / np.float32(n), narrow)
        best, falls, ridges = (float(STRENGTHS[0]), -1.0), 0, _Ridges(moments, right)
        for alpha in STRENGTHS:
            try:
                weights = ridges.at(float(alpha))
            except LinAlgError:
                if best[1] < 0:
                    raise
                break
            scores = phi[n:] @ weights + (level - middle.T @ weights)
            share = float((scores.argmax(axis=1) == self.codes[n:]).mean())
            falls = falls + 1 if share < best[1] else 0
            best = max(best, (float(alpha), share), key=lambda pair: pair[1])
            if falls == 2:
                break
        return best

    def _solve(self, phi: Any, sums: Gram, alpha: float) -> _Optimum:
        """Return the optimum on all images, certified in float64; their sums are means here."""
        loss, free = mean_loss(Squared(), self.target), np.ones((len(phi), 1), phi.dtype)
        lift = Kept(Dense(phi, blocks=1, outputs=self.target.shape[1]))
        beside = sums.beside[:, -1:] / len(phi)
        lift.remember(loss.weights[:, 0], free, Gram(sums.matrix, beside))
        program = Program(loss=loss, lift=lift, penalty=Ridge(alpha), free=free)
        solution = solve(
            program, Direct(), tol=self.settings.tol, max_iter=50, judge=partial(_judge, program)
        )
        blocks, intercept = solution.iterate.blocks, solution.iterate.free
        scores = program.predict(blocks, intercept)
        return _Optimum(blocks[0], intercept[0], scores, loss.value(scores), solution.certificate)


class _Ridges:
    """Solutions of (M + alpha I) w = b at falling strengths, in float32, of M's lower triangle.

    Of wide matrices a factor answers strengths down to a tenth of its own too, as preconditioner of
    conjugate gradients: the systems differ by a factor of ten at most.
    """

    def __init__(self, moments: Singles, right: Singles) -> None:
        self.moments, self.right = moments, right
        self.factored, self.factor = np.inf, moments
        self.weights: Singles = np.zeros_like(right)

    def at(self, alpha: float) -> Singles:
        """Return w (D, c); LinAlgError where rounding leaves the system indefinite."""
        near = len(self.right) > WIDE and alpha >= self.factored * _REACH
        if not (near and self._corrected(alpha)):
            self.factor = self.moments  # the one before goes before there is another
            matrix = self.moments.copy(order="F")
            matrix[np.diag_indices(len(matrix))] += np.float32(alpha)
            self.factor, self.factored = cholesky(matrix)[0], alpha
            self.weights = cho_solve((self.factor, True), self.right, check_finite=False)
        return self.weights

    def _corrected(self, alpha: float) -> bool:
        """Correct the weights before for this strength; tell whether that did it."""
        shift = np.float32(alpha)

        def product(w: Singles) -> Singles:
            return ssymm(1.0, self.moments, w, lower=1) + shift * w

        def half(w: Singles, way: Any) -> Singles:
            found: Any = solve_triangular(self.factor, w, lower=True, trans=way, check_finite=False)
            return np.asarray(found)

        left = self.right - product(self.weights)
        step = conjugate_gradient(
            lambda w: half(product(half(w, "T")), "N"), half(left, "N"), None, _LEFT, _MOST
        )
        weights = self.weights + half(step, "T")
        if not norm(self.right - product(weights)) <= 10 * _LEFT * norm(self.right):
            return False
        self.weights = weights
        return True


def _judge(program: Program, iterate: Iterate) -> tuple[Certificate, Iterate]:
    return certify(program, iterate, scope=Scope.GIVEN_GATES, exactness=Exactness.GATED)


def _sizes(stages: Sequence[Stage], shape: Sequence[int]) -> tuple[int, int]:
    """Return the columns of all stages at most, and the bytes that patches take in the worst.

    These are four copies of the patches that a stage is drawn from, or of those of a batch with
    what all gates make of them, beside the maps drawn from. ValueError where a stage does not fit.
    """
    width, most = 0, 0
    for stage in stages:
        patches = stage.on(shape)
        kept = stage.kept(patches.width) + 1
        width += stage.n_gates * patches.n_cells * kept
        batch = ROWS * patches.count * (4 * patches.width + 3 * stage.n_gates + 2 * kept)
        drawn = min(PATCHES * patches.width, ENTRIES)
        most = max(most, max(4 * drawn, batch) + SAMPLE * prod(shape))
        shape = (stage.n_gates, *(k // 2 if stage.halve else k for k in patches.places))
    return width, 4 * most


def _storage(n: int, width: int, patch_bytes: int, folder: Path) -> Singles:
    """Return room for the columns: in memory where a third of it is enough, else in a file.

    Raises MemoryBudgetError where the rest, three square matrices or patches, does not fit.
    """
    rest, size = BASE + max(12 * width**2 + 4 * cholesky_room(width), patch_bytes), 4 * n * width
    inside = size < (available() - rest) / 3
    require(rest + inside * size, ways_out="use fewer gates, cells or directions in the stages")
    if inside:
        return np.empty((n, width), np.float32)
    return np.memmap(folder / "columns", np.float32, "w+", shape=(n, width))
