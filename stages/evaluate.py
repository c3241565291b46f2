"""Stage 3: the model's losses on the test images, and what its latent dimensions carry."""

import logging

import numpy as np
from torch import Tensor

from stages import entry, paths
from vae import inference, runtime
from vae.artifacts import read_csv, read_json, write_csv, write_json, write_png
from vae.checkpoints import load_model
from vae.datasets import LabelledImages, load_images, pixels
from vae.diagnostics.collapse import ACTIVE_VARIANCE, diagnose_collapse, mean_variances
from vae.diagnostics.reconstruction import mean_squared_error
from vae.figures.charts import latent_spectrum, loss_curves
from vae.figures.images import image_grid
from vae.params import Params

log = logging.getLogger(__name__)

PLOTS = paths.PLOTS / "evaluate"
RECONSTRUCTION_ROWS, RECONSTRUCTION_COLUMNS = 4, 12


def main(params: Params) -> None:
    """Measure the model on every test image; write the measures and three pictures."""
    settings = params.evaluate
    test = load_images(paths.TEST_IMAGES)
    model = load_model(paths.MODEL, runtime.device(), test.shape)

    losses = inference.losses(model, test.images, settings.seed)
    bound = inference.importance_weighted_bound(
        model, test.images, settings.importance_samples, settings.seed, progress=True
    )
    posterior = inference.encode(model, test.images)
    reconstructions = inference.decode(model, posterior.mean)
    variances = mean_variances(posterior.mean)
    collapse = diagnose_collapse(variances)

    bounds = {
        "negative_elbo": losses.negative_elbo,
        "reconstruction": losses.reconstruction,
        "kl": losses.kl,
        "negative_iw_bound": -float(bound.mean()),
    }
    write_json(
        paths.METRICS / "evaluate.json",
        {
            "test": {**bounds, "mse": mean_squared_error(test.images, reconstructions)},
            "active_units": collapse.active,
            "collapsed_units": collapse.collapsed,
            "latent_dim": model.latent_dim,
            "posterior_collapse": collapse.verdict,
        },
    )
    write_spectrum(losses.kl_per_dimension, variances)
    draw_reconstructions(test, reconstructions, settings.seed)
    draw_charts(losses.kl_per_dimension, variances)
    log.info("test images, nats per image: %s", ", ".join(f"{name} {value:.2f}" for name, value in bounds.items()))
    log.info(collapse.in_words())


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
    chosen = runtime.permutation(len(test), seed, "pictured images")
    rows = []
    for indices in chosen[: RECONSTRUCTION_ROWS * RECONSTRUCTION_COLUMNS].split(RECONSTRUCTION_COLUMNS):
        rows += [pixels(test.images[indices]).numpy(), reconstructions[indices].cpu().numpy()]
    figure = image_grid(
        rows,
        "Test images over their reconstructions",
        "Healthy: the same image, a little softer. Blurred or alike: the code says too little.",
        row_labels=["test image", "reconstruction"] * RECONSTRUCTION_ROWS,
    )
    write_png(PLOTS / "reconstructions.png", figure)


def draw_charts(kl: Tensor, variances: Tensor) -> None:
    """Chart the losses of the training that made the model, and what each latent dimension carries."""
    losses = {name: np.array(values) for name, values in read_csv(paths.LOSSES).items()}
    best_epoch = read_json(paths.TRAINING)["best_epoch"]
    write_png(PLOTS / "losses.png", loss_curves(losses, best_epoch))
    write_png(PLOTS / "kl_per_dimension.png", latent_spectrum(kl.numpy(), variances.numpy(), ACTIVE_VARIANCE))


if __name__ == "__main__":
    entry.run(main)
