import pytest

from vae.base.terminal import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\x00b\x07\x7f\x9b", r"a\x00b\x07\x7f\x9b"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("\u2028\ufeff\U000e0041", r"\u2028\ufeff\U000e0041"),
    ],
)
def test_characters_that_control_a_terminal_or_the_direction_of_text_are_written_as_escapes(
    text: str, shown: str
) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


@pytest.mark.parametrize("text", ["", "T-shirt/top", "σ² ± 1", "می\u200cخواهم", "👩\u200d🔬", "</script>", "a b"])
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_characters_to_keep_are_kept() -> None:
    assert printable("a\n\tb", keep="\n") == "a\n\\tb"
