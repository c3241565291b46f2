"""Names that matplotlib would read as formulas, or leave out, are drawn as they are."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from vae.figures.charts import class_scatter
from vae.figures.diagnoses import class_balance, error_per_class
from vae.figures.images import image_grid

FORMULAS = (r"$\frac{$", "$x^2$", r"\$5$ and \$", "_private", r"\\$", "</text>")
SHARES = np.full(len(FORMULAS), 1 / len(FORMULAS))


def pictures() -> dict[str, Figure]:
    points = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    row = np.zeros((2, 1, 4, 4), np.float32)
    return {
        "scatter": class_scatter(points, np.arange(12) % 6, FORMULAS, ("x", "y"), FORMULAS[0]),
        "errors": error_per_class(SHARES, FORMULAS, 0.1),
        "balance": class_balance(SHARES, SHARES, FORMULAS, 0.9, 0.1, 0.1),
        "rows": image_grid([row] * 6, FORMULAS[1], FORMULAS[0], row_labels=FORMULAS, column_labels=FORMULAS[:2]),
    }


def drawn(text: Text) -> str:
    """What matplotlib draws: a formula gives an error or other characters."""
    shown, is_formula = text._preprocess_math(text.get_text())  # type: ignore[attr-defined]  # private
    assert not is_formula, shown
    return str(shown).strip()


@pytest.mark.parametrize("name", ["scatter", "errors", "balance", "rows"])
def test_a_name_with_dollar_signs_or_an_underscore_in_front_is_drawn_as_it_is(name: str) -> None:
    figure = pictures()[name]
    figure.savefig(io.BytesIO(), format="png")
    texts = {drawn(text) for text in figure.findobj(Text)}
    assert set(FORMULAS) <= texts


def test_a_legend_lists_every_class_whatever_its_name() -> None:
    (legend,) = pictures()["scatter"].legends
    assert [drawn(text) for text in legend.get_texts()] == list(FORMULAS)
