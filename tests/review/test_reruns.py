import pytest

from review.recorded import RevisionError
from review.reruns import MOST_CAUSES, Rerun, reruns
from review.revisions import Revision
from tests.review.revisions import revision


def at(
    code: str = "c0", beta: float = 1.0, model: str = "m0", metrics: str = "r0", files: dict[str, str] | None = None
) -> Revision:
    """A revision with two stages: train, which writes the model, and evaluate, which reads it."""
    lock = f"""
stages:
  train:
    cmd: python
    deps: [{{path: vae/model, md5: {code}.dir}}]
    params: {{params.yaml: {{train: {{beta: {beta}, epochs: 5}}}}}}
    outs: [{{path: models/vae.safetensors, md5: {model}}}]
  evaluate:
    cmd: python
    deps: [{{path: models/vae.safetensors, md5: {model}}}, {{path: stages/evaluate.py, md5: e0}}]
    outs: [{{path: metrics/evaluate.json, md5: {metrics}}}, {{path: plots/evaluate/a.csv, md5: a0}}]
"""
    return revision(files={"dvc.lock": lock, **(files or {})})


def test_a_stage_with_the_same_code_parameters_and_inputs_did_not_run_again() -> None:
    assert [each.ran for each in reruns(at(), at())] == [False, False]
    assert [each.outputs for each in reruns(at(), at())] == [(0, 1), (0, 2)]


def test_a_parameter_reruns_its_stage_and_the_model_that_it_changes_those_that_read_it() -> None:
    train, evaluate = reruns(at(), at(beta=4.0, model="m1", metrics="r1"))
    assert train == Rerun("train", [], ["train.beta"], [], (1, 1))
    assert evaluate == Rerun("evaluate", [], [], ["models/vae.safetensors"], (1, 2))


def test_code_is_named_by_the_files_that_differ_within_its_folder() -> None:
    folder = "vae/model"
    before = {
        f"{folder}/vae.py": "old",
        f"{folder}/decoder.py": "same",
        f"{folder}/gone.py": "old",
        "vae/other.py": "old",
    }
    after = {f"{folder}/vae.py": "new", f"{folder}/decoder.py": "same", f"{folder}/added.py": "", "vae/other.py": "new"}
    train, evaluate = reruns(at(files=before), at(code="c1", files=after))
    assert train.code == ["vae/model/vae.py", "vae/model/gone.py", "vae/model/added.py"]
    assert not evaluate.ran


def test_a_folder_of_code_without_files_to_compare_is_named_itself() -> None:
    assert reruns(at(), at(code="c1"))[0].code == ["vae/model"]


def test_a_stage_that_the_base_lacks_ran_because_of_all_its_inputs_of_which_the_first_are_named() -> None:
    new = Rerun("train", [f"vae/{place}.py" for place in range(20)], ["train.beta"], [], (1, 1))
    assert new.causes[0] == "train.beta"
    assert len(new.causes) == MOST_CAUSES
    assert new.more_causes == 21 - MOST_CAUSES
    assert [each.parameters for each in reruns(revision(), at())] == [["train.beta", "train.epochs"], []]


def test_a_damaged_lock_is_reported_with_the_revision() -> None:
    with pytest.raises(RevisionError, match=r"dvc.lock at main: .*; run dvc repro there"):
        reruns(at(), revision(files={"dvc.lock": "stages: [1]"}))
