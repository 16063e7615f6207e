"""The versions that the project's files name agree with each other."""

import re
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]


def _pins(file):
    """Return {name: version} of the ``name==version`` lines of a constraints file."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, flags=re.MULTILINE))


def _requirements():
    """Return {name: lower bound} of the dependencies and of all extras but one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    # Nothing of ours uses the extra "distributed" yet, so it has no pinned set.
    lines = project["project"]["dependencies"] + [
        line
        for extra, wanted in extras.items()
        for line in wanted
        if extra != "distributed" and not line.startswith("sklgan[")
    ]
    return dict(line.split(">=") for line in lines)


def test_every_requirement_is_pinned():
    """A package that pyproject.toml asks for stands in constraints.txt."""
    assert _requirements().keys() <= _pins("constraints.txt").keys()


def test_oldest_versions_are_the_lower_bounds():
    """`make test-oldest` installs what pyproject.toml declares."""
    bounds = _requirements()
    oldest = _pins("constraints-oldest.txt")
    assert oldest.keys() >= {"numpy", "scikit-learn", "scipy", "skorch"}
    for name in oldest.keys() & bounds.keys():
        assert oldest[name] == bounds[name]
