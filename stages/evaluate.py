"""Stage 3: losses on the test images, use of the latent dimensions, and verdicts on the fit."""

import logging
import sys
from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages import entry, paths
from stages.results import density_rows, known, write_curves, write_results
from vae.base import runtime
from vae.base.artifacts import read_json, write_csv, write_png
from vae.base.params import LIKELIHOODS_OF_8_BITS, Params
from vae.base.precision import standard_error
from vae.data.codecs import CodecBits, codec_bits
from vae.data.entropy import entropy_floor
from vae.data.images import ImageShape, LabelledImages, PixelKind, drawn_once, load_images, pixels
from vae.diagnostics import blur, collapse, reconstruction
from vae.diagnostics.inference_gap import judge_inference_gap
from vae.diagnostics.overfitting import OverfittingGap, judge_overfitting, overfitting_gap
from vae.diagnostics.training_length import TIMES, judge_training_length
from vae.diagnostics.verdict import Diagnosis, Difference, Level, between_models
from vae.figures import diagnoses
from vae.figures.charts import LossForecast, latent_spectrum, loss_curves
from vae.figures.images import image_grid
from vae.model import inference
from vae.model.local_inference import inference_gap
from vae.model.model_file import load_model
from vae.model.objective import bits_per_dimension
from vae.model.vae import VAE

log = logging.getLogger(__name__)

PLOTS = paths.PLOTS / "evaluate"
ROWS, COLUMNS = 4, 12  # of the grid of reconstructions
WORST = ROWS // 2 * COLUMNS


def main(params: Params) -> None:
    """Measure the model on every test image; write measures, verdicts and pictures."""
    settings = params.evaluate
    test = load_images(paths.TEST_IMAGES)
    train = as_many(load_images(paths.TRAIN_IMAGES), len(test), settings.seed)
    model = load_model(paths.MODEL, runtime.device(), test.shape)
    history = read_json(paths.HISTORY)

    train_elbo = inference.negative_elbo(model, train.images, settings.seed)
    elbo, bound = inference.bounds(model, test.images, settings.importance_samples, settings.seed, progress=True)
    posterior = inference.encode(model, test.images)
    errors, reconstructions = reconstruct(model, posterior.mean, test, settings.seed)
    per_image = {
        "negative_elbo": elbo.loss,
        "reconstruction": elbo.reconstruction,
        "kl": elbo.kl.sum(1),
        "negative_iwae_bound": -bound,
        "mse": errors,
    }
    measured = {name: float(values.mean()) for name, values in per_image.items()}

    # No Bernoulli decoder can have a lower reconstruction loss; other likelihoods have no such floor.
    bernoulli = model.architecture.likelihood == "bernoulli"
    above_floor = measured["reconstruction"] - entropy_floor(test.images) if bernoulli else None
    of_8_bits = model.architecture.likelihood in LIKELIHOODS_OF_8_BITS
    bits = bits_per_dimension(measured["negative_elbo"], test.shape) if of_8_bits else None
    codecs = codec_bits(test.images) if of_8_bits else None
    nats = unit(test, of_8_bits=of_8_bits)
    gap = overfitting_gap(train_elbo.loss, elbo.loss)
    draw_bounds(train_elbo.loss, elbo.loss, gap, nats, codecs, test.shape)
    between = between_models(prod(test.shape), of_8_bits=of_8_bits)
    overfitting = look_at_overfitting(train_elbo.loss, gap, between)
    parts = [
        look_at_codes(posterior, elbo.kl.mean(0), history["epochs"]["train_kl"], test, settings.seed),
        look_at_reconstructions(test, reconstructions, errors, settings.seed),
        overfitting,
        look_at_training(history, overfitting.verdicts[0].level, between),
        look_at_inference(model, test, elbo.loss + bound, settings.seed),
    ]
    log.info("test images, %s: %s", nats, ", ".join(f"{name} {value:.5g}" for name, value in measured.items()))
    measures = {name: value for part in parts for name, value in part.measures.items()}
    write_results(
        "evaluate",
        "Verdicts on the model and its training",
        {
            "test": measured,
            "bits_per_dimension": bits,
            "codec_bits_per_dimension": codecs and codecs._asdict(),
            "reconstruction_above_floor": above_floor,
            **measures,
        },
        ["test", "active_units"],
        [verdict for part in parts for verdict in part.verdicts],
        per_image={f"test.{name}": values for name, values in per_image.items()},
    )


