"""Stage 4: samples, interpolations and traversals, with verdicts on samples and the latent space."""

import sys
from math import isnan, nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages import decoded, entry, paths
from stages.instrument import Instrument, Samples
from stages.results import density_rows, known, write_curves, write_results
from vae.base import runtime
from vae.base.artifacts import write_csv, write_png
from vae.base.params import Params
from vae.base.precision import standard_error
from vae.classifier.classifier import Classifier, ClassifierKind, accuracy
from vae.classifier.classifier_file import load_classifier
from vae.data.images import LabelledImages, PixelKind, drawn_once, load_images, pixels
from vae.diagnostics import blur, classification, holes
from vae.diagnostics.aggregate_posterior import MarginalKL, draw_codes, fit_mixture, marginal_kl
from vae.diagnostics.sample_quality import Comparison, RealImages, SampleQuality, judge_samples
from vae.diagnostics.verdict import Diagnosis, Verdict
from vae.figures import diagnoses
from vae.figures.holes import holes as holes_figure
from vae.model import inference
from vae.model.latent_space import interpolations, pairs_of_different_classes, spherical_interpolations
from vae.model.model_file import load_model
from vae.model.objective import kl_divergence
from vae.model.vae import VAE

PLOTS = paths.PLOTS / "generate"
JUDGED_INTERPOLATIONS = 100


def main(params: Params) -> None:
    """Sample, interpolate and traverse; compare samples with real images; write measures, verdicts and pictures."""
    settings, seed = params.generate, params.generate.seed
    train = drawn_once(load_images(paths.TRAIN_IMAGES), seed, "training pixels")
    test = load_images(paths.TEST_IMAGES)
    model = load_model(paths.MODEL, runtime.device(), test.shape)
    classifier = load_classifier(paths.CLASSIFIER, model.device, test.shape)
    count = min(settings.samples, len(train), len(test))
    real, training = (
        data.images[runtime.permutation(len(data), seed, purpose)[:count]]
        for data, purpose in ((test, "test images"), (train, "training images"))
    )
    real_images = RealImages(classifier.features(real), settings.neighbours)
    instrument = Instrument(classifier, real_images, binary=test.kind == PixelKind.BINARY)

    posterior = inference.encode(model, test.images)
    mixture = fit_mixture(*inference.encode(model, train.images), seed)
    random = runtime.generator(seed, "prior samples", model.device)
    prior = torch.randn(count, model.latent_dim, generator=random, device=model.device)
    from_prior, from_mixture = (instrument.decode(model, codes, seed) for codes in (prior, mixture.sample(count, seed)))

    quality = look_at_quality(from_prior, from_mixture, instrument.compare(training), classifier.kind)
    sharpness = look_at_sharpness(real[: blur.compared(test.shape)], from_prior.images, binary=instrument.binary)
    classes, unclear = look_at_classes(from_prior, from_mixture, classifier, test)
    mismatch = marginal_kl(mixture, *posterior, seed)
    gaps = look_at_holes(model, instrument, posterior, test.labels, prior, mismatch, unclear, seed)
    draw_samples(from_prior, from_mixture, framed=not isnan(unclear.prior))
    kl = kl_divergence(*posterior).mean(0)
    decoded.draw_interpolations(model, test, posterior.mean, seed)
    decoded.draw_traversals(model, posterior.mean, kl, seed)
    decoded.draw_manifold(model, posterior.mean, kl, seed)
    parts = (quality, sharpness, classes, gaps)
    measures = {name: value for part in parts for name, value in part.measures.items()}
    write_results(
        "generate",
        "Verdicts on samples and the latent space",
        {**measures, "samples": count, "features": str(classifier.kind)},
        [*SampleQuality._fields, "unclear_share"],
        [verdict for part in parts for verdict in part.verdicts],
    )


