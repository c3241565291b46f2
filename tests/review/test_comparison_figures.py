from itertools import product

import pytest

from review.comparison import Setting, settings
from review.comparison_figures import hyperparameters
from review.revisions import Value
from tests.review.revisions import revision


def grid(**values: list[Value]) -> list[Setting]:
    runs = []
    for number, chosen in enumerate(product(*values.values(), [0, 1])):
        parameters = dict(zip([*(f"model.{key}" for key in values), "train.seed"], chosen, strict=True))
        runs.append(revision(str(number), parameters, {"evaluate.test.kl": float(number), "embed.accuracy": 0.5}))
    return settings(runs)


def test_there_is_a_panel_for_each_hyperparameter_and_metric_with_its_unit() -> None:
    figure = hyperparameters(grid(latent_dim=[2, 20], beta=[0.5, 1.0, 4.0]), ["evaluate.test.kl", "embed.accuracy"])
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [
        ("model.latent_dim", "evaluate.test.kl\n(nats per image)"),
        ("model.beta", "evaluate.test.kl\n(nats per image)"),
        ("model.latent_dim", "embed.accuracy"),
        ("model.beta", "embed.accuracy"),
    ]


def test_a_line_joins_the_means_of_settings_that_are_alike_otherwise() -> None:
    figure = hyperparameters(grid(latent_dim=[2, 20], beta=[0.5, 1.0]), ["evaluate.test.kl"])
    across_latent_dim = figure.axes[0]
    lines = [container[0] for container in across_latent_dim.containers]
    # Runs are numbered by latent dimension, then beta, then seed: the means of two seeds are 0.5, 2.5, 4.5 and 6.5.
    assert [list(line.get_ydata()) for line in lines] == [[0.5, 4.5], [2.5, 6.5]]
    assert [list(line.get_xdata()) for line in lines] == [[2.0, 20.0]] * 2
    legend = across_latent_dim.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == "model.beta"
    assert [text.get_text() for text in legend.get_texts()] == ["0.5", "1.0"]


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [
        ([2, 10, 20], "log", ["2", "10", "20"]),
        ([2, 4], "linear", ["2", "4"]),
        ([0, 100], "linear", ["0", "100"]),
        (["mlp", "conv"], "linear", ["mlp", "conv"]),
        ([(200,), (200, 200)], "linear", ["[200]", "[200, 200]"]),
    ],
)
def test_values_stand_at_their_places_and_words_in_a_row(values: list[Value], scale: str, ticks: list[str]) -> None:
    axes = hyperparameters(grid(something=values), ["evaluate.test.kl"]).axes[0]
    assert axes.get_xscale() == scale
    assert [label.get_text() for label in axes.get_xticklabels()] == ticks


def test_without_a_difference_the_picture_says_so() -> None:
    axes = hyperparameters(grid(latent_dim=[2]), ["evaluate.test.kl"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["The compared runs differ in no hyperparameter."]
