"""The data kinds, and what is trained once on each of them: a model and a classifier."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from vae.base import runtime
from vae.base.params import TrainParams
from vae.classifier.classifier import Classifier
from vae.classifier.training import train_classifier
from vae.data.images import ImageShape, LabelledImages, PixelKind, black_and_white, hold_out
from vae.data.sources import load_source
from vae.model.architecture import Architecture
from vae.model.vae import VAE
from vae.training.loop import Training, train

SEED = 0
BATCH_SIZE = 128
HIDDEN_UNITS = 400

DIGITS_LATENT_DIM, DIGITS_EPOCHS, DIGITS_VALIDATION = 6, 1000, 0.1  # as in params.yaml
MNIST_LATENT_DIM = 20  # as in recipes/mnist
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
        latent_dim: D.
        epochs: of the shared model.
    """

    name: str
    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    latent_dim: int
    epochs: int

    @property
    def is_binary(self) -> bool:
        """Whether every pixel is black or white."""
        return self.test.kind == PixelKind.BINARY

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
            model = VAE(architecture(data.shape, self.latent_dim)).to(runtime.device())
        return Run(model, train(model, data, validation, train_params(epochs, beta), lambda _: None))


def architecture(image_shape: ImageShape, latent_dim: int) -> Architecture:
    """The architecture of the models, that of ``params.yaml`` but for the latent dimensions."""
    return Architecture(
        image_shape=image_shape,
        network="mlp",
        hidden_dims=(HIDDEN_UNITS,),
        activation="relu",
        channels=32,
        masked_layers=6,
        latent_dim=latent_dim,
        likelihood="bernoulli",
        scale="learned",
    )


def train_params(epochs: int, beta: float = 1.0) -> TrainParams:
    """The parameters of training, those of ``params.yaml`` but for the number of epochs and β."""
    return TrainParams(
        epochs=epochs,
        batch_size=BATCH_SIZE,
        learning_rate=0.001,
        schedule="constant",
        beta=beta,
        kl_warmup_epochs=0,
        free_bits=0.0,
        importance_samples=1,
        weight_decay=0.0,
        gradient_clip=0.0,
        precision="float32",
        seed=SEED,
    )


def epochs(images: int) -> int:
    """The number of epochs of so many images that have about ``STEPS`` steps."""
    return max(1, round(STEPS / -(-images // BATCH_SIZE)))


def digits() -> Material:
    """The handwritten digits of scikit-learn, as ``params.yaml`` prepares and trains them."""
    rest, test = load_source("digits", SEED)
    train, validation = hold_out(rest, DIGITS_VALIDATION, SEED, "validation split")
    return Material("digits", train, validation, test, DIGITS_LATENT_DIM, DIGITS_EPOCHS)


def grey(name: str, source: str) -> Material:
    """MNIST or a relative of it with grey pixels, as ``recipes/mnist`` prepares and trains it."""
    train, test = load_source(source, SEED)
    return Material(name, train, train[:0], test, MNIST_LATENT_DIM, MNIST_EPOCHS)


def binary(name: str, source: str) -> Material:
    """The same with black and white pixels, drawn once as with ``prepare.binarize=static``."""
    material = grey(name, source)
    train = black_and_white(material.train, SEED, "training pixels")
    test = black_and_white(material.test, SEED, "test pixels")
    return replace(material, train=train, validation=train[:0], test=test)


KINDS: dict[str, Callable[[], Material]] = {
    "digits": digits,
    "mnist": lambda: grey("MNIST, grey", "mnist"),
    "mnist-binary": lambda: binary("MNIST, binary", "mnist"),
    "fashion_mnist": lambda: grey("Fashion-MNIST", "fashion_mnist"),
    "kmnist": lambda: grey("KMNIST", "kmnist"),
}
DEFAULT_KINDS = ("digits", "mnist", "mnist-binary")
