"""Blur: real images, blurred more and more; and with more and more noise, which is not detail."""

import torch

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import SEED, Material
from vae.base.runtime import generator, permutation
from vae.data.images import LabelledImages, pixels
from vae.diagnostics.blur import (
    COMPARED,
    MOST_SHARPNESS,
    gaussian_blur,
    is_worse_than_mean,
    judge_blur,
    softness,
)
from vae.diagnostics.verdict import rounded

WIDTHS = (0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)  # σ, in pixels
AMPLITUDES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # of noise, in intensities
SOFTENED = 0.7  # σ of the blur that the noise covers, in pixels: a warning or a failure without noise


def read_blur(material: Material) -> Readings:
    """Compare blurred training images with test images; black-and-white images are not judged."""
    if material.is_binary:
        return {}
    real, images = (pixels(_chosen(data).images) for data in (material.test, material.train))
    readings = {}
    for sigma in WIDTHS:
        found = softness(real, gaussian_blur(images, sigma))
        readings[_name(sigma)] = Reading(found.share, judge_blur("samples", found, binary=False))
    return readings


def read_noise(material: Material) -> Readings:
    """Judge blurred test images with noise as if they were reconstructions of the test images."""
    if material.is_binary:
        return {}
    real = pixels(_chosen(material.test).images)
    noise = torch.randn(real.shape, generator=generator(SEED, "noise of pixels"))
    readings = {}
    for amplitude in AMPLITUDES:
        images = (gaussian_blur(real, SOFTENED) + amplitude * noise).clamp(0, 1)
        found, worse = softness(real, images), is_worse_than_mean(real, images)
        error = float((images - real).square().mean() / (real - real.mean(0)).square().mean())
        verdict = judge_blur("reconstructions", found, binary=False, worse_than_mean=worse)
        readings[_noisy(amplitude)] = Reading(f"{found.share}, {rounded(error, '.2f', 1)}", verdict)
    return readings


def _chosen(data: LabelledImages) -> LabelledImages:
    return data[permutation(len(data), SEED, "blurred images")[:COMPARED]]


def _name(sigma: float) -> str:
    return f"σ = {sigma:g}" if sigma else "not blurred"


def _noisy(amplitude: float) -> str:
    return f"{amplitude:g}" if amplitude else "none"


BLUR = Ladder(
    title="Blur",
    degraded="Training images, blurred by a Gaussian of σ pixels, take the place of samples.",
    measured="The sharpness, relative to that of test images.",
    rungs=tuple(map(_name, WIDTHS)),
    read=read_blur,
    needs_model=False,
)
NOISE = Ladder(
    title="Noise in place of detail",
    degraded=f"Test images, blurred by a Gaussian of {SOFTENED} pixels and with more and more noise, take the place of "
    "their reconstructions. The noise is Gaussian, of a standard deviation given in intensities from 0 to 1.",
    measured="The sharpness, relative to that of the test images, and the squared error, relative to that of their "
    f"mean. Not judged if the first is above {MOST_SHARPNESS:.0%}, or the second above 1.",
    rungs=tuple(map(_noisy, AMPLITUDES)),
    read=read_noise,
    needs_model=False,
)
