import json
from pathlib import Path

import pytest

from review.revisions import WORKSPACE, RevisionError, flattened, load_revision
from tests.projects import Project


def test_nested_keys_are_flattened_to_dotted_keys() -> None:
    nested = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}
    assert dict(flattened(nested)) == {"a.b": 1, "a.c.d": (1, 2), "e": None}


def test_a_commit_has_its_own_values_even_if_the_workspace_has_others(clone: Project) -> None:
    committed = json.loads(clone.read("metrics/evaluate.json"))
    latent_dim = load_revision("HEAD", clone.folder).parameters["model.latent_dim"]
    clone.set({"model.latent_dim": "3"})
    (clone.folder / "metrics/evaluate.json").write_text('{"test": {"kl": 123.0}}')
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
    assert revision.verdicts["evaluate.training_length"] == "not judged"
    assert not any("verdict." in key for key in revision.metrics)


def test_a_file_is_read_at_its_revision_and_is_none_if_missing(clone: Project) -> None:
    picture = clone.read("plots/generate/samples.png")
    (clone.folder / "plots/generate/samples.png").write_bytes(b"other")
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
        ("plots/embed/measures.csv", "a,b\n1,2\n"),
        ("params.yaml", "a: ["),
    ],
)
def test_an_error_names_the_damaged_file(clone: Project, path: str, content: str) -> None:
    (clone.folder / path).write_text(content)
    with pytest.raises(RevisionError, match=path):
        load_revision(WORKSPACE, clone.folder)


def test_an_unknown_revision_is_an_error_that_says_where_to_look(clone: Project) -> None:
    with pytest.raises(RevisionError, match="nowhere: no such revision or experiment; see git branch"):
        load_revision("nowhere", clone.folder)


def test_loading_a_revision_outside_a_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RevisionError):
        load_revision(WORKSPACE, tmp_path)