def look_at_quality(
    from_prior: Samples, from_mixture: Samples, training: Comparison, kind: ClassifierKind
) -> Diagnosis:
    """Judge the samples from the prior, next to those from the mixture and to training images in their place."""
    return Diagnosis(
        {
            **with_errors(from_prior.comparison),
            "mixture": with_errors(from_mixture.comparison),
            "real": with_errors(training),
        },
        [
            holes.point_to_mixture(
                *(judged(samples.comparison, training, kind) for samples in (from_prior, from_mixture))
            )
        ],
    )


def judged(comparison: Comparison, training: Comparison, kind: ClassifierKind) -> Verdict:
    """The verdict on samples, next to training images in their place, in the features of a kind of classifier."""
    return judge_samples(
        comparison.quality, training.quality, comparison.standard_errors.frechet_distance, features=str(kind)
    )


def look_at_sharpness(real: Tensor, samples: Tensor, *, binary: bool) -> Diagnosis:
    """Measure how blurred samples are compared with real images, in 8 bits."""
    softness = blur.softness(pixels(real), samples)
    return Diagnosis(
        {
            "sample_blur": softness.blur,
            "sample_sharpness": softness.relative_sharpness,
            "sample_sharpness_se": softness.relative_sharpness_se,
        },
        [blur.judge_blur("samples", softness, binary=binary)],
    )


def look_at_classes(
    from_prior: Samples, from_mixture: Samples, classifier: Classifier, test: LabelledImages
) -> tuple[Diagnosis, holes.UnclearShares]:
    """Measure and draw the share of each class, and how many images are no clear member of any.

    Also return the unclear shares for other verdicts: NaN if the classifier is not to be trusted.
    """
    of_test = classifier.probabilities(test.images)
    trained = classifier.kind == ClassifierKind.TRAINED
    right = accuracy(of_test, test.labels) if trained else nan
    everything = (from_prior.probabilities, from_mixture.probabilities, of_test)
    unclear = holes.UnclearShares(*(classification.unclear_share(each) if trained else nan for each in everything))
    *shares, reference = (
        classification.class_shares(each) if trained else np.full(classifier.classes, nan) for each in everything
    )
    sizes = len(from_prior.probabilities), len(of_test)
    least = classification.least_balance(reference, *sizes) if trained else nan
    balance = [classification.balance(each, reference) for each in shares]

    write_csv(
        PLOTS / "class_balance.csv",
        ["class", "samples", "reference"],
        [
            (name, known(share), known(real))
            for name, share, real in zip(test.class_names, shares[0].tolist(), reference.tolist(), strict=True)
        ],
    )
    figure = diagnoses.class_balance(shares[0], reference, test.class_names, right, unclear.prior, unclear.real)
    write_png(PLOTS / "class_balance.png", figure)
    measures = {
        "unclear_share": unclear.prior,
        "unclear_share_se": standard_error(classification.is_unclear(from_prior.probabilities)) if trained else nan,
        "mixture.unclear_share": unclear.mixture,
        "real.unclear_share": unclear.real,
        "class_balance": balance[0],
        "class_balance_se": classification.balance_standard_error(shares[0], reference, *sizes) if trained else nan,
        "mixture.class_balance": balance[1],
        "least_class_balance": least,
    }
    verdicts = (
        classification.judge_classes(each, share, unclear.real, right, least)
        for each, share in zip(balance, unclear[:2], strict=True)
    )
    return Diagnosis(
        {name: known(value) for name, value in measures.items()}, [holes.point_to_mixture(*verdicts)]
    ), unclear if classification.is_trusted(right) else holes.UnclearShares(nan, nan, nan)


