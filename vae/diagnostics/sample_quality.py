"""Quality and diversity of samples, measured by the distance of each image to its k-th nearest neighbour.

That distance is the radius of a ball around the image. Distances are Euclidean distances between intensities. On small,
centred images such as digits they agree with perceived similarity; on photographs they would not.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae.base.errors import VAEError
from vae.diagnostics.verdict import Level, Verdict, grade, rounded, worst

ROWS_AT_ONCE = 2000

# Warning and failure, as shares of the ceiling, which is what training images reach in place of samples. No paper gives
# such thresholds; they were set by this project.
PRECISION_SHARE = (0.8, 0.5)
RECALL_SHARE = (0.2, 0.05)
COVERAGE_SHARE = (0.6, 0.4)


class TooFewImagesError(VAEError):
    """There are too few images for a k-th nearest neighbour: k or fewer."""


class SampleQuality(NamedTuple):
    """Four measures of samples against real images.

    Attributes:
        precision: share of samples within the ball of a real image (Kynkäänniemi et al. 2019, equation 3).
        recall: share of real images within the ball of a sample (the same).
        density: the number of real images whose ball contains a sample, averaged over samples and divided by k; may
            exceed 1 (Naeem et al. 2020, equation 4). About 1 if samples and images have the same distribution.
        coverage: share of real images whose ball contains a sample (Naeem et al. 2020, equation 6). About 1 - 2^-k if
            samples and images have the same distribution and number.
    """

    precision: float
    recall: float
    density: float
    coverage: float


class RealImages:
    """Real images, each with the ball that reaches to its k-th nearest neighbour among them.

    The balls are computed once; then any images can be compared with them.

    Args:
        real: intensities (N, …).
        neighbours: k.

    Raises:
        TooFewImagesError: N is at most k.
    """

    def __init__(self, real: Tensor, neighbours: int) -> None:
        _require_more(len(real), neighbours)
        self._neighbours = neighbours
        # Shifting all points does not change distances, and they are more precise near the origin.
        self._centre = real.flatten(1).mean(0)
        self._real = real.flatten(1) - self._centre
        self._radii = _radii(self._real, neighbours)

    def compare(self, samples: Tensor) -> SampleQuality:
        """Compare samples with the real images.

        Args:
            samples: intensities (M, …), on the same device.

        Raises:
            TooFewImagesError: M is at most k.
        """
        _require_more(len(samples), self._neighbours)
        samples = samples.flatten(1) - self._centre
        sample_radii = _radii(samples, self._neighbours)
        real_balls_around = torch.zeros(len(samples), dtype=torch.int64, device=samples.device)
        in_sample_ball, holds_sample = [], []
        for rows, radii in zip(self._real.split(ROWS_AT_ONCE), self._radii.split(ROWS_AT_ONCE), strict=True):
            distances = torch.cdist(rows, samples)
            in_real_ball = distances <= radii.unsqueeze(1)
            real_balls_around += in_real_ball.sum(0)
            holds_sample.append(in_real_ball.any(1))
            in_sample_ball.append((distances <= sample_radii).any(1))
        return SampleQuality(
            precision=_mean(real_balls_around > 0),
            recall=_mean(torch.cat(in_sample_ball)),
            density=_mean(real_balls_around) / self._neighbours,
            coverage=_mean(torch.cat(holds_sample)),
        )

    def realism(self, images: Tensor) -> Tensor:
        """The realism of each image, at least 1 within the ball of a real image: intensities (M, …) to (M,).

            R(x) = max_r radius(r) / ‖x - r‖

        over the real images r whose radius is at most the median. The larger half of the balls, around images in sparse
        regions, is left out. Source: Kynkäänniemi et al. 2019, the section on the quality of individual samples.
        """
        small = self._radii <= self._radii.median()
        # Keeps the realism finite where an image equals a real one.
        least = torch.finfo(self._radii.dtype).eps
        centres, radii = self._real[small], self._radii[small].clamp(min=least)
        images = images.flatten(1) - self._centre
        return torch.cat(
            [(radii / torch.cdist(rows, centres).clamp_(min=least)).amax(1) for rows in images.split(ROWS_AT_ONCE)]
        )


def judge_samples(quality: SampleQuality, ceiling: SampleQuality) -> Verdict:
    """Judge samples by how much of the ceiling's precision, recall and coverage they reach.

    Args:
        quality: of the samples.
        ceiling: of as many training images, in place of samples.
    """
    subject = "sample quality"
    finding = ", ".join(
        f"{name} {value:.2f} ({_share(name, value, best)}of {best:.2f})"
        for name, value, best in zip(SampleQuality._fields, quality, ceiling, strict=True)
    )
    criterion = (
        f"at least {PRECISION_SHARE[0]:.0%} of the ceiling's precision (failure below {PRECISION_SHARE[1]:.0%}), "
        f"{RECALL_SHARE[0]:.0%} of its recall (failure below {RECALL_SHARE[1]:.0%}) and {COVERAGE_SHARE[0]:.0%} of its "
        f"coverage (failure below {COVERAGE_SHARE[1]:.0%}); the ceiling, in brackets, is what training images reach in "
        "place of samples; measures of Kynkäänniemi et al. 2019 and Naeem et al. 2020 (thresholds set by this project)"
    )
    if not (ceiling.precision and ceiling.recall and ceiling.coverage):
        finding += "; not judged, because a ceiling is zero"
        return Verdict(subject, Level.NOT_JUDGED, finding, criterion)
    by_precision = grade(quality.precision / ceiling.precision, *PRECISION_SHARE)
    by_coverage = grade(quality.coverage / ceiling.coverage, *COVERAGE_SHARE)
    by_recall = grade(quality.recall / ceiling.recall, *RECALL_SHARE)
    advice = []
    if by_precision is not Level.HEALTHY:
        advice.append("for low precision (holes), a higher train.beta, a smaller model.latent_dim or more train.epochs")
    if worst(by_coverage, by_recall) is not Level.HEALTHY:
        advice.append("for low coverage or recall (collapse or blur), model.network=conv or a larger model.latent_dim")
    level = worst(by_precision, by_coverage, by_recall)
    return Verdict(subject, level, finding, criterion, "; ".join(advice))


def _share(name: str, value: float, ceiling: float) -> str:
    """A measure as a share of its ceiling, followed by a space; empty if the ceiling is zero."""
    thresholds = {"precision": PRECISION_SHARE, "recall": RECALL_SHARE, "coverage": COVERAGE_SHARE}
    return f"{rounded(value / ceiling, '.0%', *thresholds.get(name, ()))} " if ceiling else ""


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


def _mean(values: Tensor) -> float:
    return float(values.cpu().double().mean())
