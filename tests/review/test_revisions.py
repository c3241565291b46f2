import json
import math
import sys
from hashlib import md5
from pathlib import Path

import pytest

from faults.project import Project
from review.recorded import RevisionError
from review.revisions import WORKSPACE, Value, flattened, is_number, load_revision
from tests.review.changed import record


def test_nested_keys_are_flattened_to_dotted_keys() -> None:
    nested = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}
    assert dict(flattened(nested)) == {"a.b": 1, "a.c.d": (1, 2), "e": None}


def test_a_commit_has_its_own_values_even_if_the_workspace_has_others(clone: Project) -> None:
    committed = json.loads(clone.read("metrics/evaluate.json"))
    latent_dim = load_revision("HEAD", clone.folder).parameters["model.latent_dim"]
    clone.set({"model.latent_dim": "3"})
    (clone.folder / "metrics/evaluate.json").write_text('{"test": {"kl": 123.0}}')
    record(clone)
    head, workspace = (load_revision(name, clone.folder) for name in ("HEAD", WORKSPACE))
    assert head.metrics["evaluate.test.kl"] == committed["test"]["kl"]
    assert workspace.metrics["evaluate.test.kl"] == 123.0
    assert head.parameters["model.latent_dim"] == latent_dim != 3
    assert workspace.parameters["model.latent_dim"] == 3
    assert head.parameters["model.hidden_dims"] == (400,)


def test_keys_of_metrics_and_verdicts_begin_with_their_stage(clone: Project) -> None:
    revision = load_revision("HEAD", clone.folder)
    assert revision.metrics["evaluate.latent_dim"] == revision.parameters["model.latent_dim"]
    assert revision.metrics["train.best_epoch"] == 3
    assert isinstance(revision.metrics["generate.real.recall"], float)
    verdict = revision.verdicts["evaluate.training_length"]
    assert verdict.level == "not judged"
    assert "epochs" in verdict.finding
    assert verdict.criterion


def test_a_file_is_read_at_its_revision_and_is_none_if_missing(clone: Project) -> None:
    picture = clone.read("plots/generate/samples.png")
    (clone.folder / "plots/generate/samples.png").write_bytes(b"other")
    record(clone)
    head = load_revision("HEAD", clone.folder)
    assert head.read("plots/generate/samples.png") == picture
    assert load_revision(WORKSPACE, clone.folder).read("plots/generate/samples.png") == b"other"
    assert head.read("plots/generate/nothing.png") is None
    assert head.read("models/vae.safetensors") is None  # DVC's cache is empty


def test_a_model_is_read_from_dvcs_cache(reproduced: Project) -> None:
    assert load_revision("HEAD", reproduced.folder).read("models/vae.safetensors") == reproduced.read(
        "models/vae.safetensors"
    )


def test_a_revision_without_results_has_parameters_and_no_metrics(project: Project) -> None:
    for folder in ("metrics", "plots"):
        project.run("git", "rm", "-r", "--quiet", folder)
    project.commit("No results")
    revision = load_revision("HEAD", project.folder)
    assert revision.metrics == {}
    assert revision.verdicts == {}
    assert revision.parameters["train.beta"] == 1.0


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("metrics/embed.json", "{"),
        ("metrics/embed.json", "[1]"),
        ("metrics/embed.json", '{"silhouette": NaN}'),
        ("metrics/embed.json", "[" * 100_000),
        ("metrics/embed.json", '{"silhouette": ' + "1" * 10_000 + "}"),
        ("plots/embed/measures.csv", "a,b\n1,2\n"),
        ("plots/embed/measures.csv", "measure,value\nsilhouette\n"),
        ("plots/embed/measures.csv", "measure,value\nsilhouette," + "x" * 200_000),
        ("params.yaml", "a: ["),
        ("dvc.yaml", "[]"),
        ("dvc.yaml", "stages: {../../embed: {}}"),
        ("dvc.yaml", "stages: {1: {}}"),
    ],
)
def test_an_error_names_the_file_that_cannot_be_read(clone: Project, path: str, content: str) -> None:
    (clone.folder / path).write_text(content)
    record(clone)
    with pytest.raises(RevisionError, match=path):
        load_revision(WORKSPACE, clone.folder)


