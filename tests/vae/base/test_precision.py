from math import isnan, sqrt

import numpy as np
import pytest
import torch

from vae.base.precision import group_means, standard_error


def normal(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_standard_error_of_four_values_is_the_one_worked_out_by_hand() -> None:
    """1, 2, 3, 6 have the mean 3 and squares 4 + 1 + 0 + 9 = 14 around it: √(14/3)/√4."""
    assert standard_error(torch.tensor([1.0, 2.0, 3.0, 6.0])) == pytest.approx(sqrt(14 / 3) / 2)
    right = torch.tensor([True, True, True, False])
    assert standard_error(right) == pytest.approx(sqrt(0.75 * 0.25 / 3))


def test_standard_error_of_a_single_value_is_not_a_number() -> None:
    assert isnan(standard_error(torch.tensor([3.0])))


def test_the_standard_error_of_a_share_is_binomial() -> None:
    draws = np.random.default_rng(0).binomial(400, 0.3, size=20_000) / 400
    assert standard_error(torch.arange(400) < 120) == pytest.approx(draws.std(), rel=0.02)


def test_group_means_average_every_third_image_into_one_of_three_groups() -> None:
    images, means = group_means(torch.tensor([1.0, 2.0, 3.0, 5.0, 10.0, 11.0, 6.0]), groups=3)
    assert images.tolist() == [3, 2, 2]
    assert means.tolist() == pytest.approx([4, 6, 7])
    assert means.dtype == torch.float64


@pytest.mark.parametrize("count", [1, 49, 50, 51, 360, 10_000])
def test_every_image_is_in_one_group_so_that_the_groups_average_to_the_mean_of_all_images(count: int) -> None:
    values = normal(count, seed=0)
    images, means = group_means(values)
    assert len(images) == len(means) == min(50, count)
    assert images.sum() == count
    assert images.max() - images.min() <= 1
    assert float((images * means).sum() / count) == pytest.approx(float(values.mean()), abs=1e-12)


def test_groups_of_a_few_images_are_the_images_themselves() -> None:
    values = normal(7, seed=0)
    images, means = group_means(values)
    assert images.tolist() == [1] * 7
    assert torch.equal(means, values)


def test_group_means_of_right_and_wrong_answers_are_accuracies() -> None:
    right = torch.tensor([True, False, True, True])
    assert group_means(right, groups=2).means.tolist() == [1, 0.5]


def test_differences_of_group_means_estimate_the_paired_standard_error() -> None:
    """Two runs that find the same images hard: their difference is known much better than either of them.

    The estimate from 50 groups scatters by a tenth, which the average over 200 draws reduces to 0.7%.
    """
    ratios, unpaired = [], []
    for seed in range(200):
        hardness = 100 + 25 * normal(1000, seed)
        first = hardness + normal(1000, seed + 1000)
        second = hardness + normal(1000, seed + 2000) - 0.5
        from_groups = standard_error(group_means(second).means - group_means(first).means)
        ratios.append(from_groups / (sqrt(2) / sqrt(1000)))
        unpaired.append(sqrt(standard_error(first) ** 2 + standard_error(second) ** 2))
    assert sum(ratios) / 200 == pytest.approx(1, abs=0.03)
    assert 0.07 < float(torch.tensor(ratios).std()) < 0.13
    assert min(unpaired) > 20 * sqrt(2 / 1000)
