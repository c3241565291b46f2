"""Numbers as text."""

import pytest

from vae.base.rounding import decimals, nats, nats_with_error, with_error


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (23.8916, 0.3112, "23.89 ± 0.31"),
        (0.961003, 0.0102, "0.961 ± 0.010"),
        (0.0210661, 0.00041, "0.02107 ± 0.00041"),
        (141.26, 12.3, "141 ± 12"),
        (0.5, 0.0999, "0.50 ± 0.10"),
        (5, 1.25, "5.0 ± 1.2"),
    ],
)
def test_a_value_has_as_many_decimals_as_two_digits_of_its_error_have(value: float, error: float, words: str) -> None:
    assert with_error(value, error) == words
    assert with_error(-value, error, signed=True) == f"-{words}"
    assert decimals(error) == len(words.rpartition(".")[2]) * ("." in words)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.5, "0.50"),
        (103.081, "103.08"),
        (999.494, "999.49"),
        (999.5, "1,000"),
        (-8019.62, "-8,020"),
        (1e6, "1,000,000"),
    ],
)
def test_nats_have_two_decimals_up_to_a_thousand_and_none_beyond(value: float, words: str) -> None:
    assert nats(value) == words


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0.16, 0.3512, "0.16 ± 0.35"),
        (0.16, 0.00041, "0.16 ± 0.00"),
        (23.8916, 0.0, "23.89 ± 0.00"),
        (14.26, 2.31, "14.3 ± 2.3"),
        (811.716, 108.047, "812 ± 108"),
        (10812.3, 1080.5, "10,812 ± 1,080"),
    ],
)
def test_nats_have_fewer_decimals_where_their_error_is_large(value: float, error: float, words: str) -> None:
    assert nats_with_error(value, error) == words


def test_an_unknown_error_of_nats_is_left_out() -> None:
    assert nats_with_error(3.14159, float("nan")) == "3.14"
