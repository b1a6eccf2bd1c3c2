"""Sphinx configuration: pages from docstrings, the gallery from examples, citations from BibTeX."""

import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle

import cvxnn

project = "cvxnn"
author = "cvxnn developers"
copyright = author
version = release = cvxnn.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"

html_theme = "pydata_sphinx_theme"
html_title = "cvxnn"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("cvxnn",),
    "download_all_examples": False,
    "remove_config_comments": True,
}

bibtex_bibfiles = ["bibliography.bib"]
bibtex_default_style = "keys"


class KeyLabels(BaseLabelStyle):
    """A reference is labelled by its key, as docstrings write it: [Pilanci2020]."""

    def format_labels(self, sorted_entries: list) -> Iterator[str]:
        return (entry.key for entry in sorted_entries)


class KeyStyle(Style):
    default_label_style = "keys"
    default_sorting_style = "author_year_title"


register_plugin("pybtex.style.labels", "keys", KeyLabels)
register_plugin("pybtex.style.formatting", "keys", KeyStyle)

LITERAL = re.compile(r"(`+[^`]+`+)")
KEY = re.compile(r"\[([A-Z][A-Za-z]+\d{4}[a-z]?)(?:, ([^\]]+))?\]")


def prose(line: str) -> str:
    """Escape what plain text means otherwise than reST (|norms|, names_); link the [Keys]."""
    parts = LITERAL.split(line)
    for i in range(0, len(parts), 2):
        text = re.sub(r"(?<!\\)\|", r"\\|", parts[i])
        text = re.sub(r"(?<=\w)_(?!\w)", r"\\_", text)
        parts[i] = KEY.sub(lambda m: f":cite:`{m[1]}`" + (f" ({m[2]})" if m[2] else ""), text)
    return "".join(parts)


def plain_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text; make reST of them, doctests and `::` blocks left as they are."""
    example = block = False
    for i, line in enumerate(lines):
        if not line.strip():
            example = False
            continue
        example = example or line.lstrip().startswith(">>>")
        block = block and line.startswith(" ")
        if not example and not block:
            lines[i] = prose(line)
            block = line.rstrip().endswith("::")


def benchmark_tables(app) -> None:
    """Write the tables of the result file that CVXNN_RESULTS names, or that there is none."""
    target = Path(app.srcdir) / "generated" / "benchmarks.inc"
    target.parent.mkdir(exist_ok=True)
    content = "No result file was given when these pages were built.\n"
    if result := os.environ.get("CVXNN_RESULTS"):
        module = runpy.run_path(str(Path(app.srcdir).parent / "benchmarks" / "tables.py"))
        content = module["tables"](module["read"](Path(result)))
    target.write_text(content, encoding="utf-8")


def setup(app) -> None:
    app.connect("builder-inited", benchmark_tables)
    app.connect("autodoc-process-docstring", plain_docstring, priority=900)  # after numpydoc
