from dataclasses import FrozenInstanceError
from math import log

import pytest

from vae.diagnostics.verdict import Level, Verdict, between_models, grade, rounded, summary, table, threshold_text

HEALTHY = Verdict("overfitting", Level.HEALTHY, "a gap of 0.1 nats", "no more than 0.2", "more data")
WARNING = Verdict("blur of samples", Level.WARNING, "as soft as fog", "no more than 0.8 pixels", "model.network conv")
FAILURE = Verdict("posterior collapse", Level.FAILURE, "no dimension is active", "half of them", "train.free_bits")
NOT_JUDGED = Verdict("training length", Level.NOT_JUDGED, "too few epochs", "a flat end", "more epochs")
ALL = [HEALTHY, WARNING, FAILURE, NOT_JUDGED]


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (-9.0, Level.HEALTHY),
        (0.2, Level.HEALTHY),
        (0.2000001, Level.WARNING),
        (0.5, Level.WARNING),
        (0.5000001, Level.FAILURE),
        (float("inf"), Level.FAILURE),
    ],
)
def test_grade_of_a_high_value_is_worse_where_failure_lies_above_warning(value: float, level: Level) -> None:
    assert grade(value, 0.2, 0.5) is level
    assert grade(-value, -0.2, -0.5) is level


@pytest.mark.parametrize(
    ("value", "level"),
    [(9.0, Level.HEALTHY), (0.9, Level.HEALTHY), (0.89, Level.WARNING), (0.6, Level.WARNING), (0.59, Level.FAILURE)],
)
def test_grade_of_a_low_value_is_worse_where_failure_lies_below_warning(value: float, level: Level) -> None:
    assert grade(value, 0.9, 0.6) is level


@pytest.mark.parametrize(
    ("nats", "text"), [(0.8, "0.8"), (43.47, "43.5"), (999.4, "999"), (999.6, "1,000"), (10902.3, "10,902")]
)
def test_a_threshold_has_three_significant_digits_or_all_before_the_decimal_point(nats: float, text: str) -> None:
    assert threshold_text(nats) == text


@pytest.mark.parametrize(("warning", "failure"), [(0.2, 0.5), (0.5, 0.2)])
def test_grade_of_nan_is_not_judged(warning: float, failure: float) -> None:
    assert grade(float("nan"), warning, failure) is Level.NOT_JUDGED


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.757, ".2f", "0.76"),
        (0.797, ".2f", "0.797"),
        (0.7997, ".2f", "0.7997"),
        (0.8, ".2f", "0.80"),
        (0.8003, ".2f", "0.8003"),
        (0.604, ".2f", "0.604"),
        (0.596, ".2f", "0.596"),
        (0.797, ".0%", "79.7%"),
        (0.8, ".0%", "80%"),
        (0.757, ".0%", "76%"),
        (-0.001, ".2f", "0.00"),
        (float("nan"), ".2f", "nan"),
        (float("inf"), ".0%", "inf%"),
    ],
)
def test_rounded_adds_digits_only_where_rounding_would_move_a_number_to_a_threshold_or_across(
    value: float, form: str, text: str
) -> None:
    assert rounded(value, form, 0.8, 0.6) == text


def test_rounded_never_contradicts_the_grade() -> None:
    steps = [sign * 4 * 10.0**-digits for sign in (-1, 1) for digits in range(9)]
    for value in (threshold + step for threshold in (0.8, 0.6) for step in steps):
        assert grade(float(rounded(value, ".2f", 0.8, 0.6)), 0.8, 0.6) is grade(value, 0.8, 0.6)


def test_rounded_without_thresholds_is_the_plain_format_with_separators_of_thousands() -> None:
    assert rounded(0.797, ".2f") == "0.80"
    assert rounded(8651.6, ".0f", 170.0) == "8,652"


def test_the_name_of_a_verdict_is_its_subject_as_metrics_are_named() -> None:
    assert Verdict("posterior collapse", Level.HEALTHY, "", "").name == "posterior_collapse"


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([], "healthy"),
        ([HEALTHY, NOT_JUDGED], "healthy"),
        ([HEALTHY, WARNING], "1 warning"),
        ([WARNING, FAILURE, FAILURE, NOT_JUDGED], "2 failures, 1 warning"),
    ],
)
def test_summary_counts_failures_before_warnings_and_is_healthy_without_either(
    verdicts: list[Verdict], words: str
) -> None:
    assert summary(verdicts) == words


def test_table_has_level_subject_and_finding_in_columns() -> None:
    assert table([HEALTHY, NOT_JUDGED]).splitlines() == [
        "healthy     overfitting      a gap of 0.1 nats",
        "not judged  training length  too few epochs",
    ]


def test_table_shows_criterion_and_advice_of_warnings_and_failures_only() -> None:
    assert table([FAILURE, HEALTHY, WARNING]).splitlines() == [
        "failure  posterior collapse  no dimension is active",
        "                             Healthy: half of them",
        "                             Try: train.free_bits",
        "healthy  overfitting         a gap of 0.1 nats",
        "warning  blur of samples     as soft as fog",
        "                             Healthy: no more than 0.8 pixels",
        "                             Try: model.network conv",
    ]


def test_table_wraps_at_the_given_width_without_losing_a_word() -> None:
    words = [f"word{index}" for index in range(60)]
    verdict = Verdict("blur", Level.WARNING, " ".join(words[:20]), " ".join(words[20:40]), " ".join(words[40:]))
    lines = table([verdict], width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert max(map(len, lines)) > 50
    assert [word for word in " ".join(lines).split() if word.startswith("word")] == words


def test_table_of_a_warning_without_advice_has_no_line_to_try() -> None:
    verdict = Verdict("blur", Level.WARNING, "soft", "sharp")
    assert table([verdict]).splitlines() == ["warning  blur  soft", "               Healthy: sharp"]


def test_table_without_verdicts_is_empty() -> None:
    assert table([]) == ""


def test_a_verdict_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        HEALTHY.level = Level.FAILURE  # type: ignore[misc]


def test_summary_of_verdicts_that_are_all_not_judged_says_so() -> None:
    assert summary([Verdict("a", Level.NOT_JUDGED, "", "")] * 2) == "not judged"
    assert summary([Verdict("a", Level.NOT_JUDGED, "", ""), Verdict("b", Level.HEALTHY, "", "")]) == "healthy"


def test_differences_that_matter_are_nats_up_to_the_size_of_mnist_and_grow_with_the_pixels_beyond() -> None:
    assert between_models(64, of_8_bits=False) == between_models(784, of_8_bits=False)
    assert between_models(784, of_8_bits=False)[:2] == (0.8, 2.0)
    assert between_models(7840, of_8_bits=False)[:2] == pytest.approx((8, 20))


def test_differences_of_probabilities_of_8_bits_that_matter_are_bits_per_dimension() -> None:
    warning, failure, source = between_models(3 * 32 * 32, of_8_bits=True)
    assert (warning, failure) == pytest.approx((0.08 * 3072 * log(2), 0.16 * 3072 * log(2)))
    assert "CIFAR-10" in source
