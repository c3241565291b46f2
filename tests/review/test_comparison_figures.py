from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from review.comparison import Comparison, Order, compare
from review.comparison_figures import hyperparameters
from review.revisions import Revision, Value
from tests.review.revisions import revision

ELBO, KL, ACCURACY = "evaluate.test.negative_elbo", "evaluate.test.kl", "embed.accuracy"


def grid(**values: list[Value]) -> list[Revision]:
    """A run for each combination of hyperparameters and each of two seeds, numbered in this order."""
    runs = []
    for number, chosen in enumerate(product(*values.values(), [0, 1])):
        parameters = dict(zip([*(f"model.{key}" for key in values), "train.seed"], chosen, strict=True))
        runs.append(revision(str(number), parameters, {KL: float(number), ACCURACY: 0.5}))
    return runs


def compared(*metrics: str, **values: list[Value]) -> Comparison:
    return compare(grid(**values), Order(metrics))


def test_there_is_a_panel_for_each_hyperparameter_and_metric_with_its_unit() -> None:
    figure = hyperparameters(compared(KL, ACCURACY, latent_dim=[2, 20], beta=[0.5, 1.0, 4.0]))
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [
        ("model.latent_dim", "evaluate.test.kl\n(nats per image)"),
        ("model.beta", "evaluate.test.kl\n(nats per image)"),
        ("model.latent_dim", "embed.accuracy"),
        ("model.beta", "embed.accuracy"),
    ]


@pytest.mark.parametrize("highest_first", [False, True])
def test_a_line_joins_the_means_of_settings_that_agree_in_all_else_whatever_their_rank(highest_first: bool) -> None:
    runs = grid(latent_dim=[2, 20], beta=[0.5, 1.0])
    across_latent_dim = hyperparameters(compare(runs, Order([KL], highest_first))).axes[0]
    lines = [container[0] for container in across_latent_dim.containers]
    # Runs are numbered by latent dimension, then beta, then seed: the means of two seeds are 0.5, 2.5, 4.5 and 6.5.
    assert [list(line.get_ydata()) for line in lines] == [[0.5, 4.5], [2.5, 6.5]]
    assert [list(line.get_xdata()) for line in lines] == [[2.0, 20.0]] * 2
    legend = across_latent_dim.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == "model.beta"
    assert [text.get_text() for text in legend.get_texts()] == ["0.5", "1.0"]


def test_runs_are_points_and_their_standard_deviation_is_an_error_bar() -> None:
    axes = hyperparameters(compared(KL, latent_dim=[2, 20])).axes[0]
    points, bar = axes.collections
    np.testing.assert_array_equal(points.get_offsets(), [[2, 0], [2, 1], [20, 2], [20, 3]])
    (first, _) = bar.get_segments()  # type: ignore[attr-defined]
    np.testing.assert_allclose(first[:, 1], [0.5 - np.sqrt(0.5), 0.5 + np.sqrt(0.5)])


def test_a_single_run_has_its_standard_error_as_an_error_bar() -> None:
    runs = [replace(run, errors={KL: 0.25}) for run in grid(latent_dim=[2, 20]) if run.parameters["train.seed"] == 0]
    _, bar = hyperparameters(compare(runs, Order([KL]))).axes[0].collections
    ends = np.stack(bar.get_segments())[:, :, 1]  # type: ignore[attr-defined]
    np.testing.assert_allclose(ends, [[-0.25, 0.25], [1.75, 2.25]])


def test_a_run_whose_metric_cannot_be_compared_is_left_out_with_a_note() -> None:
    runs = [
        revision(likelihood, {"model.likelihood": likelihood}, {ELBO: loss, KL: loss})
        for likelihood, loss in (("bernoulli", 24.0), ("gaussian", -90.0))
    ]
    first, second = hyperparameters(compare(runs, Order([ELBO, KL]))).axes
    assert [len(axes.containers[0][0].get_xdata()) for axes in (first, second)] == [1, 2]
    assert first.get_xlabel() == "model.likelihood\nnot shown: another model.likelihood (gaussian)"
    assert second.get_xlabel() == "model.likelihood"


def test_a_run_without_the_metric_is_left_out_of_the_picture() -> None:
    runs = [*grid(latent_dim=[2, 20]), revision("none", {"model.latent_dim": 10, "train.seed": 0})]
    axes = hyperparameters(compare(runs, Order([KL]))).axes[0]
    assert list(axes.containers[0][0].get_xdata()) == [2.0, 20.0]


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
def test_numbers_on_the_axis_are_to_scale_and_other_values_are_evenly_spaced(
    values: list[Value], scale: str, ticks: list[str]
) -> None:
    axes = hyperparameters(compared(KL, something=values)).axes[0]
    assert axes.get_xscale() == scale
    assert [label.get_text() for label in axes.get_xticklabels()] == ticks


def test_a_picture_of_runs_that_differ_in_no_hyperparameter_says_so() -> None:
    axes = hyperparameters(compared(KL, latent_dim=[2])).axes[0]
    assert [text.get_text() for text in axes.texts] == ["The compared runs differ in no hyperparameter."]
