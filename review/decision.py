"""What a reviewer wants to know first: whether a head passes the gate, and if not, why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from review.changes import Direction
from review.checks import Check, in_limits
from review.limits import LIMITS, short_name


class Outcome(StrEnum):
    """The gate's word on a head."""

    PASSES = "passes"
    FAILS = "fails"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Decision:
    """Why a head passes the gate or fails.

    Attributes:
        checks: of all metrics that have a limit, the most important first; None without a ``limits.yaml``.
        known: all metrics, to shorten their names.
    """

    checks: Sequence[Check] | None
    known: Sequence[str]

    @property
    def outcome(self) -> Outcome:
        """The gate's word. Without limits, or without a metric that has one, it judges nothing."""
        if not self.checks or all(check.direction == Direction.NOT_COMPARABLE for check in self.checks):
            return Outcome.NOT_JUDGED
        return Outcome.PASSES if all(check.passed for check in self.checks) else Outcome.FAILS

    @property
    def headline(self) -> str:
        """The outcome in a few words."""
        match self.outcome:
            case Outcome.FAILS:
                failed = len(self.failed)
                gone = any(check.direction == Direction.MISSING for check in self.checks or [])
                return f"Fails the gate: {failed} metric{'s' * (failed > 1)} worse than the limit{' or missing' * gone}"
            case Outcome.PASSES:
                worse = "significantly worse" if self.uncertain else "worse"
                checked = len(self.compared)
                return f"Passes the gate: {checked} metric{'s' * (checked != 1)} checked, none {worse} than its limit"
            case _:
                reason = "no metric can be compared" if self.checks else "no metric that both have has a limit"
                return f"Not judged: {reason if self.checks is not None else f'there is no {LIMITS}'}"

    @property
    def failed(self) -> list[str]:
        """The metrics that fail, with how many times their limit they are worse: ``negative_elbo (9.0 × limit)``."""
        return self._named(check for check in self.checks or [] if not check.passed)

    @property
    def uncertain(self) -> list[str]:
        """Metrics that are worse by more than their limit, but not significantly."""
        return self._named(check for check in self.checks or [] if check.is_uncertain)

    @property
    def better(self) -> list[str]:
        """Metrics that are better by more than their limit; none where the gate fails, so that they hide no failure."""
        if self.outcome == Outcome.FAILS:
            return []
        return self._named(check for check in self.checks or [] if check.direction == Direction.BETTER)

    @property
    def incomparable(self) -> list[str]:
        """Metrics that cannot be compared, those with one reason together: ``kl, mse (another prepare.binarize)``."""
        found: dict[str, list[str]] = {}
        for check in self.checks or []:
            if check.direction == Direction.NOT_COMPARABLE:
                found.setdefault(check.reason, []).append(self._short(check))
        return [f"{', '.join(metrics)} ({reason})" for reason, metrics in found.items()]

    @property
    def compared(self) -> list[Check]:
        """The checks of metrics that can be compared."""
        return [check for check in self.checks or [] if not check.reason]

    @property
    def reasons(self) -> list[tuple[str, list[str]]]:
        """What the headline leaves out: lists of metrics, and what they have in common."""
        found = [
            ("Worse", self.failed),
            ("Worse by more than the limit, but within two standard errors", self.uncertain),
            ("Better", self.better),
            ("Not comparable", self.incomparable),
        ]
        return [(words, metrics) for words, metrics in found if metrics]

    def _named(self, checks: Iterable[Check]) -> list[str]:
        return [f"{self._short(check)} ({in_limits(check)})" for check in checks]

    def _short(self, check: Check) -> str:
        return short_name(check.metric, dict.fromkeys(self.known))
