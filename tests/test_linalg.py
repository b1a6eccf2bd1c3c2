"""Cholesky's factor by quarters is that of the whole matrix; leading vectors are the SVD's."""

from typing import Any

import numpy as np
import pytest
from scipy.linalg import LinAlgError, cho_solve

from cvxnn import linalg


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 7, 8, 15, 40])
def test_quarters_make_the_whole_factor(n: int, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linalg, "_WHOLE", 7)
    rng = np.random.default_rng(n)
    root = rng.standard_normal((n, n + 3)).astype(kind)
    full = root @ root.T + np.eye(n, dtype=kind)
    given = np.asfortranarray(np.tril(full))
    factor = linalg.cholesky(given)
    assert factor[0] is given
    precision = 50 * n * np.finfo(kind).eps
    np.testing.assert_allclose(
        np.tril(factor[0]), np.linalg.cholesky(full), rtol=0, atol=precision * np.abs(full).max()
    )
    right = rng.standard_normal((n, 2)).astype(kind)
    found = cho_solve(factor, right)
    assert found.dtype == kind
    residual = np.abs(full @ found - right).max()
    assert residual <= precision * np.linalg.cond(full) * np.abs(right).max()


@pytest.mark.parametrize("place", [0, 9, 19])
def test_what_is_not_definite_is_told(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linalg, "_WHOLE", 7)
    matrix = np.eye(20, order="F")
    matrix[place, place] = -1.0
    with pytest.raises(LinAlgError):
        linalg.cholesky(matrix)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (7, 1), (1, 7)])
def test_leading_vectors_are_those_of_the_svd(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    left, _, right = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    values = 0.3 ** np.arange(min(shape))
    matrix = (left * values) @ right
    found = linalg.leading_vectors(matrix, 3)
    assert found.shape == (shape[0], min(3, *shape))
    np.testing.assert_allclose(np.abs(found.T @ left[:, :3]), np.eye(found.shape[1]), atol=1e-9)
    # 1, 0.3 and 0.09 are above a twentieth
    assert linalg.leading_vectors(matrix, 20, 0.05).shape == (shape[0], min(3, *shape))


def test_all_vectors_where_all_are_asked_for() -> None:
    matrix = np.random.default_rng(0).standard_normal((6, 4))
    found = linalg.leading_vectors(matrix, 9)
    np.testing.assert_allclose(found @ (found.T @ matrix), matrix, atol=1e-12)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-12)
