"""Generative networks for images, resolution by resolution, with new latents at each."""

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cvxnn.architectures import Architecture
from cvxnn.certificate import Certificate
from cvxnn.density import sum_of
from cvxnn.errors import CertificateWarning
from cvxnn.generation.critics import Moments, moments_of
from cvxnn.generation.generators import Generator, Recipe, claim_of, generator_of, whitened
from cvxnn.generation.latents import (
    as_table,
    check_strength,
    count_of,
    latents_of,
    say_zero,
    seed_of,
    strength,
    way_between,
)

Floats = NDArray[np.float64]

_SMALL = 4
"""Sides below this are not halved."""
_LINEAR = 4000
"""Latents on which linear stages are computed, whose second moments are made exact."""


class ProgressiveGAN(BaseEstimator):
    """`ConvexGAN` for images in stages, each of a higher resolution than the one before it.

    A stage is given what the one before it made, each pixel repeated, and new latents, and is
    trained as a `ConvexGAN` on the images at its own resolution, centred. Its L is the one nearest
    to the enlarged picture (Procrustes), so that pictures keep what they show. The published chain
    has no latents but the first stage's, and linear stages of 48 latents make pictures of rank 48,
    whatever their number of directions [SahinerGAN2022]; here a stage has as many new ones as it
    lacks. Linear stages together are linear: their pictures have the distribution of one
    `ConvexGAN` at the last resolution. Nothing is done to the pictures afterwards.

    Parameters
    ----------
    sides : tuple of int or None, default=None
        Heights of the stages, each a multiple of the one before it and the last that of the images;
        None: halves, down to 4 pixels or an odd number. Images at lower resolutions are means of
        blocks.
    generator, alpha, n_gates, tol, max_time, n_pairs, random_state
        As in `ConvexGAN`, of every stage.
    n_components : int, float, None or tuple of these, default=None
        As in `ConvexGAN`, of every stage or one for each.
    fresh : bool, default=True
        Whether stages have latents of their own. False: the published chain; a stage then has at
        most as many directions as there are latents, and its lam is as much larger.
    latent : int or None, default=None
        How many latents the first stage has; None: one for every direction.

    Attributes
    ----------
    generators_ : tuple of Generator
        One a stage, of whitened inputs.
    certificates_ : tuple of Certificate
        One a stage, as `ConvexGAN.certificate_`: about the least picture of that resolution within
        lam, whatever the stages before it do. On latents that were not learned from.
    certificate_ : Certificate
        Their sum.
    lams_, latents_ : array (s,)
        The strengths, and how many latents each stage adds.
    n_components_, shape_, shapes_
        Directions of the last stage, the shape of an image, and of those of every stage.

    Raises
    ------
    ValueError
        For images of other than three or four axes (n, h, w) or (n, h, w, c), sides that are not
        multiples, fewer than two images, NaN, and options out of range.

    Examples
    --------
    >>> images = np.random.default_rng(0).standard_normal((60, 8, 8)).cumsum(axis=1).cumsum(axis=2)
    >>> model = ProgressiveGAN((4, 8), n_components=(3, 6)).fit(images)
    >>> model.latents_.tolist(), model.sample(2, random_state=0).shape
    ([3, 3], (2, 8, 8))
    """

    _held = ("generators_", "whiteners_", "certificates_", "lams_", "latents_", "shapes_")

    def __init__(
        self,
        sides: tuple[int, ...] | None = None,
        generator: str | Architecture = "linear",
        *,
        n_components: Any = None,
        fresh: bool = True,
        latent: int | None = None,
        alpha: float = 1e-2,
        n_gates: int = 32,
        tol: float = 1e-3,
        max_time: float | None = None,
        n_pairs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.sides = sides
        self.generator = generator
        self.n_components = n_components
        self.fresh = fresh
        self.latent = latent
        self.alpha = alpha
        self.n_gates = n_gates
        self.tol = tol
        self.max_time = max_time
        self.n_pairs = n_pairs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "ProgressiveGAN":
        """Train on images `X` (n, h, w) or (n, h, w, c); return self."""
        if np.ndim(X) not in (3, 4):
            raise ValueError(
                f"X has shape {np.shape(X)}; expected images (n, h, w) or (n, h, w, c)"
            )
        table, shape = as_table(self, X)
        recipe, shapes = Recipe.of(self), self._shapes(shape)
        asked = self._asked(len(shapes))
        rng = np.random.default_rng(seed_of(self.random_state))
        levels = [shrunk(table.reshape(-1, *shape), each) for each in shapes]
        spectra = [moments_of(level.reshape(len(table), -1)) for level in levels]
        plans = self._plans(spectra, asked)
        counts = [new for _, new in plans]
        count = max(recipe.draws(len(table)) or _LINEAR, 4 * sum(counts))
        drawn, _ = whitened(rng.standard_normal((count, sum(counts))))
        learned = 0 if recipe.linear else recipe.count(len(table))
        stages: list[tuple[Generator, Floats, Certificate]] = []
        scores, place = np.zeros((count, 0)), 0
        for (lam, new), level, moments in zip(plans, levels, spectra, strict=True):
            inputs = np.concatenate([scores, drawn[:, place : place + new]], axis=1)
            latents, into = whitened(inputs)
            k = moments.above(lam)
            before = stages[-1][0] if stages else None
            turn = _turned(before, moments, lam, latents, scores, shapes, len(stages))
            rows = level.reshape(len(table), -1)
            made = generator_of(rows, moments, lam, latents, turn[:, :k], recipe, rng)
            claim = claim_of(rows, moments, lam, made, latents[learned:])
            stages.append((made, into, claim))
            scores, place = made.scores(latents), place + new
        self.generators_, self.whiteners_, self.certificates_ = zip(*stages, strict=True)
        self.lams_ = np.array([lam for lam, _ in plans])
        self.latents_ = np.array(counts)
        self.shapes_ = tuple(shapes)
        self._settle(table.shape[1])
        return self

    def _plans(self, spectra: list[Moments], asked: list[Any]) -> list[tuple[float, int]]:
        """Return lam and the number of new latents of every stage."""
        plans: list[tuple[float, int]] = []
        has = 0
        for number, (moments, each) in enumerate(zip(spectra, asked, strict=True)):
            most = self.latent if number == 0 else None if self.fresh else has
            lam, k = strength(moments, "auto", each, most)
            if number and not self.fresh and strength(moments, "auto", each, None)[1] > k:
                warnings.warn(
                    f"stage {number + 1} has {k} directions, as many as there are latents; pass "
                    "fresh=True, or more latents",
                    CertificateWarning,
                    stacklevel=3,
                )
            if k == 0:
                say_zero(lam, moments)
            first = max(k, 1) if self.latent is None else int(self.latent)
            new = first if number == 0 else max(k - has, 0) if self.fresh else 0
            plans.append((lam, new))
            has = k
        return plans

    def _settle(self, features: Any) -> None:
        """Set what follows from the rest; ValueError where that does not fit together."""
        self.shapes_ = tuple(tuple(int(x) for x in shape) for shape in self.shapes_)
        self.generators_, self.certificates_ = tuple(self.generators_), tuple(self.certificates_)
        self.whiteners_ = tuple(self.whiteners_)
        self.shape_ = self.shapes_[-1]
        widths = [int(np.prod(shape)) for shape in self.shapes_]
        made = self.generators_
        before = [0, *[len(each.components) for each in made[:-1]]]
        told = [
            (before[i] + int(self.latents_[i]), each.components.shape[1])
            for i, each in enumerate(made)
        ]
        found = [(len(into), wide) for into, wide in zip(self.whiteners_, widths, strict=True)]
        if told != found or widths[-1] != features:
            raise ValueError("its stages, latents and shapes do not fit together")
        self.certificate_ = sum_of(list(self.certificates_))
        self.n_components_ = len(made[-1].components)

    def stages(self, Z: Any) -> list[Floats]:
        """Return what every stage makes of latents (m, sum of latents_), each (m, h, w[, c])."""
        check_is_fitted(self)
        given = latents_of(Z, int(self.latents_.sum()))
        scores, place, found = np.zeros((len(given), 0)), 0, []
        parts = zip(self.generators_, self.whiteners_, self.latents_, self.shapes_, strict=True)
        for made, into, new, shape in parts:
            inputs = np.concatenate([scores, given[:, place : place + new]], axis=1)
            scores, place = made.scores(inputs @ into), place + new
            found.append((made.mean + scores @ made.components).reshape(-1, *shape))
        return found

    def inverse_transform(self, X: Any) -> Floats:
        """Return the images of latents `X` (m, sum of latents_), (m, ...)."""
        return self.stages(X)[-1]

    def sample(self, n_samples: int = 1, *, random_state: Any = None) -> Floats:
        """Return new images (n_samples, ...)."""
        check_is_fitted(self)
        rng = np.random.default_rng(seed_of(random_state))
        drawn = rng.standard_normal((count_of(n_samples), int(self.latents_.sum())))
        return self.inverse_transform(drawn)

    def interpolate(self, first: Any, last: Any, steps: int = 8) -> Floats:
        """Return the images between two latents, as `ConvexGAN.interpolate`."""
        check_is_fitted(self)
        return self.inverse_transform(way_between(first, last, steps, int(self.latents_.sum())))

    def _asked(self, stages: int) -> list[Any]:
        given = self.n_components
        each = list(given) if isinstance(given, tuple | list) else [given] * stages
        if len(each) != stages:
            raise ValueError(
                f"n_components has {len(each)} entries and there are {stages} stages; pass one for "
                "each, or one number"
            )
        for one in each:
            check_strength("auto", one, self.latent)
        return each

    def _shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shape of an image at every stage; ValueError for sides that do not fit."""
        height, width, *channels = shape
        if self.sides is None:
            sides = [height]
            while (
                sides[0] % 2 == 0 and sides[0] >= 2 * _SMALL and width * sides[0] // 2 % height == 0
            ):
                sides.insert(0, sides[0] // 2)
        else:
            sides = [int(side) for side in self.sides]
        steps = pairwise(sides)
        whole = all(0 < low < high and high % low == 0 for low, high in steps)
        if (
            not sides
            or sides[0] < 1
            or sides[-1] != height
            or not whole
            or any(width * side % height for side in sides)
        ):
            raise ValueError(
                f"sides is {self.sides!r} and images are {shape}; expected heights that rise to "
                f"{height}, each a multiple of the one before it, for whole widths"
            )
        return [(side, width * side // height, *channels) for side in sides]


def _turned(
    before: Generator | None,
    moments: Moments,
    lam: float,
    latents: Floats,
    scores: Floats,
    shapes: list[tuple[int, ...]],
    stage: int,
) -> Floats:
    """Return the orthonormal columns (r, k) whose pictures are nearest to the enlarged ones.

    Where those have less than k directions, the others are of the new latents.
    """
    excess = moments.excess(lam)
    if before is None or len(excess) == 0:
        return np.eye(latents.shape[1], len(excess))
    small, large = shapes[stage - 1], shapes[stage]
    enlarged = enlarge(before.components.reshape(-1, *small), large).reshape(
        len(before.components), -1
    )
    wanted = (enlarged @ moments.components[: len(excess)].T) * np.sqrt(excess)
    left, _, right = np.linalg.svd(latents.T @ scores @ wanted / len(latents), full_matrices=False)
    return np.asarray(left @ right)


def shrunk(images: Floats, shape: tuple[int, ...]) -> Floats:
    """Return images (n, h, w, ...) of a lower resolution: means of blocks.

    >>> shrunk(np.arange(4.0).reshape(1, 2, 2), (1, 1)).tolist()
    [[[1.5]]]
    """
    n, height, width, *channels = images.shape
    down, across = height // shape[0], width // shape[1]
    blocks = images.reshape(n, shape[0], down, shape[1], across, *channels)
    return np.asarray(blocks.mean(axis=(2, 4)))


def enlarge(images: Floats, shape: tuple[int, ...]) -> Floats:
    """Return images (n, h, w, ...) of a higher resolution: each pixel is repeated.

    >>> enlarge(np.ones((1, 1, 1)), (2, 2)).tolist()
    [[[1.0, 1.0], [1.0, 1.0]]]
    """
    down, across = shape[0] // images.shape[1], shape[1] // images.shape[2]
    return np.asarray(images.repeat(down, axis=1).repeat(across, axis=2))
