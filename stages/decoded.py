"""Pictures of decoded codes for the generate stage: samples, interpolations, traversals and the manifold."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages import paths
from vae.base import runtime
from vae.base.artifacts import write_png
from vae.data.images import LabelledImages, pixels
from vae.figures.canvas import brief
from vae.figures.images import image_grid
from vae.model import inference
from vae.model.latent_space import (
    interpolations,
    most_active,
    pairs_of_different_classes,
    prior_grid,
    prior_quantiles,
    traversals,
)
from vae.model.vae import VAE

PLOTS = paths.PLOTS / "generate"
SAMPLE_ROWS, SAMPLE_COLUMNS = 10, 10
INTERPOLATIONS, INTERPOLATION_STEPS = 8, 9
TRAVERSED_DIMENSIONS, TRAVERSAL_STEPS, TRAVERSAL_REACH = 10, 11, 3.0
MANIFOLD_SIDE, LARGE_IMAGES_SIDE = 20, 12  # of the manifold; the second for images of more than 32 pixels


def draw_samples(path: Path, samples: Tensor, framed: Tensor | None, title: str, explanation: str) -> None:
    """Draw the first samples as a grid, some of them in frames."""
    shown = samples[: SAMPLE_ROWS * SAMPLE_COLUMNS].cpu().numpy()
    figure = image_grid(
        [shown[start : start + SAMPLE_COLUMNS] for start in range(0, len(shown), SAMPLE_COLUMNS)],
        title,
        explanation,
        framed=None if framed is None else framed[: len(shown)].numpy(),
    )
    write_png(path, figure)


def told_apart(labels: Tensor) -> Tensor:
    """The labels (N,), or a label of its own for each image if all are of one class."""
    return labels if len(labels.unique()) > 1 else torch.arange(len(labels))


def draw_interpolations(model: VAE, test: LabelledImages, means: Tensor, seed: int) -> None:
    """Draw images decoded on straight lines between the codes of test images, of different classes if there are any."""
    order = runtime.permutation(len(test), seed, "interpolated images")
    starts, ends = torch.tensor(pairs_of_different_classes(told_apart(test.labels), order, INTERPOLATIONS)).unbind(1)
    shares = torch.linspace(0, 1, INTERPOLATION_STEPS)
    between = decode_rows(model, interpolations(means[starts], means[ends], shares.to(means.device)), seed)
    first, last = (pixels(test.images[indices]).unsqueeze(1).numpy() for indices in (starts, ends))
    names = [[brief(test.class_names[label]) for label in test.labels[indices]] for indices in (starts, ends)]
    classes = len(test.class_names) > 1
    figure = image_grid(
        list(np.concatenate([first, between, last], axis=1)),
        "Interpolations between pairs of test images",
        "Healthy: each step could be a real image. Both images overlaid, or smears: a hole in the latent space.",
        row_labels=[f"{start} to {end}" for start, end in zip(*names, strict=True)] if classes else [],
        column_labels=["test\nimage", *(f"{share:.3g}" for share in shares.tolist()), "test\nimage"],
        row_axis="classes" if classes else "",
        column_axis="position between the two codes",
    )
    write_png(PLOTS / "interpolations.png", figure)


def draw_traversals(model: VAE, means: Tensor, kl: Tensor, seed: int) -> None:
    """Draw images decoded while one latent dimension of a test image's code varies and the others stay fixed."""
    dimensions, start = most_active(kl, TRAVERSED_DIMENSIONS), varied_code(means, seed)
    values = torch.linspace(-TRAVERSAL_REACH, TRAVERSAL_REACH, TRAVERSAL_STEPS)
    figure = image_grid(
        decode_rows(model, traversals(start, dimensions, values.to(start.device)), seed),
        f"Traversals of the {len(dimensions)} most active latent dimensions",
        "Each row varies one dimension of a test image's code across the prior. Healthy: each row changes something.",
        row_labels=[f"z{dimension}, {kl[dimension]:.2f}" for dimension in dimensions],
        column_labels=[signed(value) for value in values.tolist()],
        row_axis="dimension, KL (nats)",
        column_axis="value of that dimension (standard deviations of the prior)",
    )
    write_png(PLOTS / "traversals.png", figure)


def draw_manifold(model: VAE, means: Tensor, kl: Tensor, seed: int) -> None:
    """Draw images decoded from a grid of prior quantiles over the two most active dimensions of a test image's code."""
    large = max(model.architecture.image_shape[1:]) > 32
    quantiles = prior_quantiles(LARGE_IMAGES_SIDE if large else MANIFOLD_SIDE)
    dimensions = sorted(most_active(kl, 2))
    across, *up = [f"z{dimension}" for dimension in dimensions]
    what = "The most active dimensions of a test image's code" if model.latent_dim > 2 else "The latent space"
    start = varied_code(means, seed)
    figure = image_grid(
        decode_rows(model, prior_grid(quantiles.to(start.device), dimensions, start), seed),
        f"The manifold over {' and '.join([across, *up])}",
        f"{what} at quantiles of the prior. Healthy: smooth changes without smears.",
        row_labels=[signed(value) for value in quantiles.flip(0).tolist()] if up else [],
        column_labels=[signed(value) for value in quantiles.tolist()],
        row_axis=f"{up[0]} (standard deviations of the prior)" if up else "",
        column_axis=f"{across} (standard deviations of the prior)",
        cell=0.42,
    )
    write_png(PLOTS / "manifold.png", figure)


def varied_code(means: Tensor, seed: int) -> Tensor:
    """The code (D,) of the test image that traversals and the manifold vary: posterior means (N, D)."""
    return means[runtime.permutation(len(means), seed, "traversed image")[0]]


def decode_rows(model: VAE, codes: Tensor, seed: int) -> NDArray[np.float32]:
    """Decode rows of codes: (R, S, D) to (R, S, C, H, W)."""
    images: NDArray[np.float32] = inference.decode(model, codes.flatten(0, 1), seed).cpu().numpy()
    return images.reshape(*codes.shape[:2], *images.shape[1:])


def signed(value: float) -> str:
    """Format a coordinate with its sign, and zero as +0.0."""
    return f"{round(value, 1) + 0.0:+.1f}"
