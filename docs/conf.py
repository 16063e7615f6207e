"""Sphinx configuration: builds without network and without warnings."""

import re
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent

project = "sklgan"
author = "the sklgan developers"
copyright = f"2026, {author}"
release = version = installed_version("sklgan")

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
autosummary_generate = True
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = f"sklgan {release}"
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklgan",),
    "download_all_examples": False,
    "show_memory": False,
    "abort_on_example_error": True,
    "parallel": 2,
}


def changelog_as_rst(markdown):
    """Turn the few marks that CHANGES.md uses into reStructuredText."""
    text = re.sub(r"`([^`]+)`", r"``\1``", markdown)
    text = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", text)
    lines = []
    for line in text.splitlines():
        marks, _, title = line.partition(" ")
        if marks and set(marks) == {"#"}:
            title = title.strip("[]")
            lines += [title, "=-~"[len(marks) - 1] * len(title)]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def write_changelog(app):
    """Write docs/whats_new.rst, which is CHANGES.md."""
    markdown = (HERE.parent / "CHANGES.md").read_text(encoding="utf-8")
    (HERE / "whats_new.rst").write_text(changelog_as_rst(markdown), encoding="utf-8")


def skip_foreign_members(app, what, name, obj, skip, options):
    """Leave out what a class inherits from scikit-learn and PyTorch."""
    function = obj.fget if isinstance(obj, property) else obj
    module = getattr(function, "__module__", None) or ""
    return skip or (what == "class" and not module.startswith("sklgan"))


def setup(app):
    """Connect the two functions above."""
    app.connect("config-inited", lambda app, config: write_changelog(app))
    app.connect("autodoc-skip-member", skip_foreign_members)
