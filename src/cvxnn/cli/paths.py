"""What `cvxnn path` does: train at a falling sequence of strengths, tabulate, draw."""

import csv
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table as Grid

from cvxnn.cli.fitting import Order, kind_of, preparation, require_place, split, task_of
from cvxnn.cli.watch import Watch
from cvxnn.path import grid
from cvxnn.solve import Status
from cvxnn.tables import read_table

_NONE = 1e30
"""A strength at which no network has a neuron."""


class Point(NamedTuple):
    """A strength, and the network trained at it."""

    alpha: float
    share: float
    """Of alpha_max."""
    objective: float
    lower_bound: float
    relative_gap: float
    neurons: int
    train_score: float
    test_score: float
    """NaN where no rows were held out."""
    seconds: float
    status: str


def follow(
    order: Order, count: int, ratio: float, figure: Path | None, console: Console, quiet: bool
) -> list[Point]:
    """Return the points of a path, each started from the one before; write the table and figure.

    The table grows line by line, so that an interrupt keeps what was finished.
    """
    if count < 1 or not 0 < ratio < 1:
        raise ValueError(
            f"there are {count} strengths down to {ratio} of the largest; expected at least one, "
            "and a ratio between 0 and 1"
        )
    for place in filter(None, (order.output, figure)):
        require_place(place)
    if figure is not None:
        from cvxnn.display import PathDisplay, require_matplotlib

        require_matplotlib()
    with Watch(console, quiet) as watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the status of every point is in the table
        watch.doing(f"reading {order.data}")
        table = read_table(order.data, order.target)
        task, _ = task_of(table, order.task)
        with _rows(order.output) as write:
            points: list[Point] = []
            try:
                for point in _points(order, table, task, count, ratio, watch):
                    points.append(point)
                    write(point)
                    if point.status == Status.INTERRUPTED.name:
                        break
            except KeyboardInterrupt:
                if not points:
                    raise
    if figure is not None:
        PathDisplay.from_rows(points).plot().figure_.savefig(figure)
    return points


def _points(
    order: Order, table: Any, task: str, count: int, ratio: float, watch: Watch
) -> Iterator[Point]:
    train, test = split(table.y, task, order.test_size, order.options["random_state"])
    X, y = table.X, table.y
    for step in preparation(order, table):
        X = step.fit(X[train]).transform(X)
    model = kind_of(order, task, order.options | {"warm_start": True, "callbacks": [watch]})
    watch.doing("preparing")
    largest = model.set_params(alpha=_NONE).fit(X[train], y[train]).alpha_max_
    for number, alpha in enumerate(grid(largest, ratio, count)):
        watch.doing(f"strength {number + 1} of {count}")
        begin = time.perf_counter()
        model.set_params(alpha=float(alpha)).fit(X[train], y[train])
        claim = model.certificate_
        yield Point(
            alpha=float(alpha),
            share=float(alpha / largest),
            objective=claim.upper,
            lower_bound=claim.lower,
            relative_gap=claim.relative_gap,
            neurons=model.network_.n_neurons,
            train_score=float(model.score(X[train], y[train])),
            test_score=float(model.score(X[test], y[test])) if len(test) else float("nan"),
            seconds=time.perf_counter() - begin,
            status=model.solution_.status.name,
        )


@contextmanager
def _rows(output: Path | None) -> Iterator[Any]:
    """Give a function that writes a point as a line of CSV, at once."""
    if output is None:
        yield lambda point: None
        return
    with output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Point._fields)

        def write(point: Point) -> None:
            writer.writerow(point)
            file.flush()

        yield write


def shown(points: list[Point]) -> Grid:
    """Return the table that the terminal shows."""
    held_out = any(point.test_score == point.test_score for point in points)
    heads = ("alpha", "of largest", "objective", "gap", "neurons", "train", "test", "s")
    table = Grid(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for head in heads:
        if head != "test" or held_out:
            table.add_column(head, justify="right")
    for p in points:
        cells = [
            f"{p.alpha:.4g}",
            f"{p.share:.2g}",
            f"{p.objective:.6g}",
            f"{p.relative_gap:.1e}",
            str(p.neurons),
            f"{p.train_score:.3f}",
            *([f"{p.test_score:.3f}"] if held_out else []),
            f"{p.seconds:.2f}",
        ]
        table.add_row(*cells)
    return table
