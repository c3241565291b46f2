"""Stage 1: a data set by its name to training, validation and test images."""

import logging

import torch

from stages import entry, paths
from vae.artifacts import write_json, write_png
from vae.datasets import DatasetError, LabelledImages, hold_out, pixels, save_images
from vae.diagnostics.entropy import entropy_floor
from vae.figures.images import image_grid
from vae.params import Params
from vae.sources import load_source

log = logging.getLogger(__name__)

EXAMPLES_PER_CLASS = 12


def main(params: Params) -> None:
    """Split the training images by a seeded permutation; write the three sets, their sizes and examples."""
    settings = params.prepare
    train_and_validation, test = load_source(settings.dataset, settings.seed)
    train, validation = hold_out(train_and_validation, settings.validation_fraction, settings.seed, "validation split")
    if not len(train):
        raise DatasetError(
            f"{paths.PARAMS}: prepare.validation_fraction: {settings.validation_fraction} leaves no training images"
        )

    for path, data in (
        (paths.TRAIN_IMAGES, train),
        (paths.VALIDATION_IMAGES, validation),
        (paths.TEST_IMAGES, test),
    ):
        save_images(path, data)
    images = {"train": len(train), "validation": len(validation), "test": len(test)}
    write_json(
        paths.METRICS / "prepare.json",
        {
            "dataset": settings.dataset,
            "images": images,
            "shape": "×".join(map(str, train.shape)),
            "entropy_floor": entropy_floor(test.images),
        },
    )
    draw_examples(train, settings.dataset)
    log.info("%s: %s", settings.dataset, ", ".join(f"{count} {name} images" for name, count in images.items()))


def draw_examples(train: LabelledImages, dataset: str) -> None:
    """Show the first training images of each class."""
    rows, labels = [], []
    for index, name in enumerate(train.class_names):
        own = train.images[train.labels == index][:EXAMPLES_PER_CLASS]
        missing = torch.full((EXAMPLES_PER_CLASS - len(own), *train.shape), 255, dtype=torch.uint8)
        rows.append(pixels(torch.cat([own, missing])).numpy())
        labels.append(name)
    figure = image_grid(
        rows,
        f"Training images of {dataset}",
        f"{EXAMPLES_PER_CLASS} of each class.",
        row_labels=labels,
        row_axis="class",
    )
    write_png(paths.PLOTS / "prepare" / "examples.png", figure)


if __name__ == "__main__":
    entry.run(main)
