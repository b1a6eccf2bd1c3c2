"""Data, from the public source's own files under CVXNN_DATA, or bundled with scikit-learn."""

import gzip
import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Floats = NDArray[np.float64]

CIFAR_ROW = 1 + 3 * 32 * 32
"""Bytes of one image in the binary version of CIFAR-10: its label, then red, green and blue."""

CIFAR_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


FASHION_NAMES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip

IDX_FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip


class Images(NamedTuple):
    """Pixels (n, ...) from 0 to 255 and labels (n,), a part to train on and a part to test on."""

    X: NDArray[np.uint8]
    y: NDArray[np.int64]
    X_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]
    classes: tuple[str, ...]
    source: str
    """One sentence: where they come from, with a notice where they stand in for others."""


def data_folder() -> Path | None:
    """Return the folder that the environment variable CVXNN_DATA names, or None."""
    name = os.environ.get("CVXNN_DATA")
    return Path(name) if name else None


def cifar10(folder: Path | None) -> Images | None:
    """Return CIFAR-10 as found in `folder`, or None where it is not [Krizhevsky2009].

    Two forms are read: the source's binary version, `cifar-10-batches-bin/*_batch*.bin`, and NumPy
    archives `cifar10*.npz` with X_train (n, 32, 32, 3), y_train, X_test and y_test. The version
    for Python is a pickle, which may run code when it is read, and is left alone. ValueError for
    a file that is cut off.
    """
    if folder is None:
        return None
    batches = folder / "cifar-10-batches-bin"
    if batches.is_dir():
        train = read_batches(sorted(batches.glob("data_batch_*.bin")))
        test = read_batches([batches / "test_batch.bin"])
        return Images(*train, *test, CIFAR_NAMES, f"CIFAR-10, {batches.name}")
    for path in sorted(folder.glob("cifar10*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            names = ("X_train", "y_train", "X_test", "y_test")
            if all(name in archive for name in names):
                X, y, X_test, y_test = (archive[name] for name in names)
                labels = y.astype(np.int64), y_test.astype(np.int64)
                return Images(
                    X, labels[0], X_test, labels[1], CIFAR_NAMES, f"CIFAR-10, {path.name}"
                )
    return None


def read_batches(paths: list[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images (n, 32, 32, 3) and labels (n,) of binary CIFAR-10 files."""
    if not paths:
        raise ValueError("no data_batch_*.bin in cifar-10-batches-bin; unpack the archive whole")
    parts = []
    for path in paths:
        raw = np.fromfile(path, dtype=np.uint8)
        if raw.size == 0 or raw.size % CIFAR_ROW:
            raise ValueError(
                f"{path} has {raw.size} bytes, which is no multiple of {CIFAR_ROW}; fetch it again"
            )
        parts.append(raw.reshape(-1, CIFAR_ROW))
    rows = np.concatenate(parts)
    pixels = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), rows[:, 0].astype(np.int64)


def mnist(folder: Path | None) -> Images | None:
    """Return MNIST as found in `folder`, or None where it is not [LeCun1998].

    The source's own files are read from `MNIST/raw`, `mnist` or the folder itself, compressed or
    not, train-images-idx3-ubyte and its three companions; and `mnist.npz`, whose arrays are
    X_train (n, 28, 28), y_train, X_test and y_test, or the same with a small x. ValueError for a
    file that is cut off.
    """
    names = tuple(f"digit {k}" for k in range(10))
    return _idx_images(folder, ("MNIST/raw", "mnist", "."), "mnist.npz", names, "MNIST")


def fashion_mnist(folder: Path | None) -> Images | None:
    """Return Fashion-MNIST as found in `folder`, or None where it is not [XiaoRasulVollgraf2017].

    As `mnist`, in `FashionMNIST/raw`, `fashion-mnist` or `fashion_mnist.npz`.
    """
    places = ("FashionMNIST/raw", "fashion-mnist")
    return _idx_images(folder, places, "fashion_mnist.npz", FASHION_NAMES, "Fashion-MNIST")


def _idx_images(
    folder: Path | None, places: Sequence[str], archive: str, classes: tuple[str, ...], name: str
) -> Images | None:
    if folder is None:
        return None
    for place in places:
        found = [_either(folder / place / file) for file in IDX_FILES]
        if all(found):
            X, y, X_test, y_test = (read_idx(path) for path in found if path)
            arrays = X, y.astype(np.int64), X_test, y_test.astype(np.int64)
            return Images(*arrays, classes, f"{name}, {place}")
    if not (folder / archive).is_file():
        return None
    with np.load(folder / archive, allow_pickle=False) as opened:
        arrays_by_name = {key.lower(): opened[key] for key in opened}
    X, y, X_test, y_test = (
        arrays_by_name[key] for key in ("x_train", "y_train", "x_test", "y_test")
    )
    labels = y.astype(np.int64), y_test.astype(np.int64)
    return Images(X, labels[0], X_test, labels[1], classes, f"{name}, {archive}")


def _either(path: Path) -> Path | None:
    """Return the file or its compressed form, or None."""
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of an IDX file, compressed or not, in its shape; ValueError where cut off.

    The header is two zeros, the type (8 for bytes), the number of axes, and their sizes as
    big-endian integers of four bytes [LeCun1998].
    """
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            raw = file.read()
    except (EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read to its end, {error}; fetch it again") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is no IDX file of bytes: it begins with {raw[:4]!r}")
    axes = raw[3]
    shape = tuple(int(size) for size in np.frombuffer(raw[4 : 4 + 4 * axes], ">u4"))
    values = np.frombuffer(raw[4 + 4 * axes :], np.uint8)
    if len(shape) != axes or values.size != prod(shape):
        raise ValueError(
            f"{path} holds {values.size} bytes and its header says {shape}; fetch it again"
        )
    return values.reshape(shape)


def faces(folder: Path | None) -> Images | None:
    """Return patches (n, 36, 36), labelled 1 for a face and 0 for none, or None [Angelova2005].

    They are read from `caltech_faces36.npz` in `folder`, whose arrays are `faces` and `nonfaces`,
    (n, 36, 36) bytes; the last quarter of each, in the archive's order, is to test on.
    """
    if folder is None or not (folder / "caltech_faces36.npz").is_file():
        return None
    with np.load(folder / "caltech_faces36.npz", allow_pickle=False) as archive:
        both = archive["nonfaces"], archive["faces"]
    cuts = [len(x) * 3 // 4 for x in both]
    train, test = (
        np.concatenate([x[part] for x, part in zip(both, parts, strict=True)])
        for parts in ([slice(cut) for cut in cuts], [slice(cut, None) for cut in cuts])
    )
    labels = (
        np.repeat([0, 1], sizes)
        for sizes in (cuts, [len(x) - cut for x, cut in zip(both, cuts, strict=True)])
    )
    y, y_test = labels
    source = "faces of the web and patches without one, caltech_faces36.npz"
    return Images(train, y, test, y_test, ("no face", "a face"), source)


def uci(folder: Path | None) -> dict[str, tuple[Floats, NDArray[np.int64]]] | None:
    """Return the classification sets of the UCI collection by name, or None [Delgado2014].

    They are read from `uci_classification.npz` in `folder`, whose arrays are `<name>/X` (n, d)
    and `<name>/y` (n,), classes as integers.
    """
    if folder is None or not (folder / "uci_classification.npz").is_file():
        return None
    with np.load(folder / "uci_classification.npz", allow_pickle=False) as archive:
        names = sorted(name[:-2] for name in archive if name.endswith("/X"))
        return {
            name: (archive[f"{name}/X"].astype(np.float64), archive[f"{name}/y"].astype(np.int64))
            for name in names
        }


def digits() -> Images:
    """Return the 8 x 8 digits that come with scikit-learn, every fourth one kept for testing."""
    data = load_digits()
    pixels = (data.images * (255 / 16)).astype(np.uint8)
    labels = data.target.astype(np.int64)
    test = np.arange(len(labels)) % 4 == 3
    return Images(
        pixels[~test],
        labels[~test],
        pixels[test],
        labels[test],
        tuple(f"digit {k}" for k in range(10)),
        "CIFAR-10 was not found (set CVXNN_DATA to the folder that holds cifar-10-batches-bin): "
        "scikit-learn's 8 x 8 digits stand in for it",
    )


def two_classes(images: Images, first: int, second: int) -> tuple[Images, tuple[str, str]]:
    """Return the images of two classes, labelled -1 and 1, and the names of the classes."""
    train, test = (np.isin(y, (first, second)) for y in (images.y, images.y_test))
    pair = images._replace(
        X=images.X[train],
        y=np.where(images.y[train] == second, 1, -1),
        X_test=images.X_test[test],
        y_test=np.where(images.y_test[test] == second, 1, -1),
    )
    return pair, (images.classes[first], images.classes[second])


class Features(NamedTuple):
    """What a frozen network makes of images: features (n, d), float32, and labels (n,)."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    classes: tuple[str, ...]
    source: str
    """One sentence: where they come from, with a notice where they stand in for others."""


def mobilenet_features(folder: Path | None) -> Features | None:
    """Return the pooled features of CIFAR-10 images by a MobileNet [Howard2017], or None.

    They are read from `cifar10_mobilenet_features.npz` in `folder`: F_train (n, d) and F_test,
    bytes that `scale` multiplies, y_train and y_test.
    """
    if folder is None or not (folder / "cifar10_mobilenet_features.npz").is_file():
        return None
    with np.load(folder / "cifar10_mobilenet_features.npz", allow_pickle=False) as archive:
        scale = np.float32(archive["scale"])
        return Features(
            archive["F_train"] * scale,
            archive["y_train"].astype(np.int64),
            archive["F_test"] * scale,
            archive["y_test"].astype(np.int64),
            CIFAR_NAMES,
            "features of CIFAR-10 by a MobileNet trained on ImageNet, "
            "cifar10_mobilenet_features.npz",
        )
