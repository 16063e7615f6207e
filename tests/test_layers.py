"""Who may import whom in sklgan, and how large its parts may grow."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sklgan"

PARTS = {
    "_architecture",
    "_autoencoder",
    "_blob_arrays",
    "_blob_dtype",
    "_caching",
    "_checkpoint",
    "_class_losses",
    "_decoding",
    "_decoding_processes",
    "_features",
    "_files",
    "_foreign",
    "_grid",
    "_hamming",
    "_inference",
    "_inversion",
    "_labels",
    "_leakage",
    "_listing",
    "_namespaces",
    "_newton",
    "_objectives",
    "_perceptual",
    "_streams",
    "_tasks",
    "_mapping",
    "_placement",
    "_predictions",
    "_prefetch",
    "_rows",
    "_sequences",
    "_value_range",
    "_state_files",
    "_tensors",
    "_training",
    "augment",
    "blobs",
    "losses",
    "metrics",
    "model_selection",
    "networks",
}
ESTIMATORS = {
    "_blobgan",
    "_clustering",
    "_dcgan",
    "_duplicates",
    "_linear",
    "_semi_supervised",
}
TOOLS = {"_blobs_display", "_display", "inspection"}
EVERYTHING = {
    *PARTS,
    "_images",
    "_diagnosis",
    "_engine",
    "_onnx",
    "_exchange",
    "_painting",
    "datasets",
    "_base",
    *ESTIMATORS,
    *TOOLS,
}

# Module -> the modules of ours that it may import. A folder counts as one module.
MAY_IMPORT = {
    **dict.fromkeys(PARTS, set()),
    "_architecture": {"augment", "networks"},
    "_autoencoder": {"_placement", "_tensors"},
    "_blob_arrays": {"_blob_dtype", "_inference", "_tensors", "networks"},
    "blobs": {"_blob_dtype"},
    "_caching": {"_files"},
    "_checkpoint": {"_files", "_placement"},
    "_decoding": {"_listing"},
    "_class_losses": {"_architecture", "_labels", "_placement", "_tensors", "losses"},
    "_images": {
        "_decoding",
        "_listing",
        "_mapping",
        "_namespaces",
        "_sequences",
        "_value_range",
    },
    "_value_range": {"_namespaces"},
    "_features": {"_inference", "_tensors"},
    "_foreign": {"_decoding", "_state_files", "networks"},
    "_grid": {"_files"},
    "_inference": {"_placement", "_tensors"},
    "_inversion": {
        "_checkpoint",
        "_perceptual",
        "_placement",
        "_streams",
        "_tensors",
        "_training",
        "networks",
    },
    "_labels": {"_namespaces"},
    "_objectives": {"_architecture", "_training", "augment", "losses"},
    "_perceptual": {"_tensors"},
    "_predictions": {"_namespaces"},
    "_placement": {
        "_decoding",
        "_mapping",
        "_prefetch",
        "_rows",
        "_sequences",
        "_tensors",
    },
    "_rows": {"_prefetch"},
    "_sequences": {
        "_caching",
        "_decoding",
        "_decoding_processes",
        "_mapping",
        "_prefetch",
    },
    "_decoding_processes": {"_decoding"},
    "_streams": {"_labels", "_placement", "_training"},
    "_tasks": {"_training"},
    "_training": {
        "_features",
        "_grid",
        "_inference",
        "_rows",
        "_tensors",
        "metrics",
    },
    "metrics": {"_features", "_images", "_placement", "_tensors", "networks"},
    "model_selection": {"_labels", "_namespaces"},
    "datasets": {"_decoding", "_images", "_labels", "_sequences"},
    **dict.fromkeys(
        ["_diagnosis", "_engine", "_onnx", "_painting"], {*PARTS, "_images"}
    ),
    "_exchange": {*PARTS, "_images", "_onnx", "_value_range"},
    "_base": {*PARTS, "_images", "_diagnosis", "_engine"},
    **dict.fromkeys(ESTIMATORS, {*PARTS, "_images", "_exchange", "_painting", "_base"}),
    "_blobs_display": {*PARTS, "_images", "_display"},
    "_display": {*PARTS, "_images"},
    "inspection": {*PARTS, "_images", "_display"},
    "__init__": EVERYTHING,
}

# Third-party package -> the only modules that may import it.
RESERVED = {
    "skorch": {"_training"},
    "PIL": {"_decoding", "_display", "_grid", "_images", "_listing"},
    "matplotlib": {"_blobs_display", "_display", "inspection"},
}

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 55

SOURCES = sorted(PACKAGE.rglob("*.py"))
PYTHON_FILES = sorted(
    path
    for folder in ("sklgan", "tests", "examples", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)


def _relative(path):
    return path.relative_to(ROOT).as_posix()


def _module(path):
    """Name of the module of the table that a file belongs to."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def _imports(tree):
    """Yield (dotted name, node) of every import, ``from a import b`` as ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield f"{'.' * node.level}{node.module or ''}.{alias.name}", node


def _functions(tree):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def _n_lines_without_docstring(function):
    """Lines from ``def`` to the last statement, less those of the docstring."""
    n_lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        n_lines -= docstring.end_lineno - docstring.lineno + 1
    return n_lines


def _parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_module_stands_in_the_table(path):
    """A new module must be given its place in the house."""
    assert _module(path) in MAY_IMPORT, (
        f"{_relative(path)} has no layer: add {_module(path)!r} to the table "
        "MAY_IMPORT in tests/test_layers.py"
    )


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_imports_point_downwards(path):
    """No module imports from its own layer or from one above."""
    module = _module(path)
    allowed = MAY_IMPORT.get(module, set())
    modules = {_module(source) for source in SOURCES}
    inside_a_folder = path.parent != PACKAGE
    for name, node in _imports(_parse(path)):
        assert not name.startswith("."), (
            f"{_relative(path)}:{node.lineno} has a relative import; write sklgan..."
        )
        if name.split(".")[0] != "sklgan":
            continue
        target = (name.split(".") + ["__init__"])[1]
        if target not in modules:  # a name defined in sklgan/__init__.py
            target = "__init__"
        if target == module and inside_a_folder:
            continue
        assert target in allowed, (
            f"{_relative(path)}:{node.lineno} imports {name}: {module} may import only "
            f"{sorted(allowed)}"
        )


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_reserved_packages_stay_in_their_room(path):
    """The engine alone knows skorch, the image gate Pillow, the displays matplotlib."""
    for name, node in _imports(_parse(path)):
        rooms = RESERVED.get(name.split(".")[0], {_module(path)})
        assert _module(path) in rooms, (
            f"{_relative(path)}:{node.lineno} imports {name}, which belongs in "
            f"{sorted(rooms)} alone"
        )


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_optional_packages_are_imported_where_used(path):
    """Importing sklgan must work without matplotlib and the other extras."""
    optional = {"matplotlib", "pyarrow", "safetensors", "skops", "dask", "distributed"}
    optional |= {"rich", "tensorboard", "onnx", "onnxscript"}
    optional |= {"rich", "tensorboard", "torch_fidelity"}
    optional |= {"rich", "tensorboard", "lpips"}
    tree = _parse(path)
    inside = {
        id(node)
        for function in _functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    for name, node in _imports(tree):
        assert name.split(".")[0] not in optional or id(node) in inside, (
            f"{_relative(path)}:{node.lineno} imports {name} for everybody; import it "
            "inside the function that needs it"
        )


@pytest.mark.parametrize("path", PYTHON_FILES, ids=_relative)
def test_file_is_small(path):
    """A file that outgrows the limit is split by idea."""
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_FILE_LINES, f"{_relative(path)} has {n_lines} lines"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=_relative)
def test_functions_are_small(path):
    """A long function is two; constructors, which list parameters, are exempt."""
    too_long = [
        f"{_relative(path)}:{function.lineno} {function.name} has {n_lines} lines"
        for function in _functions(_parse(path))
        if function.name != "__init__"
        and (n_lines := _n_lines_without_docstring(function)) > MAX_FUNCTION_LINES
    ]
    assert not too_long
