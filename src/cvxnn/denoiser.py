"""Filters that restore images, trained on stacked patches to a certified optimum."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from cvxnn.architectures import Architecture
from cvxnn.certificate import Evidence
from cvxnn.estimators import ConvexRegressor
from cvxnn.lags import Floats
from cvxnn.regimes import regimes_of
from cvxnn.solve import Solver

_BORDERS = ("reflect", "edge", "constant", "wrap")
_PASSED = (
    "architecture",
    "alpha",
    "gates",
    "n_gates",
    "solver",
    "tol",
    "skip",
    "max_iter",
    "max_time",
    "proof_time",
    "random_state",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Filters:
    """A denoiser on some images as linear filters, and which one is where.

    Output pixels are the sum of filter * patch, plus a constant.
    """

    labels: NDArray[np.int64]
    """(m, h, w): the filter of every pixel; 0 is the most frequent one."""
    filters: Floats
    """(k, s, s)."""
    constants: Floats
    """(k,)."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many pixels a filter has, (k,), falling."""
        return np.bincount(self.labels.ravel(), minlength=len(self.filters))


class ConvexDenoiser(BaseEstimator):
    """A convolutional network of two layers that restores images, trained to a certified optimum.

        f(image)[pixel] = sum_j a_j max(0, w_j . patch around the pixel) + skip

    With a loss that sums over pixels, training with weight decay is that of a dense network on the
    patches of all images, stacked: the same convex program, exactly [SahinerMardani2021]. Its dual
    point is an image, clean less restored, that no filter w explains better than alpha allows. The
    network is a linear filter for every pattern of its neurons: `filters` shows which is where.

    Parameters
    ----------
    architecture : str or Architecture, default="gated"
        As in `ConvexRegressor`.
    patch : int, default=3
        Side s of the square patches, odd.
    border : {"reflect", "edge", "constant", "wrap"}, default="reflect"
        What patches see beyond the border.
    samples : int or None, default=None
        How many patches to train on, drawn from all of them; None: all.
    alpha : float or "auto", default="auto"
    gates, n_gates, solver, tol, max_iter, max_time, proof_time, random_state
        As in `ConvexRegressor`.
    skip : bool or "auto", default=True
        An unpenalised linear filter beside the neurons. With one, to predict the clean pixel or
        the residual, clean less noisy, is the same program: the centre pixel is in the filter.

    Attributes
    ----------
    network_, certificate_, solution_, alpha_
        Of the network on patches (n, s * s), as of `ConvexRegressor`.
    regressor_ : ConvexRegressor

    Raises
    ------
    ValueError
        For images of other than two or three axes, pairs of different shapes, patches that are
        even or larger than the images, and options out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> clean = np.zeros((2, 12, 12))
    >>> clean[:, :, 6:] = 1.0
    >>> noisy = clean + 0.3 * rng.standard_normal(clean.shape)
    >>> model = ConvexDenoiser(alpha=1e-3, n_gates=8, random_state=0).fit(noisy, clean)
    >>> bool(model.score(noisy, clean) > 10 * np.log10(1 / 0.09) + 3)
    True
    """

    _held = ("regressor_", "index_")

    def __init__(
        self,
        architecture: str | Architecture = "gated",
        *,
        patch: int = 3,
        border: str = "reflect",
        samples: int | None = None,
        alpha: float | str = "auto",
        gates: Any = "auto",
        n_gates: int = 64,
        solver: str | Solver = "auto",
        tol: float = 1e-4,
        skip: bool | str = True,
        max_iter: int = 20_000,
        max_time: float | None = None,
        proof_time: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.architecture = architecture
        self.patch = patch
        self.border = border
        self.samples = samples
        self.alpha = alpha
        self.gates = gates
        self.n_gates = n_gates
        self.solver = solver
        self.tol = tol
        self.skip = skip
        self.max_iter = max_iter
        self.max_time = max_time
        self.proof_time = proof_time
        self.random_state = random_state

    def fit(self, noisy: Any, clean: Any) -> "ConvexDenoiser":
        """Train on pairs of images (m, h, w), or (h, w) for one; return self."""
        self._check_options()
        patches, target = self._pairs(noisy, clean)
        self.index_ = np.arange(len(patches))
        if self.samples is not None and self.samples < len(patches):
            rng = check_random_state(self.random_state)
            drawn = rng.choice(len(patches), size=int(self.samples), replace=False)
            self.index_ = np.sort(drawn)
        words = {name: getattr(self, name) for name in _PASSED}
        self.regressor_ = ConvexRegressor(**words).fit(patches[self.index_], target[self.index_])
        self._settle(None)
        return self

    def _settle(self, features: Any) -> None:
        """Take over what the regressor found; ValueError where that is not of these patches."""
        self._check_options()
        if self.regressor_.n_features_in_ != int(self.patch) ** 2 or self.index_.ndim != 1:
            raise ValueError(f"its network is not one of patches of side {self.patch}")
        for name in ("network_", "certificate_", "solution_", "alpha_"):
            setattr(self, name, getattr(self.regressor_, name))

    def predict(self, noisy: Any) -> Floats:
        """Return the restored images, of the shape given."""
        check_is_fitted(self)
        images = _images(noisy, "noisy")
        restored = self.regressor_.predict(self._patches(images))
        return np.asarray(restored.reshape(np.shape(noisy)))

    def score(self, noisy: Any, clean: Any) -> float:
        """Return the peak signal-to-noise ratio of the restored images in dB, larger is better.

        10 log10(range^2 / mean squared error), the range that of the clean images.
        """
        target = _images(clean, "clean")
        wrong = float(((self.predict(noisy).reshape(target.shape) - target) ** 2).mean())
        span = float(np.ptp(target))
        return 10 * float(np.log10(span**2 / wrong)) if wrong > 0 else float("inf")

    def filters(self, noisy: Any) -> Filters:
        """Return the linear filters that the network is on images, and which one is where."""
        check_is_fitted(self)
        images = _images(noisy, "noisy")
        found = regimes_of(self.network_, self._patches(images))
        side = int(self.patch)
        return Filters(
            labels=found.labels.reshape(images.shape),
            filters=found.coefficients[:, :, 0].reshape(-1, side, side),
            constants=found.constants[:, 0],
        )

    def evidence(self, noisy: Any, clean: Any, sample_weight: Any = None) -> Evidence:
        """Return what `verify` checks: the claim, and what these images say about it."""
        check_is_fitted(self)
        patches, target = self._pairs(noisy, clean)
        kept = self.index_[self.index_ < len(patches)]
        return self.regressor_.evidence(patches[kept], target[kept])

    def _pairs(self, noisy: Any, clean: Any) -> tuple[Floats, Floats]:
        """Return patches (n, s * s) and target pixels (n,)."""
        images, target = _images(noisy, "noisy"), _images(clean, "clean")
        if images.shape != target.shape:
            raise ValueError(
                f"noisy images have shape {np.shape(noisy)} and clean ones {np.shape(clean)}; "
                "expected pairs of one shape"
            )
        return self._patches(images), target.ravel()

    def _patches(self, images: Floats) -> Floats:
        """Return the patch around every pixel, row by row, (m * h * w, s * s)."""
        side = int(self.patch)
        if side > min(images.shape[1:]):
            raise ValueError(
                f"patch is {side} and images are {images.shape[1:]}; pass a smaller one"
            )
        margin = side // 2
        pad: Any = ((0, 0), (margin, margin), (margin, margin))
        mode: Any = self.border
        wide = np.pad(images, pad, mode=mode)
        windows = np.lib.stride_tricks.sliding_window_view(wide, (side, side), axis=(1, 2))
        return np.ascontiguousarray(windows).reshape(-1, side * side)

    def _check_options(self) -> None:
        if not (isinstance(self.patch, Integral) and self.patch >= 1 and self.patch % 2 == 1):
            raise ValueError(f"patch is {self.patch!r}; expected an odd positive integer")
        if self.border not in _BORDERS:
            raise ValueError(f"border is {self.border!r}; expected one of {', '.join(_BORDERS)}")
        if self.samples is not None and not (
            isinstance(self.samples, Integral) and self.samples >= 1
        ):
            raise ValueError(f"samples is {self.samples!r}; expected a positive integer or None")


def _images(images: Any, name: str) -> Floats:
    """Return images (m, h, w) in float64; ValueError for others and for NaN and infinity."""
    given = np.asarray(images, dtype=np.float64)
    if given.ndim not in (2, 3) or given.size == 0:
        raise ValueError(f"{name} has shape {given.shape}; expected (m, h, w), or (h, w) for one")
    if not np.isfinite(given).all():
        raise ValueError(f"{name} holds NaN or infinite pixels; impute them first")
    return given if given.ndim == 3 else given[None]
