"""Attention on frozen tokens: a convex head beside heads of pooled features and one by descent."""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import to_numpy
from cvxnn.display import AttentionDisplay
from cvxnn.experiments.attention_adam import adam_attention
from cvxnn.experiments.backbone import mobilenet
from cvxnn.experiments.figures import BLUE, GREY, INK, PALE, styled
from cvxnn.experiments.loaders import cifar10, data_folder, digits
from cvxnn.experiments.result import Result, Table, record
from cvxnn.experiments.tuned import RIVALS, WIDTH, torch_is_ready, tuned
from cvxnn.heads import ConvexHead

NAME = "attention-transfer"
_SHOWN = 10
_SIDE = 3
"""Of a patch of a digit."""


class Tokens(NamedTuple):
    """Tokens (n, s, d) of images, on a grid over them, and what stands beside them."""

    X: NDArray[Any]
    y: NDArray[np.int64]
    X_test: NDArray[Any]
    y_test: NDArray[np.int64]
    images: NDArray[np.float64]
    """Those of `X_test`, from 0 to 1."""
    classes: tuple[str, ...]
    grid: tuple[int, int]
    projection: int | None
    source: str


class Row(NamedTuple):
    """A head and what it does."""

    name: str
    accuracy: float
    """On samples not seen."""
    seconds: float
    """Of CPU, the choice of strength or step size included."""
    parameters: int
    gap: float | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    samples: int
    test_samples: int
    tokens: tuple[int, int]
    """How many, and how wide."""
    alpha: float
    rows: tuple[Row, ...]
    strengths: NDArray[np.float64]
    """|W1| |W2| of every convex head, the strongest first."""
    images: NDArray[np.float64]
    maps: NDArray[np.float64]
    titles: tuple[str, ...]


def run(full: bool, seed: int, out: Any) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes all samples there are, instead of 200.
    """
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"Heads on {findings.tokens[0]} frozen tokens an image",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def load(full: bool, seed: int) -> Tokens:
    """Return the feature maps of images by a MobileNet; patches of digits where there is none."""
    network, photographs = mobilenet(data_folder(), maps=True), cifar10(data_folder())
    if network is None or photographs is None:
        return _patches(full, seed)
    train, test = (None, None) if full else (200, 400)
    X, X_test = (
        _maps(network, pixels[:count])
        for pixels, count in ((photographs.X, train), (photographs.X_test, test))
    )
    return Tokens(
        X,
        photographs.y[:train],
        X_test,
        photographs.y_test[:test],
        photographs.X_test[:test] / 255.0,
        photographs.classes,
        (5, 5),
        64 if full else 24,
        f"Feature maps of a MobileNet trained on ImageNet, 5 x 5 tokens of width 512; "
        f"{photographs.source}",
    )


def _maps(network: Any, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return tokens (n, 25, 512) of images (n, 32, 32, 3)."""
    import torch

    parts = []
    with torch.no_grad():
        for start in range(0, len(pixels), 50):
            some = torch.from_numpy(pixels[start : start + 50]).permute(0, 3, 1, 2).float()
            wide = torch.nn.functional.interpolate(some, size=160, mode="bicubic")
            parts.append(network(wide.clamp(0, 255)).flatten(2).transpose(1, 2).numpy())
    return np.concatenate(parts)


