"""Faces or not: filters and a head on a pretrained network, by convex programs and by descent."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from cvxnn.display import mosaic
from cvxnn.experiments.backbone import mobilenet
from cvxnn.experiments.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE
from cvxnn.experiments.loaders import Images, data_folder, digits, faces
from cvxnn.experiments.tuned import RIVALS, Row, torch_is_ready, tuned
from cvxnn.heads import ConvexHead
from cvxnn.layerwise import LayerwiseClassifier
from cvxnn.stages import Stage

Floats = NDArray[np.float64]

RATES = (0.01, 0.1, 1.0)
"""Step sizes of descent on filters, the best on held-out patches counts."""
SHOWN = 6
"""Patches of each sort in the figure."""
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)


class Curve(NamedTuple):
    """Share of faces found against the share of other patches taken for faces."""

    false_alarms: Floats
    found: Floats
    area: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Detection:
    """What is measured on patches that show a face or do not."""

    source: str
    classes: tuple[str, str]
    samples: int
    test_samples: int
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    shown: str
    """The model whose patches are shown."""
    counts: tuple[int, int, int]
    """Of faces found, of faces missed, of false alarms on patches not seen."""
    patches: NDArray[np.uint8]
    """(3, SHOWN, h, w): faces found, faces missed, false alarms, the clearest first; some 255."""


def load(full: bool, rng: np.random.Generator) -> Images:
    """Return patches with labels 1 for a face; eights among digits where there are none.

    The test patches are the last quarter of each sort, so that neighbours in the source, which may
    be nearly alike, seldom are on both sides.
    """
    found = faces(data_folder())
    if found is None:
        images = digits()
        found = images._replace(
            y=(images.y == 8).astype(np.int64),
            y_test=(images.y_test == 8).astype(np.int64),
            classes=("another digit", "an eight"),
            source="patches of faces were not found (set CVXNN_DATA to the folder that holds "
            "caltech_faces36.npz): eights among scikit-learn's digits stand in for them",
        )
    if full:
        return found
    train, test = (_some(y, count, rng) for y, count in ((found.y, 300), (found.y_test, 300)))
    return found._replace(
        X=found.X[train], y=found.y[train], X_test=found.X_test[test], y_test=found.y_test[test]
    )


def _some(y: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the places of up to `count` samples of each class."""
    each = [rng.permutation(np.flatnonzero(y == label))[:count] for label in (0, 1)]
    return np.concatenate(each)


def measure(full: bool, seed: int) -> Detection:
    """Train every detector on the same patches."""
    data = load(full, np.random.default_rng(seed))
    found = [filters(data, full, seed)]
    inside = features(data, 160 if full else 72)
    if torch_is_ready():
        found.append(filters_by_descent(data, found[0][1], seed))
    if inside is not None:
        found += heads(data, *inside, seed)
    scores = [each[2] for each in found]
    best = 0 if inside is None else 2
    face = data.y_test == 1
    hit = scores[best] > 0
    return Detection(
        source=data.source,
        classes=(data.classes[0], data.classes[1]),
        samples=len(data.X),
        test_samples=len(data.X_test),
        rows=tuple(each[0] for each in found),
        curves=tuple(curve(data.y_test, each) for each in scores),
        shown=found[best][0].name,
        counts=(int(np.sum(hit & face)), int(np.sum(~hit & face)), int(np.sum(hit & ~face))),
        patches=np.stack(
            [
                clearest(data.X_test, sort, sign * scores[best])
                for sort, sign in ((hit & face, 1), (~hit & face, -1), (hit & ~face, 1))
            ]
        ),
    )


def curve(y: NDArray[np.int64], scores: Floats) -> Curve:
    """Return the curve of scores (n,) against labels 0 and 1."""
    false_alarms, found, _ = roc_curve(y, scores)
    return Curve(false_alarms, found, float(roc_auc_score(y, scores)))


