"""Stage 4: what the decoder makes of codes from the prior, and of codes between and around those of test images."""

import logging

import torch
from torch import Tensor

from stages import entry, paths
from vae import inference, runtime
from vae.artifacts import write_json, write_png
from vae.checkpoints import load_model
from vae.datasets import LabelledImages, load_images, pixels
from vae.diagnostics.sample_quality import sample_quality
from vae.figures.images import image_grid
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
    pairs = different_classes(test, INTERPOLATIONS, seed)
    steps = torch.linspace(0, 1, INTERPOLATION_STEPS, device=means.device)
    rows = []
    for start, end in pairs:
        between = inference.decode(model, torch.lerp(means[start], means[end], steps.unsqueeze(1)))
        ends = pixels(test.images[[start, end]]).to(between.device)
        rows.append(torch.cat([ends[:1], between, ends[1:]]).cpu().numpy())
    figure = image_grid(
        rows,
        "Interpolations between pairs of test images",
        "Healthy: each step could be a real image. Ghosts of both, or smears: a hole in the latent space.",
        row_labels=[f"{test.class_names[test.labels[a]]} to {test.class_names[test.labels[b]]}" for a, b in pairs],
        column_labels=["test\nimage", *(f"{step:.3g}" for step in steps.tolist()), "test\nimage"],
        row_axis="classes",
        column_axis="share of the way between the two codes",
    )
    write_png(PLOTS / "interpolations.png", figure)


def different_classes(test: LabelledImages, count: int, seed: int) -> list[tuple[int, int]]:
    """Seeded pairs of image indices, the two of each pair of different classes, no image in two pairs."""
    waiting: list[int] = []
    pairs = []
    for index in runtime.permutation(len(test), seed, "interpolated images").tolist():
        partner = next((other for other in waiting if test.labels[other] != test.labels[index]), None)
        if partner is None:
            waiting.append(index)
            continue
        waiting.remove(partner)
        pairs.append((partner, index))
        if len(pairs) == count:
            break
    return pairs


def draw_traversals(model: VAE, means: Tensor, kl: Tensor, seed: int) -> None:
    """Move the code of one test image along each of its most active dimensions, the others held still."""
    dimensions = most_active(kl, TRAVERSED_DIMENSIONS)
    start = means[runtime.permutation(len(means), seed, "traversed image")[0]]
    steps = torch.linspace(-TRAVERSAL_REACH, TRAVERSAL_REACH, TRAVERSAL_STEPS, device=means.device)
    rows = []
    for dimension in dimensions:
        codes = start.repeat(len(steps), 1)
        codes[:, dimension] = steps
        rows.append(inference.decode(model, codes).cpu().numpy())
    figure = image_grid(
        rows,
        f"Traversals of the {len(dimensions)} most active latent dimensions",
        "A test image's code, one dimension at a time moved through the prior. Healthy: each changes something.",
        row_labels=[f"z{dimension}, {kl[dimension]:.2f}" for dimension in dimensions],
        column_labels=[signed(step) for step in steps.tolist()],
        row_axis="dimension, KL (nats)",
        column_axis="value of that dimension (standard deviations of the prior)",
    )
    write_png(PLOTS / "traversals.png", figure)


def draw_manifold(model: VAE, kl: Tensor) -> None:
    """Decode a grid of prior quantiles over two dimensions, all others at zero (Kingma & Welling 2013, figure 4)."""
    quantiles = torch.special.ndtri((torch.arange(MANIFOLD_SIDE, device=kl.device) + 0.5) / MANIFOLD_SIDE)
    dimensions = sorted(most_active(kl, 2))
    across, down = dimensions[0], dimensions[-1]
    rows = []
    for value in quantiles.flip(0) if across != down else quantiles[:1]:
        codes = torch.zeros(len(quantiles), model.latent_dim, device=kl.device)
        codes[:, down] = value
        codes[:, across] = quantiles
        rows.append(inference.decode(model, codes).cpu().numpy())
    others = "; the two most active dimensions, all others at 0" if model.latent_dim > 2 else ""
    figure = image_grid(
        rows,
        f"The manifold over {' and '.join(f'z{dimension}' for dimension in dimensions)}",
        f"Decoded quantiles of the prior{others}. Healthy: smooth changes without smears.",
        row_labels=[signed(value) for value in quantiles.flip(0).tolist()] if across != down else [],
        column_labels=[signed(value) for value in quantiles.tolist()],
        row_axis=f"z{down} (standard deviations of the prior)" if across != down else "",
        column_axis=f"z{across} (standard deviations of the prior)",
        cell=0.42,
    )
    write_png(PLOTS / "manifold.png", figure)


def most_active(kl: Tensor, count: int) -> list[int]:
    """The latent dimensions of the highest KL, highest first; fewer where the latent space is smaller."""
    return [int(dimension) for dimension in kl.argsort(descending=True, stable=True)[:count]]


def signed(value: float) -> str:
    """A coordinate as a label: its sign, and no minus before a zero."""
    return f"{round(value, 1) + 0.0:+.1f}"


if __name__ == "__main__":
    entry.run(main)
