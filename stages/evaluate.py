"""Stage 3: losses on the test images, use of the latent dimensions, and verdicts on the fit."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages import entry, paths
from stages.results import write_results
from vae.base import runtime
from vae.base.artifacts import read_json, write_csv, write_png
from vae.base.params import Params
from vae.data.entropy import entropy_floor
from vae.data.images import LabelledImages, PixelKind, drawn_once, load_images, pixels
from vae.diagnostics import blur, collapse, fit, reconstruction
from vae.diagnostics.verdict import Diagnosis
from vae.figures import diagnoses
from vae.figures.charts import latent_spectrum, loss_curves
from vae.figures.images import image_grid
from vae.model import inference
from vae.model.model_file import load_model
from vae.model.objective import average_loss

log = logging.getLogger(__name__)

PLOTS = paths.PLOTS / "evaluate"
ROWS, COLUMNS = 4, 12  # of the grid of reconstructions


def main(params: Params) -> None:
    """Measure the model on every test image; write measures, verdicts and pictures."""
    settings = params.evaluate
    test = load_images(paths.TEST_IMAGES)
    train = as_many(load_images(paths.TRAIN_IMAGES), len(test), settings.seed)
    model = load_model(paths.MODEL, runtime.device(), test.shape)
    history = read_json(paths.HISTORY)

    elbo, train_elbo = (inference.negative_elbo(model, data.images, settings.seed) for data in (test, train))
    bound = inference.importance_weighted_bound(
        model, test.images, settings.importance_samples, settings.seed, progress=True
    )
    posterior = inference.encode(model, test.images)
    reconstructions = inference.decode(model, posterior.mean, settings.seed, progress=True)

    errors = reconstruction.squared_errors(test.images, reconstructions)
    losses = average_loss(elbo)
    measured = {
        "negative_elbo": float(losses.loss),
        "reconstruction": float(losses.reconstruction),
        "kl": float(losses.kl),
        "negative_iwae_bound": -float(bound.mean()),
        "mse": float(errors.mean()),
    }

    # No Bernoulli decoder can have a lower reconstruction loss; other likelihoods have no such floor.
    bernoulli = model.architecture.likelihood == "bernoulli"
    above_floor = measured["reconstruction"] - entropy_floor(test.images) if bernoulli else None
    parts = [
        look_at_codes(posterior, elbo.kl.mean(0), history["epochs"]["train_kl"], test, settings.seed),
        look_at_reconstructions(test, reconstructions.cpu(), errors, settings.seed),
        look_at_fit(elbo.loss, train_elbo.loss, measured, history, unit(test)),
    ]
    log.info("test images, %s: %s", unit(test), ", ".join(f"{name} {value:.5g}" for name, value in measured.items()))
    measures = {name: value for part in parts for name, value in part.measures.items()}
    write_results(
        "evaluate",
        "Verdicts on the model and its training",
        {"test": measured, "reconstruction_above_floor": above_floor, **measures},
        ["test", "active_units"],
        [verdict for part in parts for verdict in part.verdicts],
    )


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
        PLOTS / "latent_dimensions.csv",
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
        [collapse.judge_collapse(variances, information, kl_per_epoch, len(test.class_names))],
    )


def look_at_reconstructions(test: LabelledImages, reconstructions: Tensor, errors: Tensor, seed: int) -> Diagnosis:
    """Measure the error and the sharpness of reconstructions; draw a random selection and the worst."""
    per_class = reconstruction.error_per_class(errors, test.labels, len(test.class_names))
    order = runtime.permutation(len(test), seed, "pictured images")
    softness = blur.softness(pixels(test.images[order[: blur.COMPARED]]), reconstructions[order[: blur.COMPARED]])
    draw_reconstructions(test, reconstructions, order[: ROWS * COLUMNS])
    draw_worst(test, reconstructions, torch.tensor(reconstruction.worst(errors, ROWS // 2 * COLUMNS)))
    figure = diagnoses.error_per_class(per_class.numpy(), test.class_names, float(errors.mean()))
    write_png(PLOTS / "error_per_class.png", figure)
    return Diagnosis(
        {
            "mse_per_class": named(per_class, test.class_names),
            "reconstruction_blur": softness.blur,
            "reconstruction_sharpness": softness.relative_sharpness,
        },
        [blur.judge_blur("reconstructions", softness, binary=is_binary(test))],
    )


def look_at_fit(
    negative_elbo: Tensor,
    train_negative_elbo: Tensor,
    measured: Mapping[str, float],
    history: Mapping[str, Any],
    unit: str,
) -> Diagnosis:
    """Judge overfitting, training length and inference gap; draw the losses and the bounds."""
    figure = diagnoses.bounds(train_negative_elbo.numpy(), negative_elbo.numpy(), unit)
    write_png(PLOTS / "bounds.png", figure)
    columns = {name: np.array(values, np.float64) for name, values in history["epochs"].items()}
    write_png(PLOTS / "losses.png", loss_curves(columns, history["best_epoch"]))
    return Diagnosis(
        {"train_negative_elbo": float(train_negative_elbo.mean())},
        [
            fit.judge_overfitting(train_negative_elbo, negative_elbo),
            fit.judge_convergence(history["epochs"]["train_loss"]),
            fit.judge_inference_gap(measured["negative_elbo"], measured["negative_iwae_bound"], measured["kl"]),
        ],
    )


def as_many(train: LabelledImages, count: int, seed: int) -> LabelledImages:
    """Random training images, as many as there are test images, with the same kind of pixels."""
    return drawn_once(train[runtime.permutation(len(train), seed, "training images")[:count]], seed, "training pixels")


def unit(test: LabelledImages) -> str:
    """The unit of the bounds. They are bounds on log p(x) only if pixels are black or white."""
    meaning = "bounds on -log p(x)" if is_binary(test) else "grey pixels: no bounds on log p(x)"
    return f"nats per image ({meaning})"


def is_binary(test: LabelledImages) -> bool:
    """Whether every pixel is black or white."""
    return test.kind == PixelKind.BINARY


def named(values: Tensor, names: Sequence[str]) -> dict[str, float]:
    """The values by class name, without classes that have no value."""
    return {name: float(value) for name, value in zip(names, values, strict=True) if torch.isfinite(value)}


def draw_reconstructions(test: LabelledImages, reconstructions: Tensor, chosen: Tensor) -> None:
    """Draw test images, each above its reconstruction."""
    figure = image_grid(
        over_one_another(test, reconstructions, chosen),
        "Test images and their reconstructions",
        "Healthy: the same image, slightly softer. Blurred or all alike: the code carries too little.",
        row_labels=["test image", "reconstruction"] * ROWS,
    )
    write_png(PLOTS / "reconstructions.png", figure)


def draw_worst(test: LabelledImages, reconstructions: Tensor, chosen: Tensor) -> None:
    """Draw the test images with the largest reconstruction error."""
    figure = image_grid(
        over_one_another(test, reconstructions, chosen),
        "The worst reconstructions",
        f"The {len(chosen)} test images with the largest squared error, worst first. Healthy: only unusual ones.",
        row_labels=["test image", "reconstruction"] * (ROWS // 2),
    )
    write_png(PLOTS / "worst_reconstructions.png", figure)


def over_one_another(test: LabelledImages, reconstructions: Tensor, chosen: Tensor) -> list[np.ndarray]:
    """Rows of test images, each followed by the row of their reconstructions."""
    rows = []
    for indices in chosen.split(COLUMNS):
        rows += [pixels(test.images[indices]).numpy(), reconstructions[indices].numpy()]
    return rows


if __name__ == "__main__":
    entry.run(main)
