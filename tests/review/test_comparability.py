"""Metrics that mean something else at another revision are not compared."""

from typing import Any

import pytest

from review.changes import Direction
from review.charts import Plots
from review.comparability import SAME, comparable_groups, why_not_comparable
from review.findings import Findings
from review.limits import Limit, load_limits
from review.revisions import Revision
from tests.imports import ROOT
from tests.review.revisions import revision
from vae.base.params import load_params

COMMITTED: dict[str, Any] = {
    f"{section}.{key}": value
    for section, values in load_params(ROOT / "params.yaml").model_dump().items()
    for key, value in values.items()
}
ELBO, IWAE, ACCURACY = "evaluate.test.negative_elbo", "evaluate.test.negative_iwae_bound", "embed.neighbour_accuracy"
VALIDATION, RECALL, KL = "train.validation_loss", "generate.recall", "evaluate.test.kl"


def changed(**parameters: Any) -> Revision:
    """The committed parameters with changes, ``__`` for the dot."""
    changes = {key.replace("__", "."): value for key, value in parameters.items()}
    assert set(changes) <= set(COMMITTED)
    return revision("topic", {**COMMITTED, **changes}, {})


@pytest.mark.parametrize(
    ("changes", "not_comparable"),
    [
        ({}, []),
        ({"model__latent_dim": 2, "train__learning_rate": 0.1, "train__seed": 1}, []),
        ({"prepare__dataset": "mnist"}, [ELBO, IWAE, ACCURACY, VALIDATION, RECALL, KL]),
        ({"prepare__binarize": "static"}, [ELBO, IWAE, VALIDATION, RECALL, KL]),
        ({"model__likelihood": "gaussian"}, [ELBO, IWAE, VALIDATION]),
        ({"evaluate__importance_samples": 5}, [IWAE]),
        ({"train__beta": 4.0}, [VALIDATION]),
        ({"train__free_bits": 0.5}, [VALIDATION]),
        ({"train__importance_samples": 5}, [VALIDATION]),
        ({"prepare__validation_fraction": 0.2}, [VALIDATION, RECALL]),
        ({"prepare__train_images": 1000}, [RECALL]),
        ({"prepare__seed": 1}, [VALIDATION, RECALL]),
        ({"generate__samples": 100}, [RECALL]),
        ({"generate__neighbours": 3}, [RECALL]),
        ({"embed__neighbours": 3}, [ACCURACY]),
    ],
    ids=str,
)
def test_a_parameter_makes_the_metrics_incomparable_whose_meaning_it_changes(
    changes: dict[str, Any], not_comparable: list[str]
) -> None:
    metrics = (ELBO, IWAE, ACCURACY, VALIDATION, RECALL, KL)
    assert {key for key in metrics if why_not_comparable(key, changed(), changed(**changes))} == set(not_comparable)


@pytest.mark.parametrize("form", ["", "real.", "mixture."])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("frechet_distance", {"seed", "samples"}),
        ("unclear_share", {"seed", "samples"}),
        ("class_balance", {"seed", "samples"}),
        *((name, {"seed", "samples", "neighbours"}) for name in ("precision", "recall", "density", "coverage")),
    ],
)
def test_measures_of_samples_need_the_same_classifier_and_as_many_samples(
    form: str, name: str, parameters: set[str]
) -> None:
    changes = {
        "seed": {"prepare__seed": 1},
        "samples": {"generate__samples": 9},
        "neighbours": {"generate__neighbours": 3},
    }
    metric = f"generate.{form}{name}"
    found = {key for key, change in changes.items() if why_not_comparable(metric, changed(), changed(**change))}
    assert found == parameters


def test_runs_are_grouped_by_what_can_be_compared_with_the_reason_against_the_first_group() -> None:
    likelihoods = ("bernoulli", "gaussian", "bernoulli", "laplace", "gaussian")
    runs = [changed(model__likelihood=likelihood) for likelihood in likelihoods]
    groups = comparable_groups(ELBO, runs)
    assert [[runs.index(run) for run in group.runs] for group in groups] == [[0, 0], [1, 1], [3]]
    assert [group.reason for group in groups] == [
        "",
        "another model.likelihood (gaussian)",
        "another model.likelihood (laplace)",
    ]
    assert [group.reason for group in comparable_groups(KL, runs)] == [""]
    assert comparable_groups(ELBO, []) == []


def test_the_reason_names_every_parameter_that_differs() -> None:
    other = changed(prepare__binarize="static", evaluate__importance_samples=5)
    assert why_not_comparable(IWAE, changed(), other) == "another prepare.binarize and evaluate.importance_samples"


def test_every_parameter_that_is_required_to_be_equal_exists() -> None:
    assert {parameter for _, parameters in SAME for parameter in parameters} <= set(COMMITTED)


def test_a_parameter_that_only_one_revision_has_makes_no_metric_incomparable() -> None:
    assert why_not_comparable(ELBO, revision(), changed(model__likelihood="gaussian")) == ""


def test_a_report_marks_what_cannot_be_compared_with_the_reason_and_counts_it_neither_better_nor_worse() -> None:
    base = revision("main", COMMITTED, {ELBO: 24.0, RECALL: 0.25})
    other = revision("topic", {**COMMITTED, "model.likelihood": "gaussian"}, {ELBO: -100.0, RECALL: 0.75})
    limits = {ELBO: Limit(better="lower", max_worse=0.5), RECALL: Limit(better="higher", max_worse=0.1)}
    findings = Findings([base, other], limits, Plots([], []))
    cells = {line.key: line.heads[0] for line in (*findings.metrics, *findings.other_measures)}
    assert cells[ELBO].direction == Direction.NOT_COMPARABLE
    assert cells[ELBO].change == "not comparable (another model.likelihood)"
    assert cells[ELBO].text == "-100"
    assert cells[RECALL].direction == Direction.BETTER
    (decision,) = findings.decisions
    assert decision.headline == "Passes the gate: 1 metric checked, none worse than its limit"
    assert decision.reasons == [
        ("Better", ["recall (5.0 × limit)"]),
        ("Not comparable", ["negative_elbo (another model.likelihood)"]),
    ]


def test_every_metric_with_a_limit_is_one_whose_meaning_was_considered() -> None:
    """The data set changes the meaning of all of them."""
    other = changed(prepare__dataset="mnist")
    assert all(why_not_comparable(key, changed(), other) for key in load_limits(ROOT / "limits.yaml"))
