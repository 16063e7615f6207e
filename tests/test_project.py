"""The versions that the project's files name agree with each other."""

import re
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]


def _pins(file):
    """Return {name: version} of the ``name==version`` lines of a constraints file."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, flags=re.MULTILINE))


def _requirements(*without):
    """Return {name: lower bound} of the dependencies and of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    lines = project["project"]["dependencies"] + [
        line
        for extra, wanted in extras.items()
        if extra not in without
        for line in wanted
        if not line.startswith("sklgan[")
    ]
    return dict(line.split(">=") for line in lines)


def test_every_requirement_is_pinned():
    """A package that pyproject.toml asks for stands in constraints.txt."""
    assert _requirements().keys() <= _pins("constraints.txt").keys()


def test_oldest_versions_are_the_lower_bounds():
    """`make test-oldest` installs what pyproject.toml declares, all of it."""
    oldest = _pins("constraints-oldest.txt")
    # torch's version is the Makefile's, which leaves it to the caller.
    bounds = {n: v for n, v in _requirements("docs").items() if n != "torch"}
    assert {name: oldest.get(name) for name in bounds} == bounds


def test_the_documentation_is_built_with_its_lower_bounds():
    """The extra "docs" claims no version that `make docs` does not run."""
    pins = _pins("constraints.txt")
    tested = _requirements("docs").keys()
    bounds = {n: v for n, v in _requirements().items() if n not in tested}
    assert {name: pins[name] for name in bounds} == bounds
