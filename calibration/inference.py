"""The inference gap: a trained model whose encoder is moved away from its posteriors."""

from copy import deepcopy
from math import nan

import torch
from torch import Tensor, nn

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import SEED, Material
from vae.diagnostics.inference_gap import judge_inference_gap
from vae.model.local_inference import inference_gap
from vae.model.vae import VAE

SHIFTS = (0.0, 0.5, 1.0, 2.0, 3.0)  # c, in standard deviations of the posterior


class ShiftedEncoder(nn.Module):
    """An encoder whose means are too high by c standard deviations in every dimension: μ + c·σ."""

    def __init__(self, encoder: nn.Module, shift: float) -> None:
        super().__init__()
        self.encoder, self.shift = encoder, shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Intensities (B, C, H, W) to μ + c·σ and log σ², each (B, D)."""
        mean, log_variance = self.encoder(x)
        return mean + self.shift * torch.exp(0.5 * log_variance), log_variance


def read(material: Material) -> Readings:
    """Judge the encoder on test images."""
    images = material.test.images
    readings = {}
    for shift in SHIFTS:
        gap = inference_gap(shifted(material.run.model, shift), images, SEED)
        # The importance-weighted bound is reported and not judged, so it is not computed.
        verdict = judge_inference_gap(gap, elbo_gap=nan, elbo_gap_se=nan, test_images=len(images))
        readings[_name(shift)] = Reading(f"{gap.total:.2f} of {gap.best_kl:.2f}", verdict)
    return readings


def shifted(model: VAE, shift: float) -> VAE:
    """A copy of a model whose encoder's means are shifted by c·σ."""
    copy = deepcopy(model)
    copy.encoder = ShiftedEncoder(copy.encoder, shift)  # type: ignore[assignment]  # an encoder in all but name
    return copy


def _name(shift: float) -> str:
    return f"{shift:g} σ"


LADDER = Ladder(
    title="Inference gap",
    degraded="The encoder's means are moved by a number of standard deviations σ of the posterior, in every dimension.",
    measured="The gap between log p(x) and the ELBO, of the KL of the best Gaussian posteriors, in nats per image.",
    rungs=tuple(map(_name, SHIFTS)),
    read=read,
)
