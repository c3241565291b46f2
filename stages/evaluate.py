"""Stage 3: the model's losses on the test images, what its latent dimensions carry, and verdicts on its fit."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stages import entry, paths
from vae import inference, runtime
from vae.artifacts import read_csv, read_json, write_csv, write_json, write_png
from vae.checkpoints import load_model
from vae.datasets import LabelledImages, PixelKind, black_and_white, load_images, pixels
from vae.diagnostics import blur, collapse, fit, reconstruction
from vae.diagnostics.verdict import levels, table
from vae.figures import diagnoses
from vae.figures.charts import latent_spectrum, loss_curves
from vae.figures.images import image_grid
from vae.figures.verdicts import verdict_table
from vae.params import Params

log = logging.getLogger(__name__)

PLOTS = paths.PLOTS / "evaluate"
ROWS, COLUMNS = 4, 12  # of pictured reconstructions
COMPARED_FOR_BLUR = 2000


def main(params: Params) -> None:
    """Measure the model on every test image; write measures, verdicts and pictures."""
    settings = params.evaluate
    test = load_images(paths.TEST_IMAGES)
    train = as_many(load_images(paths.TRAIN_IMAGES), len(test), settings.seed)
    model = load_model(paths.MODEL, runtime.device(), test.shape)
    binary = test.kind == PixelKind.BINARY

    losses = inference.losses(model, test.images, settings.seed)
    train_losses = inference.losses(model, train.images, settings.seed)
    bound = inference.importance_weighted_bound(
        model, test.images, settings.importance_samples, settings.seed, progress=True
    )
    negative_iw_bound = -float(bound.mean())
    posterior = inference.encode(model, test.images)
    reconstructions = inference.decode(model, posterior.mean, settings.seed, progress=True)
    errors = reconstruction.squared_errors(test.images, reconstructions)
    errors_per_class = reconstruction.error_per_class(errors, test.labels, len(test.class_names))
    variances = collapse.mean_variances(posterior.mean)
    noise = torch.randn(posterior.mean.shape, generator=runtime.generator(settings.seed, "information noise"))
    information = collapse.mutual_information(*posterior, noise)
    softness, relative_sharpness = compare_sharpness(test, reconstructions, settings.seed)
    history = read_csv(paths.LOSSES)

    verdicts = [
        collapse.judge_collapse(variances, information, history["train_kl"], len(test.class_names)),
        blur.judge_blur("reconstructions", softness, relative_sharpness, binary),
        fit.judge_overfitting(train_losses.per_image, losses.per_image),
        fit.judge_convergence(history["train_loss"]),
        fit.judge_inference_gap(losses.negative_elbo, negative_iw_bound, losses.kl),
    ]
    bounds = {
        "negative_elbo": losses.negative_elbo,
        "reconstruction": losses.reconstruction,
        "kl": losses.kl,
        "negative_iw_bound": negative_iw_bound,
    }
    write_json(
        paths.METRICS / "evaluate.json",
        {
            "test": {**bounds, "mse": float(errors.mean())},
            "train_negative_elbo": train_losses.negative_elbo,
            "active_units": collapse.active_units(variances),
            "clearly_active_units": collapse.active_units(variances, collapse.CLEARLY_ACTIVE_VARIANCE),
            "latent_dim": model.latent_dim,
            "mutual_information": information,
            "reconstruction_blur": softness,
            "reconstruction_sharpness": relative_sharpness,
            "mse_per_class": named(errors_per_class, test.class_names),
            "verdicts": levels(verdicts),
        },
    )
    write_spectrum(losses.kl_per_dimension, variances)
    draw_reconstructions(test, reconstructions, settings.seed)
    draw_worst(test, reconstructions, errors)
    draw_charts(losses, train_losses, variances, binary)
    write_png(
        PLOTS / "error_per_class.png",
        diagnoses.error_per_class(errors_per_class.numpy(), test.class_names, float(errors.mean())),
    )
    write_png(PLOTS / "verdicts.png", verdict_table(verdicts, "Verdicts on the model and its training"))
    log.info("test images, %s: %s", unit(binary), ", ".join(f"{name} {value:.2f}" for name, value in bounds.items()))
    log.info(table(verdicts))


def as_many(train: LabelledImages, count: int, seed: int) -> LabelledImages:
    """As many training images as there are test images, and of the same kind of pixels."""
    chosen = train[runtime.permutation(len(train), seed, "training images")[:count]]
    return black_and_white(chosen, seed, "training pixels") if train.kind == PixelKind.PROBABILITIES else chosen


def unit(binary: bool) -> str:
    """What the bounds are: only on black and white pixels are they bounds on a log-likelihood of the data."""
    return "nats per image (bounds on -log p(x))" if binary else "nats per image (no log-likelihood: grey pixels)"


def compare_sharpness(test: LabelledImages, reconstructions: Tensor, seed: int) -> tuple[float, float]:
    """The equivalent blur of reconstructions, in pixels, and their sharpness as a share of the test images'."""
    chosen = runtime.permutation(len(test), seed, "images compared for blur")[:COMPARED_FOR_BLUR]
    real, decoded = pixels(test.images[chosen]), reconstructions.cpu()[chosen]
    return blur.equivalent_blur(real, decoded), blur.sharpness(decoded) / blur.sharpness(real)


