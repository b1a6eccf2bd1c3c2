"""Pictures of networks of images: filters, the patches that they fire on, accuracy by stage."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from cvxnn.arrays import to_numpy
from cvxnn.display.curves import require_matplotlib
from cvxnn.patches import Patches, as_table

Floats = NDArray[np.float64]


class FiltersDisplay:
    """Filters as images, a row each, and beside each the patches that it fires on most.

    Parameters
    ----------
    filters : array (m, C, kh, kw)
        In the order of the rows.
    firing : array (m, k, C, kh, kw), optional
        Patches beside each.

    Attributes
    ----------
    figure_, axis_
        After `plot`: the matplotlib figure and its axis.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from cvxnn import LayerwiseClassifier, Stage
    >>> images, y = load_digits().images, load_digits().target
    >>> model = LayerwiseClassifier([Stage(kernel=3, n_gates=8)], random_state=0).fit(images, y)
    >>> FiltersDisplay.from_estimator(model, images, most=5, count=4).firing.shape
    (5, 4, 1, 3, 3)
    """

    def __init__(self, filters: Any, firing: Any = None) -> None:
        self.filters = np.asarray(filters, dtype=np.float64)
        self.firing = None if firing is None else np.asarray(firing, dtype=np.float64)

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any = None, *, most: int = 16, count: int = 8
    ) -> "FiltersDisplay":
        """Return the filters of a fitted convolutional network, the strongest first.

        Strong is what weight decay counts, |u| |a|. Of a `LayerwiseClassifier` they are the gates
        of the first stage, as patches are multiplied with them, in the order drawn. With images X,
        as in `fit`, each has the `count` patches of different images with the largest products.

        Raises ValueError for a model without filters of two axes.
        """
        patches, rules, offsets = _filters(model)
        if len(patches.kernel) != 2:
            raise ValueError(
                f"the filters are {patches.kernel}, of signals; pass a model of images"
            )
        rules, offsets = rules[:most], offsets[:most]
        shape = (patches.shape[0], *patches.kernel)
        filters = rules.reshape(-1, *shape)
        if X is None:
            return cls(filters)
        rows = as_table(np.asarray(X, dtype=np.float64), patches.shape)
        firing = [
            _firing(patches, rows, rule, offset, count)
            for rule, offset in zip(rules, offsets, strict=True)
        ]
        return cls(filters, np.reshape(firing, (len(rules), -1, *shape)))

    def plot(self, axis: Any = None) -> "FiltersDisplay":
        """Draw the rows as one picture, into `axis` if it is given; return self."""
        require_matplotlib()
        import matplotlib.pyplot as plt

        if self.firing is None:
            picture = mosaic(self.filters)
        else:
            beside = np.concatenate([self.filters[:, None], self.firing], axis=1)
            picture = mosaic(beside.reshape(-1, *self.filters.shape[1:]), beside.shape[1])
        if axis is None:
            size = np.array(picture.shape[1::-1]) / 12
            _, axis = plt.subplots(figsize=np.maximum(size, 2.0), layout="constrained")
        axis.imshow(picture, interpolation="nearest")
        axis.set_axis_off()
        self.figure_, self.axis_ = axis.figure, axis
        return self


class StagesDisplay:
    """Accuracy against the number of stages.

    Parameters
    ----------
    training, test : array (t,)
        Accuracy after one stage, two, and so on.

    Attributes
    ----------
    figure_, axis_
        After `plot`: the matplotlib figure and its axis.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from cvxnn import LayerwiseClassifier, Stage
    >>> images, y = load_digits().images, load_digits().target
    >>> stages = [Stage(kernel=3, n_gates=8), Stage(kernel=2, n_gates=8, halve=False)]
    >>> model = LayerwiseClassifier(stages, random_state=0).fit(images[:900], y[:900])
    >>> StagesDisplay.from_estimator(model, images[900:], y[900:]).test.shape
    (2,)
    """

    def __init__(self, training: Any, test: Any) -> None:
        self.training = np.asarray(training, dtype=np.float64)
        self.test = np.asarray(test, dtype=np.float64)

    @classmethod
    def from_estimator(cls, model: Any, X: Any, y: Any) -> "StagesDisplay":
        """Return the accuracies of a fitted `LayerwiseClassifier` in training and on images X."""
        counts = range(1, len(model.stages_) + 1)
        test = [accuracy_score(y, model.predict(X, stages=count)) for count in counts]
        return cls([stage.accuracy for stage in model.stages_], test)

    def plot(self, axis: Any = None) -> "StagesDisplay":
        """Draw both curves, into `axis` if it is given; return self."""
        require_matplotlib()
        import matplotlib.pyplot as plt

        if axis is None:
            _, axis = plt.subplots(figsize=(4.2, 3.0), layout="constrained")
        stages = np.arange(1, len(self.test) + 1)
        for name, values in (("training", self.training), ("test", self.test)):
            axis.plot(stages, 100 * values, marker="o", label=name)
        axis.set(xlabel="stages", ylabel="accuracy, %", xticks=stages)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
        self.figure_, self.axis_ = axis.figure, axis
        return self


class AttentionDisplay:
    """Images, and over each what its tokens add to a score: red for it, blue against it.

    Parameters
    ----------
    images : array (n, H, W) or (n, H, W, 3)
        Colours are from 0 to 1.
    maps : array (n, h, w)
        What each token adds; tokens lie on a grid over the image.
    titles : sequence of str, optional
        One for each image.

    Attributes
    ----------
    figure_, axes_
        After `plot`: the matplotlib figure and its axes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from cvxnn import ConvexClassifier
    >>> images, y = load_digits(n_class=2, return_X_y=True)
    >>> rows = images.reshape(-1, 8, 8) / 16  # every row of pixels is a token
    >>> model = ConvexClassifier("linear_attention", alpha=0.01, tol=1e-2).fit(rows, y)
    >>> AttentionDisplay.from_estimator(model, rows[:5], rows[:5], grid=(8, 1)).maps.shape
    (5, 8, 1)
    """

    def __init__(self, images: Any, maps: Any, titles: Any = None) -> None:
        self.images = np.asarray(images, dtype=np.float64)
        self.maps = np.asarray(maps, dtype=np.float64)
        self.titles = list(titles) if titles is not None else [""] * len(self.images)
        if not len(self.images) == len(self.maps) == len(self.titles):
            raise ValueError(
                f"there are {len(self.images)} images, {len(self.maps)} maps and "
                f"{len(self.titles)} titles; pass one of each"
            )

    @classmethod
    def from_estimator(
        cls, model: Any, X: Any, images: Any, *, grid: tuple[int, int], titles: Any = None
    ) -> "AttentionDisplay":
        """Return the images with what their tokens add to the score of the predicted class.

        `model` is a classifier with an attention network, `X` its tokens (n, s, d), or the maps of
        a backbone, and `grid` (h, w) how the s tokens lie over an image. Raises ValueError for
        another model, and for a grid of another number of tokens.
        """
        network: Any = getattr(model, "network_", None)
        if not hasattr(network, "contributions"):
            raise ValueError(
                f"{type(model).__name__} has no attention network; pass a classifier fitted with "
                "linear_attention or gated_attention"
            )
        s, w = network.tokens.shape
        if s != grid[0] * grid[1]:
            raise ValueError(f"grid is {grid}; expected one of {s} tokens")
        X = np.asarray(X, dtype=np.float64)
        X = X.reshape(*X.shape[:2], -1).swapaxes(1, 2) if X.ndim == 4 else X
        parts = to_numpy(network.contributions(X.reshape(len(X), s * w)))
        outputs = to_numpy(network(X.reshape(len(X), s * w)))
        if outputs.shape[1] == 1:
            told = parts[:, :, 0] * np.sign(outputs)
        else:
            others = parts.mean(axis=2)  # a score that all classes gain tells nothing
            told = parts[np.arange(len(X)), :, outputs.argmax(axis=1)] - others
        return cls(images, told.reshape(-1, *grid), titles)

    def plot(self, axes: Any = None) -> "AttentionDisplay":
        """Draw each image and the map over it, into `axes` (n,) if given; return self."""
        require_matplotlib()
        import matplotlib.pyplot as plt

        if axes is None:
            size = (1.5 * len(self.images), 1.8)
            _, grid = plt.subplots(
                1, len(self.images), figsize=size, squeeze=False, layout="constrained"
            )
            axes = grid[0]
        for axis, image, values, title in zip(
            axes, self.images, self.maps, self.titles, strict=True
        ):
            extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
            grey = image.mean(axis=2) if image.ndim == 3 else image
            low, high = grey.min(), grey.max()
            pale = 1.0 - 0.75 * (grey - low) / max(high - low, 1e-12)
            pale = pale if image.ndim == 2 else 1.25 - pale  # ink on paper, or a photograph
            axis.imshow(pale, cmap="gray", vmin=0.0, vmax=1.0, extent=extent)
            largest = max(np.abs(values).max(), 1e-12)
            words = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, "extent": extent}
            clear = 0.1 + 0.8 * np.abs(values) / largest  # where nothing is said the image is seen
            axis.imshow(values, alpha=clear, interpolation="bicubic", **words)
            axis.set_title(title, loc="center")
            axis.set_axis_off()
        self.figure_, self.axes_ = axes[0].figure, axes
        return self


def mosaic(pictures: Any, columns: int = 16) -> Floats:
    """Return pictures (p, C, h, w) side by side as one image (H, W, 3), each from 0 to 1.

    Three channels are colours; of others the mean is shown.

    >>> mosaic(np.zeros((3, 1, 2, 2)), columns=2).shape
    (7, 7, 3)
    """
    pictures = np.asarray(pictures)
    p, c, h, w = pictures.shape
    rows = -(-p // columns)
    found = np.ones((rows * (h + 1) + 1, columns * (w + 1) + 1, 3))
    for place, picture in enumerate(pictures):
        low, high = picture.min(), picture.max()
        even = (picture - low) / max(high - low, 1e-12)
        top, side = place // columns * (h + 1) + 1, place % columns * (w + 1) + 1
        colours = even if c == 3 else np.repeat(even.mean(axis=0, keepdims=True), 3, axis=0)
        found[top : top + h, side : side + w] = np.moveaxis(colours, 0, -1)
    return found


def _filters(model: Any) -> tuple[Patches, Floats, Floats]:
    """Return where filters stand, the filters (m, h) and their biases (m,)."""
    if hasattr(model, "stages_"):
        first = model.stages_[0].columns
        pictures = np.asarray(first.pictures(), dtype=np.float64)
        return first.patches, pictures.reshape(len(pictures), -1), np.zeros(len(pictures))
    network = getattr(model, "network_", model)
    if not hasattr(network, "filters"):
        raise ValueError(
            f"{type(network).__name__} has no filters; pass a fitted convolutional network"
        )
    weights = to_numpy(network.weights_out).reshape(network.n_neurons, -1)
    order = np.argsort(-network.lengths * np.linalg.norm(weights, axis=1), kind="stable")
    filters = to_numpy(network.filters).reshape(network.n_neurons, -1)
    return network.patches, filters[order], to_numpy(network.biases)[order]


def _firing(patches: Patches, rows: Floats, rule: Floats, offset: float, count: int) -> Floats:
    """Return the patches (k, h) of different images with the largest products with a filter."""
    best = np.empty((len(rows), patches.width))
    products = np.empty(len(rows))
    for i, row in enumerate(rows):
        seen = patches.rows(row[None])
        values = seen @ rule + offset
        place = int(values.argmax())
        best[i], products[i] = seen[place], values[place]
    return best[np.argsort(-products, kind="stable")[:count]]
