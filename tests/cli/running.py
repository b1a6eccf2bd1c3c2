"""How the tests run the command and read what it says."""

from typer.testing import CliRunner, Result

from cvxnn.cli import app

QUICK = ("-a", "gated", "--n-gates", "16", "--alpha", "0.1")


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback
    return result


def plain(output: str) -> str:
    """What a panel says, without its frame and its lines."""
    return " ".join(output.replace("\u2502", " ").split())


def complaint(result: Result) -> str:
    """The error, which is one line and all there is on standard error but announcements."""
    lines = result.stderr.strip().splitlines()
    assert [line.startswith("error: ") for line in lines].count(True) == 1
    assert lines[-1].startswith("error: ")
    return lines[-1]
