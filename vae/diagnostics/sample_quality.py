"""Quality and diversity of samples, measured in the features of a classifier.

Distances are Euclidean distances between features. Between intensities, a blurred image would be nearer to real images
than a sharp one. The ball of an image reaches to its k-th nearest neighbour.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae.base.errors import VAEError
from vae.base.precision import standard_error
from vae.diagnostics.frechet import frechet_distance, frechet_standard_error
from vae.diagnostics.verdict import Level, Verdict, grade, rounded, worst

ROWS_AT_ONCE = 2000

# Warning and failure. No paper gives such thresholds; they were set by this project, on digits and MNIST: a known share
# of training images was replaced by averages of two or by noise, or images were blurred, or classes or most images were
# left out. Each fault shows in some of the measures only, so each measure is graded: blur lowers recall; averages lower
# density and coverage, and raise the Fréchet distance; missing classes lower recall and coverage.
FRECHET_EXCESS = (0.05, 0.15)  # of the distance of samples over that of training images
PRECISION_SHARE = (0.85, 0.6)  # of what training images reach in place of samples, like the following
RECALL_SHARE = (0.8, 0.5)
DENSITY_SHARE = (0.75, 0.5)
COVERAGE_SHARE = (0.8, 0.5)
SHARES = {
    "precision": PRECISION_SHARE,
    "recall": RECALL_SHARE,
    "density": DENSITY_SHARE,
    "coverage": COVERAGE_SHARE,
}


class TooFewImagesError(VAEError):
    """There are too few images for a k-th nearest neighbour: k or fewer."""


class SampleQuality(NamedTuple):
    """Five measures of samples against real images.

    Attributes:
        frechet_distance: between Gaussians with the same moments (Heusel et al. 2017, equation 6).
        precision: share of samples within the ball of a real image (Kynkäänniemi et al. 2019, equation 3).
        recall: share of real images within the ball of a sample (the same).
        density: the number of real images whose ball contains a sample, averaged over samples and divided by k; may
            exceed 1 (Naeem et al. 2020, equation 4). About 1 if samples and images have the same distribution.
        coverage: share of real images whose ball contains a sample (Naeem et al. 2020, equation 6). About 1 - 2^-k if
            samples and images have the same distribution and number.
    """

    frechet_distance: float
    precision: float
    recall: float
    density: float
    coverage: float


class Comparison(NamedTuple):
    """The measures, and the standard error of each.

    Attributes:
        quality: the measures.
        standard_errors: of the Fréchet distance by a jackknife; of precision and density over samples, and of recall
            and coverage over real images, sd / √n, with the other set held fixed.
    """

    quality: SampleQuality
    standard_errors: SampleQuality


class RealImages:
    """Real images, each with the ball that reaches to its k-th nearest neighbour among them.

    The balls are computed once; then any images can be compared with them.

    Args:
        real: features (N, F).
        neighbours: k.

    Raises:
        TooFewImagesError: N is at most k.
    """

    def __init__(self, real: Tensor, neighbours: int) -> None:
        _require_more(len(real), neighbours)
        self._neighbours = neighbours
        # Shifting all points does not change distances, and they are more precise near the origin.
        self._centre = real.mean(0)
        self._real = real - self._centre
        self._radii = _radii(self._real, neighbours)

    def compare(self, samples: Tensor) -> Comparison:
        """Compare samples with the real images.

        Args:
            samples: features (M, F), on the same device.

        Raises:
            TooFewImagesError: M is at most k.
        """
        _require_more(len(samples), self._neighbours)
        samples = samples - self._centre
        sample_radii = _radii(samples, self._neighbours)
        real_balls_around = torch.zeros(len(samples), dtype=torch.int64, device=samples.device)
        in_sample_ball, holds_sample = [], []
        for rows, radii in zip(self._real.split(ROWS_AT_ONCE), self._radii.split(ROWS_AT_ONCE), strict=True):
            distances = torch.cdist(rows, samples)
            in_real_ball = distances <= radii.unsqueeze(1)
            real_balls_around += in_real_ball.sum(0)
            holds_sample.append(in_real_ball.any(1))
            in_sample_ball.append((distances <= sample_radii).any(1))
        counted = (
            real_balls_around > 0,
            torch.cat(in_sample_ball),
            real_balls_around.cpu().double() / self._neighbours,
            torch.cat(holds_sample),
        )
        means = (float(each.cpu().double().mean()) for each in counted)
        return Comparison(
            SampleQuality(frechet_distance(self._real, samples), *means),
            SampleQuality(frechet_standard_error(self._real, samples), *map(standard_error, counted)),
        )

    def realism(self, images: Tensor) -> Tensor:
        """The realism of each image, at least 1 within the ball of a real image: features (M, F) to (M,).

            R(x) = max_r radius(r) / ‖x - r‖

        over the real images r whose radius is at most the median. The larger half of the balls, around images in sparse
        regions, is left out. Source: Kynkäänniemi et al. 2019, the section on the quality of individual samples.
        """
        small = self._radii <= self._radii.median()
        # Keeps the realism finite where an image equals a real one.
        least = torch.finfo(self._radii.dtype).eps
        centres, radii = self._real[small], self._radii[small].clamp(min=least)
        images = images - self._centre
        return torch.cat(
            [(radii / torch.cdist(rows, centres).clamp_(min=least)).amax(1) for rows in images.split(ROWS_AT_ONCE)]
        )


def judge_samples(
    quality: SampleQuality, real: SampleQuality, frechet_error: float = 0.0, features: str = "classifier"
) -> Verdict:
    """Judge samples by how close they come to what training images reach in their place.

    Args:
        quality: of the samples.
        real: of as many training images, in place of samples. Their Fréchet distance is the least that can be measured
            with so many images, since it is biased upwards.
        frechet_error: the standard error of the samples' Fréchet distance. An excess below two of them is not graded:
            between a hundred images or fewer it can be chance.
        features: what gave the features, in words.
    """
    subject = "sample quality"
    excess = quality.frechet_distance - real.frechet_distance
    by_chance = FRECHET_EXCESS[0] < excess < 2 * frechet_error
    shares = {name: value / best if best else 0.0 for name, value, best in _rows(quality, real)}
    finding = (
        f"Fréchet distance {quality.frechet_distance:.3f}, {rounded(excess, '.3f', *FRECHET_EXCESS)} above that of "
        f"training images in place of samples{' but within two standard errors' * by_chance}; "
    ) + ", ".join(
        f"{name} {value:.2f} ({rounded(shares[name], '.0%', *SHARES[name])} of {best:.2f})"
        for name, value, best in _rows(quality, real)
    )
    criterion = (
        f"a Fréchet distance at most {FRECHET_EXCESS[0]} above that of training images in place of samples (failure "
        f"above {FRECHET_EXCESS[1]}; 1 is the total variance of features), and of their other measures at least "
        + ", ".join(
            f"{warning:.0%} of {name} (failure below {failure:.0%})" for name, (warning, failure) in SHARES.items()
        )
        + "; measures of Heusel et al. 2017, Kynkäänniemi et al. 2019 and Naeem et al. 2020, in the features of a "
        f"{features} (thresholds set by this project)"
    )
    if not all(best for _, _, best in _rows(quality, real)):
        finding += "; not judged, because a measure of training images is zero"
        return Verdict(subject, Level.NOT_JUDGED, finding, criterion)
    levels = {name: grade(share, *SHARES[name]) for name, share in shares.items()}
    unlike_real = worst(levels["precision"], levels["density"])
    missing = worst(levels["recall"], levels["coverage"])
    distance = Level.HEALTHY if by_chance else grade(excess, *FRECHET_EXCESS)
    advice = []
    if unlike_real is not Level.HEALTHY:
        advice.append(
            "for low precision or density (samples unlike real images), a smaller model.latent_dim, a higher "
            "train.beta or more train.epochs"
        )
    if missing is not Level.HEALTHY:
        advice.append(
            "for low recall or coverage (blur, or kinds of images without samples), model.network=conv or a larger "
            "model.latent_dim"
        )
    if distance is not Level.HEALTHY and not advice:
        advice.append("for a large Fréchet distance alone, model.network=conv or more train.epochs")
    return Verdict(subject, worst(unlike_real, missing, distance), finding, criterion, "; ".join(advice))


def _rows(quality: SampleQuality, real: SampleQuality) -> list[tuple[str, float, float]]:
    """The names of the measures that are graded as shares, with their values for samples and for training images."""
    return [(name, getattr(quality, name), getattr(real, name)) for name in SHARES]


def _require_more(images: int, neighbours: int) -> None:
    if images <= neighbours:
        raise TooFewImagesError(
            f"params.yaml: generate.neighbours: {neighbours} nearest neighbours need more than {neighbours} images, "
            f"but {images} are compared; lower it, or raise generate.samples or prepare.train_images"
        )


def _radii(points: Tensor, neighbours: int) -> Tensor:
    """The distance of each point to its k-th nearest neighbour, not counting itself: (N, F) to (N,)."""
    nearest = [
        torch.cdist(rows, points).topk(neighbours + 1, largest=False).values for rows in points.split(ROWS_AT_ONCE)
    ]
    return torch.cat(nearest)[:, -1]
