"""Where a filter stands on an image, and the pixels that it sees there, as `unfold` lists them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, device, is_sparse, namespace

Sizes = int | Sequence[int]
"""One number for every axis, or one each."""

POOLINGS = ("average", "sum", "max")


@dataclass(frozen=True)
class Patches:
    """The K places of a filter on images of a shape, and the pooling cells that they are in.

    A patch is (C, kh, kw), flattened in that order, and places run row by row, both as in torch's
    `unfold`; pixels beyond the border are zero. Cells are a grid over the places: a place in row r
    of R is in row r * cells // R of it.

    >>> patches = patches_of((1, 3), kernel=2)
    >>> patches.rows(np.array([[1.0, 2.0, 3.0]])).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """

    shape: tuple[int, ...]
    """(C, L) of signals, or (C, H, W) of images."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    cells: tuple[int, ...]

    @property
    def places(self) -> tuple[int, ...]:
        """Places along each axis."""
        axes = zip(
            self.shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)

    @property
    def count(self) -> int:
        """K, the places of a filter on one image."""
        return prod(self.places)

    @property
    def width(self) -> int:
        """h, the entries of a patch."""
        return self.shape[0] * prod(self.kernel)

    @property
    def pixels(self) -> int:
        """Entries of an image."""
        return prod(self.shape)

    @property
    def n_cells(self) -> int:
        """a, the pooling cells."""
        return prod(self.cells)

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """(K, h): which pixel every entry of a patch is; `pixels` for one beyond the border."""
        inner, outside = self.shape[1:], np.zeros((1,) * (2 * len(self.kernel)), dtype=bool)
        flat: Any = np.zeros((1,) * (2 * len(self.kernel)), dtype=np.int64)
        for axis, size in enumerate(inner):
            starts = self.stride[axis] * np.arange(self.places[axis]) - self.padding[axis]
            along = starts[:, None] + self.dilation[axis] * np.arange(self.kernel[axis])
            shape = [1] * (2 * len(inner))
            shape[axis], shape[len(inner) + axis] = along.shape
            turned = along.reshape(shape)
            outside = outside | (turned < 0) | (turned >= size)
            flat = flat * size + turned
        spots = np.where(outside, -1, flat).reshape(self.count, 1, -1)
        channels = prod(inner) * np.arange(self.shape[0])[:, None]
        return np.where(spots < 0, self.pixels, spots + channels).reshape(self.count, -1)

    @cached_property
    def cell(self) -> NDArray[np.int64]:
        """(K,): the cell of every place."""
        found: Any = np.zeros((1,) * len(self.cells), dtype=np.int64)
        for axis, (places, cells) in enumerate(zip(self.places, self.cells, strict=True)):
            shape = [1] * len(self.cells)
            shape[axis] = places
            found = found * cells + (np.arange(places) * cells // places).reshape(shape)
        return np.broadcast_to(found, self.places).ravel()

    def pool(self, pooling: str) -> NDArray[np.float64]:
        """Return (a, K), what each place counts for in every cell; of "max" it is who is in it."""
        inside = np.arange(self.n_cells)[:, None] == self.cell
        total = inside.sum(axis=1, keepdims=True) if pooling == "average" else 1.0
        return np.asarray(inside / total)

    def rows(self, X: Array, bias: bool = False) -> Array:
        """Return the patches (n * K, h) of images (n, C * H * W), sample by sample.

        With `bias` a last column of ones is in every patch, (n * K, h + 1).
        """
        xp, n = namespace(X), X.shape[0]
        kind = {"dtype": X.dtype, "device": device(X)}
        wide = xp.concat([X, xp.zeros((n, 1), **kind)], axis=1)
        index = xp.asarray(self.index.ravel(), device=device(X))
        patches = xp.reshape(xp.take(wide, index, axis=1), (n * self.count, self.width))
        if not bias:
            return patches
        return xp.concat([patches, xp.ones((n * self.count, 1), **kind)], axis=1)


def patches_of(
    shape: Sequence[int],
    *,
    kernel: Sizes,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    cells: Sizes = 1,
) -> Patches:
    """Return the patches of images of a shape; ValueError where no filter, or no cell, finds room.

    >>> patches_of((3, 32, 32), kernel=3, padding=1, stride=2).places
    (16, 16)
    """
    whole = tuple(int(size) for size in shape)
    if len(whole) not in (2, 3) or min(whole) < 1 or whole != tuple(shape):
        raise ValueError(
            f"shape is {tuple(shape)}; expected (channels, length) or (channels, height, width), "
            "positive integers"
        )
    axes = len(whole) - 1
    words = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    sizes = {name: _each(name, size, axes) for name, size in (words | {"cells": cells}).items()}
    found = Patches(whole, **sizes)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(found.kernel, found.dilation, strict=True))
    room = tuple(n + 2 * p for n, p in zip(whole[1:], found.padding, strict=True))
    if any(r > m for r, m in zip(reach, room, strict=True)):
        raise ValueError(
            f"the filter reaches over {reach} and an image of shape {whole} has {room} with its "
            "padding; use a smaller kernel or dilation, or more padding"
        )
    if (found.index == found.pixels).all(axis=1).any():
        raise ValueError(
            f"padding {found.padding} lets a filter that reaches over {reach} see no pixel at all: "
            "patches of zeros alone; use less padding than the filter reaches"
        )
    if any(a > m for a, m in zip(found.cells, found.places, strict=True)):
        raise ValueError(
            f"there are {found.cells} pooling cells and the filter has {found.places} places; use "
            "fewer cells"
        )
    return found


