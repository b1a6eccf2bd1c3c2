"""Faces from a Wasserstein generative network whose critic is solved for, and how good they are."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from cvxnn.errors import CertificateWarning
from cvxnn.experiments.backbone import mobilenet
from cvxnn.experiments.figures import BLUE, GREY, INK, ORANGE, styled
from cvxnn.experiments.loaders import data_folder, digits, faces
from cvxnn.experiments.result import Result, Table, record
from cvxnn.generation import quality
from cvxnn.generation.critics import Moments, moments_of
from cvxnn.generation.gan import ConvexGAN
from cvxnn.generation.progressive import ProgressiveGAN

Floats = NDArray[np.float64]

NAME = "gan-faces"
SHARE = 0.95
"""Of the variance, which is generated."""
SEEN = 10
"""Components, brought to unit variance, on which figures are measured."""
MADE = 4000
"""Samples of every generator, so that its own chance is small beside that of the others."""
QUICK = 1500
"""Images to train on at small size."""
SHOWN, CLUSTERS = 12, 50


class Row(NamedTuple):
    """One way to make images."""

    name: str
    seconds: float
    """CPU seconds of training."""
    gap: float
    """Relative, of the first stage's objective; NaN where nothing is proved."""
    directions: int
    pixels: float
    """Sliced Wasserstein distance of pixels, in thousandths of the range from black to white."""
    sliced: float
    """The same of the components, in thousandths of a standard deviation."""
    frechet: float
    """Of the components."""
    precision: float
    recall: float
    backbone: float
    """Frechet distance of the features of a network; NaN where there is none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    samples: int
    test_samples: int
    side: int
    lam: float
    spectrum: Floats
    """Eigenvalues of the covariance, falling."""
    made: Floats
    """Those of what is generated."""
    critic: float
    """The spectral norm of the difference."""
    ranks: tuple[int, int]
    """Of pictures of the published chain, and of one with latents at every stage."""
    latents: tuple[int, ...]
    """Of the stages."""
    rows: tuple[Row, ...]
    pictures: dict[str, Floats]
    """(SHOWN, h, w) by name."""


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes all faces."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"Images of {findings.side} x {findings.side} pixels by a critic in closed form",
        table=table(findings),
        notes=notes(findings),
        findings={key: x for key, x in vars(findings).items() if key != "pictures"},
        figure=draw(findings),
        out=out,
    )


def load(full: bool, seed: int) -> tuple[Floats, Floats, str]:
    """Return images from 0 to 1, to train on and to compare with, and where they are from."""
    rng, found = np.random.default_rng(seed), faces(data_folder())
    if found is None:
        data = digits()
        source = "no faces were found (set CVXNN_DATA): scikit-learn's digits stand in for them"
        both, size = np.concatenate([data.X, data.X_test]), len(data.X_test) * 3
    else:
        both = np.concatenate([found.X[found.y == 1], found.X_test[found.y_test == 1]])
        source, size = (
            "faces of the web, caltech_faces36.npz",
            len(both) * 3 // 4 if full else QUICK,
        )
    order = rng.permutation(len(both))
    images = both[order] / 255.0
    return images[:size], images[size : size + max(size // 3, 500)], source


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Train every generator, and judge it beside the baselines on images it has not seen."""
    images, others, source = load(full, seed)
    moments = moments_of(images.reshape(len(images), -1))
    words: dict[str, Any] = {"random_state": seed, "n_components": SHARE}
    networks: dict[str, Any] = {"polynomial": {"alpha": 1.0}, "gated_ridge": {"alpha": 0.1}}
    models: dict[str, Any] = {
        "linear": ConvexGAN(**words),
        "linear, in stages": ProgressiveGAN(**words),
        "polynomial": ConvexGAN(generator="polynomial", **words, **networks["polynomial"]),
        "gated": ConvexGAN(generator="gated_ridge", **words, **networks["gated_ridge"]),
        "gated, in stages": ProgressiveGAN(
            generator="gated_ridge", **words, **networks["gated_ridge"]
        ),
    }
    judge = _judge(images, others, moments, full)
    rows = [
        judge(
            "other real images", 0.0, float("nan"), moments.above(0.0), lambda count, seed: images
        )
    ]
    for name, model in models.items():
        start = time.process_time()
        model.fit(images)
        seconds = time.process_time() - start
        gap = model.certificate_.relative_gap
        rows.append(judge(name, seconds, gap, model.n_components_, partial(_sampled, model)))
    rows += [
        judge(name, 0.0, float("nan"), directions, make)
        for name, directions, make in _baselines(images, moments, seed)
    ]
    line = models["linear"]
    weights = line.generator_.weights @ line.generator_.components
    covariance = (moments.components.T * moments.eigenvalues) @ moments.components
    made = weights.T @ weights
    return Findings(
        source=source,
        samples=len(images),
        test_samples=len(others),
        side=images.shape[1],
        lam=line.lam_,
        spectrum=moments.eigenvalues,
        made=np.linalg.eigvalsh(made)[::-1],
        critic=float(np.linalg.norm(covariance - made, 2)),
        ranks=_ranks(images, seed),
        latents=tuple(int(count) for count in models["linear, in stages"].latents_),
        rows=tuple(rows),
        pictures=_pictures(models, images, seed),
    )


