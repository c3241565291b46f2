"""Find what a module of the project imports, which DVC has to list as dependencies."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("review", "scoring", "search", "stages", "vae", "workspace")
FOR_USERS = "vae/__init__.py"  # imports what vae.load needs when it is called, which no module of the project does


def code_dependencies(module: str) -> set[str]:
    """The code that ``dvc.yaml`` must list for a stage: files of stages/, vae/__init__.py, and folders of vae/."""
    return {
        "/".join(path.parts[:2]) if path.parts[0] == "vae" else path.as_posix()
        for path in map(Path, imported_files(module))
    }


def imported_files(module: str) -> set[str]:
    """The project's Python files that a module imports, directly or indirectly, including its own.

    Imports within functions count, and so do parent packages and modules that are imported by name.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = module_file(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        if path == FOR_USERS:
            continue
        waiting += imported_modules(ROOT / path)
        waiting += modules_imported_by_name(ROOT / path)
        package = Path(path).parent if not path.endswith("__init__.py") else Path(path).parent.parent
        if package != Path():
            waiting.append(".".join(package.parts))
    return found


def imported_modules(path: Path) -> Iterator[str]:
    """Yield every dotted name that a file may import, except for type checking."""
    tree = parsed(path)
    for_types_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: use absolute imports"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_imported_by_name(path: Path) -> set[str]:
    """The modules that a file may import with ``importlib``: those whose names it contains as strings.

    A name with a variable part, such as ``f"vae.model.networks.{network}"``, stands for every module of the package.
    """
    if "importlib.import_module" not in set(imported_modules(path)):
        return set()
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and module_file(node.value)):
            continue
        name, dot, rest = node.value.rpartition(".")
        if dot and not rest:
            names |= {f"{name}.{file.stem}" for file in ROOT.joinpath(*name.split(".")).glob("[!_]*.py")}
        else:
            names.add(node.value)
    assert names, f"{path}: calls import_module, but contains no name of a module"
    return names


def module_file(module: str) -> str | None:
    """The path of a module, or None if it is not part of the project."""
    if module.split(".")[0] not in PACKAGES:
        return None
    path = Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate.as_posix()
    return None


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))
