"""Cells of small sub-networks."""

import numpy as np
import pytest

from cvxnn.gates.nested import nested_cells


@pytest.mark.parametrize("fan_in", [(2,), (2, 1), (1, 2), (2, 2)])
def test_columns_of_zeros_have_no_unit_that_adds_anything(fan_in: tuple[int, ...]) -> None:
    points, signs = nested_cells(np.zeros((4, 3)), fan_in)
    paths = int(np.prod(fan_in))
    edges = sum(int(np.prod(fan_in[layer:])) for layer in range(len(fan_in)))
    assert points.shape == (1, 3 * paths)
    assert signs.shape == (1, edges)