Maker = Callable[[int, int], Floats]
"""Samples of a number and a seed."""


def _sampled(model: Any, count: int, seed: int) -> Floats:
    return np.asarray(model.sample(count, random_state=seed))


def _baselines(images: Floats, moments: Moments, seed: int) -> list[tuple[str, int, Maker]]:
    """Return a Gaussian of the whole covariance, and clusters with a spread of their own."""
    rows, shape = images.reshape(len(images), -1), images.shape[1:]
    roots = np.sqrt(moments.eigenvalues)[:, None] * moments.components

    def gaussian(count: int, seed: int) -> Floats:
        noise = np.random.default_rng(seed).standard_normal((count, len(roots)))
        return np.asarray((moments.mean + noise @ roots).reshape(-1, *shape))

    means = KMeans(CLUSTERS, n_init=1, random_state=seed).fit(rows)
    apart = rows - means.cluster_centers_[means.labels_]

    def clusters(count: int, seed: int) -> Floats:
        rng = np.random.default_rng(seed)
        labels = means.labels_[rng.integers(len(rows), size=count)]
        mix = rng.standard_normal((count, len(rows))) / len(rows) ** 0.5
        return np.asarray((means.cluster_centers_[labels] + mix @ apart).reshape(-1, *shape))

    return [
        ("Gaussian", moments.above(0.0), gaussian),
        (f"{CLUSTERS} clusters", moments.above(0.0), clusters),
    ]


def _judge(images: Floats, others: Floats, moments: Moments, full: bool) -> Callable[..., Row]:
    """Return what makes a row of a way to make images."""
    k = min(SEEN, moments.above(1e-6 * float(moments.eigenvalues[0])))
    into = moments.components[:k].T / np.sqrt(moments.eigenvalues[:k])
    deep = _features(data_folder()) if full else None
    told = None if deep is None else deep(others)

    def components(samples: Floats) -> Floats:
        return np.asarray((samples.reshape(len(samples), -1) - moments.mean) @ into)

    seen = components(others)

    def row(name: str, seconds: float, gap: float, directions: int, make: Maker) -> Row:
        many = make(MADE, 1000)
        some = many[: len(others)]
        return Row(
            name,
            seconds,
            gap,
            directions,
            1e3 * quality.sliced_wasserstein(others, many, n_directions=200),
            1e3 * quality.sliced_wasserstein(seen, components(many)),
            quality.frechet_distance(seen, components(many)),
            *quality.precision_recall(seen, components(some)),
            float("nan") if deep is None else quality.frechet_distance(told, deep(many)),
        )

    return row


