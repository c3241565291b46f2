from contextlib import redirect_stdout
from io import StringIO
from math import prod, sqrt

import numpy as np
import pytest
import torch
from prdc import compute_prdc  # type: ignore[import-untyped]
from torch import Tensor

from vae.diagnostics import sample_quality as module
from vae.diagnostics.sample_quality import RealImages, SampleQuality, TooFewImagesError, judge_samples
from vae.diagnostics.verdict import Level


def gaussian(count: int, *shape: int, seed: int) -> Tensor:
    """Standard normal points, in float64 so that rounding does not decide which of two points is nearer."""
    return torch.randn(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sample_quality(real: Tensor, samples: Tensor, neighbours: int) -> SampleQuality:
    return RealImages(real.flatten(1), neighbours).compare(samples.flatten(1)).quality


def by_its_authors(real: Tensor, samples: Tensor, neighbours: int) -> dict[str, float]:
    """Precision, recall, density and coverage by the package of Naeem et al. 2020."""
    with redirect_stdout(StringIO()):  # it prints the numbers of images
        measures: dict[str, float] = compute_prdc(real.numpy(), samples.numpy(), neighbours)
    return measures


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize(("images", "samples"), [(30, 30), (40, 12), (12, 40)])
def test_sample_quality_agrees_with_the_package_of_its_authors(images: int, samples: int, neighbours: int) -> None:
    real, generated = gaussian(images, 4, seed=1), 0.5 + 1.5 * gaussian(samples, 4, seed=2)
    quality = sample_quality(real, generated, neighbours)._asdict()
    for name, value in by_its_authors(real, generated, neighbours).items():
        assert quality[name] == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("rows", [1, 7, 29, 30])
def test_sample_quality_does_not_depend_on_the_rows_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = gaussian(30, 4, seed=1), 1.5 * gaussian(35, 4, seed=2)
    whole = sample_quality(real, generated, 3)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)
    assert sample_quality(real, generated, 3) == whole


@pytest.mark.parametrize("neighbours", [1, 3])
def test_sample_quality_of_samples_of_the_same_gaussian_averages_to_its_expectation(neighbours: int) -> None:
    """The balls of N images, among N others and N samples of one distribution, have expectations that are exact.

    The k nearest of the 2N - 1 other points to an image are all images with a probability of about 2^-k, and
    otherwise its ball holds a sample; on average it holds k of them.
    """
    count, draws = 200, 15
    pairs = [(gaussian(count, 3, seed=2 * draw), gaussian(count, 3, seed=2 * draw + 1)) for draw in range(draws)]
    measures = np.array([sample_quality(*pair, neighbours)[1:] for pair in pairs])
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


