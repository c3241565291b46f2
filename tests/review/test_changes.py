import pytest

from review.changes import Direction, Row, direction, in_words, metrics_that_differ, parameters_that_differ
from review.limits import Limit
from review.revisions import Value
from tests.review.revisions import revision

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
        ("healthy", "1 failure", LOWER, Direction.CHANGED),
        (None, 3.0, LOWER, Direction.CHANGED),
        (True, False, HIGHER, Direction.CHANGED),
    ],
)
def test_a_change_of_a_metric_is_better_or_worse_only_beyond_its_limit(
    before: Value, after: Value, limit: Limit | None, expected: Direction
) -> None:
    assert direction(before, after, limit) is expected


def test_only_parameters_that_differ_or_are_missing_at_a_revision_are_listed() -> None:
    revisions = [
        revision(parameters={"model.latent_dim": 20, "train.beta": 1.0}),
        revision(parameters={"model.latent_dim": 2, "train.beta": 1.0, "train.new": (1, 2)}),
    ]
    assert parameters_that_differ(revisions) == [Row("model.latent_dim", (20, 2)), Row("train.new", (None, (1, 2)))]


def test_a_row_has_the_metric_of_each_of_three_revisions() -> None:
    revisions = [revision(metrics={"a": value}) for value in (1, 1, 2)]
    assert metrics_that_differ(revisions) == [Row("a", (1, 1, 2))]


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
    assert direction(10.0, after, LOWER, error) is expected


@pytest.mark.parametrize(
    ("value", "words"), [(None, "–"), ((200, 200), "[200, 200]"), (True, "true"), (0.25, "0.25"), ("mnist", "mnist")]
)
def test_values_are_written_as_in_params_yaml_and_a_missing_value_is_a_dash(value: Value, words: str) -> None:
    assert in_words(value) == words
