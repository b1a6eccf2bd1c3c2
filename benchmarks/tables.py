"""Turn a result of the two-layer benchmark into reStructuredText: `python tables.py RESULT`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

GAPS = (1e-3, 1e-6)
"""Relative duality gaps to which gated programs are timed."""
EXCESSES = (1e-2, 1e-3)
"""Relative distances to the best objective known to which ReLU networks are timed."""
OURS = "cvxnn"


def read(path: Path) -> pd.DataFrame:
    """Return what benchopt wrote, a row for every look at a run, solvers by a short name."""
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    frame["base"] = frame["solver_name"].str.partition("[")[0]
    frame["solver"] = ""
    for base, rows in frame.groupby("base"):
        columns = [c for c in frame if c.startswith("p_solver_") and rows[c].nunique() > 1]
        for index, row in rows.iterrows():
            words = [f"{c.removeprefix('p_solver_')}={plain(row[c])}" for c in columns]
            frame.loc[index, "solver"] = " ".join([str(base), *words])
    return frame


def plain(value: object) -> str:
    """Return a parameter as text; whole numbers are floats where others lack the column."""
    whole = isinstance(value, float) and value.is_integer()
    return f"{value:.0f}" if whole else str(value)


def seconds_until(run: pd.DataFrame, good: pd.Series) -> float:
    """Return the least time at which a look was good: median over repetitions, inf if never."""
    firsts = run["time"].where(good, np.inf).groupby(run["idx_rep"]).min()
    return float(firsts.median())


def text(seconds: float) -> str:
    """Return seconds with three digits; a dash where there are none."""
    return f"{seconds:.3g}" if np.isfinite(seconds) else "-"


def gated_rows(problem: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield a row for every solver of a gated program; ratios are to this library's own."""
    runs = {name: run for name, run in problem.groupby("solver", sort=True)}
    times = {
        name: [seconds_until(run, run["objective_relative_gap"] <= gap) for gap in GAPS]
        for name, run in runs.items()
    }
    ours = [name for name in (f"{OURS} solver=auto", OURS) if name in times]
    base = times[ours[0]] if ours else [np.nan, np.nan]
    yield ("solver", *(f"s to gap {gap:g}" for gap in GAPS), *(f"ratio, {gap:g}" for gap in GAPS),
           "least gap", "objective", "neurons")  # fmt: skip
    for name, run in runs.items():
        best = run.loc[run["objective_value"].idxmin()]
        yield (
            name,
            *map(text, times[name]),
            *(text(mine / own) for mine, own in zip(times[name], base, strict=True)),
            f"{run['objective_relative_gap'].min():.0e}",
            f"{best['objective_value']:.7g}",
            f"{best['objective_neurons']:.0f}",
        )


def relu_rows(problem: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield a row for every solver of a ReLU problem, beside the best objective and bound."""
    known, bound = problem["objective_value"].min(), problem["objective_lower"].max()
    yield ("solver", "objective", "excess", *(f"s to {share:g}" for share in EXCESSES),
           "seconds in all", "neurons")  # fmt: skip
    for name, run in problem.groupby("solver", sort=True):
        best = run.loc[run["objective_value"].idxmin()]
        yield (
            str(name),
            f"{best['objective_value']:.7g}",
            f"{best['objective_value'] / known - 1:.1e}",
            *(text(seconds_until(run, run["objective_value"] <= known * (1 + share)))
              for share in EXCESSES),
            text(float(run.groupby("idx_rep")["time"].max().median())),
            f"{best['objective_neurons']:.0f}",
        )  # fmt: skip
    if bound > 0:
        yield ("best bound proved", f"{bound:.7g}", f"{bound / known - 1:.1e}", "", "", "", "")


def rst_table(title: str, rows: list[tuple[str, ...]]) -> str:
    """Return a list-table, its first row the header."""
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}".rstrip() for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def tables(frame: pd.DataFrame) -> str:
    """Return a table for every problem in the result."""
    parts = []
    keys = ["p_obj_network", "dataset_name", "p_obj_share"]
    for (network, data, share), problem in frame.groupby(keys, sort=True):
        rows = list((gated_rows if network == "gated" else relu_rows)(problem))
        name = {"gated": "gated", "relu": "ReLU"}[str(network)]
        parts.append(rst_table(f"{name}, {data}, alpha = {share:g} alpha_max", rows))
    return "\n".join(parts)


if __name__ == "__main__":
    print(tables(read(Path(sys.argv[1]))))
