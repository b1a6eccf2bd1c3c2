"""What the commands show: panels of names and values, from the facts about a model."""

from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cvxnn.certificate import Exactness, Scope, Verification

Rows = list[tuple[str, RenderableType]]

_KINDS = {"relu": "ReLU", "gated": "gated ReLU"}
_COLOURS = {"OPTIMAL": "green", "BEST_FOUND": "green", "NUMERICAL": "red", "MEMORY": "red"}


def fitted(facts: dict[str, Any], title: str) -> Panel:
    """Return the panel of a fitted model: data, score, network, bounds, how the run ended."""
    parts = [_data(facts), _network(facts), _bounds(facts)]
    colour = _COLOURS.get(facts["status"], "yellow")
    return _panel(title, colour, [part for part in parts if part])


def verdict(found: Verification, claim: Any, checked: str) -> Panel:
    """Return the panel of a verification: both bounds as claimed and as recomputed."""
    table = Table(box=None, show_header=True, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("", "claimed", "recomputed"):
        table.add_column(heading, justify="right" if heading else "left", min_width=13)
    again = found.certificate
    for name, ours, theirs in (
        ("upper bound", claim.upper, again.upper),
        ("lower bound", claim.lower, again.lower),
        ("relative gap", claim.relative_gap, again.relative_gap),
    ):
        form = ".2e" if name == "relative gap" else ".10g"
        table.add_row(Text(name, "dim"), f"{ours:{form}}", f"{theirs:{form}}")
    said = _grid([("scope", claim.scope.value), ("checked", checked), ("reason", found.reason)])
    title, colour = ("accepted", "green") if found else ("rejected", "red")
    return Panel(Group(table, "", said), title=Text(title, f"bold {colour}"), **_frame(colour))


def _data(facts: dict[str, Any]) -> Rows:
    notes, columns = facts["notes"], _count(facts["features"], "column")
    if "score" not in notes:  # saved from Python
        return [("data", f"{_count(facts['trained_on'], 'row')}, {columns}")]
    kept = f", {notes['test_rows']:,} to test" if notes["test_rows"] else ", none to test"
    score = notes["score"]
    return [
        ("data", f"{notes['source']}, {_count(notes['rows'], 'row')}, {columns}"),
        ("split", f"{notes['train_rows']:,} to train{kept}"),
        ("target", f"{', '.join(notes['target'])} ({_task(facts)})"),
        (
            f"{score['on']} {score['name']}",
            Text.assemble(
                (_score(score["name"], score["value"]), "bold"),
                (f"   {score['baseline_is']}: {_score(score['name'], score['baseline'])}", "dim"),
            ),
        ),
    ]


def _network(facts: dict[str, Any]) -> Rows:
    parts = {"bias": facts["bias"], "intercept": facts["intercept"], "skip": facts["skip"]}
    options = ", ".join(part for part, there in parts.items() if there) or "no bias, no intercept"
    most = facts["alpha_max"]
    share = f"{100 * facts['alpha'] / most:.3g} % of alpha_max, {most:.4g}" if most else ""
    kind = _KINDS.get(facts["architecture"], facts["architecture"])
    return [
        (
            "network",
            Text.assemble(
                f"{kind}, ",
                (_count(facts["neurons"], "neuron"), "bold"),
                (f"   {facts['gates']:,} gates, {options}", "dim"),
            ),
        ),
        ("loss", facts["loss"]),
        ("alpha", Text.assemble(f"{facts['alpha']:.4g}", (f"   {share}", "dim"))),
    ]


def _bounds(facts: dict[str, Any]) -> Rows:
    claim = facts["certificate"]
    colour = _COLOURS.get(facts["status"], "yellow")
    seconds = facts["notes"].get("seconds")
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
                (f"{claim['relative_gap']:.2e}", f"bold {colour}"),
                (f"   asked for: {facts['tol']:.0e}", "dim"),
            ),
        ),
        ("scope", Scope[claim["scope"]].value),
        ("exactness", Exactness[claim["exactness"]].value),
        ("status", Text(facts["advice"], colour)),
        ("work", f"{facts['iterations']:,} steps of {facts['solver']}{took}"),
    ]


def _panel(title: str, colour: str, parts: list[Rows]) -> Panel:
    lines: list[RenderableType] = []
    for part in parts:
        lines += [_grid(part), ""]
    return Panel(Group(*lines[:-1]), title=Text(title, f"bold {colour}"), **_frame(colour))


def _grid(rows: Rows) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", min_width=13)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def _frame(colour: str) -> dict[str, Any]:
    return {"title_align": "left", "border_style": colour, "padding": (1, 2), "expand": False}


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _task(facts: dict[str, Any]) -> str:
    classes = facts["classes"]
    if classes is None:
        return "regression"
    return f"classes {', '.join(classes)}" if len(classes) <= 6 else f"{len(classes)} classes"


def _score(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{100 * value:.1f} %" if name == "accuracy" else f"{value:.3f}"
