"""How it looks: help, panels, and one live line."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.cli.running import QUICK, run
from typer.testing import CliRunner

from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.cli import app
from cvxnn.cli.watch import Watch
from cvxnn.files import read_notes
from cvxnn.program import Iterate
from cvxnn.solve import Progress


def test_help_is_there_before_numpy_and_says_how_commands_end() -> None:
    script = (
        "import sys; from cvxnn.cli import app; app(['--help'], standalone_mode=False); "
        "print({'numpy', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith("set()")
    for words in ("fit", "predict", "verify", "info", "130 interrupted", "2 bad input"):
        assert words in ran.stdout


def test_the_command_is_installed_and_runs(path: Path) -> None:
    script = [sys.executable, "-c", "from cvxnn.cli import main; main()"]
    words = ["fit", "sklearn:iris", "-o", str(path), *QUICK]
    ran = subprocess.run([*script, *words], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "trained and certified" in ran.stdout
    ran = subprocess.run([*script, "verify", str(path), "sklearn:iris"], capture_output=True)
    assert ran.returncode == 0
    assert run("--version").stdout.startswith("cvxnn ")
    assert read_notes(path)["cvxnn"] == run("--version").stdout.split()[1]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_panel_fits_the_terminal(iris: Path, width: int) -> None:
    result = CliRunner().invoke(app, ["info", str(iris)], env={"COLUMNS": str(width)})
    lengths = {len(line) for line in result.stdout.splitlines()}
    assert max(lengths) <= width


def event(neurons: int) -> Progress:
    blocks = np.zeros((5, 2, 1))
    blocks[:neurons] = 1.0
    claim = Certificate(upper=1.0, lower=0.968, scope=Scope.GIVEN_GATES, exactness=Exactness.EXACT)
    return Progress(7, 1.0, claim, Iterate(blocks, np.zeros((1, 1)), np.zeros((3, 1))))


def test_one_live_line_shows_gap_neurons_and_seconds() -> None:
    file = io.StringIO()
    with Watch(Console(file=file, force_terminal=True, width=80), quiet=False) as watch:
        watch.doing("choosing alpha by five-fold validation")
        watch._live.refresh()
        watch(event(neurons=3))
        watch._live.refresh()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert re.search(r"choosing alpha by five-fold validation   0\.\d s", drawn)
    assert re.search(r"training   relative gap 3\.2e-02   neurons 3   0\.\d s", drawn)
    assert watch._live.refresh_per_second <= 10


def test_nothing_is_drawn_without_a_terminal_or_when_quiet() -> None:
    for terminal, quiet in ((False, False), (True, True)):
        file = io.StringIO()
        with Watch(Console(file=file, force_terminal=terminal), quiet) as watch:
            watch(event(neurons=1))
        assert file.getvalue() == ""
