"""Blur of a model's images, measured as the width of the Gaussian blur that makes real images equally soft."""

from math import ceil, hypot, prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vae.base.precision import standard_error
from vae.diagnostics.verdict import Level, Verdict, grade, rounded

COMPARED = 2000  # images; more would change only the third digit of the result
MOST_VALUES = 25_000_000  # of the images compared, in all: 2,000 colour images of 64×64, or 127 of 256×256
LUMINANCE = (0.299, 0.587, 0.114)  # the weights of red, green and blue (ITU-R BT.601, section 2.5.1)
MAX_BLUR = 4.0  # pixels, where the search ends: such images are unrecognizable
TOLERANCE = 1e-3  # pixels, of the search
KERNEL_REACH = 4  # standard deviations; 6e-5 of a Gaussian lies beyond

# Warning and failure, as a share of the sharpness of real images. No paper gives such thresholds; they were set by this
# project on the runs of docs/failure-modes.md. Unlike a width in pixels, a share means the same at any image size.
RELATIVE_SHARPNESS = (0.25, 0.12)
MOST_SHARPNESS = 1.5  # of detail; other images of the same data have up to 1.01, and with noise up to 15


def compared(shape: tuple[int, ...]) -> int:
    """The number of images of a shape that are compared: ``COMPARED``, or fewer large ones."""
    return min(COMPARED, MOST_VALUES // prod(shape))


def luminance(images: Tensor) -> Tensor:
    """The luminance of images: (N, C, H, W) to (N, 1, H, W), the channel itself of grey ones."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(LUMINANCE, dtype=images.dtype, device=images.device).view(3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def sharpness(images: Tensor) -> float:
    """The mean over images of ``sharpness_of_each``: intensities in [0, 1] (N, C, H, W), H and W at least 3."""
    return float(sharpness_of_each(images).mean())


def sharpness_of_each(images: Tensor) -> Tensor:
    """The variance over pixels of the discrete Laplacian of each image: float64 (N,), on the CPU.

        (Lx)[r, c] = x[r-1, c] + x[r+1, c] + x[r, c-1] + x[r, c+1] - 4·x[r, c]

    over the pixels that have four neighbours, in the luminance of colour images. It is a standard measure of focus
    (Pech-Pacheco, Cristóbal, Chamorro-Martínez & Fernández-Valdivia 2000). It grows with the square of contrast, so
    compare it only between images of the same kind.

    Args:
        images: intensities in [0, 1] (N, C, H, W), H and W at least 3.
    """
    grey = luminance(images)[:, 0]
    centre = grey[:, 1:-1, 1:-1]
    laplacian = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * centre
    return laplacian.flatten(1).var(1, correction=0).cpu().double()


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images with a Gaussian; border pixels are repeated beyond the border.

    The kernel is exp(-k²/2σ²) at whole pixels k up to ⌈4σ⌉, normalized. It has no effect for σ below about 0.2, because
    it is sampled at whole pixels.

    Args:
        images: intensities (N, C, H, W), floating-point.
        sigma: σ, in pixels; 0 for no blur.
    """
    if sigma == 0:
        return images
    down, across = (_blur_matrix(size, sigma).to(images) for size in images.shape[-2:])
    return down @ images @ across.T


def equivalent_blur(real: Tensor, images: Tensor) -> float:
    """The σ of the Gaussian blur, in pixels, that makes real images as soft as the given ones.

    It is 0 if the given images are at least as sharp as the real ones, and ``MAX_BLUR`` if they are softer than real
    images with that blur. Found by bisection to a thousandth of a pixel.

    Args:
        real: intensities in [0, 1] (N, C, H, W).
        images: intensities in [0, 1] (M, C, H, W) of the same size.
    """
    real = luminance(real)
    aim = sharpness(images)
    if sharpness(real) <= aim:
        return 0.0
    if sharpness(gaussian_blur(real, MAX_BLUR)) > aim:
        return MAX_BLUR
    too_sharp, soft_enough = 0.0, MAX_BLUR
    while soft_enough - too_sharp > TOLERANCE:
        sigma = (too_sharp + soft_enough) / 2
        if sharpness(gaussian_blur(real, sigma)) > aim:
            too_sharp = sigma
        else:
            soft_enough = sigma
    return soft_enough


class Softness(NamedTuple):
    """How soft images are compared with real ones.

    Attributes:
        blur: the equivalent blur, in pixels.
        relative_sharpness: the sharpness of the images divided by that of the real ones.
        relative_sharpness_se: the standard error of that.
    """

    blur: float
    relative_sharpness: float
    relative_sharpness_se: float

    @property
    def share(self) -> str:
        """The relative sharpness as a percentage, with as many digits as tell it from the thresholds."""
        return rounded(self.relative_sharpness, ".0%", *RELATIVE_SHARPNESS, MOST_SHARPNESS)


def softness(real: Tensor, images: Tensor) -> Softness:
    """Compare the sharpness of images (M, C, H, W) with that of real ones (N, C, H, W), the first of each.

    The standard error of the ratio R = s / r is √(SE(s)² + R²·SE(r)²) / r, by the delta method. For reconstructions of
    the same images it is too large, because the two are correlated.
    """
    count = compared(real.shape[1:])
    real, images = real[:count], images[:count]
    of_real, of_images = sharpness_of_each(real), sharpness_of_each(images)
    r, ratio = float(of_real.mean()), float(of_images.mean() / of_real.mean())
    error = hypot(standard_error(of_images), ratio * standard_error(of_real)) / r
    return Softness(equivalent_blur(real, images), ratio, error)


def is_worse_than_mean(images: Tensor, reconstructions: Tensor) -> bool:
    """Whether reconstructions (N, C, H, W) have a larger squared error than the mean of all images (N, C, H, W)."""
    return bool((images - reconstructions).square().mean() > (images - images.mean(0)).square().mean())


def judge_blur(what: str, softness: Softness, *, binary: bool, worse_than_mean: bool = False) -> Verdict:
    """Judge whether decoded images are too soft.

    Black-and-white data is not judged, because the expected value of an uncertain pixel is grey. Noise, such as draws
    of an autoregressive decoder, is as sharp as detail. So images that are much sharper than real ones are not judged
    either, nor sharp reconstructions that are worse than the mean image.

    Args:
        what: ``reconstructions`` or ``samples``.
        softness: of the decoded images.
        binary: whether every pixel of the data is black or white.
        worse_than_mean: whether ``is_worse_than_mean``, for reconstructions.
    """
    blur, relative_sharpness, _ = softness
    if blur == 0:
        finding = f"no softer than real images: {softness.share} of their sharpness"
    else:
        width = f"{blur:.2f} pixels" if blur < MAX_BLUR else f"{MAX_BLUR:.2f} pixels or more"
        finding = f"as soft as real images after a Gaussian blur of {width}; {softness.share} of their sharpness"
    level = grade(relative_sharpness, *RELATIVE_SHARPNESS)
    if binary:
        level = Level.NOT_JUDGED
        finding += "; not judged, because the mean of an uncertain black or white pixel is grey"
    elif relative_sharpness > MOST_SHARPNESS:
        level = Level.NOT_JUDGED
        finding += "; not judged, because no detail is sharper than that of real images, so this is noise"
    elif worse_than_mean and level is not Level.FAILURE:
        level = Level.NOT_JUDGED
        finding += (
            "; not judged, because their squared error is larger than that of the mean image, so this may be noise"
        )
    advice = (
        "a larger model.latent_dim, wider model.hidden_dims or more model.channels, and more train.epochs if the "
        "loss is still falling; model.network=conv and a model.likelihood with a learned scale, if not in use"
    )
    if what == "samples":
        advice += "; see also the verdict on holes"
    return Verdict(
        subject=f"blur of {what}",
        level=level,
        finding=finding,
        criterion=(
            f"at least {RELATIVE_SHARPNESS[0]:.0%} of the sharpness of real images; failure below "
            f"{RELATIVE_SHARPNESS[1]:.0%} (sharpness is the variance of the Laplacian, Pech-Pacheco et al. 2000; "
            "thresholds set by this project)"
        ),
        advice=advice if level in {Level.WARNING, Level.FAILURE} else "",
    )


def _blur_matrix(size: int, sigma: float) -> Tensor:
    """A Gaussian blur along one axis as a matrix: float64 (size, size), whose rows add up to 1."""
    radius = max(1, ceil(KERNEL_REACH * sigma))
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets.double() / sigma).square())
    read = (torch.arange(size).unsqueeze(1) + offsets).clamp(0, size - 1)  # the pixel that each tap reads
    return (F.one_hot(read, size) * (kernel / kernel.sum()).unsqueeze(1)).sum(1)
