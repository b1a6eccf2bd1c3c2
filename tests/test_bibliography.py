"""Every source that the code cites is in the bibliography, once."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEY = re.compile(r"\[((?:[A-Z][A-Za-z]+\d{4})(?:[,;][^\]]*)?)\]")


def test_every_citation_has_its_entry() -> None:
    entries = Counter(
        re.findall(r"^@\w+\{(\w+),", (ROOT / "docs/bibliography.bib").read_text(), re.M)
    )
    assert max(entries.values()) == 1
    for path in sorted((ROOT / "src").rglob("*.py")):
        for group in KEY.findall(path.read_text()):
            for key in re.findall(r"[A-Z][A-Za-z]+\d{4}", group):
                assert key in entries, f"{path.name} cites {key}"
