from math import sqrt

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from vae.diagnostics.frechet import frechet_distance, frechet_standard_error


def gaussian(count: int, features: int, seed: int) -> Tensor:
    """Correlated normal points, in float64."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, dtype=torch.float64, generator=random)
    return torch.randn(count, features, dtype=torch.float64, generator=random) @ mixing


def by_matrix_square_root(real: Tensor, samples: Tensor) -> float:
    """The formula with SciPy's square root of the product of the covariances."""
    x, y = real.numpy(), samples.numpy()
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    difference = x.mean(0) - y.mean(0)
    return float(difference @ difference + np.trace(first + second - 2 * np.real(sqrtm(first @ second))))


@pytest.mark.parametrize("features", [2, 10, 64])
def test_the_frechet_distance_agrees_with_the_formula_by_a_matrix_square_root(features: int) -> None:
    real, samples = gaussian(300, features, seed=1), 0.3 + gaussian(200, features, seed=2)
    assert frechet_distance(real, samples) == pytest.approx(by_matrix_square_root(real, samples), rel=1e-8)


def test_the_frechet_distance_of_normals_on_a_line_is_that_of_means_plus_that_of_standard_deviations() -> None:
    points = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)  # mean 0, standard deviation 1
    assert frechet_distance(points, 3 * points + 5) == pytest.approx(5**2 + (3 - 1) ** 2)


def test_the_frechet_distance_of_a_shifted_set_is_the_squared_shift() -> None:
    points = gaussian(50, 5, seed=1)
    shift = torch.tensor([1.0, 2, 0, 0, -1], dtype=torch.float64)
    assert frechet_distance(points, points + shift) == pytest.approx(6)


def test_the_frechet_distance_is_symmetric_and_zero_between_equal_sets() -> None:
    first, second = gaussian(50, 5, seed=1), gaussian(60, 5, seed=2)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), rel=1e-10)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-10)


def test_the_frechet_distance_is_finite_with_fewer_images_than_features_and_with_constant_features() -> None:
    few, constant = gaussian(5, 64, seed=1), torch.zeros(5, 64, dtype=torch.float64)
    assert 0 < frechet_distance(few, gaussian(6, 64, seed=2)) < 1e5
    assert frechet_distance(few, constant) == pytest.approx(float((few.mean(0) ** 2).sum() + few.var(0).sum()))
    assert frechet_distance(constant, constant) == 0


def test_the_frechet_distance_of_features_that_depend_on_each_other_does_not_change_when_they_are_rotated() -> None:
    """Covariances have eigenvalues of zero, and rounding errors in them must not be magnified."""
    mixing, rotation = gaussian(6, 40, seed=3), torch.linalg.qr(gaussian(40, 40, seed=4)).Q
    real, samples = gaussian(300, 6, seed=1) @ mixing, gaussian(200, 6, seed=2) @ mixing
    expected = frechet_distance(real, samples)
    assert frechet_distance(real @ rotation, samples @ rotation) == pytest.approx(expected, rel=1e-12)


def test_float32_features_give_the_same_frechet_distance() -> None:
    real, samples = gaussian(300, 8, seed=1), gaussian(200, 8, seed=2)
    assert frechet_distance(real.float(), samples.float()) == pytest.approx(frechet_distance(real, samples), rel=1e-5)


def test_the_standard_error_of_the_frechet_distance_agrees_with_the_spread_over_many_draws() -> None:
    def draw(seed: int) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(seed)
        real, samples = torch.randn(2, 400, 3, dtype=torch.float64, generator=random)
        return real, 1.5 * samples + 0.5

    pairs = [draw(seed) for seed in range(100)]
    spread = np.std([frechet_distance(*pair) for pair in pairs], ddof=1)
    errors = [frechet_standard_error(*pair) for pair in pairs[:20]]
    assert sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize("count", [2, 3, 19, 21])
def test_the_standard_error_is_finite_for_few_images(count: int) -> None:
    error = frechet_standard_error(gaussian(count, 4, seed=1), gaussian(count + 1, 4, seed=2))
    assert 0 < error < float("inf")
