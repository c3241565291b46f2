from itertools import pairwise
from math import ceil
from statistics import fmean

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from vae.diagnostics.blur import (
    COMPARED,
    MAX_BLUR,
    Softness,
    compared,
    equivalent_blur,
    gaussian_blur,
    is_worse_than_mean,
    judge_blur,
    luminance,
    sharpness,
    softness,
)
from vae.diagnostics.verdict import Level


def images(count: int, *shape: int, seed: int = 0) -> Tensor:
    """Noise in [¼, ¾]: detail of every size."""
    noise = torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return 0.25 + 0.5 * noise


def discs(count: int, seed: int) -> Tensor:
    """White discs on black, of random radius and position: images with edges, like those of characters."""
    random = torch.Generator().manual_seed(seed)
    middle = 10 + 8 * torch.rand(count, 2, 1, 1, generator=random)
    radius = 4 + 4 * torch.rand(count, 1, 1, generator=random)
    rows, columns = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    distance = ((rows - middle[:, 0]) ** 2 + (columns - middle[:, 1]) ** 2).sqrt()
    return (distance < radius).float().unsqueeze(1)


def test_sharpness_of_one_white_pixel_is_the_variance_worked_out_by_hand() -> None:
    """One white pixel: its Laplacian is -4, its neighbours' 1, zero elsewhere; of 4 inner pixels one, two and one."""
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 1, 1] = 1
    mean = (-4 + 1 + 1 + 0) / 4
    expected = (16 + 1 + 1 + 0) / 4 - mean**2
    assert sharpness(image) == pytest.approx(expected, rel=1e-6)
    assert sharpness(torch.cat([image, torch.zeros_like(image)])) == pytest.approx(expected / 2, rel=1e-6)


def test_sharpness_agrees_with_a_loop_over_pixels_of_the_luminance() -> None:
    batch = images(3, 3, 5, 6)
    expected = []
    for image in luminance(batch)[:, 0].numpy():
        laplacian = [
            image[r - 1, c] + image[r + 1, c] + image[r, c - 1] + image[r, c + 1] - 4 * image[r, c]
            for r in range(1, 4)
            for c in range(1, 5)
        ]
        expected.append(np.var(laplacian))
    assert sharpness(batch) == pytest.approx(np.mean(expected), rel=1e-12)


def test_sharpness_falls_as_the_blur_gets_wider() -> None:
    batch = images(20, 1, 16, 16)
    measures = [sharpness(gaussian_blur(batch, sigma)) for sigma in (0, 0.3, 0.5, 0.8, 1.2, 2, 3, 4)]
    assert all(after < before for before, after in pairwise(measures))


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.62, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("shape", [(1, 7, 9), (3, 12, 5)], ids=str)
def test_gaussian_blur_agrees_with_scipy(shape: tuple[int, int, int], sigma: float) -> None:
    """SciPy's kernel has the same reach, which may exceed the image."""
    batch = images(2, *shape)
    radius = max(1, ceil(4 * sigma))
    expected = gaussian_filter(batch.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, radius, radius))
    np.testing.assert_allclose(gaussian_blur(batch, sigma).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("sigma", [0, 1e-3, 0.5, 4.0])
def test_gaussian_blur_does_not_change_constant_images(sigma: float) -> None:
    constant = torch.full((2, 3, 5, 8), 0.7)
    blurred = gaussian_blur(constant, sigma)
    assert blurred.dtype == constant.dtype
    torch.testing.assert_close(blurred, constant, rtol=1e-6, atol=0)


def test_gaussian_blur_of_width_zero_changes_nothing() -> None:
    batch = images(3, 1, 6, 6)
    assert torch.equal(gaussian_blur(batch, 0), batch)


@pytest.mark.parametrize("sigma", [0.5, 1.03, 1.9])
def test_equivalent_blur_recovers_the_width_that_images_were_blurred_with(sigma: float) -> None:
    real = discs(200, seed=1)
    assert equivalent_blur(real, gaussian_blur(real, sigma)) == pytest.approx(sigma, abs=1.5e-3)
    # Of other images of the same kind too, as with a model's.
    assert equivalent_blur(real, gaussian_blur(discs(200, seed=2), sigma)) == pytest.approx(sigma, rel=0.04)


def test_equivalent_blur_of_images_as_sharp_as_real_ones_or_sharper_is_zero() -> None:
    real = images(10, 1, 8, 8)
    assert equivalent_blur(real, real.clone()) == 0
    assert equivalent_blur(gaussian_blur(real, 1), real) == 0
    assert equivalent_blur(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)) == 0


def test_equivalent_blur_of_images_without_detail_is_the_maximum() -> None:
    assert equivalent_blur(discs(20, seed=1), torch.full((5, 1, 28, 28), 0.5)) == MAX_BLUR


