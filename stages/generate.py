"""Stage 4: what the decoder makes of codes from the prior, and of codes between and around those of test images."""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages import entry, paths
from vae import inference, runtime
from vae.artifacts import write_json, write_png
from vae.checkpoints import load_model
from vae.datasets import LabelledImages, load_images, pixels
from vae.diagnostics.sample_quality import sample_quality
from vae.figures.images import image_grid
from vae.latent_space import (
    interpolations,
    most_active,
    pairs_of_different_classes,
    prior_grid,
    prior_quantiles,
    traversals,
)
from vae.model import VAE
from vae.objective import kl_divergence
from vae.params import GenerateParams, Params

log = logging.getLogger(__name__)

PLOTS = paths.PLOTS / "generate"
SAMPLE_ROWS, SAMPLE_COLUMNS = 10, 10
INTERPOLATIONS, INTERPOLATION_STEPS = 8, 9
TRAVERSED_DIMENSIONS, TRAVERSAL_STEPS, TRAVERSAL_REACH = 10, 11, 3.0
MANIFOLD_SIDE = 20


def main(params: Params) -> None:
    """Sample, interpolate, traverse; measure the samples against real images; write measures and pictures."""
    settings = params.generate
    train, test = load_images(paths.TRAIN_IMAGES), load_images(paths.TEST_IMAGES)
    model = load_model(paths.MODEL, runtime.device(), test.shape)

    random = runtime.generator(settings.seed, "prior samples", model.device)
    count = min(settings.samples, len(train), len(test))
    codes = torch.randn(count, model.latent_dim, generator=random, device=model.device)
    samples = inference.decode(model, codes)
    write_json(paths.METRICS / "generate.json", measure(samples, train, test, settings))

    posterior = inference.encode(model, test.images)
    kl = kl_divergence(*posterior).mean(0)
    draw_samples(samples)
    draw_interpolations(model, test, posterior.mean, settings.seed)
    draw_traversals(model, posterior.mean, kl, settings.seed)
    draw_manifold(model, kl)


def measure(
    samples: Tensor, train: LabelledImages, test: LabelledImages, settings: GenerateParams
) -> dict[str, object]:
    """Compare samples with as many test images; the ceiling is what as many training images reach in their place."""
    count = len(samples)
    real = pixels(test.images[runtime.permutation(len(test), settings.seed, "test images")[:count]])
    stand_ins = pixels(train.images[runtime.permutation(len(train), settings.seed, "training images")[:count]])
    real, stand_ins = real.to(samples.device), stand_ins.to(samples.device)
    quality = sample_quality(real, samples, settings.neighbours)._asdict()
    ceiling = sample_quality(real, stand_ins, settings.neighbours)._asdict()
    compared = ", ".join(f"{name} {value:.2f} (of {ceiling[name]:.2f})" for name, value in quality.items())
    log.info("%d samples against test images (of what training images reach): %s", count, compared)
    return {**quality, "ceiling": ceiling, "samples": count}


def draw_samples(samples: Tensor) -> None:
    """Show the first samples as a grid."""
    shown = samples[: SAMPLE_ROWS * SAMPLE_COLUMNS].cpu().numpy()
    figure = image_grid(
        [shown[start : start + SAMPLE_COLUMNS] for start in range(0, len(shown), SAMPLE_COLUMNS)],
        "Samples: decoded draws from the prior",
        "Healthy: each could be a real image, and all classes appear.",
    )
    write_png(PLOTS / "samples.png", figure)


def draw_interpolations(model: VAE, test: LabelledImages, means: Tensor, seed: int) -> None:
    """Walk in a straight line between the codes of pairs of test images of different classes."""
    order = runtime.permutation(len(test), seed, "interpolated images")
    starts, ends = torch.tensor(pairs_of_different_classes(test.labels, order, INTERPOLATIONS)).unbind(1)
    shares = torch.linspace(0, 1, INTERPOLATION_STEPS)
    between = decode_rows(model, interpolations(means[starts], means[ends], shares.to(means.device)))
    first, last = (pixels(test.images[indices]).unsqueeze(1).numpy() for indices in (starts, ends))
    names = [[test.class_names[label] for label in test.labels[indices]] for indices in (starts, ends)]
    figure = image_grid(
        list(np.concatenate([first, between, last], axis=1)),
        "Interpolations between pairs of test images",
        "Healthy: each step could be a real image. Ghosts of both, or smears: a hole in the latent space.",
        row_labels=[f"{start} to {end}" for start, end in zip(*names, strict=True)],
        column_labels=["test\nimage", *(f"{share:.3g}" for share in shares.tolist()), "test\nimage"],
        row_axis="classes",
        column_axis="share of the way between the two codes",
    )
    write_png(PLOTS / "interpolations.png", figure)


def draw_traversals(model: VAE, means: Tensor, kl: Tensor, seed: int) -> None:
    """Move the code of one test image along each of its most active dimensions, the others held still."""
    dimensions = most_active(kl, TRAVERSED_DIMENSIONS)
    start = means[runtime.permutation(len(means), seed, "traversed image")[0]]
    values = torch.linspace(-TRAVERSAL_REACH, TRAVERSAL_REACH, TRAVERSAL_STEPS)
    figure = image_grid(
        decode_rows(model, traversals(start, dimensions, values.to(start.device))),
        f"Traversals of the {len(dimensions)} most active latent dimensions",
        "A test image's code, one dimension at a time moved through the prior. Healthy: each changes something.",
        row_labels=[f"z{dimension}, {kl[dimension]:.2f}" for dimension in dimensions],
        column_labels=[signed(value) for value in values.tolist()],
        row_axis="dimension, KL (nats)",
        column_axis="value of that dimension (standard deviations of the prior)",
    )
    write_png(PLOTS / "traversals.png", figure)


def draw_manifold(model: VAE, kl: Tensor) -> None:
    """Decode the prior over two dimensions, the most active where there are more."""
    quantiles = prior_quantiles(MANIFOLD_SIDE)
    dimensions = sorted(most_active(kl, 2))
    across, *up = [f"z{dimension}" for dimension in dimensions]
    others = "; the two most active dimensions, all others at 0" if model.latent_dim > 2 else ""
    figure = image_grid(
        decode_rows(model, prior_grid(quantiles, dimensions, model.latent_dim)),
        f"The manifold over {' and '.join([across, *up])}",
        f"Decoded quantiles of the prior{others}. Healthy: smooth changes without smears.",
        row_labels=[signed(value) for value in quantiles.flip(0).tolist()] if up else [],
        column_labels=[signed(value) for value in quantiles.tolist()],
        row_axis=f"{up[0]} (standard deviations of the prior)" if up else "",
        column_axis=f"{across} (standard deviations of the prior)",
        cell=0.42,
    )
    write_png(PLOTS / "manifold.png", figure)


def decode_rows(model: VAE, codes: Tensor) -> NDArray[np.float32]:
    """The expected images of rows of codes: (R, S, D) to (R, S, C, H, W)."""
    images: NDArray[np.float32] = inference.decode(model, codes.flatten(0, 1)).cpu().numpy()
    return images.reshape(*codes.shape[:2], *images.shape[1:])


def signed(value: float) -> str:
    """A coordinate as a label: its sign, and no minus before a zero."""
    return f"{round(value, 1) + 0.0:+.1f}"


if __name__ == "__main__":
    entry.run(main)
