"""Every public object is documented, in numpydoc's form."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate
from skorch.callbacks import Callback

import sklgan

DOCS = Path(__file__).resolve().parents[1] / "docs"

# https://numpydoc.readthedocs.io/en/latest/validation.html explains the codes.
CHECKS = {
    "GL03",  # no double blank lines
    "GL05",  # no tabs
    "GL06",  # known sections only
    "GL07",  # sections in the usual order
    "GL08",  # there is a docstring
    "GL09",  # deprecation warning comes first
    "GL10",  # directives are well formed
    "SS01",  # there is a summary
    "SS02",  # that begins with a capital
    "SS03",  # ends with a full stop
    "SS04",  # has no leading blanks
    "SS05",  # begins with an infinitive
    "SS06",  # fits on one line
    "PR01",  # all parameters are documented
    "PR02",  # and no others
    "PR03",  # in their order
    "PR04",  # with a type
    "PR05",  # that has no full stop
    "PR06",  # named as Python names it
    "PR07",  # with a description
    "PR08",  # that begins with a capital
    "PR09",  # ends with a full stop
    "PR10",  # after a blank before the colon
    "RT01",  # returned values are documented
    "RT03",  # with a description
    "RT04",  # that begins with a capital
    "RT05",  # ends with a full stop
    "YD01",  # yielded values are documented
}

# A function of tensors, annotated throughout, says formula and shapes in its text.
NOT_FOR_TENSOR_FUNCTIONS = {"PR01", "RT01"}
TENSOR_MODULES = ("sklgan.augment", "sklgan.losses", "sklgan.networks")

MODULES = ["sklgan"] + [
    f"sklgan.{module.name}"
    for module in pkgutil.iter_modules(sklgan.__path__)
    if not module.name.startswith("_")
]


def _is_documented_here(obj):
    """Whether an object is a class or function of ours, not a constant or a guest."""
    kind = inspect.isclass(obj) or inspect.isroutine(obj)
    return kind and (getattr(obj, "__module__", None) or "").startswith("sklgan")


def _public_objects():
    """Yield the dotted name of every public class and function."""
    for name in MODULES:
        module = importlib.import_module(name)
        for attribute in getattr(module, "__all__", ()):
            if _is_documented_here(getattr(module, attribute)):
                yield f"{name}.{attribute}"


def _load(name):
    return pkgutil.resolve_name(name)


def _checks(name, obj):
    """Return the codes of the checks that an object must pass."""
    if inspect.isclass(obj):
        # Users catch errors and do not make them.
        return CHECKS - {"PR01"} if issubclass(obj, Exception) else CHECKS
    if not name.startswith(TENSOR_MODULES):
        return CHECKS
    signature = inspect.signature(obj)
    kinds = [p.annotation for p in signature.parameters.values() if p.name != "self"]
    if inspect.Signature.empty in [*kinds, signature.return_annotation]:
        return CHECKS
    return CHECKS - NOT_FOR_TENSOR_FUNCTIONS


def _public_methods(name):
    """Yield the dotted names of the methods that a class has from us."""
    cls = _load(name)
    # What skorch calls on a callback is its to document.
    hooks = dir(Callback) if issubclass(cls, Callback) else ()
    for attribute, member in inspect.getmembers(cls):
        if attribute.startswith("_") or attribute in hooks:
            continue
        if _is_documented_here(getattr(member, "fget", member)):  # or a property
            yield f"{name}.{attribute}"


OBJECTS = sorted(_public_objects())
CLASSES = [name for name in OBJECTS if inspect.isclass(_load(name))]
METHODS = [method for name in CLASSES for method in _public_methods(name)]
MAIN_CLASSES = [
    name
    for name in CLASSES
    if name.count(".") == 1 and not issubclass(_load(name), Exception)
]


@pytest.mark.parametrize("name", MODULES)
def test_public_module_says_what_it_holds(name):
    """A public module has a docstring, and an ``__all__`` whose names exist."""
    module = importlib.import_module(name)
    assert module.__doc__
    assert hasattr(module, "__all__"), f"list the public names of {name} in __all__"
    assert all(hasattr(module, attribute) for attribute in module.__all__)


@pytest.mark.parametrize("name", OBJECTS + METHODS)
def test_docstring_passes_numpydoc(name):
    """Numpydoc's validator finds nothing to correct."""
    checks = _checks(name, _load(name))
    errors = [
        f"{code}: {message}"
        for code, message in validate(name)["errors"]
        if code in checks
    ]
    assert not errors


@pytest.mark.parametrize("name", MAIN_CLASSES)
def test_main_class_has_parameters_attributes_and_examples(name):
    """The classes of the top level show what they take, what they learn, how to use."""
    doc = ClassDoc(_load(name))
    assert doc["Parameters"]
    assert doc["Attributes"]
    assert doc["Examples"]


@pytest.mark.parametrize("name", OBJECTS)
def test_object_stands_on_the_api_page(name):
    """The API page lists every public object."""
    # Estimators are listed by their bare name, the rest under its module's heading.
    page = (DOCS / "api.rst").read_text(encoding="utf-8").split()
    assert name.removeprefix("sklgan.") in page
