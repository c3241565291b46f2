import numpy as np
import pytest
import torch

from vae.diagnostics.reconstruction import mean_squared_error


@pytest.mark.parametrize(("level", "intensity", "expected"), [(255, 1.0, 0.0), (255, 0.5, 0.25), (0, 0.1, 0.01)])
def test_error_of_constant_images_is_the_squared_difference(level: int, intensity: float, expected: float) -> None:
    images = torch.full((3, 1, 4, 5), level, dtype=torch.uint8)
    error = mean_squared_error(images, torch.full((3, 1, 4, 5), intensity))
    assert error == pytest.approx(expected, rel=1e-6)


def test_one_wrong_pixel_counts_as_one_among_all() -> None:
    images = torch.zeros(3, 1, 4, 5, dtype=torch.uint8)
    reconstructions = torch.zeros(3, 1, 4, 5)
    reconstructions[1, 0, 2, 3] = 1
    assert mean_squared_error(images, reconstructions) == pytest.approx(1 / 60, rel=1e-6)


def test_error_is_that_of_numpy_in_float64() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, 2, 4, 5), dtype=torch.uint8, generator=random)
    reconstructions = torch.rand(30, 2, 4, 5, generator=random)
    expected = np.mean((images.double().numpy() / 255 - reconstructions.double().numpy()) ** 2)
    assert mean_squared_error(images, reconstructions) == pytest.approx(expected, rel=1e-6)