def reconstruct(model: VAE, codes: Tensor, test: LabelledImages, seed: int) -> tuple[Tensor, dict[int, Tensor]]:
    """The squared error of each reconstruction (N,), and the reconstructions to draw or to compare, by index.

    Images are decoded in pieces, so that memory does not hold the reconstructions of many large images.
    """
    wanted = set(compared(test, seed).tolist())
    errors: list[Tensor] = []
    kept: dict[int, Tensor] = {}
    for rows, (images, _) in inference.decode_in_pieces(model, codes, seed):
        errors.append(reconstruction.squared_errors(test.images[rows.start : rows.stop], images))
        worst = reconstruction.worst(errors[-1], WORST)
        chosen = sorted({rows.start + index for index in worst} | wanted.intersection(rows))
        kept |= {index: images[index - rows.start].cpu() for index in chosen}
    return torch.cat(errors), kept


def compared(test: LabelledImages, seed: int) -> Tensor:
    """The indices of the images to measure the blur of, in random order; the first are drawn."""
    return runtime.permutation(len(test), seed, "pictured images")[: max(blur.compared(test.shape), ROWS * COLUMNS)]


def look_at_codes(
    posterior: inference.Posterior, kl: Tensor, kl_per_epoch: Sequence[float], test: LabelledImages, seed: int
) -> Diagnosis:
    """Measure how much information the latent dimensions carry; write it as a table and a chart."""
    variances = collapse.mean_variances(posterior.mean)
    noise = torch.randn(posterior.mean.shape, generator=runtime.generator(seed, "information noise"))
    information = collapse.mutual_information(*posterior, noise)
    order = kl.argsort(descending=True, stable=True).tolist()
    threshold = collapse.ACTIVE_VARIANCE  # in every row, so that the chart can draw it
    write_csv(
        PLOTS / "kl_per_dimension.csv",
        ["rank", "dimension", "kl", "variance", "active_above"],
        [
            (rank, index, float(kl[index]), float(variances[index]), threshold)
            for rank, index in enumerate(order, start=1)
        ],
    )
    write_png(PLOTS / "kl_per_dimension.png", latent_spectrum(kl.numpy(), variances.numpy(), threshold))
    return Diagnosis(
        {
            "active_units": collapse.active_units(variances),
            "clearly_active_units": collapse.active_units(variances, collapse.CLEARLY_ACTIVE_VARIANCE),
            "latent_dim": len(variances),
            "mutual_information": information,
        },
        [collapse.judge_collapse(variances, information, kl_per_epoch, len(test), len(test.class_names))],
    )


def look_at_reconstructions(
    test: LabelledImages, reconstructions: Mapping[int, Tensor], errors: Tensor, seed: int
) -> Diagnosis:
    """Measure the error and the sharpness of reconstructions; draw a random selection and the worst."""
    per_class = reconstruction.error_per_class(errors, test.labels, len(test.class_names))
    order = compared(test, seed)
    decoded_again = torch.stack([reconstructions[int(index)] for index in order])
    real = pixels(test.images[order])
    softness, worse = blur.softness(real, decoded_again), blur.is_worse_than_mean(real, decoded_again)
    draw_reconstructions(test, reconstructions, order[: ROWS * COLUMNS])
    draw_worst(test, reconstructions, torch.tensor(reconstruction.worst(errors, WORST)))
    overall = float(errors.mean())
    write_csv(
        PLOTS / "error_per_class.csv",
        ["class", "mse", "reference"],
        [(name, known(float(error)), overall) for name, error in zip(test.class_names, per_class, strict=True)],
    )
    write_png(PLOTS / "error_per_class.png", diagnoses.error_per_class(per_class.numpy(), test.class_names, overall))
    return Diagnosis(
        {
            "reconstruction_blur": softness.blur,
            "reconstruction_sharpness": softness.relative_sharpness,
            "reconstruction_sharpness_se": softness.relative_sharpness_se,
        },
        [blur.judge_blur("reconstructions", softness, binary=is_binary(test), worse_than_mean=worse)],
    )


def look_at_overfitting(train_negative_elbo: Tensor, gap: OverfittingGap, between: Difference) -> Diagnosis:
    """Judge how much worse the model is on test images than on training images."""
    return Diagnosis(
        {
            "train_negative_elbo": float(train_negative_elbo.mean()),
            "overfitting_gap": gap.nats,
            "overfitting_gap_se": gap.standard_error,
        },
        [judge_overfitting(gap, between)],
    )


