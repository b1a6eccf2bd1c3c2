"""The words of the command line: what each argument and option is called, may be and does."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Task(StrEnum):
    """What is learned."""

    AUTO = "auto"
    REGRESSION = "regression"
    CLASSIFICATION = "classification"


class GateSource(StrEnum):
    """Where gates come from."""

    AUTO = "auto"
    SAMPLE = "sample"
    GROW = "grow"
    ENUMERATE = "enumerate"


class Choice(StrEnum):
    """Whether there is a skip connection, or to find out by validation."""

    NO = "no"
    YES = "yes"
    AUTO = "auto"


class SolverName(StrEnum):
    """What solves the program."""

    AUTO = "auto"
    FISTA = "fista"
    SUBSPACE = "subspace"
    FACTORED = "factored"
    NEWTON = "newton"
    ADMM = "admm"
    WORKING_SET = "working_set"
    REFERENCE = "reference"


def _strength(text: str) -> str | float:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither auto nor a number") from None


def _of(panel: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, **settings)


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A .csv, .tsv, .parquet or .npz file, or sklearn:NAME.",
        show_default=False,
    ),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A file that fit saved.", show_default=False)
]

Target = Annotated[
    list[str] | None,
    _of(
        "Data",
        "--target",
        "-t",
        metavar="COLUMN",
        help="What to predict; the last column unless given.",
        show_default=False,
    ),
]
Wanted = Annotated[
    Task, _of("Data", "--task", metavar="TASK", help="regression, classification or auto.")
]
TestSize = Annotated[
    float,
    _of("Data", "--test-size", metavar="SHARE", help="Of the rows, for the test."),
]
Levels = Annotated[
    int,
    _of(
        "Data",
        "--levels",
        metavar="N",
        help="One more column a value, in columns of at most N values.",
    ),
]
Seed = Annotated[
    int, _of("Data", "--seed", metavar="N", help="Of the split, the gates and the folds.")
]

Architecture = Annotated[
    str,
    _of(
        "Network",
        "--architecture",
        "-a",
        metavar="KIND",
        help="relu, gated, threshold, polynomial and others; a wrong name lists all.",
    ),
]
Loss = Annotated[
    str | None,
    _of(
        "Network",
        "--loss",
        metavar="LOSS",
        help="For numbers squared, huber or quantile; for classes logistic, squared_hinge, hinge "
        "or squared. The first of each unless given.",
        show_default=False,
    ),
]
Alpha = Annotated[
    Any,
    _of(
        "Network",
        "--alpha",
        parser=_strength,
        metavar="X",
        help="Weight decay; auto validates in five folds.",
    ),
]

Bias = Annotated[bool, _of("Switches", "--bias/--no-bias", metavar="", help="In every neuron.")]
Intercept = Annotated[
    bool, _of("Switches", "--intercept/--no-intercept", metavar="", help="Of the output, free.")
]
Skip = Annotated[
    Choice,
    _of(
        "Network",
        "--skip",
        metavar="WHETHER",
        help="Free linear connection: no, yes, or auto by validation.",
    ),
]
Rank = Annotated[
    int | None,
    _of(
        "Network",
        "--rank",
        metavar="K",
        help="See the first K singular directions of the columns alone; all unless given.",
        show_default=False,
    ),
]
Standardize = Annotated[
    bool,
    _of("Switches", "--standardize/--no-standardize", metavar="", help="Scale the columns first."),
]

Gates = Annotated[
    GateSource,
    _of(
        "Training",
        "--gates",
        metavar="HOW",
        help="auto, grow for all networks, sample, or enumerate for every pattern.",
    ),
]
GateCount = Annotated[int, _of("Training", "--n-gates", metavar="N", help="How many to sample.")]
Solver = Annotated[
    SolverName,
    _of(
        "Training",
        "--solver",
        metavar="NAME",
        help="fista, subspace, factored, newton, admm, working_set, reference or auto.",
    ),
]
Tol = Annotated[
    float, _of("Training", "--tol", metavar="GAP", help="Relative gap at which to stop.")
]
MaxTime = Annotated[
    float | None,
    _of(
        "Training",
        "--max-time",
        metavar="SECONDS",
        help="Stop then, with the best network so far.",
        show_default=False,
    ),
]
ProofTime = Annotated[
    float,
    _of("Training", "--proof-time", metavar="SECONDS", help="For the proof over all networks."),
]
MaxIter = Annotated[int, _of("Training", "--max-iter", metavar="N", help="Steps of the solver.")]

Saved = Annotated[
    Path,
    _of("Output", "--output", "-o", metavar="MODEL", help="File to write.", show_default=False),
]
Quiet = Annotated[bool, _of("Output", "--quiet", "-q", metavar="", help="Say nothing but errors.")]
Reported = Annotated[
    bool, _of("Output", "--json", metavar="", help="Print JSON instead of the panel.")
]
AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Print JSON instead of the panel.")
]
Strengths = Annotated[
    int, _of("Path", "--strengths", metavar="N", help="How many, falling geometrically.")
]
Ratio = Annotated[float, _of("Path", "--ratio", metavar="X", help="The least over the largest.")]
PathTable = Annotated[
    Path | None,
    _of("Output", "--output", "-o", metavar="CSV", help="Table to write.", show_default=False),
]
Figure = Annotated[
    Path | None,
    _of(
        "Output",
        "--figure",
        metavar="FILE",
        help="Figure to write, .svg, .png or .pdf.",
        show_default=False,
    ),
]
Written = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="CSV",
        help="File to write; standard output unless given.",
        show_default=False,
    ),
]
Probabilities = Annotated[
    bool, typer.Option("--proba", metavar="", help="A probability per class.")
]

Experiment = Annotated[str, typer.Argument(metavar="NAME", help="Which experiment.")]
Full = Annotated[
    bool, typer.Option("--full", metavar="", help="At the size of the source, not a small one.")
]
ExperimentSeed = Annotated[int, typer.Option("--seed", metavar="N", help="Of data and starts.")]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FOLDER", help="Where to write; by default outputs/NAME."
    ),
]
