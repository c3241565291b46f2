from math import pi, sqrt

import pytest
import torch
from torch import Tensor

from vae.model.latent_space import (
    interpolations,
    most_active,
    pairs_of_different_classes,
    prior_grid,
    prior_quantiles,
    spherical_interpolations,
    traversals,
)


@pytest.mark.parametrize(("count", "expected"), [(1, [2]), (3, [2, 0, 3]), (10, [2, 0, 3, 1])])
def test_most_active_gives_the_dimensions_of_highest_kl_first(count: int, expected: list[int]) -> None:
    assert most_active(torch.tensor([0.5, 0.0, 2.0, 0.1]), count) == expected


def test_most_active_keeps_the_order_of_dimensions_of_equal_kl() -> None:
    assert most_active(torch.ones(50), 50) == list(range(50))


@pytest.mark.parametrize("count", [0, 1, 8])
def test_pairs_of_images_are_of_different_classes_and_share_no_image(count: int) -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (40,), generator=random)
    pairs = pairs_of_different_classes(labels, torch.randperm(40, generator=random), count)
    used = [index for pair in pairs for index in pair]
    assert len(pairs) == count
    assert len(set(used)) == 2 * count
    assert all(labels[a] != labels[b] for a, b in pairs)


def test_pairs_of_images_are_taken_in_the_given_order() -> None:
    assert pairs_of_different_classes(torch.tensor([0, 0, 1, 1]), torch.tensor([3, 2, 0, 1]), 2) == [(3, 0), (2, 1)]


def test_images_of_one_class_make_no_pairs() -> None:
    assert pairs_of_different_classes(torch.zeros(5), torch.arange(5), 2) == []


def test_interpolations_run_straight_from_one_code_to_the_other() -> None:
    starts, ends = torch.tensor([[0.0, 1.0], [2.0, 2.0]]), torch.tensor([[4.0, -1.0], [2.0, 0.0]])
    expected = [[[0.0, 1.0], [1.0, 0.5], [4.0, -1.0]], [[2.0, 2.0], [2.0, 1.5], [2.0, 0.0]]]
    assert interpolations(starts, ends, torch.tensor([0.0, 0.25, 1.0])).tolist() == expected


SHARES = torch.tensor([0.0, 0.1, 0.5, 0.75, 1.0])


def random_codes(count: int, dimensions: int, seed: int) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def test_spherical_interpolations_of_unit_vectors_turn_evenly_on_the_circle() -> None:
    starts, turns = torch.tensor([0.3, 2.0, -1.0]), torch.tensor([0.01, 1.5, -3.0])
    angles = starts.unsqueeze(1) + turns.unsqueeze(1) * SHARES
    on_circle = [torch.stack([part.cos(), part.sin()], dim=-1) for part in (starts, starts + turns, angles)]
    torch.testing.assert_close(spherical_interpolations(on_circle[0], on_circle[1], SHARES), on_circle[2])


def test_spherical_interpolations_of_unit_vectors_stay_on_the_unit_sphere() -> None:
    starts, ends = (torch.nn.functional.normalize(random_codes(50, dimensions=10, seed=seed), dim=1) for seed in (1, 2))
    lengths = spherical_interpolations(starts, ends, SHARES).norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones(50, 5))
    assert (interpolations(starts, ends, SHARES).norm(dim=2)[:, 2] < 0.95).all()


def test_spherical_interpolations_begin_and_end_with_the_codes() -> None:
    starts, ends = random_codes(100, 10, seed=1), 3 * random_codes(100, 10, seed=2)
    between = spherical_interpolations(starts, ends, SHARES)
    assert between.shape == (100, 5, 10)
    assert torch.equal(between[:, 0], starts)
    assert torch.equal(between[:, -1], ends)


def test_spherical_interpolations_of_codes_of_different_lengths_follow_the_formula() -> None:
    """Halfway between orthogonal codes, both have a weight of sin 45°."""
    between = spherical_interpolations(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]]), torch.tensor([0.5]))
    torch.testing.assert_close(between, torch.tensor([[[sqrt(2), 2 * sqrt(2)]]]))


@pytest.mark.parametrize("end", [[1.0, 2.0, -1.0], [2.5, 5.0, -2.5], [-1.0, -2.0, 1.0], [-0.5, -1.0, 0.5], [0.0] * 3])
def test_spherical_interpolations_between_parallel_opposite_or_zero_codes_are_straight(end: list[float]) -> None:
    codes = torch.tensor([[1.0, 2.0, -1.0]]), torch.tensor([end])
    for starts, ends in (codes, codes[::-1]):
        assert torch.equal(spherical_interpolations(starts, ends, SHARES), interpolations(starts, ends, SHARES))


def test_spherical_interpolations_become_straight_lines_without_a_jump_as_the_angle_vanishes() -> None:
    """On either side of the threshold; near half a turn, too, the arc keeps unit length."""
    angles = torch.tensor([0.0009, 0.0011, pi - 0.0011], dtype=torch.float64)
    starts = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(3, 2)
    ends = torch.stack([angles.cos(), angles.sin()], dim=1)
    shares = SHARES.double()
    arcs, straight = spherical_interpolations(starts, ends, shares), interpolations(starts, ends, shares)
    torch.testing.assert_close(arcs[:2], straight[:2], rtol=0, atol=2e-7)
    assert torch.equal(arcs[0], straight[0])
    assert not torch.equal(arcs[1], straight[1])
    torch.testing.assert_close(arcs[2].norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_traversals_vary_one_dimension_at_a_time_and_do_not_change_the_code() -> None:
    code = torch.tensor([5.0, 6.0, 7.0])
    expected = [[[5.0, 6.0, -1.0], [5.0, 6.0, 1.0]], [[-1.0, 6.0, 7.0], [1.0, 6.0, 7.0]]]
    assert traversals(code, [2, 0], torch.tensor([-1.0, 1.0])).tolist() == expected
    assert code.tolist() == [5.0, 6.0, 7.0]


@pytest.mark.parametrize("count", [1, 2, 20])
def test_prior_quantiles_lie_in_the_middle_of_equally_probable_parts(count: int) -> None:
    probabilities = (1 + torch.erf(prior_quantiles(count).double() / sqrt(2))) / 2
    expected = torch.linspace(0.5 / count, 1 - 0.5 / count, count, dtype=torch.float64)
    torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-6)


def test_prior_grid_runs_across_one_dimension_and_up_the_other_of_a_code_that_it_does_not_change() -> None:
    quantiles, code = torch.tensor([-1.0, 0.5, 2.0]), torch.tensor([5.0, 6.0, 7.0, 8.0, 9.0])
    grid = prior_grid(quantiles, [1, 3], code)
    assert grid.shape == (3, 3, 5)
    for row, up in enumerate([2.0, 0.5, -1.0]):
        for column, across in enumerate([-1.0, 0.5, 2.0]):
            assert grid[row, column].tolist() == [5.0, across, 7.0, up, 9.0]
    assert code.tolist() == [5.0, 6.0, 7.0, 8.0, 9.0]


def test_prior_grid_of_a_single_dimension_is_a_row() -> None:
    assert prior_grid(torch.tensor([-1.0, 1.0]), [0], torch.ones(1)).tolist() == [[[-1.0], [1.0]]]
