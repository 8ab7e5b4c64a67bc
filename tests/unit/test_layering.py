"""Who may import whom, and what importing tvbank must not import."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tvbank"


def parts_of(folder):
    """Names of the modules and packages of a folder; one that holds no source is no package."""
    return {
        path.stem
        for path in folder.iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or any(path.rglob("*.py"))
    }


#: Each layer may import itself and the layers named; the command line may import everything.
#: Stores of bytes know nothing of banks, and checkpoints live in them, too.
ALLOWED = {
    "errors": set(),
    "_lazy": {"_imports"},
    "_atomic": {"errors", "_files"},
    "_atomic_folder": {"_atomic"},
    "_files": set(),
    "_imports": {"errors"},
    "_notebook": {"errors"},
    "_progress": {"_notebook", "errors"},
    "_shown": {"errors"},
    "_registry": {"errors", "_imports"},
    "_version": set(),
    "_json": set(),
    "_zstd": set(),
    "dtypes": set(),
    "storage": {"errors", "_atomic", "_files", "_version"},
    "checkpoint": {"errors", "_atomic", "_imports", "_json", "dtypes", "storage"},
    "layout": {"errors", "dtypes", "checkpoint"},
    "naming": {"errors", "_files", "_json", "_lazy", "dtypes", "checkpoint", "layout", "folders"},
    "vector": {"errors", "dtypes", "checkpoint", "layout", "naming"},
    "folders": {
        "errors", "_atomic", "_atomic_folder", "_files", "_json", "_version", "storage",
        "checkpoint", "layout",
    },
    "hub": {"errors", "_atomic", "_lazy", "_progress", "_version", "storage", "bank", "folders"},
    "coding": {"errors", "_imports", "_lazy"},
    "artefacts": {
        "errors", "_atomic", "_files", "_json", "_zstd", "dtypes", "storage", "checkpoint",
        "layout", "coding",
    },
    "compress": {"errors", "_progress", "_registry", "_lazy", "dtypes", "checkpoint", "coding"},
    "adapters": {
        "errors", "_json", "_atomic_folder", "dtypes", "checkpoint", "layout", "vector", "coding",
        "naming", "storage",
    },
    "bank": {
        "errors", "_atomic", "_lazy", "_progress", "_shown", "_zstd", "dtypes", "storage",
        "checkpoint", "layout", "vector", "adapters", "artefacts", "coding", "compress", "routing",
        "folders", "naming",
    },
    "building": {
        "errors", "_atomic", "_files", "_imports", "_json", "_progress", "_lazy", "_version",
        "storage", "checkpoint", "dtypes", "layout", "vector", "artefacts", "coding", "compress",
        "bank", "adapters", "naming", "folders",
    },
    "merging": {
        "errors", "_imports", "_progress", "_registry", "_lazy", "dtypes", "checkpoint", "layout",
        "vector", "adapters", "naming", "storage", "coding", "compress", "bank", "folders",
    },
    "switching": {
        "errors", "_lazy", "_shown", "dtypes", "storage", "checkpoint", "layout", "vector",
        "coding", "bank", "merging", "naming", "folders",
    },
    "updates": {
        "errors", "_atomic", "_atomic_folder", "_progress", "_lazy", "dtypes", "checkpoint",
        "layout", "naming", "vector", "storage", "artefacts", "compress", "bank", "merging",
        "switching",
    },
    "routing": {"errors", "_imports", "_lazy", "_shown"},
    "autoswitch": {"errors", "_lazy", "naming", "storage", "bank", "switching", "routing"},
    "flexswitch": {
        "errors", "_atomic", "_files", "_progress", "_lazy", "dtypes", "checkpoint", "coding",
        "compress", "merging", "switching", "naming",
    },
    "inspection": {"errors", "_files", "checkpoint", "adapters", "artefacts", "bank"},
    "reporting": {
        "errors", "_atomic", "_progress", "_lazy", "_version", "dtypes", "checkpoint", "layout",
        "naming", "vector", "storage", "coding", "compress", "bank", "merging", "routing",
    },
    "testing": {"errors", "dtypes", "checkpoint", "coding", "vector"},
}  # fmt: skip


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("layer", ALLOWED)
def test_imports_run_one_way(layer):
    module = PACKAGE / f"{layer}.py"
    files = [module] if module.exists() else list((PACKAGE / layer).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "tvbank":
                assert len(parts) > 1, f"{path} imports the package root"
                assert parts[1] in ALLOWED[layer] | {layer}, f"{path} imports {name}"


def test_every_part_of_the_package_has_its_place_in_the_layers():
    assert parts_of(PACKAGE) - set(ALLOWED) == {"cli", "demo"}


def module_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imported(name):
    """(module, name in it or None, name here) of all imports from tvbank, wherever they stand."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tvbank":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                here = alias.asname or alias.name
                yield (inner, None, here) if inner in MODULES else (node.module, alias.name, here)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in MODULES:
                    yield alias.name, None, alias.asname


