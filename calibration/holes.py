"""Holes in the latent space: models trained with a lower and lower weight of the KL, β."""

from functools import partial
from math import nan

import torch
from torch import Tensor

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import SEED, STEPS, Material
from vae.base.runtime import generator
from vae.data.images import pixels
from vae.diagnostics.aggregate_posterior import fit_mixture, marginal_kl
from vae.diagnostics.classification import unclear_share
from vae.diagnostics.holes import UnclearShares, judge_holes
from vae.model.inference import decode_to_compare, encode

BETAS = (10.0, 4.0, 1.0, 0.1, 0.01)
SAMPLES = 5000


def read(material: Material) -> Readings:
    """Judge the codes and samples of a model for each β."""
    readings = {}
    for beta in BETAS:
        data = material.train
        model = material.trained(data, data[:0], material.epochs_for(len(data)), beta=beta).model
        mixture = fit_mixture(*encode(model, data.images), SEED)
        marginal = marginal_kl(mixture, *encode(model, material.test.images), SEED)
        prior = torch.randn(SAMPLES, model.latent_dim, generator=generator(SEED, "prior samples"))
        decoded = partial(decode_to_compare, model, seed=SEED, binary=material.is_binary)
        unclear = UnclearShares(
            prior=unclear_among(material, decoded(prior).compared),
            mixture=unclear_among(material, decoded(mixture.sample(SAMPLES, SEED)).compared),
            real=unclear_among(material, pixels(material.test.images)),
        )
        # The dips of interpolations are reported and not judged, so they are not computed.
        verdict = judge_holes(marginal, unclear, linear_dip=nan, spherical_dip=nan)
        text = f"{unclear.prior:.0%}, {unclear.mixture:.0%}; {marginal.lower:.2f} of {marginal.kl:.2f}"
        readings[_name(beta)] = Reading(text, verdict)
    return readings


def unclear_among(material: Material, images: Tensor) -> float:
    """The share of images that are no clear member of any class: intensities (M, C, H, W) to a number in [0, 1]."""
    return unclear_share(material.classifier.probabilities(images))


def _name(beta: float) -> str:
    return f"β = {beta:g}"


LADDER = Ladder(
    title="Holes in the latent space",
    degraded=f"Models are trained with a lower and lower β, each for about {STEPS:,} steps. A model "
    "that ignores its codes has no holes; the verdict on posterior collapse is about such models.",
    measured="The share of samples that are no clear member of any class, with codes from the prior and from a mixture "
    "fitted to the codes; and the lower bound on the marginal KL, of the whole KL, in nats per image.",
    rungs=tuple(map(_name, BETAS)),
    read=read,
)