def _each(name: str, size: Sizes, axes: int) -> tuple[int, ...]:
    """Return a size for every axis; ValueError for others than integers, positive but paddings."""
    given = tuple(size) if isinstance(size, Sequence) else (size,) * axes
    least = 0 if name == "padding" else 1
    numbers: tuple[Any, ...] = given
    whole = [isinstance(one, int | np.integer) and one >= least for one in numbers]
    if len(given) != axes or not all(whole) or any(isinstance(one, bool) for one in given):
        raise ValueError(
            f"{name} is {size!r}; expected an integer of at least {least}, or {axes} of them"
        )
    return tuple(int(one) for one in given)


def require_pixels(patches: Patches, columns: int) -> None:
    """Raise ValueError unless images are flattened to the patches' number of pixels."""
    if columns != patches.pixels:
        raise ValueError(
            f"X has {columns} columns and images of shape {patches.shape} have {patches.pixels} "
            "entries; pass each image flattened, channels first, or another shape"
        )


def as_table(X: Any, shape: Sequence[int] | None) -> Any:
    """Return images (n, C, H, W), signals (n, C, L) or, of one channel, (n, H, W) as rows (n, d).

    Tables, and what is no array of numbers, are returned as they are; lists of images are stacked.
    Raises ValueError for images of several sizes, and for another shape than the one that is
    expected, with what to do where channels come last.
    """
    X = stacked(X)
    found = getattr(X, "shape", None)
    if found is None or is_sparse(X) or len(found) < 3:
        return X
    if shape is None:
        raise ValueError(
            f"X has shape {tuple(found)}; pass the architecture with shape={tuple(found[1:])}, "
            "channels first, or a table (n, d)"
        )
    wanted, given = tuple(shape), tuple(found[1:])
    if given == wanted or (wanted[0] == 1 and given == wanted[1:]):
        return X.reshape((found[0], prod(wanted)))
    if given == (*wanted[1:], wanted[0]):
        raise ValueError(
            f"X has shape {tuple(found)}, channels last; expected (n, *{wanted}), channels first: "
            "pass np.moveaxis(X, -1, 1)"
        )
    raise ValueError(f"X has shape {tuple(found)}; expected (n, *{wanted}) or (n, {prod(wanted)})")


def stacked(X: Any) -> Any:
    """Return a list of images, or an array of objects that are images, as one array."""
    listed = isinstance(X, list | tuple) or getattr(X, "dtype", None) == np.dtype("O")
    if not listed or getattr(X, "ndim", 1) != 1 or len(X) == 0:
        return X
    if is_sparse(X[0]) or getattr(X[0], "ndim", 0) < 2:
        return X
    shapes = [tuple(np.shape(image)) for image in X]
    for place, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"image 0 has shape {shapes[0]} and image {place} has {shape}; bring all to one "
                "size"
            )
    return np.stack([np.asarray(image) for image in X])
