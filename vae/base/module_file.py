"""Files of modules: the weights, and a description that the module is built from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from vae.base.errors import VAEError, shortened
from vae.base.tensor_file import read_tensors, write_tensors

Shape = tuple[int, int, int]
M = TypeVar("M", bound=nn.Module)


class ModuleFileError(VAEError):
    """The file of a module is missing, damaged or invalid, or does not fit the data."""


class ModuleFile(NamedTuple):
    """What the file of one kind of module contains, and what error messages say about it.

    Attributes:
        what: the kind of module: ``model``.
        key: of the description in the metadata.
        stage: the stage that writes the file.
    """

    what: str
    key: str
    stage: str

    def save(self, path: Path, module: nn.Module, description: Mapping[str, Any]) -> None:
        """Write the weights and the description.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_tensors(path, module.state_dict(), self.key, description)

    @contextmanager
    def reading(self, path: Path) -> Iterator[tuple[dict[str, Any], Mapping[str, Tensor]]]:
        """The description and the weights, as the value of a ``with`` statement in which the module is built.

        Raises:
            ModuleFileError: the file is missing, damaged or invalid; also for an error within the statement.
        """
        try:
            weights, description = read_tensors(path, self.key)
            if any(weight.dtype != torch.float32 for weight in weights.values()):
                raise TypeError("weights are not float32")
            yield description, weights
        except FileNotFoundError as error:
            raise ModuleFileError(
                f"{path}: no such file; run dvc repro {self.stage}, or dvc pull, to get it"
            ) from error
        except ModuleFileError:
            raise
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, VAEError) as error:
            raise ModuleFileError(
                f"{path}: damaged, or not a {self.what} of this version ({shortened(error)}); "
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


def built(module: Callable[[], M], weights: Mapping[str, Tensor], layers: int = 0) -> M:
    """Build a module with these weights, without drawing or allocating others first.

    Args:
        module: builds it.
        weights: of all its layers, by name.
        layers: the least number of layers that it has. A description may claim any number, and each layer takes memory
            before its weights are missed.

    Raises:
        ValueError: there are fewer weights than layers.
        RuntimeError: a weight is missing, unknown or of another shape.
    """
    if layers > len(weights):
        raise ValueError(f"{len(weights)} weights for {layers:,} layers or more")
    with torch.device("meta"):
        empty = module()
    empty.load_state_dict(weights, assign=True)
    return empty
