"""What the commands show: panels of names and values, from the facts about a model."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cvxnn.certificate import Certificate, Exactness, Scope, Verification
from cvxnn.solve import Status

Json = dict[str, Any]
Rows = list[tuple[str, str | Text]]

_KINDS = {
    "relu": "ReLU",
    "gated": "gated ReLU",
    "batchnorm": "batch-normalised ReLU",
    "batchnorm_after": "ReLU, then batch-normalised",
}
_COLOURS = {"OPTIMAL": "green", "BEST_FOUND": "green", "NUMERICAL": "red", "MEMORY": "red"}


def fitted(facts: Json, title: str) -> Panel:
    """Return the panel of a fitted model: data, score, network, bounds, how the run ended."""
    colour = _COLOURS.get(facts["status"], "yellow")
    parts = [_grid(part) for part in (_data(facts), _network(facts), _bounds(facts))]
    return _panel(title, colour, [parts[0], "", parts[1], "", parts[2]])


def verdict(found: Verification, claim: Certificate, checked: str) -> Panel:
    """Return the panel of a verification: both bounds as claimed and as recomputed."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", style="dim", min_width=13)
    for heading in ("claimed", "recomputed"):
        table.add_column(heading, justify="right")
    again = found.certificate
    table.add_row("upper bound", f"{claim.upper:.10g}", f"{again.upper:.10g}")
    table.add_row("lower bound", f"{claim.lower:.10g}", f"{again.lower:.10g}")
    table.add_row("relative gap", f"{claim.relative_gap:.2e}", f"{again.relative_gap:.2e}")
    said = _grid([("scope", claim.scope.value), ("checked", checked), ("reason", found.reason)])
    return _panel(*(("accepted", "green") if found else ("rejected", "red")), [table, "", said])


def _data(facts: Json) -> Rows:
    notes, columns = facts["training"], _count(facts["features"], "column")
    if not notes:  # saved from Python
        return [("data", f"{_count(facts['rows'], 'row')}, {columns}")]
    kept = f"{notes['test_rows']:,} to test" if notes["test_rows"] else "none to test"
    metric, baseline = notes["metric"], notes["baseline_is"]
    return [
        ("data", f"{notes['source']}, {_count(notes['rows'], 'row')}, {columns}"),
        ("split", f"{notes['train_rows']:,} to train, {kept}"),
        ("target", f"{', '.join(notes['target'])} ({_task(facts)})"),
        (
            f"{notes['measured_on']} {metric}",
            Text.assemble(
                (_score(metric, notes["score"]), "bold"),
                (f"   {baseline}: {_score(metric, notes['baseline'])}", "dim"),
            ),
        ),
    ]


def _network(facts: Json) -> Rows:
    parts = {"bias": facts["bias"], "intercept": facts["intercept"], "skip": facts["skip"]}
    options = ", ".join(part for part, there in parts.items() if there) or "no bias, no intercept"
    most = facts["alpha_max"]
    share = f"{100 * facts['alpha'] / most:.3g} % of alpha_max, {most:.4g}" if most else ""
    gates = f"{facts['gates']:,} gates, " if facts["gates"] else ""
    kind = _KINDS.get(facts["architecture"], facts["architecture"])
    return [
        (
            "network",
            Text.assemble(
                f"{kind}, ",
                (_count(facts["neurons"], "neuron"), "bold"),
                (f"   {gates}{options}", "dim"),
            ),
        ),
        ("loss", facts["loss"]),
        ("alpha", Text.assemble(f"{facts['alpha']:.4g}", (f"   {share}", "dim"))),
    ]


def _bounds(facts: Json) -> Rows:
    claim = facts["certificate"]
    colour, status = _COLOURS.get(facts["status"], "yellow"), Status[facts["status"]]
    gap, seconds = claim["relative_gap"], facts["training"].get("seconds")
    took = "" if seconds is None else f", {seconds:.1f} s in all"
    return [
        (
            "upper bound",
            Text.assemble(f"{claim['upper']:.10g}", ("   objective of this network", "dim")),
        ),
        (
            "lower bound",
            Text.assemble(f"{claim['lower']:.10g}", ("   nothing in scope is below", "dim")),
        ),
        (
            "relative gap",
            Text.assemble(
                ("infinite" if gap is None else f"{gap:.2e}", f"bold {colour}"),
                (f"   asked for: {facts['tol']:g}", "dim"),
            ),
        ),
        *_estimate(facts["estimated_gap"]),
        ("scope", Scope[claim["scope"]].value),
        *_seen(claim),
        ("exactness", Exactness[claim["exactness"]].value),
        ("proved by", claim["bound"]),
        ("status", Text(status.value, colour)),
        ("work", f"{facts['iterations']:,} steps of {facts['solver']}{took}"),
    ]


def _seen(claim: Json) -> Rows:
    if claim.get("directions") is None:
        return []
    whole = claim["whole"]
    said = "not bounded" if whole is None else f"at least {whole:.10g}"
    seen = f"{claim['directions']} leading directions of the data"
    return [("that see", Text.assemble(seen, (f"   networks on all columns: {said}", "dim")))]


def _estimate(gap: float | None) -> Rows:
    if gap is None:
        return []
    said = ("   if no better neuron was missed; not proved", "dim")
    return [("estimated gap", Text.assemble(f"{gap:.2e}", said))]


def _panel(title: str, colour: str, parts: Sequence[RenderableType]) -> Panel:
    return Panel(
        Group(*parts),
        title=Text(title, f"bold {colour}"),
        title_align="left",
        border_style=colour,
        padding=(1, 2),
        expand=False,
    )


def _grid(rows: Rows) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", min_width=13)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(value) if isinstance(value, str) else value)
    return grid


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _task(facts: Json) -> str:
    classes = facts["classes"]
    if classes is None:
        return "regression"
    return f"classes {', '.join(classes)}" if len(classes) <= 6 else f"{len(classes)} classes"


def _score(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{100 * value:.1f} %" if name == "accuracy" else f"{value:.3f}"