def look_at_holes(
    model: VAE,
    instrument: Instrument,
    posterior: inference.Posterior,
    labels: Tensor,
    prior: Tensor,
    mismatch: MarginalKL,
    unclear: holes.UnclearShares,
    seed: int,
) -> Diagnosis:
    """Judge how far the prior is from the codes, and measure the realism between codes; draw both."""
    codes = draw_codes(*posterior, len(posterior.mean), seed).float()
    nearby, held_out = codes.tensor_split(2)
    from_prior, from_held_out = (holes.nearest_distances(points, nearby) for points in (prior.cpu(), held_out))
    shares = torch.linspace(0, 1, decoded.INTERPOLATION_STEPS)
    linear, spherical = realism_between(model, instrument, posterior.mean, labels, shares, seed)
    dips = {"linear": holes.interpolation_dip(linear), "spherical": holes.interpolation_dip(spherical)}
    distances = {"codes of held-out images": array(from_held_out), "draws from the prior": array(from_prior)}
    realism = {"on straight lines": array(linear), "on arcs": array(spherical)}
    write_curves(
        PLOTS / "holes.csv",
        [
            *density_rows("Share by distance to the nearest code (prior standard deviations)", distances),
            *(
                ("Median realism by position between two codes", name, share, value)
                for name, values in realism.items()
                for share, value in zip(shares.tolist(), values.tolist(), strict=True)
            ),
        ],
    )
    figure = holes_figure(
        array(from_prior),
        array(from_held_out),
        array(shares),
        array(linear),
        array(spherical),
        kl=mismatch.kl,
        marginal_lower=mismatch.lower,
        marginal_upper=mismatch.upper,
    )
    write_png(PLOTS / "holes.png", figure)
    return Diagnosis(
        {
            "marginal_kl": {"lower": mismatch.lower, "lower_se": mismatch.standard_error, "upper": mismatch.upper},
            "interpolation_dip": dips,
        },
        [holes.judge_holes(mismatch, unclear, dips["linear"], dips["spherical"])],
    )


def realism_between(
    model: VAE, instrument: Instrument, means: Tensor, labels: Tensor, shares: Tensor, seed: int
) -> list[Tensor]:
    """Median realism of images decoded between codes, of different classes if there are any, on lines and on arcs.

    ``shares`` are positions between the two codes, from 0 to 1.
    """
    order = runtime.permutation(len(labels), seed, "judged interpolations")
    pairs = pairs_of_different_classes(decoded.told_apart(labels), order, JUDGED_INTERPOLATIONS)
    starts, ends = (means[list(indices)] for indices in zip(*pairs, strict=True))
    curves = []
    for between in (interpolations, spherical_interpolations):
        codes = between(starts, ends, shares.to(means.device)).flatten(0, 1)
        pieces = inference.decode_in_pieces(model, codes, seed, binary=instrument.binary)
        features = torch.cat([instrument.classifier.features(images.compared) for _, images in pieces])
        realism = instrument.real_images.realism(features).view(len(pairs), -1)
        both_ways = torch.cat([realism, realism.flip(1)])
        curves.append(both_ways.median(0).values)
    return curves


def draw_samples(from_prior: Samples, from_mixture: Samples, *, framed: bool) -> None:
    """Draw samples from the prior and from the mixture; if asked to, frame those of no clear class."""
    healthy = "Healthy: like real images of all classes." if framed else "Healthy: like real images of all kinds."
    frames = " In orange frames: no clear member of any class."
    for name, samples, what in (
        ("samples", from_prior, "draws from the prior"),
        ("samples_mixture", from_mixture, "draws from a mixture fitted to the codes"),
    ):
        unclear = classification.is_unclear(samples.probabilities) if framed else None
        title, explanation = f"Samples: decoded {what}", healthy + frames * framed
        decoded.draw_samples(PLOTS / f"{name}.png", samples.images, unclear, title, explanation)


def with_errors(comparison: Comparison) -> dict[str, float]:
    """The measures by name, and their standard errors by name with ``_se``."""
    errors = {f"{name}_se": error for name, error in comparison.standard_errors._asdict().items()}
    return {**comparison.quality._asdict(), **errors}


def array(values: Tensor) -> NDArray[np.float64]:
    """The values of a tensor as an array, for a chart."""
    return values.cpu().double().numpy()


if __name__ == "__main__":
    entry.run(main, sys.argv[1:])
