"""Posterior collapse: a trained model, some of whose latent dimensions are switched off."""

import torch

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import SEED, Material
from vae.base.runtime import generator
from vae.diagnostics.collapse import active_units, judge_collapse, mean_variances, mutual_information
from vae.model.inference import Posterior, encode

SWITCHED_OFF = {"none": 0.0, "a quarter": 0.25, "half": 0.5, "three quarters": 0.75, "all": 1.0}


def read(material: Material) -> Readings:
    """Judge the codes of test images."""
    model, training = material.run
    posterior = Posterior(*(part.cpu() for part in encode(model, material.test.images)))
    kl = [epoch.train.kl for epoch in training.history]
    readings = {}
    for name, share in SWITCHED_OFF.items():
        mean, log_variance = without(posterior, round(share * model.latent_dim))
        variances = mean_variances(mean)
        noise = torch.randn(mean.shape, generator=generator(SEED, "information noise"))
        information = mutual_information(mean, log_variance, noise)
        verdict = judge_collapse(variances, information, kl, len(mean), len(material.test.class_names))
        readings[name] = Reading(f"{information:z.2f}, {active_units(variances)} of {model.latent_dim}", verdict)
    return readings


def without(posterior: Posterior, dimensions: int) -> Posterior:
    """Replace the posterior by the prior, N(0, 1), in the first dimensions."""
    mean, log_variance = posterior.mean.clone(), posterior.log_variance.clone()
    mean[:, :dimensions] = 0
    log_variance[:, :dimensions] = 0
    return Posterior(mean, log_variance)


LADDER = Ladder(
    title="Posterior collapse",
    degraded="A share of the latent dimensions of a trained model is switched off: the prior replaces their posterior.",
    measured="The nats that a code carries about its image, and the active dimensions.",
    rungs=tuple(SWITCHED_OFF),
    read=read,
)
