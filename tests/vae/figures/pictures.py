"""Pictures for tests, and functions that read texts and values from a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from vae.diagnostics.verdict import Level, Verdict
from vae.figures.charts import class_scatter
from vae.figures.diagnoses import class_balance, label_information
from vae.figures.images import image_grid

Floats = NDArray[np.float64]

TERMS = ("loss", "reconstruction", "kl")
DIGITS = tuple("0123456789")
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def title(figure: Figure) -> str:
    return figure.get_suptitle().strip()


def explanation(figure: Figure) -> str:
    _, text = figure.texts
    return text.get_text()


def legend(axes: Axes) -> list[str]:
    drawn = axes.get_legend()
    assert drawn is not None
    return [text.get_text() for text in drawn.get_texts()]


def tick_labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_xticklabels()]


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def heights(axes: Axes) -> list[float]:
    return [bar.get_height() for bar in bars(axes)]


def losses(epochs: int, *, validated: bool = True) -> dict[str, Floats]:
    """The columns of a table of losses, falling over the epochs."""
    falling = 1 / np.arange(1, epochs + 1)
    table = {"epoch": np.arange(1, epochs + 1, dtype=np.float64), "gradient_norm": 5 * falling}
    for part, level in (("train", 100), ("validation", 110 if validated else np.nan)):
        table |= {f"{part}_{term}": level * share * falling for term, share in zip(TERMS, (1, 0.75, 0.25), strict=True)}
    return table


def spectrum(dimensions: int) -> tuple[Floats, Floats]:
    """KL and variance of latent dimensions in random order, every second of them active."""
    random = np.random.default_rng(0)
    active = np.arange(dimensions) % 2 == 0
    return random.uniform(0.001, 0.01, dimensions) + active, np.where(active, 0.9, 1e-5)


def scattered(class_names: Sequence[str], points: int = 5) -> Figure:
    """A scatter chart with some points of every class."""
    labels = np.arange(points * len(class_names)) % len(class_names)
    positions = np.random.default_rng(0).normal(size=(len(labels), 2)).astype(np.float32)
    return class_scatter(positions, labels, class_names, ("t-SNE 1", "t-SNE 2"), "Latent codes of 10,000 test images")


def constant(*intensities: float, shape: tuple[int, int, int] = (1, 8, 8)) -> NDArray[np.float32]:
    """Images, each of one intensity."""
    return np.stack([np.full(shape, intensity, np.float32) for intensity in intensities])


def grid(
    rows: int,
    columns: int,
    shape: tuple[int, int, int] = (1, 28, 28),
    explanation: str = "How to read it.",
    **labels: Any,
) -> Figure:
    return image_grid([constant(*[0.5] * columns, shape=shape)] * rows, "What it shows", explanation, **labels)


def sentence(length: int) -> str:
    return ("Draws from the prior lie 2.4 times as far from the nearest code as held-out codes do; σ² = $0.31$. " * 4)[
        :length
    ]


def verdicts(count: int, finding: int = 300, criterion: int = 300, advice: int = 250) -> list[Verdict]:
    """Verdicts of all levels in turn, with texts of these lengths."""
    subject = "dependence among latent dimensions"
    return [
        Verdict(subject, level, sentence(finding), sentence(criterion), sentence(advice))
        for level in [*Level, *Level][:count]
    ]


def normal(mean: float, count: int = 500) -> Floats:
    """Values around a mean."""
    return np.random.default_rng(0).normal(mean, 10, count)


def balanced(class_names: tuple[str, ...] = DIGITS, accuracy: float = 0.973) -> Figure:
    return class_balance(np.linspace(0.05, 0.15, 10), np.full(10, 0.1), class_names, accuracy, 0.914, 0.966)


def informed(dimensions: int) -> Figure:
    random = np.random.default_rng(0)
    return label_information(random.uniform(0, 1.5, dimensions), random.uniform(0, 3, dimensions))
