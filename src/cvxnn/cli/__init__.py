"""The command `cvxnn`: fit, path, predict, verify, info, reproduce."""

import csv
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any

import typer

from cvxnn import __version__
from cvxnn.cli import options as o
from cvxnn.errors import CvxnnError

CODES = {
    "OPTIMAL": 0,
    "BEST_FOUND": 0,
    "AVERAGED": 0,
    "INACCURATE": 3,
    "MAX_ITER": 3,
    "MAX_TIME": 3,
    "DATA": 3,
    "MEMORY": 4,
    "NUMERICAL": 5,
    "INTERRUPTED": 130,
}
"""The exit code of `fit` by status."""

_EXITS = """[bold]Exit codes[/bold]
0 done: the gap is within the tolerance, or the model was accepted
1 verify rejected the model
2 bad input
3 saved, but the gap is larger: time, iterations or precision ran out
4 out of memory
5 numbers overflowed
130 interrupted: the best network so far was saved
"""

app = typer.Typer(
    help="Two-layer neural networks, trained to a certified optimum.",
    epilog=_EXITS,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cvxnn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what the user can mend into one line and an exit code; anything else is a bug."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of a pipe has gone; the runner ends quietly
    except (CvxnnError, ValueError, OSError) as error:
        _complain(error)
        code = CODES["MEMORY"] if isinstance(error, MemoryError) else 2
        raise typer.Exit(code) from None
    except (FloatingPointError, OverflowError) as error:
        _complain(f"numbers overflowed ({error}); scale the data down; nothing was saved")
        raise typer.Exit(CODES["NUMERICAL"]) from None
    except KeyboardInterrupt:
        _complain("interrupted before there was a network; nothing was saved")
        raise typer.Exit(CODES["INTERRUPTED"]) from None


def _complain(error: object) -> None:
    from rich.text import Text

    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    line = Text.assemble(("error: ", "bold red"), (" ".join(text.split()), "red"))
    _console(stderr=True).print(line, soft_wrap=True)


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@app.command()
@_plain_errors()
def fit(
    data: o.Data,
    *,
    output: o.Saved,
    quiet: o.Quiet = False,
    as_json: o.Reported = False,
    target: o.Target = None,
    task: o.Wanted = o.Task.AUTO,
    test_size: o.TestSize = 0.25,
    seed: o.Seed = 0,
    architecture: o.Architecture = "relu",
    loss: o.Loss = None,
    alpha: o.Alpha = "auto",
    gates: o.Gates = o.GateSource.AUTO,
    n_gates: o.GateCount = 256,
    solver: o.Solver = o.SolverName.AUTO,
    tol: o.Tol = 1e-4,
    max_time: o.MaxTime = None,
    proof_time: o.ProofTime = 5.0,
    max_iter: o.MaxIter = 20_000,
    levels: o.Levels = 0,
    standardize: o.Standardize = True,
    bias: o.Bias = True,
    intercept: o.Intercept = True,
    skip: o.Skip = o.Choice.NO,
    rank: o.Rank = None,
) -> None:
    """Train a network on a table, certify it, and save it.

    Example: cvxnn fit sklearn:breast_cancer -o cancer.cvxnn
    """
    from cvxnn.cli import fitting, panels

    chosen: dict[str, Any] = {
        "alpha": alpha,
        "gates": gates.value,
        "n_gates": n_gates,
        "solver": solver.value,
        "tol": tol,
        "fit_intercept": intercept,
        "skip": {"no": False, "yes": True}.get(skip.value, "auto"),
        "rank": rank,
        "max_time": max_time,
        "proof_time": proof_time,
        "max_iter": max_iter,
        "random_state": seed,
    }
    order = fitting.Order(
        data=data,
        output=output,
        target=tuple(target or ()),
        task=task.value,
        test_size=test_size,
        levels=levels,
        standardize=standardize,
        architecture=fitting.architecture_of(architecture, bias),
        options=chosen if loss is None else chosen | {"loss": loss},
    )
    facts = fitting.fit(order, _console(stderr=True), quiet)
    if as_json:
        _print_json(facts)
    elif not quiet:
        console = _console()
        console.print(panels.fitted(facts, "trained and certified"))
        next_one = shlex.join(["cvxnn", "verify", str(output), data])
        console.print(
            f"saved to {output}; check it with\n  {next_one}", markup=False, soft_wrap=True
        )
    raise typer.Exit(CODES[facts["status"]])


@app.command()
@_plain_errors()
def path(
    data: o.Data,
    *,
    strengths: o.Strengths = 20,
    ratio: o.Ratio = 1e-3,
    output: o.PathTable = None,
    figure: o.Figure = None,
    quiet: o.Quiet = False,
    target: o.Target = None,
    task: o.Wanted = o.Task.AUTO,
    test_size: o.TestSize = 0.25,
    seed: o.Seed = 0,
    architecture: o.Architecture = "relu",
    loss: o.Loss = None,
    gates: o.Gates = o.GateSource.AUTO,
    n_gates: o.GateCount = 256,
    solver: o.Solver = o.SolverName.AUTO,
    tol: o.Tol = 1e-4,
    max_time: o.MaxTime = None,
    proof_time: o.ProofTime = 0.0,
    max_iter: o.MaxIter = 20_000,
    levels: o.Levels = 0,
    standardize: o.Standardize = True,
    bias: o.Bias = True,
    intercept: o.Intercept = True,
    skip: o.Skip = o.Choice.NO,
    rank: o.Rank = None,
) -> None:
    """Train at a falling sequence of strengths: bounds, neurons and scores of each.

    Example: cvxnn path sklearn:diabetes -o path.csv --figure path.svg
    """
    from cvxnn.cli import fitting, paths

    if skip is o.Choice.AUTO:
        raise ValueError("skip auto goes with a validated alpha; a path has all: pass yes or no")
    chosen: dict[str, Any] = {
        "gates": gates.value,
        "n_gates": n_gates,
        "solver": solver.value,
        "tol": tol,
        "fit_intercept": intercept,
        "skip": {"no": False, "yes": True}.get(skip.value, "auto"),
        "rank": rank,
        "max_time": max_time,
        "proof_time": proof_time,
        "max_iter": max_iter,
        "random_state": seed,
    }
    order = fitting.Order(
        data=data,
        output=output,
        target=tuple(target or ()),
        task=task.value,
        test_size=test_size,
        levels=levels,
        standardize=standardize,
        architecture=fitting.architecture_of(architecture, bias),
        options=chosen if loss is None else chosen | {"loss": loss},
    )
    points = paths.follow(order, strengths, ratio, figure, _console(stderr=True), quiet)
    if not quiet:
        _console().print(paths.shown(points))
        written = ", ".join(str(place) for place in (output, figure) if place is not None)
        if written:
            _console().print(f"written: {written}", markup=False, soft_wrap=True)
    if len(points) < strengths or points[-1].status == "INTERRUPTED":
        _complain(f"interrupted: {len(points)} of {strengths} strengths are kept")
        raise typer.Exit(CODES["INTERRUPTED"])


@app.command()
@_plain_errors()
def predict(
    model: o.Model,
    data: o.Data,
    output: o.Written = None,
    proba: o.Probabilities = False,
) -> None:
    """Predict the rows of a table with a saved network, as CSV."""
    from cvxnn.cli import using

    header, columns = using.predict(str(model), data, proba)
    with output.open("w", newline="") if output else nullcontext(sys.stdout) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(columns)


@app.command()
@_plain_errors()
def verify(
    model: o.Model, data: o.Data, target: o.Target = None, as_json: o.AsJson = False
) -> None:
    """Recompute both bounds of a saved network on its training data, without a solver.

    The rows are split as fit split them.

    Exit code 0: the bounds prove the gap that the model states; 1: they do not.
    """
    from cvxnn.cli import facts, panels, using

    found, claim, checked = using.recheck(str(model), data, tuple(target or ()))
    if as_json:
        _print_json(
            {
                "accepted": found.accepted,
                "reason": found.reason,
                "claimed": facts.certificate(claim),
                "recomputed": facts.certificate(found.certificate),
            }
        )
    else:
        _console().print(panels.verdict(found, claim, checked))
    raise typer.Exit(0 if found else 1)


@app.command()
@_plain_errors()
def info(model: o.Model, as_json: o.AsJson = False) -> None:
    """Show what a model file holds: data, network, certificate."""
    from cvxnn.cli import panels, using

    facts = using.describe(str(model))
    if as_json:
        _print_json(facts)
    else:
        _console().print(panels.fitted(facts, f"{model}, saved by cvxnn {facts['cvxnn']}"))


@app.command()
@_plain_errors()
def reproduce(
    name: o.Experiment, full: o.Full = False, seed: o.ExperimentSeed = 0, output: o.Folder = None
) -> None:
    """Repeat an experiment of the literature: its table, its figure and its numbers.

    There are worked-example, path, low-rank, margin, toy-sgd, cifar-binary, cifar-10class,
    uci-profile, time-series; batch-norm, vector-output, polynomial, threshold, quantised and
    wasserstein-direction; and the report's student-1, student-2, student-3 and student-explode.
    """
    from cvxnn.experiments import reproduce as run

    result = run(name, full=full, seed=seed, out=output)
    console = _console()
    console.print(result.title, style="bold")
    console.print(result.table)
    for note in result.notes:
        console.print(note)
    console.print("written: " + ", ".join(map(str, result.files)))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
