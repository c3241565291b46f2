"""A data set of labelled images, in memory and on disk.

Images are uint8 of shape (N, C, H, W), labels int64 of shape (N,). Each batch is converted to float32 in [0, 1] when it
is used. Pixels are not standardised, since a Bernoulli likelihood takes them as probabilities.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from vae.base.errors import VAEError, shortened
from vae.base.runtime import generator, permutation
from vae.base.tensor_file import DamagedFileError, read_tensors, write_tensors
from vae.base.terminal import printable
from vae.data.preparation import Preparation

ImageShape = tuple[int, int, int]

METADATA_KEY = "images"
LONGEST_CLASS_NAME = 100  # characters


class DatasetError(VAEError):
    """A data set cannot be loaded, or a prepared file is missing, damaged or invalid."""


class PixelKind(StrEnum):
    """What the pixel values of a data set mean."""

    GREY = "grey"  # intensities
    BINARY = "binary"  # 0 or 255
    PROBABILITIES = "probabilities"  # of white; black or white is drawn from them each time an image is used


@dataclass(frozen=True)
class LabelledImages:
    """Images with class labels.

    Attributes:
        images: uint8 (N, C, H, W).
        labels: int64 (N,), each an index into ``class_names``.
        class_names: a name for each class.
        kind: what the pixel values mean.
        preparation: how images became these pixels, so that others can be prepared alike; None if unknown.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    kind: PixelKind = PixelKind.GREY
    preparation: Preparation | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width of an image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def __getitem__(self, indices: Tensor | slice) -> "LabelledImages":
        return replace(self, images=self.images[indices], labels=self.labels[indices])


class Splits(NamedTuple):
    """Training images and test images."""

    train: LabelledImages
    test: LabelledImages


def hold_out(data: LabelledImages, fraction: float, seed: int, purpose: str) -> tuple[LabelledImages, LabelledImages]:
    """Hold out a random fraction of a data set; return the rest, then the held-out images."""
    order = permutation(len(data), seed, purpose)
    held_out = round(len(data) * fraction)
    return data[order[held_out:]], data[order[:held_out]]


def draw_pixels(probabilities: Tensor, random: Generator) -> Tensor:
    """Draw black or white pixels (0 or 255), with value / 255 as the probability of white: uint8 of any shape."""
    uniform = torch.rand(probabilities.shape, generator=random, device=probabilities.device)
    return (uniform.mul_(255) < probabilities).to(torch.uint8).mul_(255)


def black_and_white(data: LabelledImages, seed: int, purpose: str) -> LabelledImages:
    """Make every pixel black or white, drawn once from the intensities. A binary data set is returned as it is."""
    if data.kind == PixelKind.BINARY:
        return data
    return replace(data, images=draw_pixels(data.images, generator(seed, purpose)), kind=PixelKind.BINARY)


def drawn_once(data: LabelledImages, seed: int, purpose: str) -> LabelledImages:
    """Draw the pixels of a data set once if training draws them each time; return any other data set as it is."""
    return black_and_white(data, seed, purpose) if data.kind == PixelKind.PROBABILITIES else data


def at_threshold(data: LabelledImages) -> LabelledImages:
    """Make every pixel white if its intensity is at least ½, else black."""
    return replace(data, images=threshold_pixels(data.images), kind=PixelKind.BINARY)


def threshold_pixels(intensities: Tensor) -> Tensor:
    """Black or white pixels (0 or 255), white from an intensity of ½: uint8 of any shape."""
    return (intensities >= 128).to(torch.uint8).mul_(255)


def pixels(images: Tensor) -> Tensor:
    """Convert uint8 of any shape to intensities in [0, 1], float32 of the same shape."""
    return images.to(torch.float32).div_(255)


def shrunk(images: Tensor, factor: int) -> Tensor:
    """Average squares of factor × factor pixels: floats (N, C, H, W) to (N, C, ⌈H / factor⌉, ⌈W / factor⌉).

    Squares that reach over the lower or right border are averaged over the pixels within the image.
    """
    return images if factor == 1 else F.avg_pool2d(images, factor, ceil_mode=True, count_include_pad=False)


def shrunk_array(images: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """``shrunk`` for an array instead of a tensor."""
    return shrunk(torch.from_numpy(images), factor).numpy()


def save_images(path: Path, data: LabelledImages) -> None:
    """Write a data set as safetensors; the same images give the same bytes.

    Raises:
        DatasetError: the name of a class cannot be shown everywhere.
        ArtifactError: the file cannot be written.
    """
    require_names(path, data.class_names)
    tensors = {"images": data.images, "labels": data.labels}
    description = {
        "class_names": list(data.class_names),
        "pixels": str(data.kind),
        "preparation": data.preparation and data.preparation.model_dump(),
    }
    write_tensors(path, tensors, METADATA_KEY, description)


def fingerprint(data: LabelledImages) -> str:
    """CRC-32 of all pixels as hexadecimal digits, to tell whether images are those that a model was trained on."""
    return f"{zlib.crc32(data.images.contiguous().numpy().data):08x}"


def require_names(path: Path, names: Sequence[object]) -> None:
    """Check that the names of classes can be shown in a table, on a page, in a picture and on a terminal.

    Raises:
        DatasetError: a name is no text, blank, too long, given twice, or has a character that controls a terminal or
            the direction of text.
    """
    seen: set[object] = set()
    for name in names:
        if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_CLASS_NAME:
            problem = f"expected a text of 1 to {LONGEST_CLASS_NAME} characters"
        elif printable(name) != name:
            problem = "it has characters that cannot be printed"
        elif name in seen:
            problem = "two classes have this name"
        else:
            seen.add(name)
            continue
        raise DatasetError(f"{path}: class name {shortened(ascii(name))}: {problem}; rename the class")


def load_images(path: Path) -> LabelledImages:
    """Read a data set that ``save_images`` wrote.

    Raises:
        DatasetError: the file is missing, damaged or invalid.
    """
    try:
        tensors, description = read_tensors(path, METADATA_KEY)
        images, labels = tensors["images"], tensors["labels"]
        class_names, kind = tuple(description["class_names"]), PixelKind(description["pixels"])
        recorded = description.get("preparation")  # older files have none
        preparation = None if recorded is None else Preparation.model_validate(recorded)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; run dvc repro prepare, or dvc pull, to get it") from error
    except (DamagedFileError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: damaged, or not prepared data of this version ({shortened(error)}); delete it and run dvc repro"
        ) from error
    require_names(path, class_names)
    if not (images.dtype == torch.uint8 and images.ndim == 4 and labels.dtype == torch.int64):
        raise DatasetError(
            f"{path}: expected uint8 images N×C×H×W with int64 labels, got {images.dtype} {tuple(images.shape)} "
            f"with {labels.dtype}; delete it and run dvc repro"
        )
    if labels.shape != images.shape[:1] or ((labels < 0) | (labels >= len(class_names))).any():
        raise DatasetError(
            f"{path}: expected a label from {len(class_names)} classes for each image; delete it and run dvc repro"
        )
    return LabelledImages(images, labels, class_names, kind, preparation)
