"""Posterior collapse: latent dimensions that carry nothing about the image."""

from enum import StrEnum
from typing import NamedTuple

from torch import Tensor

ACTIVE_VARIANCE = 0.01  # Burda, Grosse & Salakhutdinov 2015, section 5.2


class Verdict(StrEnum):
    """How much of the latent space has collapsed."""

    NONE = "none"
    PARTIAL = "partial"
    COMPLETE = "complete"


class Collapse(NamedTuple):
    """What became of the latent dimensions.

    Attributes:
        active: dimensions that carry something about the image.
        collapsed: dimensions that carry nothing.
    """

    active: int
    collapsed: int

    @property
    def verdict(self) -> Verdict:
        """None, partial or complete collapse."""
        if self.collapsed == 0:
            return Verdict.NONE
        return Verdict.PARTIAL if self.active else Verdict.COMPLETE

    def in_words(self) -> str:
        """The verdict as a sentence, with what it rests on and what to try."""
        total = self.active + self.collapsed
        basis = f"variance of the posterior mean over images above {ACTIVE_VARIANCE}"
        carry = f"{self.active} of {total} latent dimensions carry information ({basis})"
        match self.verdict:
            case Verdict.NONE:
                return f"posterior collapse: none; {carry}"
            case Verdict.PARTIAL:
                return (
                    f"posterior collapse: partial; {carry}, {self.collapsed} carry nothing. "
                    "The data may not need them: a smaller model.latent_dim may do as well"
                )
            case Verdict.COMPLETE:
                return (
                    f"posterior collapse: complete; none of {total} latent dimensions carries information ({basis}), "
                    "the decoder ignores its input. Try more train.epochs or a lower train.learning_rate"
                )


def mean_variances(mean: Tensor) -> Tensor:
    """Var_x(μ_d(x)), the activity of each latent dimension: posterior means (N, D) to float64 (D,)."""
    return mean.cpu().double().var(dim=0, correction=0)


def diagnose_collapse(variances: Tensor) -> Collapse:
    """Count the active units: dimensions d with Var_x(μ_d(x)) > 0.01.

    Source: Burda, Grosse & Salakhutdinov 2015, section 5.2. The count depends on the threshold early in training:
    look at the whole spectrum of variances before concluding.

    Args:
        variances: of the posterior means over images (D,).
    """
    active = int((variances > ACTIVE_VARIANCE).sum())
    return Collapse(active, len(variances) - active)
