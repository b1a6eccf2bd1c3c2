"""Images in the forms of their public sources."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cvxnn.experiments import loaders


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes."""
    return (
        b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    )


def write(folder: Path, *, packed: bool) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    arrays = [
        rng.integers(0, 256 if len(shape) == 3 else 10, shape, dtype=np.uint8)
        for shape in ((6, 28, 28), (6,), (3, 28, 28), (3,))
    ]
    for name, array in zip(loaders.IDX_FILES, arrays, strict=True):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return tuple(arrays)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("load", "place"),
    [
        (loaders.mnist, "MNIST/raw"),
        (loaders.mnist, "mnist"),
        (loaders.fashion_mnist, "FashionMNIST/raw"),
        (loaders.fashion_mnist, "fashion-mnist"),
    ],
)
def test_idx_files_are_read(
    tmp_path: Path,
    load: Callable[[Path | None], loaders.Images | None],
    place: str,
    packed: bool,
) -> None:
    arrays = write(tmp_path / place, packed=packed)
    images = load(tmp_path)
    assert images is not None
    for found, given in zip(images[:4], arrays, strict=True):
        np.testing.assert_array_equal(found, given)
    assert len(images.classes) == 10
    assert place in images.source


def test_archives_are_read_whatever_the_case_of_their_names(tmp_path: Path) -> None:
    X, y = np.zeros((4, 28, 28), np.uint8), np.arange(4, dtype=np.uint8)
    np.savez(tmp_path / "fashion_mnist.npz", x_train=X, y_train=y, x_test=X[:2], y_test=y[:2])
    images = loaders.fashion_mnist(tmp_path)
    assert images is not None
    assert images.X.shape == (4, 28, 28)
    assert images.y_test.tolist() == [0, 1]
    assert loaders.mnist(tmp_path) is None
    assert loaders.mnist(None) is None


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images"
    whole = idx(np.ones((2, 5, 5), np.uint8))
    path.write_bytes(whole[:-7])
    with pytest.raises(ValueError, match=r"holds 43 bytes and its header says \(2, 5, 5\)"):
        loaders.read_idx(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="is no IDX file of bytes"):
        loaders.read_idx(path)
    packed = tmp_path / "images.gz"
    packed.write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(ValueError, match="cannot be read to its end"):
        loaders.read_idx(packed)
