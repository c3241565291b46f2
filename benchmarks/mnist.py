"""The images and the model that most benchmarks share."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from vae.base import runtime
from vae.base.params import TrainParams
from vae.data.images import LabelledImages, Splits
from vae.data.mnist import data_home
from vae.data.sources import load_source
from vae.model.architecture import Architecture
from vae.model.vae import VAE
from vae.training.engine import TrainingEngine

Precision = Literal["float32", "tf32", "bfloat16"]

BATCH_SIZE = 128
LEARNING_RATE = 1e-3
QUICK_IMAGES = 6000
ABOUT_THE_MODEL = f"784-400-20, batches of {BATCH_SIZE}"
ARCHITECTURE = Architecture(
    image_shape=(1, 28, 28),
    network="mlp",
    hidden_dims=(400,),
    activation="relu",
    channels=32,
    residual_blocks=0,
    masked_layers=6,
    latent_dim=20,
    likelihood="bernoulli",
    scale="learned",
)


@cache
def splits() -> Splits:
    """Load MNIST as the project does."""
    return load_source("mnist", 0)


def training_images(*, quick: bool) -> LabelledImages:
    """All 60,000 training images, or the first few."""
    train = splits().train
    return train[:QUICK_IMAGES] if quick else train


def as_the_tutorial_reads_it(count: int) -> Dataset[tuple[Tensor, int]]:
    """Load the first training images with torchvision: float32 (1, 28, 28), with labels."""
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    splits()  # downloads the archives if necessary
    with tempfile.TemporaryDirectory(prefix="vae-bench-") as root:
        raw = Path(root, "MNIST", "raw")
        raw.mkdir(parents=True)
        for archive, _ in MNIST.resources:
            (raw / archive).symlink_to((data_home() / "MNIST" / "raw" / archive).resolve())
        images = MNIST(root, train=True, download=True, transform=ToTensor())
    return images if count == len(images) else Subset(images, range(count))


def new_model(device: torch.device) -> VAE:
    """An untrained model with the same initial weights every time."""
    with runtime.seeded(0, "initial weights"):
        return VAE(ARCHITECTURE).to(device)


def settings(precision: Precision = "float32", epochs: int = 1) -> TrainParams:
    """The parameters of training."""
    return TrainParams(
        epochs=epochs,
        batch_size=BATCH_SIZE,
        shards=1,
        learning_rate=LEARNING_RATE,
        schedule="constant",
        warmup_epochs=0.0,
        beta=1.0,
        kl_warmup_epochs=0,
        free_bits=0.0,
        importance_samples=1,
        weight_decay=0.0,
        gradient_clip=0.0,
        skip_above=0.0,
        ema_decay=0.0,
        precision=precision,
        seed=0,
    )


def precisions(device: torch.device) -> tuple[Precision, ...]:
    """The precisions that differ on a device."""
    return ("float32", "tf32", "bfloat16") if device.type == "cuda" else ("float32", "bfloat16")


@cache
def trained_model(device: torch.device) -> VAE:
    """The model after one epoch, which is enough for timings."""
    model = new_model(device)
    TrainingEngine(model, splits().train.images, settings()).epoch(1, lambda _: None)
    return model


def test_images() -> LabelledImages:
    """The 10,000 test images."""
    return splits().test