def clearest(X: Any, chosen: NDArray[np.bool_], scores: Floats) -> NDArray[np.uint8]:
    """Return the chosen patches with the largest scores, and white ones where there are few."""
    order = np.flatnonzero(chosen)
    order = order[np.argsort(-scores[order], kind="stable")][:SHOWN]
    found = np.full((SHOWN, *X.shape[1:]), 255, dtype=np.uint8)
    found[: len(order)] = X[order]
    return found


Found = tuple[Row, Any, Floats]
"""A row, the model, and its scores (n,) on patches not seen, above 0 for a face."""


def filters(data: Images, full: bool, seed: int) -> Found:
    """Train a convolutional network with fixed gates: one convex program."""
    wide = data.X.shape[1] > 12
    stage = Stage(
        kernel=7 if wide else 3,
        stride=2 if wide else 1,
        n_gates=64 if full else 24,
        directions=None if full else 16,
    )
    begin = time.process_time()
    model = LayerwiseClassifier([stage], random_state=seed).fit(data.X, data.y)
    seconds = time.process_time() - begin
    scores = np.diff(model.decision_function(data.X_test), axis=1)[:, 0]
    gap = model.certificate_.relative_gap
    return _row("filters, convex", scores, data, seconds, gap), model, scores


def filters_by_descent(data: Images, like: LayerwiseClassifier, seed: int) -> Found:
    """Train as many filters of the same size by SGD, all weights of them."""

    def models(seed: int) -> Iterator[Any]:
        for rate in RATES:
            yield Descended(like, rate, seed)

    model, seconds = tuned(models, data.X, data.y, seed)
    scores = model.decision_function(data.X_test)
    return _row("filters by SGD", scores, data, seconds, None), model, scores


class Descended:
    """A convolutional ReLU network as large as a stage, trained by SGD with momentum."""

    def __init__(self, like: LayerwiseClassifier, rate: float, seed: int) -> None:
        self.columns = like.stages_[0].columns
        self.rate, self.seed = rate, seed

    def fit(self, X: Any, y: Any) -> "Descended":
        """Take 20 epochs in batches of 32 from torch's own starts."""
        import torch

        torch.manual_seed(self.seed)
        patches, count = self.columns.patches, len(self.columns.generators)
        self.mean, self.scale = X.mean() / 255, X.std() / 255
        side = patches.cells[0]
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(1, count, patches.kernel, patches.stride),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(side),
            torch.nn.Flatten(),
            torch.nn.Linear(count * side**2, 1),
        )
        rule = torch.optim.SGD(self.network.parameters(), lr=self.rate, momentum=0.9)
        loss = torch.nn.BCEWithLogitsLoss()
        images, labels = self._seen(X), torch.from_numpy(np.asarray(y, np.float32))
        for _ in range(20):
            for part in torch.randperm(len(images)).split(32):
                rule.zero_grad()
                loss(self.network(images[part])[:, 0], labels[part]).backward()
                rule.step()
        return self

    def _seen(self, X: Any) -> Any:
        import torch

        pixels = (np.asarray(X, np.float32) / 255 - self.mean) / self.scale
        return torch.from_numpy(pixels.astype(np.float32))[:, None]

    def decision_function(self, X: Any) -> Floats:
        """Return scores (n,), above 0 for a face."""
        import torch

        with torch.no_grad():
            parts = [self.network(part)[:, 0] for part in self._seen(X).split(500)]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)

    def score(self, X: Any, y: Any) -> float:
        """Return the share of labels that are told."""
        return float(((self.decision_function(X) > 0) == (y == 1)).mean())


