"""Learning-rate and KL-weight schedules."""

from math import cos, pi

import torch
from torch import Tensor

from vae.base.params import TrainParams

STAGES = 8  # of the importance-weighted autoencoder paper


def epoch_schedule(params: TrainParams, epoch: int, steps: int) -> Tensor:
    """The learning rate α and the KL weight β at each step of an epoch (numbered from 1): float32 (steps, 2)."""
    done = [epoch - 1 + step / steps for step in range(steps)]
    return torch.tensor([(learning_rate(params, epochs), kl_weight(params, epochs)) for epochs in done])


def learning_rate(params: TrainParams, epochs: float) -> float:
    """The learning rate after a number of epochs, which may be fractional.

    - ``constant``: α.
    - ``cosine``: α·½·(1 + cos(π·t)) after a share t of all epochs (Loshchilov & Hutter 2017, equation 5).
    - ``eight_stages``: α·10^(-i/7) in stage i = 0 … 7, which lasts 3^i of 3^0 + … + 3^7 = 3,280 parts of all epochs
      (Burda, Grosse & Salakhutdinov 2015, section 5: 3,280 epochs, α = 0.001).

    During the warm-up, it is multiplied by a factor that rises linearly from 0 to 1 (Goyal et al. 2017, section 2.2).
    """
    scheduled = _scheduled(params, epochs / params.epochs)
    return scheduled * min(1.0, epochs / params.warmup_epochs) if params.warmup_epochs else scheduled


def _scheduled(params: TrainParams, share: float) -> float:
    """The learning rate after a share of all epochs, without the warm-up."""
    match params.schedule:
        case "constant":
            return params.learning_rate
        case "cosine":
            return params.learning_rate * 0.5 * (1 + cos(pi * share))
        case "eight_stages":
            parts = (3**STAGES - 1) // 2
            ends = [(3 ** (stage + 1) - 1) / 2 / parts for stage in range(STAGES - 1)]
            stage = sum(share >= end for end in ends)
            return float(params.learning_rate * 10 ** (-stage / (STAGES - 1)))


def kl_weight(params: TrainParams, epochs: float) -> float:
    """β after a number of epochs: it rises linearly from 0 during the warm-up.

    Source: Bowman et al. 2016, section 3.1; Sønderby et al. 2016, section 2.1.
    """
    return params.beta * (min(1.0, epochs / params.kl_warmup_epochs) if params.kl_warmup_epochs else 1.0)
