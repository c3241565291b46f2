"""Standard errors of metrics, and of the difference between two runs."""

from itertools import pairwise
from math import isnan, sqrt

import numpy as np
import pytest

from faults.project import Project
from review.precision import (
    error_of_difference,
    group_means,
    is_significant,
    paired_error,
    standard_error,
)
from review.recorded import RevisionError
from review.revisions import Revision, load_revision
from tests.review.changed import record
from tests.review.revisions import revision, with_groups

ELBO, RECALL = "evaluate.test.negative_elbo", "generate.recall"
VALIDATION = "data/prepared/validation.safetensors"
VALIDATION_LOSS = "train.validation_loss"


def runs(**head: object) -> tuple[Revision, Revision]:
    """Two runs on the same test images, whose groups differ much and whose differences little."""
    before, after = [20.0, 30.0, 25.0, 21.0], [19.9, 29.7, 24.9, 20.7]
    options = {"means": after, **head}
    return with_groups("main", {ELBO: 24.0}, before), with_groups("topic", {ELBO: 23.8}, **options)  # type: ignore[arg-type]


def test_two_runs_on_the_same_test_images_are_paired() -> None:
    base, head = runs()
    differences = np.array([-0.1, -0.3, -0.1, -0.3])
    assert error_of_difference(ELBO, base, head) == pytest.approx(differences.std(ddof=1) / 2)
    assert standard_error(base, ELBO) == 0.5


@pytest.mark.parametrize(
    "head",
    [{"test_images": "3c4d"}, {"images": 11}, {"means": [1.0, 2.0, 3.0]}],
    ids=["other images", "other sizes", "other groups"],
)
def test_runs_on_other_test_images_or_groups_are_not_paired_and_their_errors_add_in_squares(
    head: dict[str, object],
) -> None:
    assert error_of_difference(ELBO, *runs(**head)) == pytest.approx(0.5 * sqrt(2))


def test_a_metric_without_group_means_has_the_error_of_independent_estimates_or_none() -> None:
    base = revision("main", metrics={RECALL: 0.5}, errors={RECALL: 0.03})
    head = revision("topic", metrics={RECALL: 0.4}, errors={RECALL: 0.04})
    assert error_of_difference(RECALL, base, head) == pytest.approx(0.05)
    assert error_of_difference(RECALL, base, revision("old", metrics={RECALL: 0.4})) is None
    assert error_of_difference(ELBO, base, head) is None


@pytest.mark.parametrize(("other", "error"), [("1a2b", None), ("3c4d", 1.0)])
def test_validation_losses_of_the_same_images_have_no_error_of_independent_estimates(
    other: str, error: float | None
) -> None:
    base, head = (
        revision(
            name,
            metrics={VALIDATION_LOSS: 24.0},
            errors={VALIDATION_LOSS: sqrt(0.5)},
            files={"dvc.lock": f"stages: {{prepare: {{outs: [{{path: {VALIDATION}, md5: {images}}}]}}}}"},
        )
        for name, images in (("main", "1a2b"), ("topic", other))
    )
    assert error_of_difference(VALIDATION_LOSS, base, head) == (error and pytest.approx(error))


def test_a_metric_that_was_not_measured_in_every_group_is_not_paired() -> None:
    base, _ = runs()
    text = "group,images,test.negative_elbo\n0,10,1.5\n1,10,\n2,10,2\n3,10,3\n"
    files = {"data/group_means/evaluate.csv": text, "dvc.lock": base.files.contents["dvc.lock"]}
    head = revision("topic", metrics={ELBO: 23.8}, errors={ELBO: 0.5}, files=files)
    assert error_of_difference(ELBO, base, head) == pytest.approx(0.5 * sqrt(2))


@pytest.mark.parametrize(
    "text", ["group,images,a\n0,x,1\n", "group,a\n0,1\n", "group,images,a\n0,10,x\n", "group\n0,1,2\n"]
)
def test_an_error_names_a_damaged_file_of_group_means(text: str) -> None:
    damaged = revision("topic", files={"data/group_means/evaluate.csv": text})
    with pytest.raises(RevisionError, match=r"^data/group_means/evaluate\.csv at topic: cannot be read"):
        group_means(damaged, "evaluate")


def test_the_paired_error_of_groups_of_one_image_is_that_of_a_paired_sample() -> None:
    random = np.random.default_rng(0)
    before, after = random.normal(size=(2, 200))
    expected = (after - before).std(ddof=1) / sqrt(200)
    assert paired_error(list(before), list(after), [1] * 200) == pytest.approx(expected)


@pytest.mark.parametrize("sizes", [[20] * 50, [7] * 41 + [8] * 9, [1, 2, 3, 10, 50] * 10], ids=["equal", "near", "far"])
def test_the_paired_error_from_groups_of_any_size_is_that_of_the_images(sizes: list[int]) -> None:
    """On average: the squared error over many draws is the variance of an image's difference over their number."""
    random, edges = np.random.default_rng(0), np.cumsum([0, *sizes])
    squares = []
    for _ in range(400):
        difference = random.normal(scale=3.0, size=edges[-1])
        means = [difference[low:high].mean() for low, high in pairwise(edges)]
        squares.append((paired_error([0.0] * len(means), means, sizes) or 0.0) ** 2)
    assert np.mean(squares) == pytest.approx(9.0 / edges[-1], rel=0.05)


def test_a_single_group_has_no_paired_error() -> None:
    assert paired_error([1.0], [2.0], [10]) is None


def test_a_difference_is_significant_beyond_two_standard_errors_or_if_its_error_is_unknown() -> None:
    assert [is_significant(difference, 0.1) for difference in (0.2, -0.2, 0.21, -0.21)] == [False, False, True, True]
    assert is_significant(1e-9, None)
    assert is_significant(1e-9, 0.0)


def test_standard_errors_are_read_from_the_files_of_the_stages_and_are_no_metrics(clone: Project) -> None:
    (clone.folder / "metrics/train.json").write_text('{"validation_loss": 23.5, "validation_loss_se": 0.25}')
    (clone.folder / "plots/generate/measures.csv").write_text("measure,value\nrecall_se,0.02\ndensity_se,\n")
    record(clone)
    found = load_revision("workspace", clone.folder)
    assert found.metrics["train.validation_loss"] == 23.5
    assert standard_error(found, "train.validation_loss") == 0.25
    assert standard_error(found, "generate.recall") == 0.02
    assert standard_error(found, "generate.density") is None
    assert not any(key.endswith("_se") for key in found.metrics)
    assert not any(map(isnan, found.errors.values()))


def test_two_hashes_of_the_test_images_in_a_dvc_lock_are_refused_in_place_of_another_standard_error() -> None:
    base = with_groups("main", {ELBO: 24.0}, [24.0, 25.0, 26.0])
    lock = base.files.contents["dvc.lock"]
    other = lock.replace("outs", "deps").replace("1a2b", "1a2c").replace("prepare:", "evaluate:")
    files = {**base.files.contents, "dvc.lock": f"{lock.removesuffix('}')}, {other.removeprefix('stages: {')}"}
    head = revision("topic", metrics={ELBO: 23.8}, errors={ELBO: 0.5}, files=files)
    with pytest.raises(RevisionError, match=r"dvc\.lock at topic: it has two hashes of .*; run dvc repro there"):
        error_of_difference(ELBO, base, head)
