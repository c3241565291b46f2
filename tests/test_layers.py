"""Imports point one way."""

from pathlib import Path

import pytest

from tests.imports import ROOT, imported_modules, module_file

# From the ground up: a module imports from lower layers only, or from within its own package.
LAYERS = (
    {"vae.errors"},
    {"vae.adam", "vae.artifacts", "vae.cuda_graphs", "vae.latent_space", "vae.params", "vae.runtime"},
    {"vae.datasets", "vae.likelihoods", "vae.resumption", "vae.schedules"},
    {"vae.networks", "vae.sources"},
    {"vae.model"},
    {"vae.backpropagation", "vae.checkpoints", "vae.objective"},
    {"vae.differentiation", "vae.inference"},
    {"vae.steps"},
    {"vae.diagnostics", "vae.explorer", "vae.figures", "vae.training"},
    {"stages"},
    {"review"},
)
MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    for folder in ("vae", "stages", "review")
    for path in (ROOT / folder).rglob("*.py")
)


def layer(module: str) -> int:
    for height, members in enumerate(LAYERS):
        if any(module == member or module.startswith(f"{member}.") for member in members):
            return height
    raise AssertionError(f"{module} belongs to no layer: add it to LAYERS")


@pytest.mark.parametrize("module", [module for module in MODULES if module not in {"vae", "review"}])
def test_a_module_imports_from_lower_layers_only(module: str) -> None:
    own_package = module.split(".")[:2]
    for imported in imported_modules(ROOT / str(module_file(module))):
        target = module_file(imported)
        if target is None or imported in {"vae", "stages", "review"} or imported.split(".")[:2] == own_package:
            continue
        if module.split(".")[0] == imported.split(".")[0] != "vae":  # stages, and commands of a review
            continue
        assert layer(imported) < layer(module), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("vae.figures")])
def test_figures_know_nothing_of_torch(module: str) -> None:
    imported = imported_modules(ROOT / str(module_file(module)))
    assert not any(name == "torch" or name.startswith("torch.") for name in imported)


def test_the_library_knows_nothing_of_the_pipeline() -> None:
    for path in (ROOT / "vae").rglob("*.py"):
        names = set(imported_modules(path))
        assert not any(name.split(".")[0] in {"stages", "review", "dvc", "dvclive"} for name in names), Path(path).name