def named(values: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Values by the names of their classes, those that have one."""
    return {name: float(value) for name, value in zip(names, values, strict=True) if torch.isfinite(value)}


def write_spectrum(kl: Tensor, variances: Tensor) -> None:
    """Write KL and variance of each latent dimension, in falling order of the KL."""
    order = kl.argsort(descending=True, stable=True).tolist()
    write_csv(
        PLOTS / "latent_dimensions.csv",
        ["rank", "dimension", "kl", "variance"],
        [(rank, index, float(kl[index]), float(variances[index])) for rank, index in enumerate(order, start=1)],
    )


def draw_reconstructions(test: LabelledImages, reconstructions: Tensor, seed: int) -> None:
    """Show test images, each over its reconstruction."""
    chosen = runtime.permutation(len(test), seed, "pictured images")[: ROWS * COLUMNS]
    figure = image_grid(
        over_one_another(test, reconstructions, chosen),
        "Test images over their reconstructions",
        "Healthy: the same image, a little softer. Blurred or alike: the code says too little.",
        row_labels=["test image", "reconstruction"] * ROWS,
    )
    write_png(PLOTS / "reconstructions.png", figure)


def draw_worst(test: LabelledImages, reconstructions: Tensor, errors: Tensor) -> None:
    """Show the test images whose reconstructions are farthest from them."""
    chosen = torch.tensor(reconstruction.worst(errors, ROWS // 2 * COLUMNS))
    figure = image_grid(
        over_one_another(test, reconstructions, chosen),
        "The worst reconstructions",
        f"The {len(chosen)} test images of the largest squared error, worst first. Healthy: only odd ones are missed.",
        row_labels=["test image", "reconstruction"] * (ROWS // 2),
    )
    write_png(PLOTS / "worst_reconstructions.png", figure)


def over_one_another(test: LabelledImages, reconstructions: Tensor, chosen: Tensor) -> list[np.ndarray]:
    """Rows of test images, each followed by the row of their reconstructions."""
    rows = []
    for indices in chosen.split(COLUMNS):
        rows += [pixels(test.images[indices]).numpy(), reconstructions.cpu()[indices].numpy()]
    return rows


def draw_charts(losses: inference.Losses, train_losses: inference.Losses, variances: Tensor, binary: bool) -> None:
    """Chart the losses of the training that made the model, its bounds, and what each latent dimension carries."""
    history = {name: np.array(values) for name, values in read_csv(paths.LOSSES).items()}
    best_epoch = read_json(paths.TRAINING)["best_epoch"]
    kl = losses.kl_per_dimension.numpy()
    write_png(PLOTS / "losses.png", loss_curves(history, best_epoch))
    write_png(
        PLOTS / "bounds.png", diagnoses.bounds(train_losses.per_image.numpy(), losses.per_image.numpy(), unit(binary))
    )
    write_png(PLOTS / "kl_per_dimension.png", latent_spectrum(kl, variances.numpy(), collapse.ACTIVE_VARIANCE))


if __name__ == "__main__":
    entry.run(main)
