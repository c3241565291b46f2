from math import inf

import pytest

from review.changes import Direction
from review.checks import Check, check_all, in_limits
from review.limits import Limit
from review.revisions import Value
from tests.review.revisions import revision, with_groups

LOWER, HIGHER = Limit(better="lower", max_worse=0.5), Limit(better="higher", max_worse=0.5)


@pytest.mark.parametrize(
    ("before", "after", "limit", "expected"),
    [
        (10.0, 10.0, LOWER, Direction.SAME),
        (10.0, 10.5, LOWER, Direction.WITHIN_SPREAD),
        (10.0, 9.5, LOWER, Direction.WITHIN_SPREAD),
        (10.0, 10.6, LOWER, Direction.WORSE),
        (10.0, 9.4, LOWER, Direction.BETTER),
        (10.0, 10.6, HIGHER, Direction.BETTER),
        (10, 9, HIGHER, Direction.WORSE),
        (10.0, 20.0, None, Direction.CHANGED),
        ("healthy", "1 failure", None, Direction.CHANGED),
        (None, 3.0, LOWER, Direction.CHANGED),
        (3.0, None, LOWER, Direction.MISSING),
        (3.0, None, None, Direction.CHANGED),
        (True, False, None, Direction.CHANGED),
    ],
)
def test_a_change_of_a_metric_is_better_or_worse_only_beyond_its_limit(
    before: Value, after: Value, limit: Limit | None, expected: Direction
) -> None:
    assert Check("a", before, after, limit).direction is expected


@pytest.mark.parametrize(
    ("after", "error", "expected"),
    [
        (10.4, 1.0, Direction.WITHIN_SPREAD),
        (10.6, 0.3, Direction.NOT_SIGNIFICANT),
        (9.4, 0.3, Direction.NOT_SIGNIFICANT),
        (10.6, 0.29, Direction.WORSE),
        (9.4, 0.29, Direction.BETTER),
        (9.4, None, Direction.BETTER),
    ],
)
def test_a_change_beyond_its_limit_is_not_significant_within_two_standard_errors(
    after: float, error: float | None, expected: Direction
) -> None:
    assert Check("a", 10.0, after, LOWER, error=error).direction is expected


ELBO = "evaluate.test.negative_elbo"
LIMITS = {"a": Limit(better="lower", max_worse=0.5), "b": Limit(better="higher", max_worse=0.0)}


def test_a_metric_may_get_worse_up_to_its_limit_and_no_further() -> None:
    base = revision(metrics={"a": 1.0, "b": 1.0})
    passed = check_all(base, revision(metrics={"a": 1.5, "b": 2.0}), LIMITS)
    failed = check_all(base, revision(metrics={"a": 1.75, "b": 0.75}), LIMITS)
    assert [each.passed for each in passed] == [True, True]
    assert {each.metric: (each.passed, each.worsening) for each in failed} == {"a": (False, 0.75), "b": (False, 0.25)}


def test_a_metric_that_disappears_fails_and_a_new_one_passes() -> None:
    gone, new = check_all(revision(metrics={"a": 1.0}), revision(metrics={"b": 1.0}), LIMITS)
    assert (gone.metric, gone.passed) == ("a", False)
    assert (new.metric, new.passed) == ("b", True)


def test_a_metric_that_neither_revision_has_is_not_checked() -> None:
    assert check_all(revision(metrics={"a": None}), revision(), LIMITS) == []


@pytest.mark.parametrize(
    ("worsening", "error", "passed"),
    [
        (0.4, 0.1, True),
        (0.4, 0.3, True),
        (0.6, 0.25, False),
        (0.6, 0.3, True),
        (0.6, 0.31, True),
        (0.6, 0.0, False),
        (0.6, None, False),
        (-5.0, 0.1, True),
    ],
)
def test_a_metric_fails_beyond_both_its_limit_and_two_standard_errors(
    worsening: float, error: float | None, passed: bool
) -> None:
    each = Check("a", 0.0, worsening, LOWER, error=error)
    assert (each.passed, each.is_uncertain) == (passed, passed and worsening > 0.5)


def test_the_same_worsening_is_significant_only_if_the_runs_are_paired() -> None:
    base = with_groups("main", {ELBO: 24.0}, [20.0, 30.0, 25.0, 21.0])
    means = [20.6, 30.7, 25.6, 21.7]
    paired = with_groups("topic", {ELBO: 24.65}, means)
    unpaired = with_groups("topic", {ELBO: 24.65}, means, test_images="others")
    directions = [check_all(base, head, {ELBO: LOWER})[0].direction for head in (paired, unpaired)]
    assert directions == [Direction.WORSE, Direction.NOT_SIGNIFICANT]


def test_a_metric_that_disappears_fails_even_if_it_could_not_be_compared() -> None:
    limits = {"evaluate.test.negative_elbo": Limit(better="lower", max_worse=0.5)}
    base = revision("main", {"model.likelihood": "bernoulli"}, {"evaluate.test.negative_elbo": 100.0})
    (gone,) = check_all(base, revision("topic", {"model.likelihood": "gaussian"}), limits)
    assert (gone.passed, gone.direction) == (False, Direction.MISSING)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "1.5", True])
def test_a_value_that_is_no_finite_number_fails_as_missing(value: Value) -> None:
    limits = {"evaluate.test.kl": Limit(better="lower", max_worse=0.5)}
    (found,) = check_all(
        revision("main", metrics={"evaluate.test.kl": 3.0}),
        revision("topic", metrics={"evaluate.test.kl": value}),
        limits,
    )
    assert (found.passed, found.direction) == (False, Direction.MISSING)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (Check("a", 1.0, 5.5, LOWER), "9.0 × limit"),
        (Check("a", 5.5, 1.0, LOWER), "9.0 × limit"),
        (Check("a", 1.0, 1.1, LOWER), "0.2 × limit"),
        (Check("a", 1.0, 21.0, LOWER), "40 × limit"),
        (Check("a", 1.0, 2.0, Limit(better="lower", max_worse=0.0)), "the limit is 0"),
        (Check("a", 1.0, None, LOWER), "missing"),
        (Check("a", 1.0, 2.0), ""),
        (Check("a", 1.0, 2.0, LOWER, "another train.beta"), ""),
    ],
)
def test_a_change_is_told_in_multiples_of_its_limit(check: Check, words: str) -> None:
    assert in_limits(check) == words


def test_failures_come_first_by_how_many_times_their_limit_they_are_worse() -> None:
    limits = {
        key: Limit(better="lower", max_worse=limit) for key, limit in zip("abcdef", [1, 1, 0.1, 1, 0, 1], strict=True)
    }
    base = revision(metrics=dict.fromkeys("abcdef", 1.0))
    head = revision(metrics={"a": 0.0 - 2, "b": 3.0, "c": 2.0, "d": 1.5, "e": 1.25})
    checks = check_all(base, head, limits)
    assert [each.metric for each in checks] == ["e", "f", "c", "b", "a", "d"]
    assert [each.times_limit for each in checks if each.metric in "eb"] == [inf, 2.0]
