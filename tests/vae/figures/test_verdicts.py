from matplotlib.colors import to_hex

from tests.vae.figures.pictures import explanation, sentence, verdicts
from vae.diagnostics.verdict import Level, Verdict
from vae.figures.verdicts import LIGHTS, verdict_table


def texts(rows: list[Verdict]) -> list[str]:
    """All texts of the table with their lines joined."""
    (axes,) = verdict_table(rows, "Verdicts").axes
    return [" ".join(text.get_text().split()) for text in axes.texts]


def test_a_row_of_the_verdict_table_has_level_subject_finding_criterion_and_advice() -> None:
    row = Verdict("overfitting", Level.WARNING, "The gap is 3.8 nats.", "below 2 nats", "raise train.weight_decay")
    assert texts([row]) == [
        "warning",
        "overfitting",
        "The gap is 3.8 nats.",
        "Healthy: below 2 nats",
        "Try: raise train.weight_decay",
    ]


def test_a_row_of_the_verdict_table_without_advice_has_nothing_to_try() -> None:
    assert not any(text.startswith("Try") for text in texts(verdicts(4, advice=0)))


def test_wrapping_in_the_verdict_table_loses_no_word() -> None:
    _, _, *wrapped = texts(verdicts(1))
    assert wrapped == [sentence(300).strip(), f"Healthy: {sentence(300)}".strip(), f"Try: {sentence(250)}".strip()]


def test_each_row_of_the_verdict_table_has_a_light_beside_its_level_below_the_row_before() -> None:
    figure = verdict_table(verdicts(8, 150, 20, 0), "Verdicts")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    lights = [line.get_window_extent() for line in axes.lines if line.get_marker() not in {"None", "", None}]
    words = [text.get_window_extent() for text in axes.texts if text.get_text() in set(Level)]
    for light, word in zip(lights, words, strict=True):
        assert light.x1 < word.x0
        assert abs((light.y0 + light.y1) - (word.y0 + word.y1)) / 2 < 4
    tops = [light.y0 for light in lights]
    assert tops == sorted(tops, reverse=True)


def test_every_level_of_the_verdict_table_has_a_colour_and_a_shape_of_its_own_and_is_explained() -> None:
    assert set(LIGHTS) == set(Level)
    assert len({to_hex(colour) for colour, _, _ in LIGHTS.values()}) == len(Level)
    assert len({marker for _, marker, _ in LIGHTS.values()}) == len(Level)
    figure = verdict_table(verdicts(4), "Verdicts")
    assert all(f" {level}:" in explanation(figure) for level in Level)
    drawn = [line for line in figure.axes[0].lines if line.get_marker() not in {"None", "", None}]
    assert [(line.get_color(), line.get_marker()) for line in drawn] == [LIGHTS[level][:2] for level in Level]