def test_an_unknown_revision_is_an_error_that_says_where_to_look(clone: Project) -> None:
    with pytest.raises(RevisionError, match="nowhere: no such revision or experiment; see git branch"):
        load_revision("nowhere", clone.folder)


def test_an_unknown_revision_of_a_shallow_clone_is_an_error_with_commands_that_fetch_it(
    reproduced: Project, tmp_path: Path
) -> None:
    """The error is raised in a process of its own, because DVC leaves files open when a revision is unknown."""
    origin, shallow = Project(tmp_path / "origin"), Project(tmp_path / "shallow")
    reproduced.run("git", "clone", "--quiet", str(reproduced.folder), str(origin.folder))
    origin.run("git", "branch", "topic", "HEAD~1")
    origin.run("git", "clone", "--quiet", "--depth=1", f"file://{origin.folder}", str(shallow.folder))
    for name in ("HEAD~1", "topic"):
        printed = shallow.run(sys.executable, "-m", "review.gate", name, status=2)
        assert printed == (
            f"{name}: no such revision or experiment; this clone is shallow: git fetch --unshallow gets its history, "
            "git fetch origin NAME:NAME a branch\n"
        )
    shallow.run("git", "fetch", "--quiet", "--unshallow")
    shallow.run("git", "fetch", "--quiet", "origin", "topic:topic")
    for name in ("HEAD~1", "topic"):
        load_revision(name, shallow.folder)


def test_loading_a_revision_outside_a_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RevisionError):
        load_revision(WORKSPACE, tmp_path)


@pytest.mark.parametrize(
    "path", ["metrics/embed.json", "plots/embed/measures.csv", "plots/generate/samples.png", "dvc.lock"]
)
def test_an_output_that_differs_from_dvc_lock_in_one_digit_is_refused_in_place_of_compared(
    clone: Project, path: str
) -> None:
    content = clone.read(path)
    place = max(content.rfind(digit) for digit in b"0123456789")
    changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    if path == "dvc.lock":  # the hash of a metric
        recorded = md5(clone.read("metrics/embed.json"), usedforsecurity=False).hexdigest()
        changed = content.replace(recorded.encode(), recorded[::-1].encode())
    (clone.folder / path).write_bytes(changed)
    with pytest.raises(RevisionError, match=r"at workspace: not what dvc\.lock records.*run dvc repro there$"):
        load_revision(WORKSPACE, clone.folder).read(path if path != "dvc.lock" else "metrics/embed.json")


@pytest.mark.parametrize("content", ["{", "[]", "stages: 3", "stages: {embed: {outs: [{path: a}]}}", "- &a [*a]"])
def test_a_damaged_dvc_lock_is_refused_with_its_name(clone: Project, content: str) -> None:
    (clone.folder / "dvc.lock").write_text(content)
    with pytest.raises(RevisionError, match=r"dvc\.lock"):
        load_revision(WORKSPACE, clone.folder)


def test_keys_and_values_with_control_characters_are_shown_by_their_escapes(clone: Project) -> None:
    metrics = {"a\x1b[31m": "b\u202ec", "d": ["\x9b", {"e": "\n"}], "text": "می\u200cخواهم", "long": 10**400}
    (clone.folder / "metrics/embed.json").write_text(json.dumps(metrics))
    record(clone)
    found = load_revision(WORKSPACE, clone.folder).metrics
    assert found["embed.a\\x1b[31m"] == "b\\u202ec"
    assert str(found["embed.d"]).isprintable()
    assert found["embed.text"] == "می\u200cخواهم"
    assert found["embed.long"] == 10**400


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, -math.inf, 10**400])
def test_what_no_float_can_represent_is_no_number(value: Value) -> None:
    assert not is_number(value)
    assert all(map(is_number, (0, -1, 1.5, 10**308, sys.float_info.max)))
