"""What an experiment hands back: a table to print, its numbers as JSON, its figure as PNG."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvxnn.experiments.figures import save


@dataclass(frozen=True)
class Table:
    """Columns and rows of text; `str` gives plain text, rich shows it as its own tables.

    >>> print(Table(("beta", "value"), (("0.1", "0.2310"), ("0.5", "0.79"))))
    beta   value
    0.1   0.2310
    0.5     0.79
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        lines = (self.columns, *self.rows)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in lines
        )

    def __rich__(self) -> Any:
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable()
        for i, column in enumerate(self.columns):
            table.add_column(Text(column), justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """An experiment's outcome.

    >>> result = Result(
    ...     name="none",
    ...     title="Nothing",
    ...     table=Table(("x",), (("1",),)),
    ...     notes=("Nothing was shown.",),
    ...     files=(),
    ... )
    >>> print(result)
    Nothing
    <BLANKLINE>
    x
    1
    <BLANKLINE>
    - Nothing was shown.
    """

    name: str
    title: str
    table: Table
    notes: tuple[str, ...]
    """What the numbers say, and where the source is wrong; one sentence or two each."""
    files: tuple[Path, ...]

    def __str__(self) -> str:
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"{self.title}\n\n{self.table}\n\n{notes}"


def record(
    *,
    name: str,
    title: str,
    table: Table,
    notes: Sequence[str],
    findings: Any,
    figure: Any,
    out: Path,
) -> Result:
    """Write NAME.json (the findings) and NAME.png (the figure) into `out`; return the result."""
    out.mkdir(parents=True, exist_ok=True)
    numbers, picture = out / f"{name}.json", out / f"{name}.png"
    content = {"name": name, "title": title, "notes": list(notes), "numbers": plain(findings)}
    numbers.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    save(figure, picture)
    return Result(name=name, title=title, table=table, notes=tuple(notes), files=(numbers, picture))


def plain(value: Any) -> Any:
    """Return dataclasses, tuples and arrays as what JSON has; numbers that are not finite as None.

    >>> plain({"trace": np.array([1.0, np.inf]), "size": np.int64(3)})
    {'trace': [1.0, None], 'size': 3}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
