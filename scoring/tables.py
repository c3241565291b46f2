"""Write the scores and the codes of images as tables."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from scoring.folder import Folder
from scoring.neighbours import DUPLICATE, Nearest
from scoring.scores import Scores
from vae.base.artifacts import SIGNIFICANT_DIGITS, inert, write_csv
from vae.base.terminal import printable

NAMES = {"standard_error": "negative_elbo_se"}  # of columns, where that of the score does not say enough
UNLABELLED = -1  # the label of an image without a class, if others have one


def write_scores(path: Path, folder: Folder, scores: Scores, nearest: Nearest, training: Mapping[int, str]) -> None:
    """Write a row for each file of a folder, in nats per image; cells are empty where there is no such score.

    Args:
        path: of the table.
        folder: the images.
        scores: of each image.
        nearest: training images to each of them.
        training: names of the files of training images, by index.
    """
    columns: dict[str, Sequence[Any]] = {}
    for field in fields(Scores):
        values: Tensor | None = getattr(scores, field.name)
        columns[NAMES.get(field.name, field.name)] = [None] * len(folder.images) if values is None else values.tolist()
    columns["nearest_training_image"] = [training.get(index, index) for index in nearest.image.tolist()]
    columns["pixel_difference"] = nearest.difference.tolist()
    columns["duplicate"] = ["yes" if near <= DUPLICATE else "no" for near in nearest.difference.tolist()]
    scored = zip(*columns.values(), strict=True)
    rows = []
    for file, image in zip(folder.files, folder.found, strict=True):
        cells = [None] * len(columns) if image.skipped else next(scored)
        rows.append([printable(file.name), file.label and printable(file.label), *cells, printable(image.skipped)])
    write_csv(path, ["file", "class", *columns, "skipped"], rows)


class Embeddings:
    """A table of codes that is written row by row, in the format of lightly: ``filenames,embedding_0,…,labels``.

    Labels are the indices of the classes in alphabetical order, and 0 for images of a folder without classes.
    """

    def __init__(self, file: Any, folder: Folder, latent_dim: int) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._files = folder.used
        self._labels = {name: label for label, name in enumerate(folder.class_names)}
        self._writer.writerow(["filenames", *(f"embedding_{number}" for number in range(latent_dim)), "labels"])

    def write(self, rows: range, codes: Tensor) -> None:
        """Write the codes (n, D) of the images of some rows."""
        for row, code in zip(rows, codes.tolist(), strict=True):
            file = self._files[row]
            label = self._labels.get(file.label or "", UNLABELLED if self._labels else 0)
            numbers = (f"{value:.{SIGNIFICANT_DIGITS}g}" for value in code)
            self._writer.writerow([inert(printable(file.name)), *numbers, label])


@contextmanager
def writing_embeddings(path: Path, folder: Folder, latent_dim: int) -> Iterator[Embeddings]:
    """A table of codes, as the value of a ``with`` statement."""
    with path.open("w", encoding="utf-8", newline="") as file:
        yield Embeddings(file, folder, latent_dim)