def test_sample_quality_of_real_images_against_themselves_is_perfect() -> None:
    """Each ball holds its centre and k neighbours."""
    real = gaussian(60, 3, seed=1)
    assert sample_quality(real, real.clone(), 5) == pytest.approx((0, 1, 1, 6 / 5, 1), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sample_quality_of_samples_far_from_all_real_images_is_zero(dtype: torch.dtype) -> None:
    real, generated = gaussian(60, 3, seed=1).to(dtype), 1000 + gaussian(60, 3, seed=2).to(dtype)
    assert sample_quality(real, generated, 5)[1:] == (0, 0, 0, 0)


def test_samples_around_a_single_real_image_have_full_precision_and_almost_no_recall_or_coverage() -> None:
    """In the plane a point is among the k nearest neighbours of 6k others at most, whatever their number."""
    real = gaussian(1000, 2, seed=1)
    generated = real[:1] + 1e-6 * gaussian(1000, 2, seed=2)
    quality = sample_quality(real, generated, 5)
    assert quality.precision == 1
    assert quality.recall <= 1 / 1000
    assert 1 / 1000 <= quality.coverage <= 31 / 1000


def test_sample_quality_does_not_change_when_all_points_are_moved() -> None:
    real, generated = gaussian(60, 3, seed=1), 1.5 * gaussian(60, 3, seed=2)
    assert sample_quality(real + 100, generated + 100, 5) == pytest.approx(sample_quality(real, generated, 5))


def test_sample_quality_is_the_same_in_float32_and_float64() -> None:
    """64 features that are not negative, as the pipeline compares them; some of them are nearly the same."""
    real = gaussian(200, 64, seed=1).relu()
    generated = torch.cat([1.2 * gaussian(150, 64, seed=2).relu(), real[:50] + 0.01])
    expected = sample_quality(real, generated, 5)
    assert sample_quality(real.float(), generated.float(), 5) == pytest.approx(expected, abs=1 / 200)


@pytest.mark.parametrize(("images", "samples"), [(5, 100), (100, 5), (5, 5)])
def test_as_many_neighbours_as_images_are_refused_with_the_parameter(images: int, samples: int) -> None:
    with pytest.raises(TooFewImagesError, match=r"generate\.neighbours: 5 .*more than 5 images.* 5 are compared"):
        sample_quality(gaussian(images, 2, seed=1), gaussian(samples, 2, seed=2), 5)


def test_one_image_more_than_neighbours_is_accepted() -> None:
    real = gaussian(6, 2, seed=1)
    assert sample_quality(real, real, 5).precision == 1


def test_comparisons_with_the_same_real_images_do_not_affect_one_another() -> None:
    real, generated, others = gaussian(40, 4, seed=1), gaussian(30, 4, seed=2), 2 * gaussian(50, 4, seed=3)
    images = RealImages(real, 3)
    expected = [sample_quality(real, generated, 3), sample_quality(real, others, 3)]
    images.realism(others)
    assert [images.compare(generated).quality, images.compare(others).quality] == expected
    assert expected[0] != expected[1]


def realism_by_definition(real: Tensor, image: Tensor, neighbours: int) -> float:
    points = [row.flatten() for row in real]
    radii = [sorted(float((a - b).norm()) for b in points)[neighbours] for a in points]
    median = sorted(radii)[(len(radii) - 1) // 2]
    scores = [
        radius / float((image.flatten() - point).norm())
        for radius, point in zip(radii, points, strict=True)
        if radius <= median
    ]
    return max(scores)


@pytest.mark.parametrize("count", [30, 31])
def test_realism_agrees_with_a_loop_over_its_definition(count: int) -> None:
    real, images = gaussian(count, 4, seed=1), 1.5 * gaussian(20, 4, seed=2)
    expected = [realism_by_definition(real, image, 3) for image in images]
    assert min(expected) < 1 < max(expected)
    realism = RealImages(real, 3).realism(images)
    assert realism.shape == (20,)
    assert realism.tolist() == pytest.approx(expected, rel=1e-10)


def test_realism_is_the_radius_over_the_distance_to_the_centre_of_a_small_ball() -> None:
    """Five images on a line at steps of 1 have radii of 1; the image at 100 has a large radius and does not count."""
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [100.0]], dtype=torch.float64)
    images = torch.tensor([[-0.5], [-1.0], [-2.0], [2.5], [54.0]], dtype=torch.float64)
    assert RealImages(real, 1).realism(images).tolist() == pytest.approx([2, 1, 0.5, 2, 1 / 50])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_realism_of_real_images_is_high_and_finite(dtype: torch.dtype) -> None:
    real = gaussian(40, 16, seed=1).to(dtype)
    realism = RealImages(real, 3).realism(real)
    assert torch.isfinite(realism).all()
    assert (realism > 100).sum() >= 20  # those whose balls count


@pytest.mark.parametrize("rows", [1, 7, 29])
def test_realism_does_not_depend_on_the_rows_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, images = gaussian(20, 4, seed=1), gaussian(30, 4, seed=2)
    whole = RealImages(real, 3).realism(images)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)
    torch.testing.assert_close(RealImages(real, 3).realism(images), whole, rtol=1e-10, atol=0)


def test_standard_errors_agree_with_the_spread_over_many_draws_of_the_set_that_is_not_held_fixed() -> None:
    """Precision and density vary with the samples, recall and coverage with the real images, the distance with both."""
    real, generated = gaussian(300, 3, seed=1), 1.3 * gaussian(300, 3, seed=2)
    errors = RealImages(real, 3).compare(generated).standard_errors
    images = RealImages(real, 3)
    other_samples = np.array([images.compare(1.3 * gaussian(300, 3, seed=seed)).quality for seed in range(10, 60)])
    spread = SampleQuality(*other_samples.std(0, ddof=1))
    assert errors.precision == pytest.approx(spread.precision, rel=0.3)
    assert errors.density == pytest.approx(spread.density, rel=0.3)
    quality = images.compare(generated).quality
    assert errors.recall == pytest.approx(sqrt(quality.recall * (1 - quality.recall) / 299))
    assert errors.coverage == pytest.approx(sqrt(quality.coverage * (1 - quality.coverage) / 299))