def _features(folder: Path | None) -> Callable[[Floats], Floats] | None:
    """Return the pooled features of a MobileNet as a function of grey images, or None."""
    network = mobilenet(folder)
    if network is None:
        return None
    import torch

    def features(images: Floats) -> Floats:
        parts = []
        with torch.inference_mode():
            for some in np.array_split(np.clip(images, 0, 1), -(-len(images) // 64)):
                pixels = torch.from_numpy(255 * some.astype(np.float32))[:, None]
                large = torch.nn.functional.interpolate(pixels, (160, 160), mode="bilinear")
                parts.append(network(large.expand(-1, 3, -1, -1)).numpy())
        return np.concatenate(parts).astype(np.float64)

    return features


def _ranks(images: Floats, seed: int) -> tuple[int, int]:
    """Return the rank of pictures of the published chain, 48 latents or a quarter, and of ours."""
    wide = min(100, ProgressiveGAN(n_components=SHARE).fit(images).n_components_)
    found = []
    for fresh in (False, True):
        model = ProgressiveGAN(
            n_components=wide, latent=min(48, wide // 2), fresh=fresh, random_state=seed
        )
        with warnings.catch_warnings(action="ignore", category=CertificateWarning):
            drawn = model.fit(images).sample(2 * wide, random_state=seed)
        found.append(int(np.linalg.matrix_rank(drawn.reshape(2 * wide, -1), rtol=1e-9)))
    return found[0], found[1]


def _pictures(models: dict[str, Any], images: Floats, seed: int) -> dict[str, Floats]:
    """Return what is shown: samples, stages, a way between two, and nearest training images."""
    found = {"real": images[:SHOWN]}
    for name, model in models.items():
        found[name] = model.sample(SHOWN, random_state=seed + 7)
    staged, rng = models["gated, in stages"], np.random.default_rng(seed + 1)
    drawn = rng.standard_normal((SHOWN, int(staged.latents_.sum())))
    for number, pictures in enumerate(staged.stages(drawn)):
        times = images.shape[1] // pictures.shape[1]
        found[f"stage {number}"] = pictures.repeat(times, axis=1).repeat(times, axis=2)
    found["way"] = staged.interpolate(drawn[0], drawn[1], SHOWN)
    found["nearest"] = images[quality.nearest_samples(found["gated, in stages"], images)[1][:, 0]]
    return found


def table(findings: Findings) -> Table:
    """Return the figures as text."""
    deep = not np.isnan(findings.rows[0].backbone)
    columns = (
        "", "CPU s", "gap", "directions", "SW pixels", "SW components", "Frechet", "precision",
        "recall", *(("Frechet, MobileNet",) if deep else ()),
    )  # fmt: skip
    rows = [
        (
            row.name,
            f"{row.seconds:.1f}" if row.seconds else "",
            "" if np.isnan(row.gap) else f"{row.gap:.0e}",
            str(row.directions),
            f"{row.pixels:.1f}",
            f"{row.sliced:.1f}",
            f"{row.frechet:.2f}",
            f"{row.precision:.3f}",
            f"{row.recall:.3f}",
            *((f"{row.backbone:.1f}",) if deep else ()),
        )
        for row in findings.rows
    ]
    return Table(columns, tuple(rows))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    rows = {row.name: row for row in findings.rows}
    line, curve, whole = rows["linear"], rows["polynomial"], rows["Gaussian"]
    first, last = findings.ranks
    gated, real, clusters = (
        rows[name] for name in ("gated", "other real images", f"{CLUSTERS} clusters")
    )
    return (
        f"{findings.source}. {findings.samples} images to train on, {findings.test_samples} others "
        f"to compare with, and {MADE} that are made. The distances of real images are what is left "
        "when nothing is wrong.",
        f"The critic sees {findings.critic:.6g} where it may see lam = {findings.lam:.6g}: the "
        "spectrum condition |C - G'G|_2 = lam holds. Every generator has the least mean of |G|^2 "
        "over all that do, and its gap is rounding.",
        "One linear stage is probabilistic PCA, and so are linear stages together: a quadratic "
        "critic sees second moments alone. Polynomials and gated networks have the same covariance "
        "and learn the shape of the samples from pairs that optimal transport makes; with as many "
        "directions as here they learn a part of it.",
        f"Sliced Wasserstein distance of the components: {line.sliced:.1f} linear, "
        f"{curve.sliced:.1f} polynomial, {gated.sliced:.1f} gated, {whole.sliced:.1f} a Gaussian "
        f"with the whole covariance, {clusters.sliced:.1f} clusters, {real.sliced:.1f} real "
        "images. The optimum takes lam from every variance, which the Gaussian and the clusters do "
        "not.",
        f"Precision, the share of pictures near real ones: {line.precision:.2f} linear, "
        f"{curve.precision:.2f} polynomial, {gated.precision:.2f} gated, {whole.precision:.2f} the "
        f"Gaussian, {clusters.precision:.2f} clusters, {real.precision:.2f} real images. A critic "
        "that sees second moments cannot ask for more.",
        f"A chain whose stages have no latents of their own makes pictures of rank {first - 1} "
        f"about their mean; with them the rank is {last - 1}. Nothing was done to the pictures "
        "afterwards: no matching of histograms.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: rows of pictures, and the spectrum beside them."""
    import matplotlib.pyplot as plt

    shown = findings.pictures
    stages = sorted(name for name in shown if name.startswith("stage "))
    labels = {
        "real": "real images",
        "linear": "linear",
        "polynomial": "polynomial",
        "gated": "gated network",
        **{name: f"stage {number}" for number, name in enumerate(stages, 1)},
        "gated, in stages": "new pictures",
        "nearest": "nearest real ones",
        "way": "between two",
    }
    figure = plt.figure(figsize=(12.4, 0.64 * len(labels)), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(2.05, 1))
    left, right = parts
    left.get_layout_engine().set(h_pad=0.035, hspace=0.0)
    axes = left.subplots(len(labels), 1)
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        axis.imshow(strip(shown[name]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_axis_off()
        colour = INK if name in ("real", "nearest") else BLUE
        axis.text(
            -0.01, 0.5, label, transform=axis.transAxes, ha="right", va="center", color=colour
        )
    upper, lower = right.subplots(2, 1)
    _draw_spectrum(upper, findings)
    _draw_figures(lower, findings)
    return figure


def strip(pictures: Floats) -> Floats:
    """Return pictures (m, h, w) in a row, white lines between them."""
    wide = np.pad(np.clip(pictures, 0, 1), ((0, 0), (0, 0), (0, 1)), constant_values=1.0)
    return np.concatenate(list(wide), axis=1)[:, :-1]


def _draw_spectrum(axis: Any, findings: Findings) -> None:
    count = int((findings.made > 1e-9 * findings.made[0]).sum())
    place = np.arange(1, len(findings.spectrum) + 1)
    seen = findings.spectrum > 1e-6 * findings.spectrum[0]
    axis.loglog(place[seen], findings.spectrum[seen], color=INK, label="images")
    axis.loglog(place[:count], findings.made[:count], color=BLUE, label="generated")
    axis.axhline(findings.lam, color=ORANGE, linewidth=0.9, label="lam")
    axis.set(xlabel="direction", ylabel="variance")
    axis.legend(frameon=False)
    axis.set_title("Every variance above lam, less lam")


def _draw_figures(axis: Any, findings: Findings) -> None:
    rows = findings.rows[::-1]
    named = ("linear", "polynomial", "gated", "gated, in stages", "linear, in stages")
    colours = [BLUE if row.name in named else GREY for row in rows]
    place = np.arange(len(rows))
    axis.barh(place, [row.sliced for row in rows], color=colours, height=0.6)
    for height, row in zip(place, rows, strict=True):
        axis.text(row.sliced, height, f" {row.sliced:.0f}", va="center", color=INK, fontsize=8)
    axis.set_yticks(place, [row.name for row in rows])
    axis.tick_params(axis="y", length=0)
    axis.set(xlabel="thousandths of a standard deviation")
    axis.set_title("Sliced Wasserstein distance\nof the leading components")
