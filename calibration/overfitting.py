"""Overfitting: models trained on fewer and fewer images, with the same number of steps."""

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import SEED, STEPS, Material
from vae.diagnostics.overfitting import judge_overfitting, overfitting_gap
from vae.model.inference import negative_elbo

SIZES = (10_000, 3000, 1000, 300, 100)
ALL = "all"


def read(material: Material) -> Readings:
    """Compare the negative ELBO of training and test images."""
    sizes = {ALL: len(material.train), **{f"{size:,}": size for size in SIZES if size < len(material.train)}}
    readings = {}
    for name, size in sizes.items():
        data = material.train[:size]
        model = material.trained(data, data[:0], material.epochs_for(size)).model
        # As many training images as test images, as in the evaluate stage.
        elbos = [
            negative_elbo(model, images, SEED).loss
            for images in (data.images[: len(material.test)], material.test.images)
        ]
        gap = overfitting_gap(*elbos)
        readings[name] = Reading(
            f"{gap.nats:.2f} ± {gap.standard_error:.2f}", judge_overfitting(gap, material.between_models)
        )
    return readings


LADDER = Ladder(
    title="Overfitting",
    degraded=f"Models are trained on fewer and fewer images, each for about {STEPS:,} steps. All are 1,294 of the "
    "digits, and 60,000 of MNIST.",
    measured="How much higher the negative ELBO of test images is than that of training images, in nats per image, "
    "with its standard error.",
    rungs=(ALL, *(f"{size:,}" for size in SIZES)),
    read=read,
)
