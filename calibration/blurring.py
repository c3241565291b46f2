"""Blur: real images, blurred more and more."""

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import SEED, Material
from vae.base.runtime import permutation
from vae.data.images import LabelledImages, pixels
from vae.diagnostics.blur import COMPARED, RELATIVE_SHARPNESS, gaussian_blur, judge_blur, softness
from vae.diagnostics.verdict import rounded

WIDTHS = (0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)  # σ, in pixels


def read(material: Material) -> Readings:
    """Compare blurred training images with test images; black-and-white images are not judged."""
    if material.is_binary:
        return {}
    real, images = (pixels(_chosen(data).images) for data in (material.test, material.train))
    readings = {}
    for sigma in WIDTHS:
        found = softness(real, gaussian_blur(images, sigma))
        share = rounded(found.relative_sharpness, ".0%", *RELATIVE_SHARPNESS)
        readings[_name(sigma)] = Reading(share, judge_blur("samples", found, binary=False))
    return readings


def _chosen(data: LabelledImages) -> LabelledImages:
    return data[permutation(len(data), SEED, "blurred images")[:COMPARED]]


def _name(sigma: float) -> str:
    return f"σ = {sigma:g}" if sigma else "not blurred"


LADDER = Ladder(
    title="Blur",
    degraded="Training images, blurred by a Gaussian of σ pixels, take the place of samples.",
    measured="The sharpness, relative to that of test images.",
    rungs=tuple(map(_name, WIDTHS)),
    read=read,
)
