"""Verdicts: a level, the measurement and thresholds behind it, and what to try."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isnan, log
from textwrap import wrap
from typing import NamedTuple


class Level(StrEnum):
    """The level of a verdict, like a traffic light."""

    HEALTHY = "healthy"
    WARNING = "warning"
    FAILURE = "failure"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Verdict:
    """The verdict on one failure mode.

    Attributes:
        subject: what is judged, e.g. ``posterior collapse``.
        level: healthy, a warning, a failure, or not judged.
        finding: what was measured, with its numbers.
        criterion: the thresholds, and where they come from.
        advice: which parameters to try; empty where there is nothing to do.
    """

    subject: str
    level: Level
    finding: str
    criterion: str
    advice: str = ""

    @property
    def name(self) -> str:
        """The subject, named as metrics are: ``posterior_collapse``."""
        return self.subject.replace(" ", "_")


# Warning and failure for a difference of losses, in nats per image: a smaller one than the first could not change the
# order of published models, and a larger one than the second would.
NATS_BETWEEN_MODELS = (0.8, 2.0)
NATS_SOURCE = "models published side by side on MNIST are 0.8 to 2 nats apart (Burda et al. 2015, table 1)"
MNIST_DIMENSIONS = 784
BITS_BETWEEN_MODELS = (0.08, 0.16)  # the same for probabilities of 8-bit pixels, in bits per dimension
BITS_SOURCE = (
    "models published one after another on CIFAR-10 are 0.08 to 0.16 bits per dimension apart (3.11, 2.95 and 2.87: "
    "Kingma et al. 2016, Chen et al. 2017, Child 2021)"
)

MOST_DIGITS = 17  # of a number in a text: more do not change a float


class Diagnosis(NamedTuple):
    """Measures by their names in the metrics, and the verdicts based on them."""

    measures: Mapping[str, object]
    verdicts: Sequence[Verdict]


class Difference(NamedTuple):
    """Differences of losses that are a warning and a failure, in nats per image, and where they come from."""

    warning: float
    failure: float
    source: str


BETWEEN_MODELS = Difference(*NATS_BETWEEN_MODELS, NATS_SOURCE)


def between_models(dimensions: int, *, of_8_bits: bool) -> Difference:
    """The differences that matter for images with a number of dimensions, which is pixels times channels.

    Args:
        dimensions: of an image.
        of_8_bits: whether the losses are those of 8-bit pixels' probabilities.
    """
    if of_8_bits:
        warning, failure = (bits * log(2) * dimensions for bits in BITS_BETWEEN_MODELS)
        return Difference(warning, failure, BITS_SOURCE)
    if dimensions <= MNIST_DIMENSIONS:
        return BETWEEN_MODELS
    warning, failure = (nats * dimensions / MNIST_DIMENSIONS for nats in NATS_BETWEEN_MODELS)
    return Difference(warning, failure, f"{NATS_SOURCE}; as much for each pixel and channel here")


def grade(value: float, warning: float, failure: float) -> Level:
    """Grade a measure: failure beyond one threshold, warning beyond the other.

    High values are bad if ``failure`` is above ``warning``, and low values are bad if it is below. A value at a
    threshold counts as on the better side; NaN is not judged.
    """
    if isnan(value):
        return Level.NOT_JUDGED
    sign = 1 if failure > warning else -1
    if sign * value > sign * failure:
        return Level.FAILURE
    return Level.WARNING if sign * value > sign * warning else Level.HEALTHY


def worst(*levels: Level) -> Level:
    """The worst of several levels, none of which may be ``not judged``."""
    return max(levels, key=[Level.HEALTHY, Level.WARNING, Level.FAILURE].index)


def rounded(value: float, form: str, *thresholds: float) -> str:
    """Format a number that is judged by thresholds, so that the text cannot contradict the level.

    Digits are added to the format where rounding would move the number to a threshold or across one: 0.797, judged by
    0.8, becomes ``0.797`` and not ``0.80``.

    Args:
        value: the number.
        form: such as ``.2f``, or ``.0%`` for a percentage.
        thresholds: that the number is judged by.
    """
    kind, scale = form[-1], 100 if form.endswith("%") else 1
    text = ""
    for digits in range(int(form[1:-1]), MOST_DIGITS + 1):
        text = f"{value:z,.{digits}{kind}}"  # z: no minus before a zero
        shown = float(text.rstrip("%").replace(",", "")) / scale
        if all((shown > each, shown < each) == (value > each, value < each) for each in thresholds):
            break
    return text


def threshold_text(nats: float) -> str:
    """A threshold in nats: three significant digits, or all digits before the decimal point."""
    return f"{nats:.3g}" if nats < 999.5 else f"{nats:,.0f}"


def summary(verdicts: Sequence[Verdict]) -> str:
    """The number of failures and warnings in words: ``1 failure, 2 warnings``.

    If there are none, ``healthy``, or ``not judged`` if that is all that the verdicts say.
    """
    if verdicts and all(verdict.level == Level.NOT_JUDGED for verdict in verdicts):
        return str(Level.NOT_JUDGED)
    counts = [(sum(verdict.level == level for verdict in verdicts), level) for level in (Level.FAILURE, Level.WARNING)]
    words = [f"{count} {level}{'s' * (count > 1)}" for count, level in counts if count]
    return ", ".join(words) or str(Level.HEALTHY)


def table(verdicts: Sequence[Verdict], width: int = 116) -> str:
    """The verdicts as a text table: level, subject, finding, and for warnings and failures criterion and advice."""
    first = max((len(verdict.level) for verdict in verdicts), default=0)
    second = max((len(verdict.subject) for verdict in verdicts), default=0)
    lines = []
    for verdict in verdicts:
        words = [verdict.finding]
        if verdict.level in {Level.WARNING, Level.FAILURE}:
            words += [f"Healthy: {verdict.criterion}"] + [f"Try: {verdict.advice}"] * bool(verdict.advice)
        rows = [row for text in words for row in wrap(text, width - first - second - 4)]
        heads = [(str(verdict.level), verdict.subject), *[("", "")] * (len(rows) - 1)]
        lines += [
            f"{level:{first}}  {subject:{second}}  {row}" for (level, subject), row in zip(heads, rows, strict=True)
        ]
    return "\n".join(lines)
