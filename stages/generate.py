"""Stage 4: samples, interpolations and traversals, with verdicts on samples and the latent space."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages import entry, paths
from stages.results import write_results
from vae.base import runtime
from vae.base.artifacts import write_png
from vae.base.params import GenerateParams, Params
from vae.data.images import LabelledImages, PixelKind, drawn_once, load_images, pixels
from vae.diagnostics import blur, classification, holes
from vae.diagnostics.sample_quality import RealImages, SampleQuality, judge_samples
from vae.diagnostics.verdict import Diagnosis
from vae.figures import diagnoses
from vae.figures.images import image_grid
from vae.model import inference
from vae.model.latent_space import (
    interpolations,
    most_active,
    pairs_of_different_classes,
    prior_grid,
    prior_quantiles,
    spherical_interpolations,
    traversals,
)
from vae.model.model_file import load_model
from vae.model.objective import kl_divergence
from vae.model.vae import VAE, reparameterize

PLOTS = paths.PLOTS / "generate"
SAMPLE_ROWS, SAMPLE_COLUMNS = 10, 10
INTERPOLATIONS, INTERPOLATION_STEPS = 8, 9
TRAVERSED_DIMENSIONS, TRAVERSAL_STEPS, TRAVERSAL_REACH = 10, 11, 3.0
MANIFOLD_SIDE = 20
COMPARED_BY_DISCREPANCY = 1000
JUDGED_INTERPOLATIONS = 100


def main(params: Params) -> None:
    """Sample, interpolate and traverse; compare samples with real images; write measures, verdicts and pictures."""
    settings = params.generate
    train, test = load_images(paths.TRAIN_IMAGES), load_images(paths.TEST_IMAGES)
    model = load_model(paths.MODEL, runtime.device(), test.shape)

    random = runtime.generator(settings.seed, "prior samples", model.device)
    count = min(settings.samples, len(train), len(test))
    prior = torch.randn(count, model.latent_dim, generator=random, device=model.device)
    samples = inference.decode(model, prior, settings.seed, progress=True)
    posterior = inference.encode(model, test.images)
    real = pixels(test.images[runtime.permutation(len(test), settings.seed, "test images")[:count]])
    real_images = RealImages(real.to(samples.device), settings.neighbours)

    quality = compare(real_images, samples, train, settings)
    softness = compare_sharpness(real, samples.cpu(), test.kind == PixelKind.BINARY)
    classes = classify(samples, train, test, settings.seed)
    gaps = find_holes(model, real_images, posterior, test.labels, prior, settings.seed)
    kl = kl_divergence(*posterior).mean(0)
    draw_samples(samples)
    draw_interpolations(model, test, posterior.mean, settings.seed)
    draw_traversals(model, posterior.mean, kl, settings.seed)
    draw_manifold(model, kl, settings.seed)
    parts = (quality, softness, classes, gaps)
    measures = {name: value for part in parts for name, value in part.measures.items()}
    write_results(
        "generate",
        "Verdicts on samples and the latent space",
        {**measures, "samples": count},
        SampleQuality._fields,
        [verdict for part in parts for verdict in part.verdicts],
    )


def compare(real_images: RealImages, samples: Tensor, train: LabelledImages, settings: GenerateParams) -> Diagnosis:
    """Compare samples with the same number of test images.

    The ceiling is the result of the same comparison for training images, so it is what real images reach.
    """
    chosen = train[runtime.permutation(len(train), settings.seed, "training images")[: len(samples)]]
    chosen = drawn_once(chosen, settings.seed, "training pixels")
    quality = real_images.compare(samples)
    ceiling = real_images.compare(pixels(chosen.images).to(samples.device))
    return Diagnosis({**quality._asdict(), "ceiling": ceiling._asdict()}, [judge_samples(quality, ceiling)])


def compare_sharpness(real: Tensor, samples: Tensor, binary: bool) -> Diagnosis:
    """Measure how blurred samples are compared with real images."""
    softness = blur.softness(real, samples)
    return Diagnosis(
        {"sample_blur": softness.blur, "sample_sharpness": softness.relative_sharpness},
        [blur.judge_blur("samples", softness, binary=binary)],
    )


def classify(samples: Tensor, train: LabelledImages, test: LabelledImages, seed: int) -> Diagnosis:
    """Classify the samples; measure and draw the share of each class and the confidence of the classifier."""
    train = drawn_once(train, seed, "classified pixels")
    classifier = classification.train_classifier(train.images, train.labels, len(train.class_names), seed)
    of_samples, of_test = classifier.probabilities(samples), classifier.probabilities(pixels(test.images))
    accuracy = classification.accuracy(of_test, test.labels.numpy())
    shares, reference = classification.class_shares(of_samples), classification.class_shares(of_test)
    confidence, real_confidence = classification.confidence(of_samples), classification.confidence(of_test)
    balance = classification.balance(shares, reference)
    figure = diagnoses.class_balance(shares, reference, test.class_names, accuracy, confidence, real_confidence)
    write_png(PLOTS / "class_balance.png", figure)
    return Diagnosis(
        {
            "class_balance": balance,
            "class_confidence": confidence,
            "test_confidence": real_confidence,
            "classifier_accuracy": accuracy,
        },
        [classification.judge_classes(balance, confidence, real_confidence, accuracy)],
    )


def find_holes(
    model: VAE, real_images: RealImages, posterior: inference.Posterior, labels: Tensor, prior: Tensor, seed: int
) -> Diagnosis:
    """Measure how far the prior is from the aggregate posterior, and the realism between codes; draw both."""
    random = runtime.generator(seed, "posterior samples", model.device)
    noise = torch.randn(posterior.mean.shape, generator=random, device=model.device)
    order = runtime.permutation(len(noise), seed, "split of codes").to(model.device)
    codes, held_out = reparameterize(*posterior, noise)[order].tensor_split(2)
    few = COMPARED_BY_DISCREPANCY
    discrepancy = holes.maximum_mean_discrepancy(codes[:few], prior[:few], seed)
    from_prior, from_held_out = (holes.nearest_distances(points, codes) for points in (prior, held_out))
    ratio = holes.distance_ratio(from_prior, from_held_out)
    shares = torch.linspace(0, 1, INTERPOLATION_STEPS)
    linear, spherical = realism_between(model, real_images, posterior.mean, labels, shares, seed)
    dips = {"linear": holes.interpolation_dip(linear), "spherical": holes.interpolation_dip(spherical)}

    curves = (values.cpu().double().numpy() for values in (from_prior, from_held_out, shares, linear, spherical))
    write_png(PLOTS / "holes.png", diagnoses.holes(*curves))
    return Diagnosis(
        {
            "prior_discrepancy": discrepancy.squared,
            "prior_discrepancy_p_value": discrepancy.p_value,
            "prior_distance_ratio": ratio,
            "interpolation_dip": dips,
        },
        [holes.judge_holes(discrepancy, ratio, dips["linear"], dips["spherical"])],
    )


def realism_between(
    model: VAE, real_images: RealImages, means: Tensor, labels: Tensor, shares: Tensor, seed: int
) -> list[Tensor]:
    """Median realism of images decoded between codes of different classes, on straight lines and on arcs.

    ``shares`` are positions between the two codes, from 0 to 1.
    """
    order = runtime.permutation(len(labels), seed, "judged interpolations")
    pairs = pairs_of_different_classes(labels, order, JUDGED_INTERPOLATIONS)
    starts, ends = (means[list(indices)] for indices in zip(*pairs, strict=True))
    curves = []
    for between in (interpolations, spherical_interpolations):
        images = inference.decode(model, between(starts, ends, shares.to(means.device)).flatten(0, 1), seed)
        realism = real_images.realism(images).view(len(pairs), -1)
        both_ways = torch.cat([realism, realism.flip(1)])
        curves.append(both_ways.cpu().median(0).values)  # CUDA's median is not deterministic
    return curves


def draw_samples(samples: Tensor) -> None:
    """Draw the first samples as a grid."""
    shown = samples[: SAMPLE_ROWS * SAMPLE_COLUMNS].cpu().numpy()
    figure = image_grid(
        [shown[start : start + SAMPLE_COLUMNS] for start in range(0, len(shown), SAMPLE_COLUMNS)],
        "Samples: decoded draws from the prior",
        "Healthy: each could be a real image, and all classes appear.",
    )
    write_png(PLOTS / "samples.png", figure)


def draw_interpolations(model: VAE, test: LabelledImages, means: Tensor, seed: int) -> None:
    """Draw images decoded on straight lines between the codes of test images of different classes."""
    order = runtime.permutation(len(test), seed, "interpolated images")
    starts, ends = torch.tensor(pairs_of_different_classes(test.labels, order, INTERPOLATIONS)).unbind(1)
    shares = torch.linspace(0, 1, INTERPOLATION_STEPS)
    between = decode_rows(model, interpolations(means[starts], means[ends], shares.to(means.device)), seed)
    first, last = (pixels(test.images[indices]).unsqueeze(1).numpy() for indices in (starts, ends))
    names = [[test.class_names[label] for label in test.labels[indices]] for indices in (starts, ends)]
    figure = image_grid(
        list(np.concatenate([first, between, last], axis=1)),
        "Interpolations between pairs of test images",
        "Healthy: each step could be a real image. Both images overlaid, or smears: a hole in the latent space.",
        row_labels=[f"{start} to {end}" for start, end in zip(*names, strict=True)],
        column_labels=["test\nimage", *(f"{share:.3g}" for share in shares.tolist()), "test\nimage"],
        row_axis="classes",
        column_axis="position between the two codes",
    )
    write_png(PLOTS / "interpolations.png", figure)


def draw_traversals(model: VAE, means: Tensor, kl: Tensor, seed: int) -> None:
    """Draw images decoded while one latent dimension of a test image's code varies and the others stay fixed."""
    dimensions = most_active(kl, TRAVERSED_DIMENSIONS)
    start = means[runtime.permutation(len(means), seed, "traversed image")[0]]
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


