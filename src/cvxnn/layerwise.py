"""Convolutional networks trained stage by stage, each stage to its certified optimum."""

import tempfile
import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from cvxnn.certificate import Certificate
from cvxnn.patches import as_table, stacked
from cvxnn.stages import Stage
from cvxnn.stagewise import CONTRAST, Run, Settings, Trained, row_blocks


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

    __metadata_request__predict: ClassVar = {"stages": UNUSED}  # an argument, not data to route
    __metadata_request__decision_function: ClassVar = {"stages": UNUSED}

    _held = ("stages", "stages_", "shape_", "range_", "classes_")

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
            raise ValueError(f"y has one class, {self.classes_[0]}; pass two or more")
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        order, held = self._split(codes, rng)
        images, codes = images[order], codes[order]
        self.stages_: list[Trained] = []
        with tempfile.TemporaryDirectory() as folder:
            run = Run(self._settings(), self.stages, images, codes, held, rng, Path(folder))
            for stage in self.stages:
                late = self.max_time is not None and time.perf_counter() - begin > self.max_time
                if late and self.stages_:
                    break
                self.stages_.append(run.train(stage, self.stages_))
                if any(call(self.stages_) is True for call in self.callbacks or ()):
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
        if count not in range(1, len(self.stages_) + 1):
            raise ValueError(f"stages is {stages!r}; expected one of 1 to {len(self.stages_)}")
        images, last = self._images(X, reset=False), self.stages_[count - 1]
        scores = np.tile(last.intercept, (len(images), 1))
        known = [trained.columns for trained in self.stages_[:count]]
        for rows in row_blocks(len(images)):
            parts = self._settings().columns(known, images[rows])
            for trained, blocks, part in zip(self.stages_, last.blocks, parts, strict=False):
                scores[rows] += (part - trained.centre) / trained.scale @ blocks
        return scores

    def predict(self, X: Any, stages: int | None = None) -> NDArray[Any]:
        """Return the class of every image, after so many stages, by default after all."""
        scores = self.decision_function(X, stages)
        return np.asarray(self.classes_[scores.argmax(axis=1)])

    def _settle(self, features: Any) -> None:
        """Raise ValueError unless what a file held belongs together."""
        count = len(self.classes_)
        if count < 2 or prod(self.shape_) != features or not self.range_ > 0 or not self.stages_:
            raise ValueError("it has no stages, no classes, or not the features of its shape")
        shape = tuple(self.shape_)
        for number, stage in enumerate(self.stages_, 1):
            columns, width = stage.columns, stage.columns.width
            own = columns.patches.width, columns.whitening.width
            sizes = [(each.columns.width, count) for each in self.stages_[:number]]
            fits = (
                columns.patches.shape == shape
                and columns.whitening.matrix.shape == (own[0], own[1] - 1)
                and columns.whitening.centre.shape == own[:1]
                and columns.generators.shape[1] == own[1]
                and stage.centre.shape == stage.scale.shape == (width,)
                and [blocks.shape for blocks in stage.blocks] == sizes
                and stage.intercept.shape == (count,)
                and bool((stage.scale > 0).all())
            )
            if not fits:
                raise ValueError(f"the arrays of stage {number} do not fit together")
            shape = columns.mapped

    def _settings(self) -> Settings:
        contrast: Any = self.contrast
        if contrast == "auto":
            contrast = CONTRAST if self.shape_[0] > 1 else None
        return Settings(self.shape_, self.range_, self.alpha, self.mirror, contrast, self.tol)

    def _images(self, X: Any, *, reset: bool) -> NDArray[Any]:
        """Return images as rows; their shape and their range are kept, or compared."""
        X = np.asarray(stacked(X))
        if reset:
            found = self.shape
            if found is None:
                if X.ndim < 3:
                    raise ValueError(
                        f"X has shape {X.shape}; pass images (n, C, H, W), or rows with "
                        "shape=(C, H, W)"
                    )
                found = (1, *X.shape[1:]) if X.ndim == 3 else X.shape[1:]
                if len(found) == 3 and found[0] > 4 >= found[2]:
                    raise ValueError(
                        f"X has shape {X.shape}, channels last it seems; pass "
                        "np.moveaxis(X, -1, 1), or shape=(C, H, W) if these are channels"
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
            raise ValueError(
                f"contrast is {contrast!r}; expected a positive number, 'auto' or None"
            )

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
