"""Stage 1: the images of a data set, and the classifier in whose features samples are compared with them."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from stages import entry, paths
from vae.base import runtime
from vae.base.artifacts import write_json, write_png
from vae.base.params import Params, PrepareParams
from vae.base.precision import standard_error
from vae.classifier.classifier import ClassifierKind, is_right
from vae.classifier.classifier_file import save_classifier
from vae.classifier.training import train_classifier
from vae.data import folder
from vae.data.codecs import codec_bits
from vae.data.entropy import entropy_floor
from vae.data.images import (
    DatasetError,
    LabelledImages,
    PixelKind,
    at_threshold,
    black_and_white,
    drawn_once,
    hold_out,
    pixels,
    save_images,
)
from vae.data.preparation import Preparation
from vae.data.sources import load_source
from vae.figures.canvas import brief
from vae.figures.images import image_grid

log = logging.getLogger(__name__)

EXAMPLES_PER_CLASS, MOST_CLASSES = 12, 20
ROWS_WITHOUT_CLASSES = 10


def main(params: Params) -> None:
    """Load and split the images, binarize pixels if the parameters say so, and train the classifier; write them."""
    settings = params.prepare
    train, validation, test = load(settings)
    train = chosen(train, settings)
    train, validation, test = (
        replace(binarized(data, settings, purpose), preparation=Preparation.of(settings))
        for data, purpose in ((train, "training"), (validation, "validation"), (test, "test"))
    )

    for path, data in (
        (paths.TRAIN_IMAGES, train),
        (paths.VALIDATION_IMAGES, validation),
        (paths.TEST_IMAGES, test),
    ):
        save_images(path, data)
    codecs = codec_bits(test.images) if test.kind == PixelKind.GREY else None
    images = {"train": len(train), "validation": len(validation), "test": len(test)}
    write_json(
        paths.METRICS / "prepare.json",
        {
            "images": images,
            "entropy_floor": entropy_floor(test.images),
            "bits_per_dimension": codecs and codecs._asdict(),
            **classify(train, test, settings.seed),
        },
    )
    draw_examples(train, settings)
    shape, counts = "×".join(map(str, train.shape)), ", ".join(f"{count} {name}" for name, count in images.items())
    log.info("%s: %s images of %s", settings.dataset, counts, shape)


def load(settings: PrepareParams) -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """Training, validation and test images, and the manifest of a folder, which has no rows for other data sets."""
    if settings.dataset == "folder":
        return folder.load(settings, paths.MANIFEST)
    folder.write_manifest(paths.MANIFEST)
    rest, test = load_source(settings.dataset, settings.seed)
    train, validation = hold_out(rest, settings.validation_fraction, settings.seed, "validation split")
    return train, validation, test


def classify(train: LabelledImages, test: LabelledImages, seed: int) -> dict[str, float | None]:
    """Train and write the classifier; measure its accuracy on test images, if there are classes to learn."""
    classifier = train_classifier(train, seed, runtime.device())
    save_classifier(paths.CLASSIFIER, classifier)
    right = is_right(classifier.probabilities(test.images), test.labels).double()
    measurable = classifier.kind == ClassifierKind.TRAINED and len(right) > 1
    return {
        "classifier_accuracy": float(right.mean()) if measurable else None,
        "classifier_accuracy_se": standard_error(right) if measurable else None,
    }


def chosen(train: LabelledImages, settings: PrepareParams) -> LabelledImages:
    """The first ``prepare.train_images`` training images, which are already in random order."""
    if not len(train):
        raise DatasetError(
            f"{paths.PARAMS}: prepare.validation_fraction: {settings.validation_fraction} leaves no training images"
        )
    if settings.train_images == "all":
        return train
    if settings.train_images > len(train):
        raise DatasetError(
            f"{paths.PARAMS}: prepare.train_images: {settings.train_images} requested, but there are {len(train)} "
            "after the validation set is held out; lower it, or set it to all"
        )
    return train[: settings.train_images]


def binarized(data: LabelledImages, settings: PrepareParams, purpose: str) -> LabelledImages:
    """Binarize pixels as ``prepare.binarize`` says. With ``dynamic``, training draws the pixels of training images.

    Raises:
        DatasetError: the images are in colour.
    """
    if settings.binarize != "none" and data.shape[0] > 1:
        raise DatasetError(
            f"{paths.PARAMS}: prepare.binarize: {settings.binarize} makes pixels black or white, but the images are in "
            "colour; set prepare.binarize=none or prepare.channels=1"
        )
    match settings.binarize:
        case "none":
            return data
        case "threshold":
            return at_threshold(data)
        case "dynamic" if purpose == "training":
            return replace(data, kind=PixelKind.PROBABILITIES)
        case _:
            return black_and_white(data, settings.seed, f"{purpose} pixels")


def draw_examples(train: LabelledImages, settings: PrepareParams) -> None:
    """Draw training images of each class, as training sees them: the first, which are in random order."""
    train = drawn_once(train, settings.seed, "example pixels")
    drawn = {
        "none": "",
        "threshold": ", white from an intensity of ½",
        "static": ", pixels drawn once",
        "dynamic": ", pixels drawn again in each epoch",
    }
    names = train.class_names
    shown: Sequence[int] = range(len(names))
    chosen = ""
    if len(names) > MOST_CLASSES:
        shown = sorted(runtime.permutation(len(names), settings.seed, "example classes")[:MOST_CLASSES].tolist())
        chosen = f": {MOST_CLASSES} classes, chosen at random from {len(names)}"
    rows = [(train.labels == index).nonzero().flatten()[:EXAMPLES_PER_CLASS] for index in shown]
    most = "Up to " * (min(map(len, rows)) < EXAMPLES_PER_CLASS)
    words = f"{most}{EXAMPLES_PER_CLASS} of each class{chosen}"
    if len(names) == 1:
        rows = list(torch.arange(min(len(train), EXAMPLES_PER_CLASS * ROWS_WITHOUT_CLASSES)).split(EXAMPLES_PER_CLASS))
        words = f"{sum(map(len, rows))} of {len(train):,} images"
    figure = image_grid(
        [pixels(train.images[each]).numpy() for each in rows],
        f"Training images of {'the folder' if settings.dataset == 'folder' else settings.dataset}",
        f"{words}{drawn[settings.binarize]}.",
        row_labels=[brief(names[index]) for index in shown] if len(names) > 1 else [],
        row_axis="class" if len(names) > 1 else "",
    )
    write_png(paths.PLOTS / "prepare" / "examples.png", figure)


if __name__ == "__main__":
    entry.run(main, sys.argv[1:], divided=False)
