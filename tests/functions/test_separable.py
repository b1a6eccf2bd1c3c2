"""A sum of penalties over pieces of a flat vector."""

import math

import numpy as np
import pytest
from tests.conftest import Backend

from cvxnn.functions import ColumnNorm, GroupNorm, Ridge, Separable, Unpenalised

PARTS = (GroupNorm(alpha=2.0), ColumnNorm(alpha=0.5), Ridge(alpha=3.0))
SHAPES = ((2, 3), (1, 2, 2), (3, 1))


def test_split_undoes_flattening(backend: Backend) -> None:
    pieces = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(SHAPES)]
    flat = np.concatenate([piece.ravel() for piece in pieces])
    for piece, ours in zip(
        pieces, Separable(PARTS, SHAPES).split(backend.asarray(flat)), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(ours), piece)


def test_every_piece_has_its_own_penalty() -> None:
    whole = Separable(PARTS, SHAPES)
    x = np.random.default_rng(3).standard_normal(13)
    pieces = list(zip(PARTS, whole.split(x), strict=True))
    assert whole.value(x) == pytest.approx(sum(part.value(piece) for part, piece in pieces))
    for flat, ours in [
        (whole.gradient(x), [part.gradient(piece) for part, piece in pieces]),
        (whole.prox(x, 0.1), [part.prox(piece, 0.1) for part, piece in pieces]),
        (whole.polar(x), [part.polar(piece) for part, piece in pieces]),
        (whole.direction(x), [part.direction(piece) for part, piece in pieces]),
    ]:
        np.testing.assert_array_equal(flat, np.concatenate([one.ravel() for one in ours]))


def test_conjugate_adds() -> None:
    whole = Separable((Ridge(alpha=1.0), Unpenalised()), ((1, 2), (1, 1)))
    assert whole.conjugate(np.array([3.0, 4.0, 0.0])) == 12.5
    assert whole.conjugate(np.array([3.0, 4.0, 1.0])) == math.inf


def test_smoothness_is_the_worst() -> None:
    assert Separable(PARTS, SHAPES).smoothness == math.inf
    assert Separable((Ridge(alpha=3.0), Unpenalised()), ((1, 1), (1, 1))).smoothness == 3


def test_shapes_must_fit() -> None:
    with pytest.raises(
        ValueError, match="there are 3 parts and 1 shapes; pass one shape for every"
    ):
        Separable(PARTS, SHAPES[:1])
    with pytest.raises(ValueError, match="there are 0 parts and 0 shapes"):
        Separable((), ())
    with pytest.raises(ValueError, match=r"shape \(12,\) but the pieces need \(13,\); pass the"):
        Separable(PARTS, SHAPES).prox(np.ones(12), 1.0)
    with pytest.raises(ValueError, match=r"shape \(13, 1\) but the pieces need \(13,\)"):
        Separable(PARTS, SHAPES).value(np.ones((13, 1)))
