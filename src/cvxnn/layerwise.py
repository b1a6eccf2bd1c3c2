"""Convolutional networks trained stage by stage, each stage to its certified optimum."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from cvxnn.certificate import Certificate, Exactness, Scope, certify
from cvxnn.functions import Ridge, Squared, mean_loss
from cvxnn.maps.gram import CHUNK, Gram, Kept, gram
from cvxnn.maps.columns import Columns as Written
from cvxnn.memory import available, require
from cvxnn.patches import as_table
from cvxnn.program import Iterate, Program
from cvxnn.solve import solve
from cvxnn.solvers import Direct
from cvxnn.stages import SAMPLE, Columns, Singles, Stage, columns_of

STRENGTHS = 10.0 ** np.arange(1.0, -4.0, -0.5)
"""Candidates of alpha: columns have unit variance, so that 1 is about as strong as the data."""
ROWS = 250
"""Images that go through the stages at a time."""
_CONTRAST = 10 / 255**2


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


class LayerwiseClassifier(ClassifierMixin, BaseEstimator):
    """Gated convolutional networks, stage by stage: each stage is one convex program, solved.

        f_t(x) = sum over stages s <= t, gates i, cells a of
                 (mean over places k in a of 1[z_k'g_i >= 0] z_k)' U_sia + b

    with z_k the whitened patches of the maps that stage s sees, and its gates g_i drawn from them.
    Given the gates, a stage minimises mean 1/2 |f - y|^2 + alpha/2 |U|^2 with targets of 1 for the
    class and -1 for others, U in units of the columns' deviations; the certificate is about that.
    Its maps, the ReLU of every gate's product, are what the next stage sees. A stage has the
    columns of all before it, so that training loss does not rise [BelilovskyEickenbergOyallon2019].

    What is proved is that every stage is optimal on its gates; nothing is said about networks whose
    filters are trained jointly.

    Parameters
    ----------
    stages : sequence of Stage, default=(Stage(),)
        From the first to the last.
    shape : (C, H, W), optional
        Of the images, channels first; by default that of X, which then has more than two axes.
    alpha : float or "auto", default="auto"
        Strength of the penalty in every stage; "auto" takes the strength, out of half decades,
        with the best accuracy on a part of the images, and trains on all of them with it.
    validation : float, default=1/6
        That part.
    mirror : bool, default=False
        Add to each column its value on the mirrored image: networks that cannot tell left from
        right, worth several points on photographs and wrong for letters and digits.
    contrast : float, "auto" or None, default="auto"
        Variance, of pixels from 0 to 1, from which patches are evened out in contrast; None leaves
        them as they are, which "auto" does for one channel. Of several it takes (sqrt(10) / 255)^2.
    tol : float, default=1e-6
        Relative duality gap of every stage.
    max_time : float, optional
        Seconds after which no further stage is begun.
    random_state : int, RandomState or None, default=None
        Draws the gates, and the images held back.
    callbacks : sequence of callables, optional
        Called with the list of stages after each; one that returns True ends the training.

    Attributes
    ----------
    classes_ : array (c,)
    stages_ : list of Trained
        Columns, weights, `certificate`, `alpha` and accuracies of every stage.
    certificate_ : Certificate
        Of the last stage.
    shape_ : tuple
        (C, H, W).

    Raises
    ------
    ValueError
        For one class, images of another shape, channels that come last, pixels that are not finite
        or of another range than those trained on, and options out of range.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> data = load_digits()
    >>> stage = Stage(kernel=3, n_gates=16)
    >>> model = LayerwiseClassifier([stage], random_state=0).fit(data.images / 16, data.target)
    >>> model.certificate_.proves(1e-6), model.score(data.images / 16, data.target) > 0.99
    (True, True)
    """

    def __init__(
        self,
        stages: Sequence[Stage] = (Stage(),),
        *,
        shape: Sequence[int] | None = None,
        alpha: float | str = "auto",
        validation: float = 1 / 6,
        mirror: bool = False,
        contrast: float | str | None = "auto",
        tol: float = 1e-6,
        max_time: float | None = None,
        random_state: Any = None,
        callbacks: Sequence[Callable[[list[Trained]], object]] = (),
    ) -> None:
        self.stages = stages
        self.shape = shape
        self.alpha = alpha
        self.validation = validation
        self.mirror = mirror
        self.contrast = contrast
        self.tol = tol
        self.max_time = max_time
        self.random_state = random_state
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any) -> "LayerwiseClassifier":
        """Train the stages one after the other on images (n, C, H, W) or rows (n, C * H * W)."""
        begin = time.perf_counter()
        self._check_options()
        images, y = self._images(X, reset=True), np.asarray(y)
        check_classification_targets(y)
        if len(y) != len(images):
            raise ValueError(f"y has {len(y)} rows but X has {len(images)}; pass a label an image")
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class, {self.classes_[0]!r}; pass two or more")
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        order, held = self._split(codes, rng)
        images, codes = images[order], codes[order]
        self.stages_: list[Trained] = []
        with tempfile.TemporaryDirectory() as folder:
            run = _Run(self, images, codes, held, rng, Path(folder))
            for stage in self.stages:
                late = self.max_time is not None and time.perf_counter() - begin > self.max_time
                if late and self.stages_:
                    break
                self.stages_.append(run.train(stage, self.stages_))
                if any(call(self.stages_) is True for call in self.callbacks):
                    break
        self.n_features_in_ = prod(self.shape_)
        return self

    @property
    def certificate_(self) -> Certificate:
        """The certificate of the last stage."""
        check_is_fitted(self, "stages_")
        return self.stages_[-1].certificate

    def decision_function(self, X: Any, stages: int | None = None) -> NDArray[np.float64]:
        """Return the scores (n, c) of images after so many stages, by default after all."""
        check_is_fitted(self, "stages_")
        count = len(self.stages_) if stages is None else stages
        if not (isinstance(count, int | np.integer) and 1 <= count <= len(self.stages_)):
            raise ValueError(f"stages is {stages!r}; expected one of 1 to {len(self.stages_)}")
        images, last = self._images(X, reset=False), self.stages_[count - 1]
        scores = np.tile(last.intercept, (len(images), 1))
        for rows in _row_blocks(len(images)):
            for trained, blocks, part in zip(
                self.stages_, last.blocks, self._columns(images[rows], count), strict=False
            ):
                scores[rows] += (part - trained.centre) / trained.scale @ blocks
        return scores

    def predict(self, X: Any, stages: int | None = None) -> NDArray[Any]:
        """Return the class of every image, after so many stages, by default after all."""
        scores = self.decision_function(X, stages)
        return np.asarray(self.classes_[scores.argmax(axis=1)])

    def _columns(self, images: NDArray[Any], count: int) -> list[Singles]:
        """Return the columns of the first stages for some images."""
        return columns_through(
            [trained.columns for trained in self.stages_[:count]],
            self._pixels(images),
            self.shape_ if self.mirror else None,
        )

    def _pixels(self, images: NDArray[Any]) -> Singles:
        return images.astype(np.float32) / np.float32(self.range_)

    def _images(self, X: Any, *, reset: bool) -> NDArray[Any]:
        """Return images as rows; their shape and their range are kept, or compared."""
        X = np.asarray(X)
        if reset:
            found = self.shape
            if found is None:
                if X.ndim < 3:
                    raise ValueError(
                        f"X has shape {X.shape}; pass images (n, C, H, W), or rows with shape=(C, H, W)"
                    )
                found = (1, *X.shape[1:]) if X.ndim == 3 else X.shape[1:]
                if len(found) == 3 and found[0] > 4 >= found[2]:
                    raise ValueError(
                        f"X has shape {X.shape}, channels last it seems; pass np.moveaxis(X, -1, 1), "
                        "or shape=(C, H, W) if these are channels"
                    )
            self.shape_ = tuple(int(size) for size in found)
        rows = as_table(X, self.shape_)
        if rows.ndim != 2 or rows.shape[1] != prod(self.shape_):
            raise ValueError(f"X has shape {X.shape}; expected images of shape {self.shape_}")
        if rows.dtype.kind not in "uif":
            raise ValueError(f"X has dtype {X.dtype}; pass pixels as numbers")
        if rows.dtype.kind == "f" and not np.isfinite(rows).all():
            raise ValueError("X holds pixels that are not finite; fill or drop these images")
        most = float(rows.max(initial=0))
        if reset:
            if len(rows) == 0:
                raise ValueError("X has no images")
            self.range_ = 255.0 if rows.dtype.kind in "ui" or most > 2 else 1.0
        elif (rows.dtype.kind in "ui" or most > 2) != (self.range_ > 1) and most > 0:
            raise ValueError(
                f"X has pixels up to {most:g} as {X.dtype}, and those trained on went up to "
                f"{self.range_:g}; pass images of the same range"
            )
        return np.ascontiguousarray(rows)

    def _check_options(self) -> None:
        """Raise ValueError for options out of range."""
        if not self.stages or not all(isinstance(stage, Stage) for stage in self.stages):
            raise ValueError(f"stages is {self.stages!r}; pass one or more of cvxnn.Stage")
        alpha = self.alpha
        if alpha != "auto" and not (not isinstance(alpha, str) and 0 < alpha < np.inf):
            raise ValueError(f"alpha is {alpha!r}; expected a positive number or 'auto'")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation is {self.validation!r}; expected a share between 0 and 1")
        contrast = self.contrast
        if contrast not in ("auto", None) and not (not isinstance(contrast, str) and contrast > 0):
            raise ValueError(f"contrast is {contrast!r}; expected a positive number, 'auto' or None")

    def _split(self, codes: NDArray[np.int64], rng: Any) -> tuple[NDArray[np.int64], int]:
        """Return an order of the images and how many, at its end, are held back for alpha."""
        if self.alpha != "auto":
            return np.arange(len(codes)), 0
        if np.bincount(codes).min() < 2:
            raise ValueError(
                "a class has one image, and some of each are held back to choose alpha; pass more "
                "of it, or alpha"
            )
        size = max(len(self.classes_), round(self.validation * len(codes)))
        cut = StratifiedShuffleSplit(1, test_size=size, random_state=int(rng.integers(2**31)))
        return np.concatenate(next(iter(cut.split(codes, codes)))), size


def columns_through(
    stages: Sequence[Columns], images: Singles, mirrored: Sequence[int] | None
) -> list[Singles]:
    """Return the columns of every stage for images (n, C * H * W) that go through one by one.

    With `mirrored`, the shape of the images, they are means over every image and its mirror image.
    """
    views = [images]
    if mirrored is not None:
        flipped = images.reshape(-1, *mirrored)[..., ::-1]
        views.append(np.ascontiguousarray(flipped).reshape(images.shape))
    found: list[Singles] = []
    for maps in views:
        for number, stage in enumerate(stages):
            part = stage(maps) / np.float32(len(views))
            if number < len(found):
                found[number] += part
            else:
                found.append(part)
            maps = stage.maps(maps) if number + 1 < len(stages) else maps
    return found


def _row_blocks(n: int) -> Iterator[slice]:
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


class _Run:
    """A training run: the images in their order, and the columns that were written so far."""

    def __init__(
        self,
        model: LayerwiseClassifier,
        images: NDArray[Any],
        codes: NDArray[np.int64],
        held: int,
        rng: np.random.Generator,
        folder: Path,
    ) -> None:
        self.model, self.images, self.codes, self.held, self.rng = model, images, codes, held, rng
        n, count = len(codes), len(model.classes_)
        self.target = np.full((n, count), -1.0)
        self.target[np.arange(n), codes] = 1.0
        widths = np.cumsum(_widths(model.stages, model.shape_))
        self.cuts, self.loss = [0], np.inf
        self.phi = _storage(n, int(widths[-1]), folder)

    def train(self, stage: Stage, before: list[Trained]) -> Trained:
        """Return the next stage, trained beside all columns of those before it."""
        known = [trained.columns for trained in before]
        columns = self._drawn(stage, known)
        centre, scale = self._write([*known, columns])
        n, held = len(self.codes), self.held
        phi = self.phi[:, : self.cuts[-1]]
        sums = self._sums(phi, slice(0, n - held))
        strength, validated = self.model.alpha, None
        if strength == "auto":
            strength, validated = self._strength(phi, sums)
            rest = self._sums(phi, slice(n - held, n))
            sums = Gram(sums.matrix + rest.matrix, sums.beside + rest.beside)
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
        maps = self.model._pixels(self.images[some])
        for before in known:
            maps = np.concatenate([before.maps(maps[rows]) for rows in _row_blocks(len(maps))])
        shape = known[-1].mapped if known else self.model.shape_
        first, contrast = not known, self.model.contrast
        if contrast == "auto":
            contrast = _CONTRAST if self.model.shape_[0] > 1 else None
        return columns_of(
            stage, shape, maps, self.rng, level=first, contrast=contrast if first else None
        )

    def _write(self, stages: list[Columns]) -> tuple[Singles, Singles]:
        """Write the last stage's columns, standardised; return their centre and scale."""
        start = self.cuts[-1]
        self.cuts.append(start + stages[-1].width)
        spot, n = slice(start, self.cuts[-1]), len(self.images)
        mirrored = self.model.shape_ if self.model.mirror else None
        sums, squares = np.zeros((2, stages[-1].width))
        for rows in _row_blocks(n):
            part = columns_through(stages, self.model._pixels(self.images[rows]), mirrored)[-1]
            self.phi[rows, spot] = part
            sums += part.sum(axis=0, dtype=np.float64)
            squares += np.square(part, dtype=np.float64).sum(axis=0)
        centre = sums / n
        deviation = np.sqrt(np.maximum(squares / n - centre**2, 0.0))
        scale = np.where(deviation > 1e-5 * deviation.max(), deviation, 1.0).astype(np.float32)
        centre = centre.astype(np.float32)
        for rows in _row_blocks(n):
            self.phi[rows, spot] = (self.phi[rows, spot] - centre) / scale
        return centre, scale

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

        Half decades are gone down until accuracy has fallen twice.
        """
        n = len(phi) - self.held
        middle, level = sums.beside[:, -1:] / n, self.target[:n].mean(axis=0)
        right = (sums.beside[:, :-1] / n - middle * level).astype(np.float32)
        best, falls = (float(STRENGTHS[0]), -1.0), 0
        for alpha in STRENGTHS:
            matrix = sums.matrix / np.float32(n) - (middle @ middle.T).astype(np.float32)
            matrix[np.diag_indices(len(matrix))] += np.float32(alpha)
            factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
            weights = cho_solve(factor, right, check_finite=False)
            scores = phi[n:] @ weights + (level - middle.T @ weights)
            share = float((scores.argmax(axis=1) == self.codes[n:]).mean())
            falls = falls + 1 if share < best[1] else 0
            best = max(best, (float(alpha), share), key=lambda pair: pair[1])
            if falls == 2:
                break
        return best

    def _solve(self, phi: Singles, sums: Gram, alpha: float) -> _Optimum:
        """Return the optimum on all images, certified in float64."""
        loss, free = mean_loss(Squared(), self.target), np.ones((len(phi), 1), np.float32)
        lift = Kept(Written(phi, blocks=1, outputs=self.target.shape[1]))
        n = np.float32(len(phi))
        lift.remember(loss.weights[:, 0], free, Gram(sums.matrix / n, sums.beside[:, -1:] / n))
        program = Program(loss=loss, lift=lift, penalty=Ridge(alpha), free=free)
        solution = solve(program, Direct(), tol=self.model.tol, max_iter=50, judge=partial(_judge, program))
        blocks, intercept = solution.iterate.blocks, solution.iterate.free
        scores = program.predict(blocks, intercept)
        return _Optimum(blocks[0], intercept[0], scores, loss.value(scores), solution.certificate)


def _judge(program: Program, iterate: Iterate) -> tuple[Certificate, Iterate]:
    return certify(program, iterate, scope=Scope.GIVEN_GATES, exactness=Exactness.GATED)


def _widths(stages: Sequence[Stage], shape: Sequence[int]) -> list[int]:
    """Return how many columns each stage may have; ValueError where one does not fit its maps."""
    found = []
    for stage in stages:
        patches = stage.on(shape)
        found.append(stage.n_gates * patches.n_cells * (stage.kept(patches.width) + 1))
        shape = (stage.n_gates, *(k // 2 if stage.halve else k for k in patches.places))
    return found


def _storage(n: int, width: int, folder: Path) -> Singles:
    """Return room for the columns: in memory where a third of it is enough, else in a file."""
    square, size = 12 * width**2, 4 * n * width
    require(square, ways_out="use fewer gates, cells or directions in the stages")
    if size < (available() - square) / 3:
        return np.empty((n, width), np.float32)
    return np.memmap(folder / "columns", np.float32, "w+", shape=(n, width))
