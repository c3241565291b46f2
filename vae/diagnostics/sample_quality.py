"""Quality and diversity of samples, from balls around each image that reach to its k-th nearest neighbour.

Distances are Euclidean, between intensities: on small, centred images such as digits nearness there is nearness to
the eye. On photographs it would not be.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae.errors import VAEError

ROWS_AT_ONCE = 2000


class TooFewImagesError(VAEError):
    """A ball to the k-th nearest neighbour needs more than k images."""


class SampleQuality(NamedTuple):
    """Four measures of samples against real images.

    Attributes:
        precision: share of samples within the ball of a real image (Kynkäänniemi et al. 2019, equation 3).
        recall: share of real images within the ball of a sample (the same).
        density: real balls that a sample lies in, on average, divided by k; may exceed 1 (Naeem et al. 2020,
            equation 4). About 1 where samples and images are of one distribution.
        coverage: share of real balls that hold a sample (Naeem et al. 2020, equation 6). About 1 - 2^-k where
            samples and images are of one distribution and equally many.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def sample_quality(real: Tensor, samples: Tensor, neighbours: int) -> SampleQuality:
    """Compare samples with real images by k-nearest-neighbour balls.

    Args:
        real: intensities (N, …).
        samples: intensities (M, …), on the same device.
        neighbours: k.

    Raises:
        TooFewImagesError: N or M is not above k.
    """
    fewest = min(len(real), len(samples))
    if fewest <= neighbours:
        raise TooFewImagesError(
            f"params.yaml: generate.neighbours: {neighbours} nearest neighbours need more than {neighbours} images, "
            f"but {fewest} are compared; lower it or raise generate.samples"
        )
    # Distances do not change when everything is moved, and are more precise near the origin.
    centre = real.flatten(1).mean(0)
    real, samples = real.flatten(1) - centre, samples.flatten(1) - centre
    real_radii, sample_radii = _radii(real, neighbours), _radii(samples, neighbours)

    real_balls_around = torch.zeros(len(samples), dtype=torch.int64, device=real.device)
    in_sample_ball, holds_sample = [], []
    for rows, radii in zip(real.split(ROWS_AT_ONCE), real_radii.split(ROWS_AT_ONCE), strict=True):
        distances = torch.cdist(rows, samples)
        in_real_ball = distances <= radii.unsqueeze(1)
        real_balls_around += in_real_ball.sum(0)
        holds_sample.append(in_real_ball.any(1))
        in_sample_ball.append((distances <= sample_radii).any(1))
    return SampleQuality(
        precision=_mean(real_balls_around > 0),
        recall=_mean(torch.cat(in_sample_ball)),
        density=_mean(real_balls_around) / neighbours,
        coverage=_mean(torch.cat(holds_sample)),
    )


def _radii(points: Tensor, neighbours: int) -> Tensor:
    """The distance of each point to its k-th nearest neighbour, itself not counted: (N, F) to (N,)."""
    nearest = [
        torch.cdist(rows, points).topk(neighbours + 1, largest=False).values for rows in points.split(ROWS_AT_ONCE)
    ]
    return torch.cat(nearest)[:, -1]


def _mean(values: Tensor) -> float:
    return float(values.cpu().double().mean())