def features(data: Images, side: int) -> tuple[Any, Any] | None:
    """Return what a MobileNet makes of the patches, grey as colours and `side` pixels wide.

    None where its weights, or torch, are not there, and for the digits, of which it knows nothing.
    """
    if data.X.shape[1] <= 12 or not torch_is_ready():
        return None
    network = mobilenet(data_folder())
    if network is None:
        return None
    import torch

    def seen(X: Any) -> Any:
        parts = []
        for part in np.array_split(X, -(-len(X) // 100)):
            small = torch.from_numpy(part.astype(np.float32))[:, None]
            large = torch.nn.functional.interpolate(small, size=(side, side), mode="bilinear")
            with torch.no_grad():
                parts.append(network(large.expand(-1, 3, -1, -1)).numpy())
        return np.concatenate(parts)

    return seen(data.X), seen(data.X_test)


def heads(data: Images, X: Any, X_test: Any, seed: int) -> list[Found]:
    """Train heads on features."""
    begin = time.process_time()
    head = ConvexHead(n_gates=512, random_state=seed).fit(X, data.y)
    seconds = time.process_time() - begin
    scores = head.decision_function(X_test)
    gap = head.certificate_.relative_gap
    found = [(_row("MobileNet, convex head", scores, data, seconds, gap), head, scores)]
    inward, outward = ((x - head.mean_) / head.scale_ for x in (X, X_test))
    for name, models in RIVALS:
        model, seconds = tuned(models, inward, data.y, seed)
        chance = np.clip(model.predict_proba(outward)[:, 1], 1e-300, 1 - 1e-16)
        scores = np.log(chance / (1 - chance))
        found.append((_row(f"MobileNet, {name}", scores, data, seconds, None), model, scores))
    return found


def _row(name: str, scores: Floats, data: Images, seconds: float, gap: float | None) -> Row:
    return Row(name, float(((scores > 0) == (data.y_test == 1)).mean()), seconds, gap)


def notes(found: Detection) -> tuple[str, ...]:
    """Return what the numbers say of detection."""
    hits, missed, alarms = found.counts
    said = (
        f"{found.source}; {found.samples} patches to train on, {found.test_samples} to test on, "
        f"{found.classes[1]} or {found.classes[0]}.",
        f"'{found.shown}' finds {hits} of {hits + missed} and takes {alarms} of "
        f"{found.test_samples - hits - missed} others for {found.classes[1]}.",
    )
    if len(found.rows) < 3:
        return said
    return (
        *said,
        "Seconds of heads on the MobileNet are without its own forward pass, which all of them "
        "need. SGD trains as many filters of the same size on pixels, with a weight a cell; the "
        "convex program has whitened patches, fixed gates, and a linear filter for each gate and "
        "cell, so many more weights.",
    )


def draw_curves(axes: Any, found: Detection) -> None:
    """Draw the curves over rates of false alarms from one in the test patches."""
    least = 1.0
    for each, row, colour in zip(found.curves, found.rows, COLOURS, strict=False):
        first = each.false_alarms[each.false_alarms > 0].min()
        least = min(least, float(first))
        width, style = (2.0, "-") if row.gap is not None else (1.2, (0, (4, 2)))
        axes.step(
            np.maximum(each.false_alarms, 1e-9),
            each.found,
            where="post",
            color=colour,
            linewidth=width,
            linestyle=style,
            label=f"{row.name}, area {each.area:.4f}",
        )
    low = min(float(np.interp(least, each.false_alarms, each.found)) for each in found.curves)
    axes.set(xscale="log", xlim=(least, 1.0), ylim=(max(0.0, low - 0.1), 1.005))
    axes.set(xlabel="share of others taken for it", ylabel="share found")
    places = [10.0**k for k in range(-4, 1) if 10.0**k >= least]
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="lower right", fontsize=7.5)
    axes.set_title(f"Found, against false alarms: {found.test_samples} patches not seen")


def draw_patches(axes: Any, found: Detection) -> None:
    """Draw a strip of each: found, missed, false alarms."""
    n, h, w = found.patches.shape[1:]
    picture = mosaic(found.patches.reshape(-1, 1, h, w), columns=n)
    counted = found.counts
    few = [min(n, count) for count in counted]
    for row, count in enumerate(few):  # what pads a strip stays white
        picture[row * (h + 1) : (row + 1) * (h + 1) + 1, count * (w + 1) + 1 :] = 1.0
    axes.imshow(picture, interpolation="nearest", aspect="equal")
    names = (f"{counted[0]} found", f"{counted[1]} missed", f"{counted[2]} false alarms")
    axes.set_yticks([row * (h + 1) + 1 + h / 2 for row in range(3)], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{found.shown}: the clearest of each", color=INK)