def draw_manifold(model: VAE, kl: Tensor, seed: int) -> None:
    """Draw images decoded from a grid of prior quantiles over the two most active latent dimensions."""
    quantiles = prior_quantiles(MANIFOLD_SIDE)
    dimensions = sorted(most_active(kl, 2))
    across, *up = [f"z{dimension}" for dimension in dimensions]
    others = "; the two most active dimensions, all others at 0" if model.latent_dim > 2 else ""
    figure = image_grid(
        decode_rows(model, prior_grid(quantiles, dimensions, model.latent_dim), seed),
        f"The manifold over {' and '.join([across, *up])}",
        f"Decoded quantiles of the prior{others}. Healthy: smooth changes without smears.",
        row_labels=[signed(value) for value in quantiles.flip(0).tolist()] if up else [],
        column_labels=[signed(value) for value in quantiles.tolist()],
        row_axis=f"{up[0]} (standard deviations of the prior)" if up else "",
        column_axis=f"{across} (standard deviations of the prior)",
        cell=0.42,
    )
    write_png(PLOTS / "manifold.png", figure)


def decode_rows(model: VAE, codes: Tensor, seed: int) -> NDArray[np.float32]:
    """Decode rows of codes: (R, S, D) to (R, S, C, H, W)."""
    images: NDArray[np.float32] = inference.decode(model, codes.flatten(0, 1), seed).cpu().numpy()
    return images.reshape(*codes.shape[:2], *images.shape[1:])


def signed(value: float) -> str:
    """Format a coordinate with its sign, and zero as +0.0."""
    return f"{round(value, 1) + 0.0:+.1f}"


if __name__ == "__main__":
    entry.run(main)
