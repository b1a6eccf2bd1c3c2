"""What every test file may use."""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from cvxnn.arrays import Array

settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")


@dataclass(frozen=True)
class Backend:
    """An array library under test."""

    name: str
    xp: Any

    def asarray(self, x: np.ndarray) -> Array:
        """Return `x` in this library, dtype kept."""
        return self.xp.asarray(x)


@pytest.fixture(scope="session", params=["numpy", "array_api_strict", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each array library in turn; torch only where it is installed."""
    if request.param == "torch":
        return Backend("torch", pytest.importorskip("torch"))
    return Backend(request.param, importlib.import_module(request.param))
