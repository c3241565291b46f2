import numpy as np
import pytest
import torch

from vae.diagnostics.reconstruction import error_per_class, squared_errors, worst


@pytest.mark.parametrize(("level", "intensity", "expected"), [(255, 1.0, 0.0), (255, 0.5, 0.25), (0, 0.1, 0.01)])
def test_squared_errors_of_constant_images_are_the_squared_difference_of_intensities(
    level: int, intensity: float, expected: float
) -> None:
    images = torch.full((3, 1, 4, 5), level, dtype=torch.uint8)
    reconstructions = torch.full((3, 1, 4, 5), intensity)
    assert squared_errors(images, reconstructions).tolist() == pytest.approx([expected] * 3, rel=1e-6)


def test_squared_errors_are_averaged_over_the_pixels_of_each_image() -> None:
    images = torch.zeros(3, 1, 4, 5, dtype=torch.uint8)
    reconstructions = torch.zeros(3, 1, 4, 5)
    reconstructions[1, 0, 2, 3] = 1
    assert squared_errors(images, reconstructions).tolist() == pytest.approx([0, 1 / 20, 0], rel=1e-6)


def test_squared_errors_agree_with_numpy_and_are_float64() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, 2, 4, 5), dtype=torch.uint8, generator=random)
    reconstructions = torch.rand(30, 2, 4, 5, generator=random)
    expected = (images.double().numpy() / 255 - reconstructions.double().numpy()) ** 2
    errors = squared_errors(images, reconstructions)
    assert errors.dtype == torch.float64
    np.testing.assert_allclose(errors.numpy(), expected.mean(axis=(1, 2, 3)), rtol=1e-6)


def test_error_per_class_is_the_mean_over_the_images_of_each_class() -> None:
    random = torch.Generator().manual_seed(0)
    errors, labels = torch.rand(60, generator=random), torch.randint(0, 4, (60,), generator=random)
    per_class = error_per_class(errors, labels, classes=4)
    assert per_class.dtype == torch.float64
    expected = [errors[labels == label].double().mean().item() for label in range(4)]
    assert per_class.tolist() == pytest.approx(expected, rel=1e-12)


def test_error_per_class_is_nan_for_classes_without_images() -> None:
    per_class = error_per_class(torch.tensor([0.5, 0.1, 0.3]), torch.tensor([1, 3, 1]), classes=5)
    np.testing.assert_allclose(per_class.numpy(), [np.nan, 0.4, np.nan, 0.1, np.nan], rtol=1e-6)


def test_worst_gives_the_images_of_largest_error_first() -> None:
    errors = torch.tensor([0.3, 0.9, 0.1, 0.5, 0.7])
    assert worst(errors, 3) == [1, 4, 3]
    assert worst(errors, 0) == []
    assert worst(errors, 9) == [1, 4, 3, 0, 2]


def test_worst_gives_the_earlier_of_images_with_equal_error_first() -> None:
    errors = torch.zeros(1000)
    errors[500] = 1
    assert worst(errors, 4) == [500, 0, 1, 2]
