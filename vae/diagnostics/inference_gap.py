"""The inference gap: how far the encoder's posteriors are from the true ones, and why."""

from vae.base.rounding import nats, nats_with_error
from vae.diagnostics.verdict import Level, Verdict, grade, rounded
from vae.model.local_inference import InferenceGap

# The gap as a share of the KL of the best Gaussian posteriors, which is the cost of a code and does not depend on the
# encoder. The thresholds were set by this project with encoders made worse on purpose. Trained models of digits and
# MNIST have 8% and 20%. With all posterior means moved by half a standard deviation it is 29% and 27%, by one 91% and
# 51%, by two 331% and 149%; with all variances multiplied by e 65% and 45%, by e² 321% and 183%, divided by e² 94% and
# 66%.
WARNING_INFERENCE_GAP = 0.35
FAILURE_INFERENCE_GAP = 0.7
LEAST_KL = 1.0  # nats; the gap as a share of a smaller KL would be mostly noise

# On MNIST, widths of 100, 400 and 1,000 gave amortization gaps of 4.6, 3.4 and 3.3 nats after 8 epochs, and training on
# 1,000 images 15.1 nats in place of 3.5. On digits, 10 importance samples raised the gap of the ELBO from 0.3 to 1 nat,
# and narrower layers lowered the approximation gap.
AMORTIZATION_ADVICE = (
    "wider model.hidden_dims for a stronger encoder, or more train.epochs if the loss is still falling; if the model "
    "overfits, its encoder does too: more images (prepare.train_images), or a validation set "
    "(prepare.validation_fraction)"
)
APPROXIMATION_ADVICE = (
    "narrower or fewer model.hidden_dims, since simpler decoders have simpler posteriors; or a higher "
    "train.importance_samples, to train a bound that does not need Gaussian posteriors (the ELBO then falls further "
    "below log p(x))"
)


def judge_inference_gap(gap: InferenceGap, elbo_gap: float, elbo_gap_se: float, test_images: int) -> Verdict:
    """Judge how far the encoder's posteriors are from the model's true posteriors.

    The gap is log p(x) - ELBO = KL(q(z|x) ‖ p(z|x)). It is the sum of an amortization gap, because the encoder does not
    find the best Gaussian, and an approximation gap, because the best Gaussian is not the true posterior (Cremer, Li &
    Duvenaud 2018). The sum is judged as a share of KL(q*(z) ‖ p(z)); the larger part decides the advice.

    The importance-weighted bound of the encoder's posterior misses most of the gap where that posterior is too narrow,
    since then no sample falls where the true posterior is. So it is reported, and not judged.

    Args:
        gap: both parts, nats per image, from ``inference_gap``.
        elbo_gap: the importance-weighted bound minus the ELBO, averaged over all test images, nats per image.
        elbo_gap_se: its standard error over the images.
        test_images: the number of all test images.
    """
    share = gap.total / max(gap.best_kl, LEAST_KL)
    level = grade(share, WARNING_INFERENCE_GAP, FAILURE_INFERENCE_GAP)
    advice = AMORTIZATION_ADVICE if gap.amortization >= gap.approximation else APPROXIMATION_ADVICE
    return Verdict(
        subject="inference gap",
        level=level,
        finding=(
            f"on {gap.images:,} test images, the ELBO is {nats_with_error(gap.total, gap.total_se)} nats below "
            f"log p(x), {rounded(share, '.0%', WARNING_INFERENCE_GAP, FAILURE_INFERENCE_GAP)} of the KL of "
            f"{nats(gap.best_kl)} nats: {nats_with_error(gap.amortization, gap.amortization_se)} because the encoder "
            "does not find the best Gaussian (amortization), "
            f"{nats_with_error(gap.approximation, gap.approximation_se)} because the true posterior is no such "
            f"Gaussian (approximation); on all {test_images:,} test images, the importance-weighted bound "
            f"is {nats_with_error(elbo_gap, elbo_gap_se)} nats above the ELBO"
        ),
        criterion=(
            f"a gap of at most {WARNING_INFERENCE_GAP:.0%} of the KL of the best Gaussian posteriors (of {LEAST_KL:g} "
            f"nat if that is lower); failure above {FAILURE_INFERENCE_GAP:.0%} (both parts as in Cremer, Li & Duvenaud "
            "2018; thresholds set by this project)"
        ),
        advice=advice if level in {Level.WARNING, Level.FAILURE} else "",
    )
