"""Models trained on scikit-learn's digits, and explorer pages for them."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.settings import architecture
from vae.base.runtime import generator, seeded
from vae.data.images import LabelledImages, pixels
from vae.data.sources import load_source
from vae.explorer.latent_map import LatentMap, image_measures
from vae.explorer.page import explorer_page
from vae.model import inference
from vae.model.objective import kl_divergence, negative_elbo
from vae.model.vae import VAE

COLOURS = ("#332288", "#88ccee", "#117733")
COUNT = 60
SIDE = 28


@cache
def digits() -> LabelledImages:
    """Sixty images of 8×8."""
    return load_source("digits", 0).test[:COUNT]


def enlarged(data: LabelledImages) -> LabelledImages:
    """The same images at 28×28: three times as large, in a black frame."""
    images = F.pad(data.images.repeat_interleave(3, 2).repeat_interleave(3, 3), (2, 2, 2, 2))
    return LabelledImages(images, data.labels, data.class_names, data.kind)


def coloured(data: LabelledImages) -> LabelledImages:
    """Images with three channels: the same images, upside down, and mirrored."""
    grey = data.images
    return LabelledImages(torch.cat([grey, grey.flip(2), grey.flip(3)], 1), data.labels, data.class_names, data.kind)


def trained(data: LabelledImages, steps: int = 60, **changes: Any) -> VAE:
    """A model after a few steps, with a changed architecture if requested."""
    sizes = {"image_shape": data.shape, "hidden_dims": (24,), "latent_dim": 5}
    with seeded(0, "weights"):
        model = VAE(architecture(**{**sizes, **changes}))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    random, x = generator(0, "noise"), pixels(data.images)
    for _ in range(steps):
        terms = negative_elbo(model, x, torch.randn(len(x), model.latent_dim, generator=random))
        optimizer.zero_grad()
        (terms.reconstruction + 0.3 * terms.kl.sum(1)).mean().backward()
        optimizer.step()
    return model


def codes(model: VAE, data: LabelledImages) -> Tensor:
    """Posterior means (N, D)."""
    return inference.encode(model, data.images).mean


def mapped(model: VAE, data: LabelledImages) -> LatentMap:
    """A map over the first two latent dimensions; images are numbered from a hundred."""
    means, log_variances = inference.encode(model, data.images)
    deviations = (log_variances / 2).exp()
    points = F.pad(means, (0, 1))[:, :2].numpy()
    names = ("z0", "z1") if model.latent_dim == 2 else ("first", "second")
    measures = image_measures(model, data, means, 0)
    return LatentMap(data, 100 + torch.arange(len(data)), means, deviations, points, names, COLOURS, measures)


def page_of(model: VAE, data: LabelledImages, **changes: Any) -> str:
    """The explorer's page, on which all dimensions are active unless the changes say otherwise."""
    kl = kl_divergence(*inference.encode(model, data.images)).mean(0)
    settings = {"kl": kl, "active": torch.ones(model.latent_dim, dtype=torch.bool), "title": "Explorer"}
    return explorer_page(model, **{"latent_map": mapped(model, data), **settings, **changes})


def write_page(folder: Path, page: str) -> Path:
    """Write a page to a file."""
    path = folder / "explorer.html"
    path.write_bytes(page.encode())
    return path
