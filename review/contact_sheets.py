"""Contact sheets: reconstructions and samples of several experiments, from the same images and draws."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from review.revisions import Revision
from stages import paths
from vae.base import runtime
from vae.base.errors import VAEError
from vae.data.images import LabelledImages, load_images, pixels
from vae.figures.images import image_grid
from vae.model import inference
from vae.model.model_file import load_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 12
SEED = 0


class MissingFileError(VAEError):
    """DVC's cache lacks a file of a revision."""


@dataclass(frozen=True)
class Sheet:
    """Named rows of images, each float32 (COLUMNS, C, H, W)."""

    names: list[str] = field(default_factory=list)
    rows: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, name: str, images: NDArray[np.float32]) -> None:
        """Add a row."""
        self.names.append(name)
        self.rows.append(images)


@dataclass(frozen=True)
class ContactSheets:
    """Reconstructions and samples of several runs, and the reasons why some runs have none, by name."""

    reconstructions: Sheet
    samples: Sheet
    problems: dict[str, str]


def contact_sheets(runs: Mapping[str, Revision]) -> ContactSheets:
    """Reconstruct the same test images and decode the same draws from the prior with the model of each run.

    If runs have different test images, each set has its own row above the first run that uses it.

    Args:
        runs: the runs, by the names to show beside their rows.
    """
    sheets = ContactSheets(Sheet(), Sheet(), {})
    shown: str | None = None
    shape: tuple[int, ...] | None = None
    for name, run in runs.items():
        try:
            test, digest = _test_images(run)
            if shape not in {None, test.shape}:
                raise MissingFileError(f"its images have the shape {test.shape} instead of {shape}")
            originals, reconstructions, samples = _decoded(run, test)
        except VAEError as error:
            sheets.problems[name] = str(error)
            continue
        shape = test.shape
        if digest != shown:
            sheets.reconstructions.add("test images", originals)
            shown = digest
        sheets.reconstructions.add(name, reconstructions)
        sheets.samples.add(name, samples)
    return sheets


def drawn(sheet: Sheet, title: str, explanation: str) -> "Figure | None":
    """Draw a sheet, or return None if it has no rows."""
    return image_grid(sheet.rows, title, explanation, row_labels=sheet.names) if sheet.rows else None


def _decoded(run: Revision, test: LabelledImages) -> tuple[NDArray[np.float32], ...]:
    """Test images, their reconstructions by the model, and samples from the model."""
    with _file(run, str(paths.MODEL)) as path:
        model = load_model(path, runtime.device(), test.shape)
    chosen = test.images[runtime.permutation(len(test), SEED, "contact sheet")[:COLUMNS]]
    means = inference.encode(model, chosen).mean
    prior = torch.randn(COLUMNS, model.latent_dim, generator=runtime.generator(SEED, "contact sheet"))
    decoded = (inference.decode(model, codes, SEED).cpu().numpy() for codes in (means, prior))
    return (pixels(chosen).numpy(), *decoded)


def _test_images(run: Revision) -> tuple[LabelledImages, str]:
    """The test images of a run, and a digest of their file."""
    with _file(run, str(paths.TEST_IMAGES)) as path:
        return load_images(path), hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _file(run: Revision, name: str) -> Iterator[Path]:
    """Yield a temporary copy of a revision's file."""
    content = run.read(name)
    if content is None:
        raise MissingFileError(
            f"{name} of {run.name} is not in DVC's cache; get it with dvc exp pull, or make it with dvc repro"
        )
    with tempfile.TemporaryDirectory(prefix="vae-") as folder:
        path = Path(folder, Path(name).name)
        path.write_bytes(content)
        yield path