REAL = SampleQuality(frechet_distance=0.02, precision=0.8, recall=0.75, density=0.9, coverage=0.95)
PRECISION, RECALL, DISTANCE = "low precision or density", "low recall or coverage", "large Fréchet distance alone"


@pytest.mark.parametrize(
    ("changes", "level", "advice"),
    [
        ({}, Level.HEALTHY, []),
        ({"precision": 0.69, "recall": 0.61, "density": 0.68, "coverage": 0.77}, Level.HEALTHY, []),
        ({"frechet_distance": 0.069}, Level.HEALTHY, []),
        ({"frechet_distance": 0.01}, Level.HEALTHY, []),
        ({"frechet_distance": 0.071}, Level.WARNING, [DISTANCE]),
        ({"frechet_distance": 0.171}, Level.FAILURE, [DISTANCE]),
        ({"precision": 0.67}, Level.WARNING, [PRECISION]),
        ({"precision": 0.47}, Level.FAILURE, [PRECISION]),
        ({"density": 0.67}, Level.WARNING, [PRECISION]),
        ({"density": 0.44}, Level.FAILURE, [PRECISION]),
        ({"density": 2.0}, Level.HEALTHY, []),
        ({"recall": 0.59}, Level.WARNING, [RECALL]),
        ({"recall": 0.37}, Level.FAILURE, [RECALL]),
        ({"coverage": 0.75}, Level.WARNING, [RECALL]),
        ({"coverage": 0.47}, Level.FAILURE, [RECALL]),
        ({"precision": 0.67, "coverage": 0.0, "frechet_distance": 1.0}, Level.FAILURE, [PRECISION, RECALL]),
    ],
)
def test_samples_verdict_is_graded_by_each_measure_relative_to_training_images(
    changes: dict[str, float], level: Level, advice: list[str]
) -> None:
    verdict = judge_samples(REAL._replace(**changes), REAL)
    assert verdict.subject == "sample quality"
    assert verdict.level is level
    assert [words for words in (PRECISION, RECALL, DISTANCE) if words in verdict.advice] == advice


def test_samples_finding_names_each_measure_next_to_that_of_training_images() -> None:
    finding = judge_samples(SampleQuality(0.197, 0.51, 0.52, 0.53, 0.54), REAL).finding
    distance, others = finding.split("; ")
    assert distance == "Fréchet distance 0.197, 0.177 above that of training images in place of samples"
    assert others.split(", ") == [
        "precision 0.51 (64% of 0.80)",
        "recall 0.52 (69% of 0.75)",
        "density 0.53 (59% of 0.90)",
        "coverage 0.54 (57% of 0.95)",
    ]


def test_an_excess_of_the_frechet_distance_within_two_standard_errors_is_not_graded_and_said_to_be() -> None:
    quality = REAL._replace(frechet_distance=0.22)
    verdict = judge_samples(quality, REAL, frechet_error=0.11)
    assert verdict.level is Level.HEALTHY
    assert "0.200 above that of training images in place of samples but within two standard errors;" in verdict.finding
    assert judge_samples(quality, REAL, frechet_error=0.09).level is Level.FAILURE
    assert "standard errors" not in judge_samples(quality, REAL, frechet_error=0.09).finding
    assert "standard errors" not in judge_samples(REAL, REAL, frechet_error=0.09).finding


def test_samples_finding_does_not_round_a_measure_to_the_threshold_that_it_misses() -> None:
    verdict = judge_samples(REAL._replace(precision=0.6797, frechet_distance=0.07004), REAL)
    assert verdict.level is Level.WARNING
    assert "precision 0.68 (84.96% of 0.80)" in verdict.finding
    assert ", 0.05004 above that of" in verdict.finding


@pytest.mark.parametrize("measure", ["precision", "recall", "density", "coverage"])
def test_samples_are_not_judged_where_a_measure_of_training_images_is_zero(measure: str) -> None:
    verdict = judge_samples(REAL, REAL._replace(**{measure: 0.0}))
    assert verdict.level is Level.NOT_JUDGED
    assert "of training images is zero" in verdict.finding
