"""A data set of labelled images, in memory and on disk.

Images are uint8 of shape (N, C, H, W), labels int64 of shape (N,). Each batch is converted to float32 in [0, 1] when it
is used. Pixels are not standardised, since a Bernoulli likelihood takes them as probabilities.
"""

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Generator, Tensor

from vae.base.artifacts import write_bytes
from vae.base.errors import VAEError
from vae.base.runtime import generator, permutation

ImageShape = tuple[int, int, int]

METADATA_KEY = "images"


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
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    kind: PixelKind = PixelKind.GREY

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
    return replace(data, images=(data.images >= 128).to(torch.uint8).mul_(255), kind=PixelKind.BINARY)


def pixels(images: Tensor) -> Tensor:
    """Convert uint8 of any shape to intensities in [0, 1], float32 of the same shape."""
    return images.to(torch.float32).div_(255)


def save_images(path: Path, data: LabelledImages) -> None:
    """Write a data set as safetensors; the same images give the same bytes.

    Raises:
        ArtifactError: the file cannot be written.
    """
    # A single metadata key, because safetensors writes several in an order that changes from run to run.
    metadata = {METADATA_KEY: json.dumps({"class_names": data.class_names, "pixels": data.kind})}
    write_bytes(path, save({"images": data.images.contiguous(), "labels": data.labels.contiguous()}, metadata))


def load_images(path: Path) -> LabelledImages:
    """Read a data set that ``save_images`` wrote.

    Raises:
        DatasetError: the file is missing, damaged or invalid.
    """
    try:
        with safe_open(path, framework="pt") as file:
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            class_names, kind = tuple(metadata["class_names"]), PixelKind(metadata["pixels"])
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; run dvc repro, or dvc pull, to get it") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: damaged, or not prepared data ({error}); delete it and run dvc repro") from error
    if not (images.dtype == torch.uint8 and images.ndim == 4 and labels.dtype == torch.int64):
        raise DatasetError(
            f"{path}: expected uint8 images N×C×H×W with int64 labels, got {images.dtype} {tuple(images.shape)} "
            f"with {labels.dtype}; delete it and run dvc repro"
        )
    if labels.shape != images.shape[:1] or ((labels < 0) | (labels >= len(class_names))).any():
        raise DatasetError(
            f"{path}: expected a label from {len(class_names)} classes for each image; delete it and run dvc repro"
        )
    return LabelledImages(images, labels, class_names, kind)
