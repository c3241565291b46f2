import pytest

from review.changes import Row, in_words, is_same, metrics_that_differ, parameters_that_differ, verdicts_that_differ
from review.revisions import Value
from tests.review.revisions import revision


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
    ("before", "after", "expected"),
    [
        (23.9189, 23.9190, True),
        (23.9189, 23.9193, False),
        (0.0, 1e-9, False),
        (1_000_000, 1_000_001, False),
        (5, 5, True),
        ("a", "b", False),
        (None, 1.0, False),
    ],
)
def test_numbers_that_differ_by_one_in_the_sixth_digit_are_the_same_and_whole_numbers_are_exact(
    before: Value, after: Value, expected: bool
) -> None:
    assert is_same(before, after) is expected


def test_a_metric_that_differs_by_rounding_is_not_listed_and_a_parameter_is() -> None:
    first, second = (revision(parameters={"a": value}, metrics={"b": value}) for value in (1.0, 1.000001))
    assert metrics_that_differ([first, second]) == []
    assert parameters_that_differ([first, second]) == [Row("a", (1.0, 1.000001))]


def test_verdicts_differ_by_their_levels() -> None:
    levels = [{"a.b": "healthy", "a.c": "warning"}, {"a.b": "failure", "a.c": "warning"}]
    assert verdicts_that_differ([revision(verdicts=each) for each in levels]) == ["a.b"]


@pytest.mark.parametrize(
    ("value", "words"), [(None, "–"), ((200, 200), "[200, 200]"), (True, "true"), (0.25, "0.25"), ("mnist", "mnist")]
)
def test_values_are_written_as_in_params_yaml_and_a_missing_value_is_a_dash(value: Value, words: str) -> None:
    assert in_words(value) == words
