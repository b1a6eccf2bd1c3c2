"""The command reproduce."""

from pathlib import Path

from tests.cli.running import run


def test_reproduce_writes_its_numbers_and_its_figure(tmp_path: Path) -> None:
    result = run("reproduce", "student-1", "-o", tmp_path)
    assert result.exit_code == 0
    assert "convex program" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student-1.json", "student-1.png"]


def test_reproduce_names_what_there_is() -> None:
    result = run("reproduce", "student-9")
    assert result.exit_code == 2
    assert "worked-example" in result.output
