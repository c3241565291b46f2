"""A small model of grey images of 16×16 pixels with random weights, and its training images."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tests.settings import architecture
from vae.base.runtime import seeded
from vae.data.images import LabelledImages, PixelKind, fingerprint, save_images
from vae.data.preparation import Preparation
from vae.model.model_file import Origin, save_model
from vae.model.vae import VAE
from vae.use.trained_model import TrainedModel

SIDE = 16
COUNT = 40


class Files(NamedTuple):
    """The files of a model and of its training images."""

    model: Path
    train: Path


def some_images(count: int = COUNT, seed: int = 0, channels: int = 1) -> Tensor:
    """Smooth images with some noise."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    return (smooth * 255).to(torch.uint8)


def preparation(**changes: Any) -> Preparation:
    plain = {"dataset": "folder", "fit": "crop", "background": "white", "binarize": "none"}
    return Preparation.model_validate({**plain, **changes})


def training_images(kind: PixelKind = PixelKind.GREY, images: Tensor | None = None) -> LabelledImages:
    images = some_images() if images is None else images
    labels = torch.zeros(len(images), dtype=torch.int64)
    return LabelledImages(images, labels, ("images",), kind, preparation())


def trained(data: LabelledImages | None = None, binarize: str = "none", **changes: Any) -> TrainedModel:
    """A model of random weights, which says that it was trained on the images."""
    data = training_images() if data is None else data
    with seeded(0, "tests of scoring"):
        network = VAE(architecture(**{"image_shape": data.shape, "latent_dim": 3, **changes}))
    return TrainedModel(network, Origin(preparation=preparation(binarize=binarize), training_images=fingerprint(data)))


def without_weights(model: TrainedModel) -> TrainedModel:
    """The same model with zero for all weights: the posterior is the prior, and each pixel is white with ½."""
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.zero_()
    return model


def write_files(folder: Path) -> Files:
    """Write the model and its training images."""
    data = training_images()
    model = trained(data)
    files = Files(folder / "models/vae.safetensors", folder / "data/prepared/train.safetensors")
    save_model(files.model, model.network, model.origin)
    save_images(files.train, data)
    return files
