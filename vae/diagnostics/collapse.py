"""Posterior collapse: some or all latent dimensions carry no information about the image."""

from collections.abc import Sequence
from enum import StrEnum
from math import log

import torch
from torch import Tensor

from vae.diagnostics.verdict import Level, Verdict, rounded
from vae.model.vae import reparameterize

ACTIVE_VARIANCE = 0.01  # Burda, Grosse & Salakhutdinov 2015, section 5.2
CLEARLY_ACTIVE_VARIANCE = 0.1  # if the count at this threshold is about the same, the count is reliable
LEAST_INFORMATION = log(2)  # nats: one bit, the answer to a single yes-or-no question about the image
LEAST_ACTIVE_SHARE = 0.5  # of the dimensions; below it, most of the latent space is unused
ROWS_AT_ONCE = 100


class Onset(StrEnum):
    """When the KL vanished in training."""

    NEVER = "never"
    AT_THE_START = "from the start"
    LATER = "during training"


def mean_variances(mean: Tensor) -> Tensor:
    """Var_x(μ_d(x)), the activity of each latent dimension: posterior means (N, D) to float64 (D,)."""
    return mean.cpu().double().var(dim=0, correction=0)


def active_units(variances: Tensor, threshold: float = ACTIVE_VARIANCE) -> int:
    """The number of active units: dimensions d with Var_x(μ_d(x)) above the threshold.

    Source: Burda, Grosse & Salakhutdinov 2015, section 5.2. Early in training, the count depends on the threshold, so
    look at the whole spectrum of variances as well.

    Args:
        variances: of the posterior means over images (D,).
        threshold: 0.01 in the paper.
    """
    return int((variances > threshold).sum())


def mutual_information(mean: Tensor, log_variance: Tensor, noise: Tensor) -> float:
    """The mutual information of code and image, in nats: I_q(x; z) = E_x KL(q(z|x) ‖ q(z)).

        1/N Σ_i [log q(z_i|x_i) - log 1/N Σ_j q(z_i|x_j)],   z_i = μ_i + σ_i·ε_i

    q(z) is the mixture of the N posteriors. The KL to the prior is this information plus KL(q(z) ‖ p(z)), which does
    not depend on the image (Hoffman & Johnson 2016). The estimate takes one sample per image (Chen, Li, Grosse &
    Duvenaud 2018). It cannot exceed log N nats, which is enough to tell N images apart: posteriors that do not overlap
    reach log N even if they carry more. It is 0 if all posteriors are equal.

    Args:
        mean: μ (N, D).
        log_variance: log σ² (N, D).
        noise: ε, standard normal (N, D).
    """
    mean, log_variance, noise = (tensor.cpu().double() for tensor in (mean, log_variance, noise))
    # Shifting all codes does not change the result, and squares are more precise near the origin.
    mean = mean - mean.mean(0)
    z = reparameterize(mean, log_variance, noise)
    # -2·log q(z|x_j), up to a constant, is Σ_d z²/σ_j² - 2·z·μ_j/σ_j² + μ_j²/σ_j² + log σ_j².
    precision = torch.exp(-log_variance)
    squares, products = precision.T, (mean * precision).T
    rest = (mean.square() * precision + log_variance).sum(1)
    log_ratio = torch.empty_like(rest)  # log q(z_i) - log q(z_i|x_i), up to log N
    for start in range(0, len(z), ROWS_AT_ONCE):
        rows = z[start : start + ROWS_AT_ONCE]
        surprise = torch.addmm(rest, rows.square(), squares).addmm_(rows, products, alpha=-2)
        own = surprise.diagonal(start).clone().unsqueeze(1)
        ratios = surprise.sub_(own).mul_(-0.5)  # log q(z_i|x_j) - log q(z_i|x_i), 0 at j = i
        log_ratio[start : start + ROWS_AT_ONCE] = ratios.logsumexp(1)
    return log(len(z)) - float(log_ratio.mean())


def collapse_onset(kl_per_epoch: Sequence[float]) -> Onset:
    """When the KL fell below one bit, from its value at the end of each epoch.

    Never, if the KL of the last epoch is not below one bit. Otherwise from the start if the KL never exceeded two bits,
    and during training if it did.

    Args:
        kl_per_epoch: the KL to the prior in nats per image, at the end of each epoch.
    """
    if not kl_per_epoch or kl_per_epoch[-1] >= LEAST_INFORMATION:
        return Onset.NEVER
    return Onset.LATER if max(kl_per_epoch) > 2 * LEAST_INFORMATION else Onset.AT_THE_START


def judge_collapse(
    variances: Tensor, mutual_information: float, kl_per_epoch: Sequence[float], images: int, classes: int
) -> Verdict:
    """Judge whether the posterior has collapsed.

    It is a failure if no dimension is active or the code carries less than one bit, and a warning if the code carries
    less than log(classes), too little to identify the class, or if fewer than half of the dimensions are active. If all
    are active and still carry too little, the latent space is too small, and the advice is to enlarge it.

    Args:
        variances: of the posterior means over images (D,).
        mutual_information: of code and image, in nats.
        kl_per_epoch: the KL to the prior in nats per image, at the end of each epoch of training.
        images: the number of images that the mutual information was estimated on.
        classes: the number of classes of the data.
    """
    total, active = len(variances), active_units(variances)
    few_active = active < LEAST_ACTIVE_SHARE * total
    little_information = mutual_information < log(classes)
    information = rounded(mutual_information, ".2f", log(classes), LEAST_INFORMATION)
    finding = (
        f"{active} of {total} latent dimensions are active (variance of the posterior mean over images above "
        f"{ACTIVE_VARIANCE}), {active_units(variances, CLEARLY_ACTIVE_VARIANCE)} of them clearly (above "
        f"{CLEARLY_ACTIVE_VARIANCE}); a code carries {information} nats about its image ({log(images):.2f} are enough "
        f"to tell {images:,} images apart)"
    )
    several = f", and at least {log(classes):.3f} nats in a code, the logarithm of {classes} classes"
    least = several if classes > 1 else ""
    advice = []
    if active == 0 or not mutual_information >= LEAST_INFORMATION:
        level = Level.FAILURE
        finding += f"; {_in_words(collapse_onset(kl_per_epoch))}"
        advice.append(
            "train.free_bits (such as 0.1), train.kl_warmup_epochs, a lower train.beta, or a weaker decoder "
            "(model.network)"
        )
    else:
        level = Level.WARNING if little_information or few_active else Level.HEALTHY
        if little_information and active == total:
            advice.append("a larger model.latent_dim first; then longer training (train.epochs) or a lower train.beta")
        elif little_information:
            advice.append("longer training (train.epochs) or a lower train.beta")
        if few_active:
            advice.append("a smaller model.latent_dim, which works just as well, or train.free_bits")
    return Verdict(
        subject="posterior collapse",
        level=level,
        finding=finding,
        criterion=(
            f"at least half of the dimensions active (variance above {ACTIVE_VARIANCE}, as in Burda, Grosse & "
            f"Salakhutdinov 2015, section 5.2){least}; failure if no dimension is active or a code carries less "
            f"than one bit, {LEAST_INFORMATION:.3f} nats"
        ),
        advice="; ".join(advice),
    )


def _in_words(onset: Onset) -> str:
    match onset:
        case Onset.NEVER:
            return "the KL did not vanish during training"
        case Onset.AT_THE_START:
            return "the KL was near zero from the start of training"
        case Onset.LATER:
            return "the KL vanished during training"