def look_at_training(history: Mapping[str, Any], overfitting: Level, between: Difference) -> Diagnosis:
    """Judge whether training was long enough; draw the losses, with a forecast for a longer run."""
    epochs, best = history["epochs"], history["best_epoch"]
    verdict, longer = judge_training_length(
        epochs["train_loss"],
        epochs["validation_loss"],
        best,
        schedule=history["schedule"],
        kl_warmup_epochs=history["kl_warmup_epochs"],
        overfitting=overfitting,
        between=between,
    )
    columns = {name: np.array(values, np.float64) for name, values in epochs.items()}
    shown = longer and LossForecast(TIMES * len(epochs["epoch"]), longer.loss, longer.low, longer.high)
    write_png(PLOTS / "losses.png", loss_curves(columns, best, shown))
    return Diagnosis({"forecast_loss": longer and longer.loss}, [verdict])


def look_at_inference(model: VAE, test: LabelledImages, below_bound: Tensor, seed: int) -> Diagnosis:
    """Measure and judge how far the encoder's posteriors are from the true ones, and why.

    ``below_bound`` is by how much the ELBO of each test image is below its importance-weighted bound.
    """
    gap = inference_gap(model, test.images, seed, progress=True)
    verdict = judge_inference_gap(gap, float(below_bound.mean()), standard_error(below_bound), len(test))
    return Diagnosis({"inference_gap": gap._asdict()}, [verdict])


def as_many(train: LabelledImages, count: int, seed: int) -> LabelledImages:
    """Random training images, as many as there are test images, with the same kind of pixels."""
    return drawn_once(train[runtime.permutation(len(train), seed, "training images")[:count]], seed, "training pixels")


def unit(test: LabelledImages, *, of_8_bits: bool) -> str:
    """The unit of the bounds. They are bounds on log p(x) only if p(x|z) is a probability of the pixels' values."""
    colour = "grey" if test.shape[0] == 1 else "colour"
    meaning = "bounds on -log p(x)" if is_binary(test) or of_8_bits else f"{colour} pixels: no bounds on log p(x)"
    return f"nats per image ({meaning})"


def is_binary(test: LabelledImages) -> bool:
    """Whether every pixel is black or white."""
    return test.kind == PixelKind.BINARY


def draw_bounds(
    train: Tensor, test: Tensor, gap: OverfittingGap, unit: str, codecs: CodecBits | None, shape: ImageShape
) -> None:
    """Write and draw the distribution of the negative ELBO over training and test images.

    The picture also shows what codecs need for the test images.
    """
    groups = {"training images": train.numpy(), "test images": test.numpy()}
    write_curves(PLOTS / "bounds.csv", density_rows("Share of images by negative ELBO (nats per image)", groups))
    names = {"png": "PNG", "webp": "lossless WebP", "pixels": "entropy of pixels"}
    sizes = {names[name]: bits for name, bits in codecs._asdict().items()} if codecs else {}
    nats_of_a_bit = 1 / bits_per_dimension(1, shape)
    figure = diagnoses.bounds(train.numpy(), test.numpy(), gap, unit, sizes, nats_of_a_bit=nats_of_a_bit)
    write_png(PLOTS / "bounds.png", figure)


def draw_reconstructions(test: LabelledImages, reconstructions: Mapping[int, Tensor], chosen: Tensor) -> None:
    """Draw test images, each above its reconstruction."""
    figure = image_grid(
        over_one_another(test, reconstructions, chosen),
        "Test images and their reconstructions",
        "Healthy: the same image, slightly softer. Blurred or all alike: the code carries too little.",
        row_labels=["test image", "reconstruction"] * ceil(len(chosen) / COLUMNS),
    )
    write_png(PLOTS / "reconstructions.png", figure)


def draw_worst(test: LabelledImages, reconstructions: Mapping[int, Tensor], chosen: Tensor) -> None:
    """Draw the test images with the largest reconstruction error."""
    figure = image_grid(
        over_one_another(test, reconstructions, chosen),
        "The worst reconstructions",
        f"The {len(chosen)} test images with the largest squared error, worst first. Healthy: only unusual ones.",
        row_labels=["test image", "reconstruction"] * ceil(len(chosen) / COLUMNS),
    )
    write_png(PLOTS / "worst_reconstructions.png", figure)


def over_one_another(
    test: LabelledImages, reconstructions: Mapping[int, Tensor], chosen: Tensor
) -> list[NDArray[np.float32]]:
    """Rows of test images, each followed by the row of their reconstructions."""
    rows = []
    for indices in chosen.split(COLUMNS):
        again = torch.stack([reconstructions[int(index)] for index in indices])
        rows += [pixels(test.images[indices]).numpy(), again.numpy()]
    return rows


if __name__ == "__main__":
    entry.run(main, sys.argv[1:])