@pytest.mark.parametrize(
    ("relative_sharpness", "level"),
    [
        (1.1, Level.HEALTHY),
        (0.25, Level.HEALTHY),
        (0.24, Level.WARNING),
        (0.12, Level.WARNING),
        (0.11, Level.FAILURE),
        (0.0, Level.FAILURE),
    ],
)
@pytest.mark.parametrize("what", ["reconstructions", "samples"])
def test_blur_verdict_is_graded_by_relative_sharpness(what: str, relative_sharpness: float, level: Level) -> None:
    verdict = judge_blur(what, Softness(0.7, relative_sharpness, 0.01), binary=False)
    assert verdict.subject == f"blur of {what}"
    assert verdict.level is level
    assert bool(verdict.advice) is (level is not Level.HEALTHY)
    assert "25%" in verdict.criterion
    assert "12%" in verdict.criterion
    assert ("verdict on holes" in verdict.advice) is (what == "samples" and level is not Level.HEALTHY)


def test_blur_finding_names_the_width_and_the_relative_sharpness() -> None:
    finding = judge_blur("samples", Softness(0.62, 0.478, 0.01), binary=False).finding
    assert finding == "as soft as real images after a Gaussian blur of 0.62 pixels; 48% of their sharpness"
    assert judge_blur("samples", Softness(0.0, 1.03, 0.01), binary=False).finding.endswith("103% of their sharpness")
    assert (
        f"{MAX_BLUR:.2f} pixels or more" in judge_blur("samples", Softness(MAX_BLUR, 0.0, 0.01), binary=False).finding
    )


def test_blur_of_black_and_white_data_is_not_judged() -> None:
    verdict = judge_blur("reconstructions", Softness(3.0, 0.1, 0.01), binary=True)
    assert verdict.level is Level.NOT_JUDGED
    assert "3.00 pixels" in verdict.finding
    assert "grey" in verdict.finding
    assert not verdict.advice


@pytest.mark.parametrize(
    ("sharpness", "level"), [(0.8, Level.NOT_JUDGED), (0.2, Level.NOT_JUDGED), (0.1, Level.FAILURE)]
)
def test_reconstructions_that_are_worse_than_the_mean_image_are_not_called_sharp(
    sharpness: float, level: Level
) -> None:
    verdict = judge_blur("reconstructions", Softness(0.4, sharpness, 0.01), binary=False, worse_than_mean=True)
    assert verdict.level is level
    assert ("may be noise" in verdict.finding) == (level is Level.NOT_JUDGED)


@pytest.mark.parametrize("what", ["reconstructions", "samples"])
@pytest.mark.parametrize(
    ("sharpness", "level"), [(1.01, Level.HEALTHY), (1.5, Level.HEALTHY), (1.51, Level.NOT_JUDGED)]
)
def test_images_that_are_much_sharper_than_real_ones_are_noise_and_not_judged(
    what: str, sharpness: float, level: Level
) -> None:
    verdict = judge_blur(what, Softness(0.0, sharpness, 0.01), binary=False)
    assert verdict.level is level
    assert ("so this is noise" in verdict.finding) == (level is Level.NOT_JUDGED)


def test_noise_is_worse_than_the_mean_image_however_sharp_and_blurred_images_are_better() -> None:
    real = discs(200, seed=1)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(0))
    assert is_worse_than_mean(real, real[order])
    assert is_worse_than_mean(real, noise)
    assert softness(real, noise).relative_sharpness > 1
    assert not is_worse_than_mean(real, gaussian_blur(real, 1.5))


def test_softness_is_the_equivalent_blur_and_the_relative_sharpness() -> None:
    real = discs(50, seed=1)
    blurred = gaussian_blur(real, 1.0)
    found = softness(real, blurred)
    assert found.blur == pytest.approx(1.0, rel=0.02)
    assert found.relative_sharpness == pytest.approx(sharpness(blurred) / sharpness(real))


def test_standard_error_of_relative_sharpness_is_its_standard_deviation_over_independent_sets_of_images() -> None:
    random = torch.Generator().manual_seed(0)
    found = []
    for _ in range(200):
        contrast = torch.rand(2, 100, 1, 1, 1, generator=random)
        real, images = contrast * torch.rand(2, 100, 1, 8, 8, generator=random)
        found.append(softness(real, 0.5 * images))
    spread = torch.tensor([each.relative_sharpness for each in found]).std()
    assert fmean(each.relative_sharpness_se for each in found) == pytest.approx(float(spread), rel=0.15)


def test_luminance_of_colour_images_is_that_of_pillow_and_grey_images_stay_the_same() -> None:
    from PIL import Image

    colours = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey = np.asarray(Image.fromarray(colours[0].permute(1, 2, 0).numpy()).convert("L"))
    assert np.abs(luminance(colours.float())[0, 0].numpy() - grey).max() <= 1
    image = images(2, 1, 5, 6)
    assert torch.equal(luminance(image), image)


def test_blur_of_colour_images_is_found_as_in_grey_ones() -> None:
    colours = discs(20, 0) * torch.tensor([0.9, 0.4, 0.6]).view(3, 1, 1)
    assert equivalent_blur(colours, gaussian_blur(colours, 0.8)) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("shape", "count"), [((1, 28, 28), COMPARED), ((3, 64, 64), COMPARED), ((3, 256, 256), 127)])
def test_fewer_large_images_are_compared(shape: tuple[int, int, int], count: int) -> None:
    assert compared(shape) == count
