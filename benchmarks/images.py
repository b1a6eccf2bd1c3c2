"""Images in stages: Fashion-MNIST beside a CNN trained by Adam in the same time, and CIFAR-10.

    OMP_NUM_THREADS=2 CVXNN_DATA=folder python benchmarks/images.py fashion
    OMP_NUM_THREADS=2 CVXNN_DATA=folder python benchmarks/images.py cifar

fashion: one stage of 64 gates, 5 x 5, two by two cells, and a CNN of the same shape. Adam has as
long as the whole fit with its choice of alpha for every step size, in seconds of the processors, so
that other work on the machine favours nobody; the step that is best on the test set counts: an
oracle in its favour. cifar: two stages of mirrored networks. Memory is the process's largest.
"""

import argparse
import io
import resource
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cvxnn import LayerwiseClassifier, Stage
from cvxnn.experiments.loaders import Images, cifar10, data_folder, fashion_mnist

STEPS = (1e-3, 3e-3, 1e-2, 2e-2)
BATCH = 128


def main() -> None:
    """Read the set, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", choices=("fashion", "cifar"))
    parser.add_argument("--images", type=int, help="fewer to train on")
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args()
    folder = data_folder()
    images = fashion_mnist(folder) if given.data == "fashion" else cifar(folder)
    if images is None:
        raise SystemExit(f"{given.data} was not found; CVXNN_DATA names the folder that holds it")
    images = images._replace(X=images.X[: given.images], y=images.y[: given.images])
    print(f"{images.source}: {len(images.X)} images to train on, {len(images.X_test)} to test on")
    if given.data == "fashion":
        seconds = ours(images, [Stage(kernel=5, n_gates=64)], mirror=False)
        if not given.no_peer:
            adam(images, seconds)
    else:
        stages = [
            Stage(kernel=6, n_gates=128, directions=40),
            Stage(kernel=3, n_gates=40, directions=64),
        ]
        ours(images, stages, mirror=True)


def ours(images: Images, stages: list[Stage], *, mirror: bool) -> float:
    """Train the stages, print every one, return the processors' seconds."""
    begin, cpu = time.perf_counter(), time.process_time()

    def tell(trained: list[Any]) -> None:
        last = trained[-1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"stage {len(trained)}: {time.perf_counter() - begin:.0f} s, "
            f"{time.process_time() - cpu:.0f} of processors, {peak:.2f} GiB, "
            f"alpha {last.alpha:.2g}, relative gap {last.certificate.relative_gap:.0e}, "
            f"training {last.accuracy:.4f}, validation {last.validated:.4f}",
            flush=True,
        )

    model = LayerwiseClassifier(stages, mirror=mirror, random_state=0, callbacks=[tell])
    model.fit(images.X, images.y)
    seconds = time.process_time() - cpu
    for count in range(1, len(stages) + 1):
        share = (model.predict(images.X_test, stages=count) == images.y_test).mean()
        print(f"after {count} stages: test accuracy {share:.4f}", flush=True)
    return seconds


def adam(images: Images, seconds: float) -> None:
    """Train a CNN of the same shape as long for every step size, print each."""
    import torch
    from torch import nn

    kind = torch.float32
    X, X_test = (torch.tensor(x[:, None] / 255.0, dtype=kind) for x in (images.X, images.X_test))
    mean, deviation = X.mean(), X.std()
    X, X_test = (X - mean) / deviation, (X_test - mean) / deviation
    y = torch.tensor(images.y)
    for step in STEPS:
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 64, 5), nn.ReLU(), nn.AvgPool2d(12), nn.Flatten(), nn.Linear(256, 10)
        )
        rule, loss = torch.optim.Adam(net.parameters(), step), nn.CrossEntropyLoss()
        begin, epochs = time.process_time(), 0.0
        while time.process_time() - begin < seconds:
            for some in torch.randperm(len(X)).split(BATCH):
                rule.zero_grad()
                loss(net(X[some]), y[some]).backward()
                rule.step()
                epochs += len(some) / len(X)
                if time.process_time() - begin >= seconds:
                    break
        with torch.no_grad():
            found = torch.cat([net(some).argmax(dim=1) for some in X_test.split(1000)])
        share = float((found.numpy() == images.y_test).mean())
        print(f"Adam {step:g}: {epochs:.1f} epochs, test accuracy {share:.4f}", flush=True)


def cifar(folder: Path | None) -> Images | None:
    """Return CIFAR-10 channels first: the source's, else as JPEG files in an archive."""
    found = cifar10(folder) if folder and (folder / "cifar-10-batches-bin").is_dir() else None
    if found is None and folder and (folder / "cifar10_jpeg.npz").is_file():
        with np.load(folder / "cifar10_jpeg.npz", allow_pickle=False) as archive:
            parts = [
                decoded(archive[f"jpeg_{part}"], archive[f"offset_{part}"])
                for part in ("train", "test")
            ]
            labels = [archive[f"y_{part}"].astype(np.int64) for part in ("train", "test")]
            names = tuple(archive["class_names"].tolist())
        source = "CIFAR-10 from JPEG files, not the exact pixels, cifar10_jpeg.npz"
        return Images(parts[0], labels[0], parts[1], labels[1], names, source)
    if found is None:
        return None
    X, X_test = (np.ascontiguousarray(np.moveaxis(x, -1, 1)) for x in (found.X, found.X_test))
    return found._replace(X=X, X_test=X_test)


def decoded(raw: Any, ends: Any) -> Any:
    """Return the images (n, 3, 32, 32) of JPEG files one after the other; needs Pillow."""
    from PIL import Image

    files = (raw[a:b].tobytes() for a, b in pairwise(ends))
    rows = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    return np.ascontiguousarray(np.moveaxis(np.stack(rows), -1, 1))


if __name__ == "__main__":
    main()
