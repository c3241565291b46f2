"""Which files of the project a module imports, read from its source: what DVC has to list as code dependencies."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("review", "stages", "vae")


def imported_files(module: str) -> set[str]:
    """The project's files that importing a module runs, directly or through others, its own included.

    Imports within functions count as well: they run when the function does. So do the packages around a module, with
    all their files.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = module_file(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        if path.endswith("__init__.py"):
            found |= sources_beside(Path(path).parent)
        waiting += imported_modules(ROOT / path)
        package = Path(path).parent if not path.endswith("__init__.py") else Path(path).parent.parent
        if package != Path():
            waiting.append(".".join(package.parts))
    return found


def sources_beside(package: Path) -> set[str]:
    """The files of a package that are no Python: it may read any of them."""
    files = (path for path in (ROOT / package).iterdir() if path.is_file() and path.suffix != ".py")
    return {path.relative_to(ROOT).as_posix() for path in files}


def imported_modules(path: Path) -> Iterator[str]:
    """Every dotted name that a file may import, type-checking imports aside."""
    tree = ast.parse(path.read_text())
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


def module_file(module: str) -> str | None:
    """The path of a module of the project, or None for any other."""
    if module.split(".")[0] not in PACKAGES:
        return None
    path = Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate.as_posix()
    return None
