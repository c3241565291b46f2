"""How well training went: overfitting, training length and the inference gap."""

from collections.abc import Sequence
from statistics import linear_regression
from typing import NamedTuple

from torch import Tensor

from vae.diagnostics.verdict import Level, Verdict, grade, rounded

# Effect sizes that Cohen 1988, section 2.2, calls small and medium.
SMALL_EFFECT = 0.2
MEDIUM_EFFECT = 0.5

# By how much 10% more epochs would lower the loss, as a share of its fall so far. The thresholds were set by this
# project: 1% can hardly be seen in a loss curve.
WARNING_FURTHER_FALL = 0.01
FAILURE_FURTHER_FALL = 0.03
FURTHER_EPOCHS = 0.1  # of the epochs so far
LEAST_EPOCHS = 5  # fewer are too few to judge
LEAST_END = 3  # epochs at the end, to which a line is fitted; with two, its slope would be mostly noise

# The inference gap as a share of the KL, which is the cost of the code. The thresholds were set by this project: above
# about two thirds, most of that cost is due to the encoder.
WARNING_INFERENCE_GAP = 0.35
FAILURE_INFERENCE_GAP = 0.7
LEAST_KL = 1.0  # nats; the gap as a share of a smaller KL would be mostly noise


class OverfittingGap(NamedTuple):
    """How much higher the negative ELBO is on test images than on training images.

    Attributes:
        nats: the mean negative ELBO of test images minus that of training images.
        effect_size: the same in standard deviations of the negative ELBO over test images.
    """

    nats: float
    effect_size: float


def overfitting_gap(train_negative_elbos: Tensor, test_negative_elbos: Tensor) -> OverfittingGap:
    """The gap between training and test images, in nats and as an effect size.

        d = (mean of test - mean of training) / standard deviation of test

    An effect size does not depend on the scale of the loss, so it can be compared between likelihoods (Cohen 1988,
    section 2.2; with the standard deviation of one group as in Glass 1976).

    Args:
        train_negative_elbos: nats per image (N,).
        test_negative_elbos: nats per image (M,), which must not be all the same.
    """
    train, test = train_negative_elbos.cpu().double(), test_negative_elbos.cpu().double()
    gap = test.mean() - train.mean()
    return OverfittingGap(float(gap), float(gap / test.std(correction=0)))


def judge_overfitting(train_negative_elbos: Tensor, test_negative_elbos: Tensor) -> Verdict:
    """Judge whether the model overfits its training images.

    Args:
        train_negative_elbos: nats per image (N,).
        test_negative_elbos: nats per image (M,).
    """
    gap = overfitting_gap(train_negative_elbos, test_negative_elbos)
    level = grade(gap.effect_size, SMALL_EFFECT, MEDIUM_EFFECT)
    return Verdict(
        subject="overfitting",
        level=level,
        finding=(
            f"the negative ELBO of test images is {abs(gap.nats):.2f} nats {'higher' if gap.nats > 0 else 'lower'} "
            "than that of training images, an effect size of "
            f"{rounded(gap.effect_size, '.2f', SMALL_EFFECT, MEDIUM_EFFECT)} standard deviations"
        ),
        criterion=(
            f"an effect size of at most {SMALL_EFFECT} standard deviations (small); failure above {MEDIUM_EFFECT} "
            "(medium; Cohen 1988)"
        ),
        advice=_unless_healthy(
            level,
            "more data (prepare.train_images), a validation set that selects the epoch (prepare.validation_fraction), "
            "train.weight_decay, fewer train.epochs, smaller model.hidden_dims or model.latent_dim",
        ),
    )


