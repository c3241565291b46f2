"""What a module of the project imports, read from its source: the code that DVC has to list as dependencies."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("review", "stages", "vae")


def code_dependencies(module: str) -> set[str]:
    """The code that ``dvc.yaml`` lists for a stage: files of stages/, vae/__init__.py, and folders of vae/."""
    return {
        "/".join(path.parts[:2]) if path.parts[0] == "vae" else path.as_posix()
        for path in map(Path, imported_files(module))
    }


def imported_files(module: str) -> set[str]:
    """The Python files of the project that importing a module runs, directly or through others, its own included.

    Imports within functions count as well, since they run when the function does, and so do the packages around a
    module and those imported by name.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = module_file(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        waiting += imported_modules(ROOT / path)
        waiting += modules_imported_by_name(ROOT / path)
        package = Path(path).parent if not path.endswith("__init__.py") else Path(path).parent.parent
        if package != Path():
            waiting.append(".".join(package.parts))
    return found


def imported_modules(path: Path) -> Iterator[str]:
    """Every dotted name that the import statements of a file may import, those for type checking aside."""
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
            assert node.level == 0, f"{path}: imports are absolute here"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_imported_by_name(path: Path) -> set[str]:
    """The modules that a file may import by ``importlib``: those whose names stand in it as strings.

    Of a name that is put together, such as ``f"vae.model.networks.{network}"``, that is every module of the package.
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
    assert names, f"{path}: what does it import by import_module?"
    return names


def module_file(module: str) -> str | None:
    """The path of a module of the project, or None for any other."""
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
