"""Files of modules as safetensors: the weights, and a description that the module is built from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vae.base.artifacts import write_bytes
from vae.base.errors import VAEError

Shape = tuple[int, int, int]
M = TypeVar("M", bound=nn.Module)


class ModuleFileError(VAEError):
    """The file of a module is missing, damaged or invalid, or does not fit the data."""


class ModuleFile(NamedTuple):
    """What the file of one kind of module contains, and what error messages say about it.

    Attributes:
        what: the kind of module: ``model``.
        key: of the description in the metadata. It is the only one, since safetensors writes several in an order that
            changes from run to run.
        stage: the stage that writes the file.
    """

    what: str
    key: str
    stage: str

    def save(self, path: Path, module: nn.Module, description: str) -> None:
        """Write the weights and the description.

        Raises:
            ArtifactError: the file cannot be written.
        """
        weights = {name: weight.cpu().contiguous() for name, weight in module.state_dict().items()}
        write_bytes(path, save(weights, {self.key: description}))

    @contextmanager
    def reading(self, path: Path) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """The description and the weights, as the value of a ``with`` statement in which the module is built.

        Raises:
            ModuleFileError: the file is missing, damaged or invalid; also for an error within the statement.
        """
        try:
            with safe_open(path, framework="pt") as file:
                description = (file.metadata() or {})[self.key]
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is not a mapping
            if any(weight.dtype != torch.float32 for weight in weights.values()):
                raise TypeError("weights are not float32")
            yield description, weights
        except FileNotFoundError as error:
            raise ModuleFileError(
                f"{path}: no such file; run dvc repro {self.stage}, or dvc pull, to get it"
            ) from error
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError, VAEError) as error:
            reason = " ".join(str(error).split())
            raise ModuleFileError(
                f"{path}: damaged, or not a {self.what} of this version ({reason}); "
                f"delete it and run dvc repro {self.stage}"
            ) from error

    def require_shape(self, path: Path, own: Shape, data: Shape) -> None:
        """Check that a module is for images of the shape of the data.

        Raises:
            ModuleFileError: it is for another shape.
        """
        if own != data:
            trained, given = ("×".join(map(str, shape)) for shape in (own, data))
            raise ModuleFileError(
                f"{path}: a {self.what} for {trained} images, but data/prepared holds {given} images; "
                f"run dvc repro {self.stage}"
            )


def built(module: Callable[[], M], weights: Mapping[str, Tensor]) -> M:
    """Build a module with these weights, without drawing or allocating others first.

    Raises:
        RuntimeError: a weight is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        empty = module()
    empty.load_state_dict(weights, assign=True)
    return empty