def end_slope(values: Sequence[float]) -> float:
    """The slope per epoch of the least-squares line through the last quarter of the epochs, at least three of them.

    Raises:
        ValueError: there are fewer than two epochs.
    """
    end = values[-max(LEAST_END, len(values) // 4) :]
    return linear_regression(range(len(end)), end).slope


def judge_convergence(loss_per_epoch: Sequence[float]) -> Verdict:
    """Judge whether training ended while the loss was still falling.

    The slope of the last quarter of the epochs is extrapolated to 10% more epochs, and that fall is divided by the fall
    from the highest loss to the last. A curve that ends flat or rising is healthy here. It is not judged with fewer
    than five epochs, or if the loss did not fall at all.

    Args:
        loss_per_epoch: the training loss of each epoch, nats per image.
    """
    level, epochs = Level.NOT_JUDGED, len(loss_per_epoch)
    if epochs < LEAST_EPOCHS:
        finding = f"too few epochs to judge: {epochs}; at least {LEAST_EPOCHS} are needed"
    elif not (fall := max(loss_per_epoch) - loss_per_epoch[-1]) > 0:
        finding = f"the loss did not fall in {epochs} epochs"
    else:
        further = -end_slope(loss_per_epoch) * FURTHER_EPOCHS * epochs
        level = grade(further / fall, WARNING_FURTHER_FALL, FAILURE_FURTHER_FALL)
        finding = f"the loss fell by {fall:.2f} nats in {epochs} epochs and is no longer falling"
        if further > 0:
            share = rounded(further / fall, ".1%", WARNING_FURTHER_FALL, FAILURE_FURTHER_FALL)
            finding = (
                f"{FURTHER_EPOCHS:.0%} more epochs would lower the loss by about {further:.2f} nats, {share} of its "
                f"fall of {fall:.2f} nats in {epochs} epochs"
            )
    return Verdict(
        subject="training length",
        level=level,
        finding=finding,
        criterion=(
            f"{FURTHER_EPOCHS:.0%} more epochs would lower the loss by at most {WARNING_FURTHER_FALL:.0%} of its fall "
            f"so far; failure above {FAILURE_FURTHER_FALL:.0%} (by the slope of the last quarter; thresholds set by "
            "this project)"
        ),
        advice=_unless_healthy(level, "more train.epochs, or a higher train.learning_rate with train.schedule=cosine"),
    )


def judge_inference_gap(negative_elbo: float, negative_iwae_bound: float, kl: float) -> Verdict:
    """Judge how far the encoder's posteriors are from the model's true posteriors.

    The gap log p(x) - ELBO = KL(q(z|x) ‖ p(z|x)) has two causes: a Gaussian does not have the shape of the
    true posterior, and the encoder does not find the best Gaussian (Cremer, Li & Duvenaud 2018). The
    importance-weighted bound stands in for log p(x). On average it does not exceed log p(x), so the true gap is at
    least as large.

    Args:
        negative_elbo: nats per image.
        negative_iwae_bound: the negative importance-weighted bound of the same images, nats per image.
        kl: to the prior, nats per image; the gap is judged as a share of it.
    """
    gap = negative_elbo - negative_iwae_bound
    share = gap / max(kl, LEAST_KL)
    level = grade(share, WARNING_INFERENCE_GAP, FAILURE_INFERENCE_GAP)
    return Verdict(
        subject="inference gap",
        level=level,
        finding=(
            f"the ELBO is {gap:.2f} nats below the importance-weighted bound, "
            f"{rounded(share, '.0%', WARNING_INFERENCE_GAP, FAILURE_INFERENCE_GAP)} of the KL of {kl:.2f} nats"
        ),
        criterion=(
            f"a gap of at most {WARNING_INFERENCE_GAP:.0%} of the KL (of {LEAST_KL:g} nat if the KL is lower); failure "
            f"above {FAILURE_INFERENCE_GAP:.0%} (the gap is explained in Cremer, Li & Duvenaud 2018; thresholds set by "
            "this project)"
        ),
        advice=_unless_healthy(
            level,
            "longer training (train.epochs), wider model.hidden_dims for a stronger encoder, or a higher "
            "train.importance_samples",
        ),
    )


def _unless_healthy(level: Level, advice: str) -> str:
    return advice if level in {Level.WARNING, Level.FAILURE} else ""