def owner(module, name):
    """The package that a private module or name belongs to; None if nothing is private."""
    parts = module.split(".")
    for place, part in enumerate(parts):
        if part.startswith("_"):
            return ".".join(parts[:place])
    if name is None or not name.startswith("_") or name.startswith("__"):
        return None
    return module if module in PACKAGES else ".".join(parts[:-1])


def private_names_of_others(name):
    inside = name if name in PACKAGES else name.rpartition(".")[0]
    modules = {}
    for module, item, here in imported(name):
        package = owner(module, item)
        if package is not None and not f"{inside}.".startswith(f"{package}."):
            yield f"{name} imports {module}{f'.{item}' if item else ''}"
        if item is None and here:
            modules[here] = module
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            package = owner(module, node.attr) if module else None
            if package is not None and not f"{inside}.".startswith(f"{package}."):
                yield f"{name} uses {module}.{node.attr}"


def test_no_package_takes_a_private_name_of_another():
    assert not [taken for name in MODULES for taken in private_names_of_others(name)]


def test_imports_make_no_circle():
    """Imports for types and inside functions count, too."""
    graph = {name: {module for module, _, _ in imported(name)} for name in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the circle


@pytest.mark.parametrize("folder", sorted(path.parent for path in PACKAGE.rglob("__init__.py")))
def test_the_docstring_of_every_folder_is_a_map_of_it(folder):
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    named = set(re.findall(r"``(\w+)(?:\.py|/)?``", text))
    there = parts_of(folder) - {"__main__"}
    assert there <= named
    files = set(re.findall(r"``(\w+)(?:\.py|/)``", text))
    assert files <= there


def modules_after(code):
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "numba", "zarr", "numcodecs"}


def test_importing_tvbank_is_light():
    assert not modules_after("import tvbank") & HEAVY


def test_listing_and_showing_a_bank_is_light(tmp_path):
    build = (
        "import numpy, tvbank\n"
        "base = {'w': numpy.zeros(8, numpy.float32)}\n"
        f"bank = tvbank.create({str(tmp_path / 'bank')!r}, base=base)\n"
        "bank.add('t', {'w': numpy.arange(8, dtype=numpy.float32)})\n"
    )
    modules_after(build)
    for verb in (["ls"], ["ls", "--json"], ["show"], ["show", "t"]):
        arguments = ["tvbank", verb[0], str(tmp_path / "bank"), *verb[1:]]
        run = (
            f"sys.argv = {arguments!r}\n"
            "from tvbank.cli import main\n"
            "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        )
        assert not modules_after(run) & HEAVY


def test_public_names_resolve():
    import tvbank

    for name in tvbank.__all__:
        assert getattr(tvbank, name) is not None
    assert callable(tvbank.merge)
    assert callable(tvbank.export)
