"""The data kinds, and what is trained once on each of them: a model and a classifier."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import NamedTuple

from vae.base import runtime
from vae.base.params import LIKELIHOODS_OF_8_BITS, Params, recipe_values
from vae.base.yaml12 import parse_yaml
from vae.classifier.classifier import Classifier
from vae.classifier.training import train_classifier
from vae.data.images import LabelledImages, PixelKind, black_and_white, hold_out
from vae.data.sources import load_source
from vae.diagnostics.verdict import Difference, between_models
from vae.model.architecture import Architecture
from vae.model.vae import VAE
from vae.training.loop import Training, train

ROOT = Path(__file__).parents[1]
SEED = 0
MNIST_EPOCHS = 50  # ten times the shortest run whose forecast is checked
STEPS = 2500  # of a model that serves a single rung; about five epochs of MNIST


class Run(NamedTuple):
    """A trained model and its history."""

    model: VAE
    training: Training


@dataclass(frozen=True, eq=False)
class Material:
    """The images of one data kind, how models are trained on them, and what is trained once for several ladders.

    Attributes:
        name: of the data kind.
        train: training images.
        validation: validation images; may be none.
        test: test images.
        params: how models are built and trained, and how codes and samples are compared.
        epochs: of the shared model.
    """

    name: str
    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    params: Params
    epochs: int

    @property
    def is_binary(self) -> bool:
        """Whether every pixel is black or white."""
        return self.test.kind == PixelKind.BINARY

    @property
    def of_8_bits(self) -> bool:
        """Whether the likelihood is one of 8-bit pixels."""
        return self.params.model.likelihood in LIKELIHOODS_OF_8_BITS

    @property
    def between_models(self) -> Difference:
        """The differences of losses that matter."""
        return between_models(prod(self.test.shape), of_8_bits=self.of_8_bits)

    @cached_property
    def run(self) -> Run:
        """The shared model, and its training."""
        return self.trained(self.train, self.validation, self.epochs)

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier, trained on the training images."""
        return train_classifier(self.train, SEED, runtime.device())

    def trained(self, data: LabelledImages, validation: LabelledImages, epochs: int, *, beta: float = 1.0) -> Run:
        """Train a new model on some images."""
        with runtime.seeded(SEED, "initial weights"):
            model = VAE(Architecture(image_shape=data.shape, **self.params.model.model_dump())).to(runtime.device())
        params = self.params.train.model_copy(update={"epochs": epochs, "beta": beta})
        return Run(model, train(model, data, validation, params, lambda _: None))

    def epochs_for(self, images: int) -> int:
        """The number of epochs of so many images that have about ``STEPS`` steps."""
        return max(1, round(STEPS / -(-images // self.params.train.batch_size)))


def settings(recipe: str = "") -> Params:
    """The parameters of ``params.yaml``, or those that a file of ``recipes/`` sets."""
    values = parse_yaml((ROOT / "params.yaml").read_bytes())
    for dotted, value in recipe_values(ROOT / "recipes" / recipe).items() if recipe else []:
        section, name = dotted.split(".")
        values[section][name] = value
    return Params.model_validate(values)


def digits() -> Material:
    """The handwritten digits of scikit-learn, as ``params.yaml`` prepares and trains them."""
    params = settings()
    rest, test = load_source("digits", SEED)
    train, validation = hold_out(rest, params.prepare.validation_fraction, SEED, "validation split")
    return Material("digits", train, validation, test, params, params.train.epochs)


def grey(name: str, source: str) -> Material:
    """MNIST or a relative of it with grey pixels, as ``recipes/mnist`` prepares and trains it, but for the epochs."""
    train, test = load_source(source, SEED)
    return Material(name, train, train[:0], test, settings("mnist"), MNIST_EPOCHS)


def binary(name: str, source: str) -> Material:
    """The same with black and white pixels, drawn once as with ``prepare.binarize=static``."""
    material = grey(name, source)
    train = black_and_white(material.train, SEED, "training pixels")
    test = black_and_white(material.test, SEED, "test pixels")
    return replace(material, train=train, validation=train[:0], test=test)


def of_8_bits(name: str, source: str) -> Material:
    """The same images as grey ones, with a likelihood of 8-bit pixels."""
    material = grey(name, source)
    model = material.params.model.model_copy(update={"likelihood": "discretized_logistic_mixture"})
    return replace(material, params=material.params.model_copy(update={"model": model}))


KINDS: dict[str, Callable[[], Material]] = {
    "digits": digits,
    "mnist": lambda: grey("MNIST, grey", "mnist"),
    "mnist-binary": lambda: binary("MNIST, binary", "mnist"),
    "mnist-8-bits": lambda: of_8_bits("MNIST, 8 bits", "mnist"),
    "fashion_mnist": lambda: grey("Fashion-MNIST", "fashion_mnist"),
    "kmnist": lambda: grey("KMNIST", "kmnist"),
}
DEFAULT_KINDS = ("digits", "mnist", "mnist-binary")
