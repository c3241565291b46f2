from math import prod, sqrt

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.diagnostics import sample_quality as module
from vae.diagnostics.sample_quality import SampleQuality, TooFewImagesError, sample_quality


def gaussian(count: int, *shape: int, seed: int) -> Tensor:
    """float64, so that rounding never decides which of two points is nearer."""
    return torch.randn(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_definition(real: Tensor, samples: Tensor, neighbours: int) -> SampleQuality:
    """The four measures as the papers write them: a loop over every pair, a sorted list of distances a ball."""

    def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return sqrt(((a - b) ** 2).sum())

    def radius(index: int, points: NDArray[np.float64]) -> float:
        others = [distance(points[index], point) for other, point in enumerate(points) if other != index]
        return sorted(others)[neighbours - 1]

    x, y = real.flatten(1).numpy(), samples.flatten(1).numpy()
    x_radii, y_radii = [radius(i, x) for i in range(len(x))], [radius(j, y) for j in range(len(y))]
    in_real_ball = [[distance(a, b) <= r for a, r in zip(x, x_radii, strict=True)] for b in y]
    in_sample_ball = [[distance(a, b) <= r for b, r in zip(y, y_radii, strict=True)] for a in x]
    return SampleQuality(
        precision=sum(map(any, in_real_ball)) / len(y),
        recall=sum(map(any, in_sample_ball)) / len(x),
        density=sum(map(sum, in_real_ball)) / (neighbours * len(y)),
        coverage=sum(map(any, zip(*in_real_ball, strict=True))) / len(x),
    )


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize(("images", "samples"), [(30, 30), (40, 12), (12, 40)])
def test_measures_are_those_of_their_definitions(images: int, samples: int, neighbours: int) -> None:
    real, generated = gaussian(images, 1, 2, 2, seed=1), 0.5 + 1.5 * gaussian(samples, 1, 2, 2, seed=2)
    expected = by_definition(real, generated, neighbours)
    assert sample_quality(real, generated, neighbours) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rows", [1, 7, 29, 30])
def test_measures_do_not_depend_on_the_rows_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = gaussian(30, 4, seed=1), 1.5 * gaussian(35, 4, seed=2)
    whole = sample_quality(real, generated, 3)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)
    assert sample_quality(real, generated, 3) == whole


@pytest.mark.parametrize("neighbours", [1, 3])
def test_samples_of_the_same_gaussian_have_the_expected_measures(neighbours: int) -> None:
    """The balls of N images, among N others and N samples of one distribution, have expectations that are exact.

    The k nearest of the 2N - 1 other points to an image are all images with a probability of about 2^-k, and
    otherwise its ball holds a sample; on average it holds k of them.
    """
    count, draws = 200, 15
    pairs = [(gaussian(count, 3, seed=2 * draw), gaussian(count, 3, seed=2 * draw + 1)) for draw in range(draws)]
    measures = np.array([sample_quality(*pair, neighbours) for pair in pairs])
    mean, standard_error = measures.mean(0), measures.std(0, ddof=1) / sqrt(draws)
    precision, recall, density, coverage = mean
    none_covers = prod((count - 1 - rank) / (2 * count - 1 - rank) for rank in range(neighbours))
    assert none_covers == pytest.approx(2**-neighbours, rel=0.03)
    assert coverage == pytest.approx(1 - none_covers, abs=4 * standard_error[3])
    assert density == pytest.approx(1, abs=4 * standard_error[2])
    # The roles of images and samples can be changed; and a point has many more balls around it than its own.
    assert precision == pytest.approx(recall, abs=4 * sqrt(standard_error[0] ** 2 + standard_error[1] ** 2))
    assert precision > 1 - none_covers
    assert standard_error.max() < 0.03


def test_images_against_themselves_are_perfect() -> None:
    """Each ball holds its centre and k neighbours."""
    real = gaussian(60, 3, seed=1)
    assert sample_quality(real, real.clone(), 5) == pytest.approx((1, 1, 6 / 5, 1), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_samples_far_away_are_no_good_at_all(dtype: torch.dtype) -> None:
    real, generated = gaussian(60, 3, seed=1).to(dtype), 1000 + gaussian(60, 3, seed=2).to(dtype)
    assert sample_quality(real, generated, 5) == (0, 0, 0, 0)


def test_samples_around_one_image_are_precise_and_nothing_else() -> None:
    """In the plane a point is among the k nearest neighbours of 6k others at most, whatever their number."""
    real = gaussian(1000, 2, seed=1)
    generated = real[:1] + 1e-6 * gaussian(1000, 2, seed=2)
    quality = sample_quality(real, generated, 5)
    assert quality.precision == 1
    assert quality.recall <= 1 / 1000
    assert 1 / 1000 <= quality.coverage <= 31 / 1000


def test_measures_do_not_change_when_everything_is_moved() -> None:
    real, generated = gaussian(60, 3, seed=1), 1.5 * gaussian(60, 3, seed=2)
    assert sample_quality(real + 100, generated + 100, 5) == sample_quality(real, generated, 5)


def test_float32_comes_to_the_measures_of_float64_on_images() -> None:
    """Intensities of 28×28 pixels, some of them nearly the same: what the pipeline compares."""
    real = torch.sigmoid(gaussian(200, 1, 28, 28, seed=1))
    generated = torch.cat([torch.sigmoid(gaussian(150, 1, 28, 28, seed=2)), real[:50] + 0.01])
    expected = sample_quality(real, generated, 5)
    assert sample_quality(real.float(), generated.float(), 5) == pytest.approx(expected, abs=1 / 200)


@pytest.mark.parametrize(("images", "samples"), [(5, 100), (100, 5), (5, 5)])
def test_as_few_images_as_neighbours_are_refused(images: int, samples: int) -> None:
    with pytest.raises(TooFewImagesError, match=r"generate\.neighbours: 5 .*more than 5 images.* 5 are compared"):
        sample_quality(gaussian(images, 2, seed=1), gaussian(samples, 2, seed=2), 5)


def test_one_image_more_than_neighbours_is_enough() -> None:
    real = gaussian(6, 2, seed=1)
    assert sample_quality(real, real, 5).precision == 1
