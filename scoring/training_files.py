"""The files that training images come from, as the manifest of prepare names them."""

import csv
from pathlib import Path

from vae.base.errors import VAEError, shortened


class ManifestError(VAEError):
    """The manifest cannot be read."""


def training_files(manifest: Path) -> dict[int, str]:
    """The names of the files of training images by their indices; empty for data sets without files, or no manifest.

    Raises:
        ManifestError: the manifest is damaged.
    """
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            return {int(row["index"]): row["file"] for row in csv.DictReader(file) if row["split"] == "train"}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise ManifestError(
            f"{manifest}: damaged, or not of this version ({shortened(error)}); delete it, or run dvc repro"
        ) from error