def _patches(full: bool, seed: int) -> Tokens:
    """Return the 36 patches of 3 x 3 pixels of every digit, with their places beside them."""
    found = digits()
    chosen = np.random.default_rng(seed).permutation(len(found.X))[: None if full else 200]

    def tokens(pixels: NDArray[Any]) -> NDArray[np.float64]:
        windows = np.lib.stride_tricks.sliding_window_view(
            pixels / 255.0, (_SIDE, _SIDE), axis=(1, 2)
        )
        n, h, w = windows.shape[:3]
        place = np.stack(np.meshgrid(*(np.linspace(-1, 1, k) for k in (h, w)), indexing="ij"), -1)
        beside = np.broadcast_to(place.reshape(1, h * w, 2), (n, h * w, 2))
        return np.concatenate([windows.reshape(n, h * w, _SIDE**2), beside], axis=2)

    side = found.X.shape[1] - _SIDE + 1
    return Tokens(
        tokens(found.X[chosen]),
        found.y[chosen],
        tokens(found.X_test),
        found.y_test,
        found.X_test / 255.0,
        found.classes,
        (side, side),
        None,
        "A pretrained network and CIFAR-10 were not found (set CVXNN_DATA to the folder that holds "
        "mobilenet_v1_050_160.npz and cifar10*.npz): patches of scikit-learn's 8 x 8 digits, with "
        "their places, stand in for its tokens",
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Train every head on the same samples."""
    data = load(full, seed)
    words: dict[str, Any] = {"projection": data.projection, "random_state": seed, "tol": 1e-2}
    begin = time.process_time()
    head = ConvexHead("linear_attention", **words).fit(data.X, data.y)
    seconds = time.process_time() - begin
    rows = [_row("convex attention", head, data, seconds)]
    begin = time.process_time()
    gated = ConvexHead("gated_attention", alpha=head.alpha_, n_gates=4 if full else 2, **words)
    gated.fit(data.X, data.y)
    rows.append(_row("convex gated attention", gated, data, time.process_time() - begin))
    scaled = [head._scaler(x) for x in (data.X, data.X_test)]
    if torch_is_ready():
        m = head.network_.n_neurons
        by_descent: dict[str, Any] = {"seconds": seconds, "decay": head.alpha_, "seed": seed}
        scores = adam_attention(scaled[0], data.y, m, **by_descent)
        right = float((scores(scaled[1]).argmax(axis=1) == data.y_test).mean())
        row = Row(f"attention by Adam, {m} heads", right, seconds, rows[0].parameters, None)
        rows.append(row)
    pooled = [(x.mean(axis=1) - head.mean_) / head.scale_ for x in (data.X, data.X_test)]
    d, c = pooled[0].shape[1], len(np.unique(data.y))
    for (name, models), size in zip(
        RIVALS, ((d + 1) * c, (d + 1) * WIDTH + (WIDTH + 1) * c), strict=True
    ):
        model, took = tuned(models, pooled[0], data.y, seed)
        accuracy = float(model.score(pooled[1], data.y_test))
        rows.append(Row(f"{name}, mean token", accuracy, took, size, None))
    chosen = [int(np.flatnonzero(data.y_test == k)[seed % 2]) for k in range(c)][:_SHOWN]
    told = head.predict(data.X_test[chosen])
    names = [
        data.classes[k] if k == true else f"{data.classes[k]}, not {data.classes[true].split()[-1]}"
        for k, true in zip(told, data.y_test[chosen], strict=True)
    ]
    shown = AttentionDisplay.from_estimator(
        head, data.X_test[chosen], data.images[chosen], grid=data.grid, titles=names
    )
    network = head.network_
    outward = np.linalg.norm(to_numpy(head.classifier_.network_.weights_out), axis=(1, 2))
    strengths = np.sort(head.classifier_.network_.lengths * outward)[::-1]
    return Findings(
        source=data.source,
        samples=len(data.X),
        test_samples=len(data.X_test),
        tokens=(network.tokens.shape[0], data.X.shape[2]),
        alpha=float(head.alpha_),
        rows=tuple(rows),
        strengths=strengths,
        images=shown.images,
        maps=shown.maps,
        titles=tuple(shown.titles),
    )


def _row(name: str, head: Any, data: Tokens, seconds: float) -> Row:
    inner, basis = head.classifier_.network_, head.basis_
    size = sum(each.size for each in (inner.weights_in, inner.weights_out, inner.intercept))
    size += 0 if inner.gates is None else len(np.unique(inner.gates, axis=0)) * inner.gates[0].size
    size += basis.size + basis.shape[1]
    accuracy, gap = head.score(data.X_test, data.y_test), head.certificate_.relative_gap
    heads = f"{name}, {inner.n_neurons} heads"
    return Row(heads, float(accuracy), seconds, int(size), float(gap))


def table(findings: Findings) -> Table:
    """Return accuracies, seconds, sizes and proofs."""
    return Table(
        ("head", "test accuracy", "CPU seconds", "parameters", "relative gap"),
        tuple(
            (
                row.name,
                f"{row.accuracy:.3f}",
                f"{row.seconds:.1f}",
                f"{row.parameters:,}",
                "not known" if row.gap is None else f"{row.gap:.0e}",
            )
            for row in findings.rows
        ),
    )


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    return (
        findings.source + ".",
        f"{findings.samples} samples to train on, {findings.test_samples} to test on; strengths "
        "and step sizes are chosen on a fifth of the former, and their seconds count.",
        "The gap of convex attention is to all networks of this kind with any number of heads; "
        "that of gated attention to all heads on its gates, at the strength found for the other.",
        "Attention by Adam has the same heads, the same penalty and the same seconds of CPU.",
        "The maps show what every token adds to the score of the class that is told, compared with "
        "the mean of all classes: scores of linear attention are sums over tokens, so that these "
        "are no approximation.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: accuracy and size of the heads above, what tokens say below."""
    import matplotlib.pyplot as plt

    count = len(findings.images)
    figure = plt.figure(figsize=(12.0, 5.6))
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.75, 1.0))
    upper, lower = parts
    axes = upper.subplots(1, 3, width_ratios=(1.5, 1.0, 1.0))
    rows = findings.rows[::-1]
    colours = [BLUE if row.gap is not None else GREY for row in rows]
    names = [row.name for row in rows]
    axes[0].barh(names, [row.accuracy for row in rows], color=colours, height=0.6)
    for k, row in enumerate(rows):
        axes[0].text(row.accuracy, k, f" {row.accuracy:.3f}", va="center", color=INK)
    axes[0].set(xlim=(0, 1.12), xlabel="test accuracy", xticks=(0, 0.25, 0.5, 0.75, 1))
    axes[0].set_title(f"Heads on {findings.tokens[0]} frozen tokens of width {findings.tokens[1]}")
    for row in rows:  # ours last, on top
        colour = BLUE if row.gap is not None else GREY
        axes[1].plot(row.parameters, row.seconds, "o", color=colour, markersize=6)
        left = "Adam" in row.name  # its size and seconds are those of another
        low = left or "SGD" in row.name
        axes[1].annotate(
            row.name.split(",")[0],
            (row.parameters, row.seconds),
            (-6 if left else 6, -9 if low else 4),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=7,
            color=colour,
        )
    axes[1].set(xscale="log", yscale="log", xlabel="parameters", ylabel="CPU seconds")
    axes[1].margins(x=0.6, y=0.2)
    axes[1].set_title("What they cost")
    places = np.arange(1, len(findings.strengths) + 1)
    axes[2].bar(places, findings.strengths, color=BLUE, width=0.7)
    axes[2].set(xlabel="head", ylabel="$|W_1| \\, |W_2|$", xticks=places)
    axes[2].set_title("Few heads carry it")
    axes[2].set_axisbelow(True)
    axes[2].grid(axis="y", color=PALE)
    shown = lower.subplots(1, count)
    AttentionDisplay(findings.images, findings.maps, findings.titles).plot(shown)
    for each in shown:
        each.title.set_fontsize(8)
    lower.suptitle(
        "What every token adds to the class that is told: red for it, blue against it",
        x=0.012,
        ha="left",
        fontsize=10,
    )
    return figure
