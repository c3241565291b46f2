"""The images of a folder, prepared for a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from vae.base.errors import VAEError
from vae.data.folder import ReadImage, chosen, read_images
from vae.data.listing import ImageFile
from vae.data.metadata import list_images
from vae.data.temporary_images import TemporaryImages
from vae.use.trained_model import TrainedModel


class NothingToScoreError(VAEError):
    """No file of a folder can be used."""


@dataclass(frozen=True)
class Folder:
    """The files of a folder and the pixels of those that can be used.

    Attributes:
        files: all files that may be images, sorted by name.
        found: what was found in each of them.
        images: of the files that can be used, in order: uint8 (N, C, H, W), before pixels are drawn black or white.
    """

    files: Sequence[ImageFile]
    found: Sequence[ReadImage]
    images: Tensor

    @property
    def used(self) -> list[ImageFile]:
        """The files that can be used, one for each image."""
        return [file for file, image in zip(self.files, self.found, strict=True) if not image.skipped]

    @property
    def skipped(self) -> dict[str, str]:
        """Why files cannot be used, by their names."""
        return {file.name: image.skipped for file, image in zip(self.files, self.found, strict=True) if image.skipped}

    @property
    def class_names(self) -> list[str]:
        """The names of all classes, sorted."""
        return sorted({file.label for file in self.used if file.label is not None})


def read_folder(folder: Path, model: TrainedModel, temporary: Path) -> Folder:
    """Read all images of a folder as the training images of a model were read. Broken files are skipped.

    Args:
        folder: with images in any layout that prepare.folder allows; images without a class count as well.
        model: whose images have the wanted size.
        temporary: a folder for a temporary file.

    Raises:
        DatasetError: the folder is missing or has no images, or its metadata are invalid.
        NothingToScoreError: no image can be used.
        ArtifactError: the temporary file cannot be written.
    """
    channels, height, width = model.image_shape
    # An image that has no class, or is not in the metadata, can be scored.
    files = [
        replace(file, skipped="" if (folder / file.name).exists() else file.skipped)
        for file in list_images(folder, "IMAGES").files
    ]
    with TemporaryImages(temporary, (len(files), 3, height, width)) as decoded:
        found = read_images(folder, files, model.origin.preparation.framing(height, width), decoded)
        pixels = decoded.mapped()
    rows = [row for row, image in enumerate(found) if not image.skipped]
    if not rows:
        reason = found[0].skipped
        raise NothingToScoreError(f"IMAGES: {folder}: none of {len(files):,} files can be used: {reason}")
    return Folder(files, found, chosen(pixels, rows, channels, temporary))
