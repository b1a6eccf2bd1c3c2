"""A stage of a layer-wise network: gates on whitened patches, pooled columns, maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cvxnn.patches import Patches, Sizes, patches_of
from cvxnn.whitening import Singles, Whitening, whitening

SAMPLE = 2000
"""Images whose patches the whitening, the gates and the scales are taken from."""
PATCHES, ENTRIES = 2**19, 2**26
"""The patches of these at most, and at most so many entries in them."""


@dataclass(frozen=True)
class Stage:
    """What a stage is made of, before it has seen images.

    >>> Stage(kernel=None, n_gates=32)  # a filter as large as the image: a dense stage
    Stage(kernel=None, stride=1, padding=0, n_gates=32, cells=1, directions=None, halve=False)
    """

    kernel: Sizes | None = 5
    """Side of the filters; None: the whole image, for a dense stage of one place."""
    stride: Sizes = 1
    padding: Sizes = 0
    n_gates: int = 128
    cells: Sizes | None = None
    """Pooling cells along each axis; None: two, and one in a dense stage."""
    directions: int | None = None
    """Leading directions of the patches that are kept; None: a third of them, 25 at least."""
    halve: bool = True
    """Whether the maps that the next stage sees are averaged over squares of two by two."""

    def __post_init__(self) -> None:
        for name, value in (("n_gates", self.n_gates), ("directions", self.directions)):
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if value is not None and not (whole and value >= 1):
                raise ValueError(f"{name} is {value!r}; expected a positive integer")
        if self.kernel is None:
            object.__setattr__(self, "halve", False)
            object.__setattr__(self, "cells", 1)
        elif self.cells is None:
            object.__setattr__(self, "cells", 2)

    def on(self, shape: Sequence[int]) -> Patches:
        """Return its patches on images of a shape; ValueError where they do not fit."""
        kernel = tuple(shape[1:]) if self.kernel is None else self.kernel
        cells = 1 if self.cells is None else self.cells
        return patches_of(
            shape, kernel=kernel, stride=self.stride, padding=self.padding, cells=cells
        )

    def kept(self, width: int) -> int:
        """Return how many directions of patches with `width` entries it keeps at most."""
        return min(width, self.directions or max(25, width // 3))


@dataclass(frozen=True, eq=False)
class Columns:
    """A stage that has seen images: what the columns of its convex program are made of.

    With z_k the whitened patch at place k and generators g_i, the column of gate i, cell a and
    direction r is the mean over the places k of the cell of 1[z_k' g_i >= 0] z_kr.
    """

    patches: Patches
    whitening: Whitening
    generators: Singles
    """(p, r + 1)."""
    halve: bool = False

    @property
    def width(self) -> int:
        """Columns: gates times cells times directions."""
        return len(self.generators) * self.patches.n_cells * self.whitening.width

    @cached_property
    def _by_cell(self) -> tuple[NDArray[np.int64], list[slice]]:
        order = np.argsort(self.patches.cell, kind="stable")
        ends = np.cumsum(np.bincount(self.patches.cell, minlength=self.patches.n_cells))
        starts = [0, *ends[:-1]]
        return order, [slice(*pair) for pair in zip(starts, ends, strict=True)]

    def rows(self, images: Singles, places: NDArray[np.int64] | None = None) -> Singles:
        """Return the whitened patches (n, K, r + 1) of images (n, C * H * W), in some order."""
        index = self.patches.index if places is None else self.patches.index[places]
        wide = np.concatenate([images, np.zeros((len(images), 1), np.float32)], axis=1)
        patches = wide.take(index.ravel(), axis=1).reshape(-1, self.patches.width)
        return self.whitening(patches).reshape(len(images), len(index), -1)

    def __call__(self, images: Singles) -> Singles:
        """Return the columns, (n, C * H * W) to (n, width); a gate's are side by side."""
        order, cells = self._by_cell
        z = self.rows(images, order)
        masks = (self._products(z) >= 0).astype(np.float32)
        n, p, r = len(z), len(self.generators), self.whitening.width
        found = np.empty((n, p, len(cells), r), np.float32)
        for cell, places in enumerate(cells):
            sums = masks[:, places].transpose(0, 2, 1) @ z[:, places]
            found[:, :, cell] = sums / np.float32(places.stop - places.start)
        return found.reshape(n, -1)

    def _products(self, z: Singles) -> Singles:
        """Return z g of patches (n, K, r + 1) and every gate, (n, K, p).

        One product: many small ones, with several threads each, took forty times as long.
        """
        flat = z.reshape(-1, z.shape[2]) @ self.generators.T
        return flat.reshape(len(z), z.shape[1], -1)

    def pictures(self) -> Singles:
        """Return the gates as patches: W g, that a patch is multiplied with, (p, C, kh, kw)."""
        linear = self.generators[:, :-1] @ self.whitening.matrix.T
        shape = (len(linear), self.patches.shape[0], *self.patches.kernel)
        return np.asarray(linear, np.float32).reshape(shape)

    @property
    def mapped(self) -> tuple[int, ...]:
        """Shape of the maps: a channel for every gate."""
        sides = tuple(k // 2 if self.halve else k for k in self.patches.places)
        return (len(self.generators), *sides)

    def maps(self, images: Singles) -> Singles:
        """Return the ReLU of every gate's product at every place, (n, p * H' * W')."""
        z = self.rows(images)
        found = np.maximum(self._products(z), 0)
        found = found.reshape(len(z), *self.patches.places, -1)
        for axis in range(len(self.patches.places)) if self.halve else ():
            even = found.shape[1 + axis] // 2 * 2
            lower = found.take(np.arange(0, even, 2), axis=1 + axis)
            found = (lower + found.take(np.arange(1, even, 2), axis=1 + axis)) / 2
        return np.ascontiguousarray(np.moveaxis(found, -1, 1)).reshape(len(z), -1)


def columns_of(
    stage: Stage,
    shape: Sequence[int],
    images: Singles,
    rng: np.random.Generator,
    *,
    level: bool = True,
    contrast: float | None = None,
) -> Columns:
    """Return the columns of a stage whose whitening and gates come from the images (n, C * H * W).

    Gates are directions of whitened patches, drawn at random, without their bias [CoatesNg2012].
    """
    patches = stage.on(shape)
    most = min(PATCHES, ENTRIES // patches.width)
    index = patches.index[rng.permutation(patches.count)[: max(1, most // len(images))]]
    wide = np.concatenate([images, np.zeros((len(images), 1), np.float32)], axis=1)
    seen = wide.take(index.ravel(), axis=1).reshape(-1, patches.width)
    found = whitening(seen, stage.kept(patches.width), level=level, contrast=contrast)
    drawn = found(seen[rng.permutation(len(seen))[: 4 * stage.n_gates]])
    drawn[:, -1] = 0.0
    lengths = np.linalg.norm(drawn, axis=1)
    drawn = drawn[lengths > 1e-3 * lengths.max()][: stage.n_gates]
    directions = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return Columns(patches, found, directions, stage.halve)
