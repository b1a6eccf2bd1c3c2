"""What the tests of every command use."""

from pathlib import Path

import pytest
from tests.cli.running import QUICK, run


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "iris.cvxnn"
    assert run("fit", "sklearn:iris", "-o", path, *QUICK).exit_code == 0
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.cvxnn"
