"""The five stages end to end, run through DVC."""

import csv
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import stages.embed
import stages.evaluate
import stages.generate
import stages.prepare
import stages.train
from faults.material import OUTPUTS, STAGES
from faults.project import Project
from stages import entry
from tests.deterministic import settings_of_a_run
from vae.base.yaml12 import parse_yaml
from vae.diagnostics.verdict import Level
from vae.model.local_inference import InferenceGap

QUALITY = ("frechet_distance", "precision", "recall", "density", "coverage")

# For slower networks.
TINY = {
    "model.hidden_dims": "[16]",
    "model.channels": "4",
    "model.masked_layers": "1",
    "train.epochs": "1",
    "evaluate.importance_samples": "2",
    "generate.samples": "20",
    "embed.points": "100",
}


def declared_outputs(project: Project) -> set[str]:
    stages = parse_yaml(project.read("dvc.yaml"))["stages"].values()
    entries = [entry for stage in stages for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def test_repro_writes_every_declared_output_and_nothing_else(reproduced: Project) -> None:
    written = set(reproduced.files("data", "models", "pages", "metrics", "plots"))
    assert written == declared_outputs(reproduced)
    assert reproduced.run("git", "status", "--porcelain") == ""


def test_after_repro_every_stage_is_up_to_date(reproduced: Project) -> None:
    assert json.loads(reproduced.dvc("status", "--json")) == {}


def measures(project: Project, stage: str) -> dict[str, str]:
    """The measures of a stage that are not metrics."""
    rows = csv.DictReader(project.read(f"plots/{stage}/measures.csv").decode().splitlines())
    return {row["measure"]: row["value"] for row in rows}


def test_each_stage_writes_the_documented_metrics(reproduced: Project) -> None:
    metrics = {stage: structure(json.loads(reproduced.read(f"metrics/{stage}.json"))) for stage in STAGES}
    bounds = ("negative_elbo", "reconstruction", "kl", "negative_iwae_bound", "mse")
    assert metrics == {
        "prepare": {
            "images": dict.fromkeys(("train", "validation", "test")),
            "entropy_floor": None,
            "bits_per_dimension": None,
            "classifier_accuracy": None,
            "classifier_accuracy_se": None,
        },
        "train": dict.fromkeys(("best_epoch", "train_loss", "validation_loss", "validation_loss_se")),
        "evaluate": {"test": dict.fromkeys(bounds), "active_units": None, "evaluate_verdict": None},
        "generate": dict.fromkeys((*QUALITY, "unclear_share", "generate_verdict")),
        "embed": dict.fromkeys(("neighbour_accuracy", "linear_probe_accuracy", "embed_verdict")),
    }
    assert json.loads(reproduced.read("metrics/prepare.json"))["images"] == {
        "train": 1294,
        "validation": 144,
        "test": 359,
    }


def test_each_stage_writes_all_other_measures_and_every_verdict_as_tables(reproduced: Project) -> None:
    assert set(measures(reproduced, "evaluate")) == {
        *(f"test.{name}_se" for name in ("negative_elbo", "reconstruction", "kl", "negative_iwae_bound", "mse")),
        "bits_per_dimension",
        "codec_bits_per_dimension",
        "reconstruction_above_floor",
        "train_negative_elbo",
        "overfitting_gap",
        "overfitting_gap_se",
        "forecast_loss",
        *(f"inference_gap.{name}" for name in InferenceGap._fields),
        "clearly_active_units",
        "latent_dim",
        "mutual_information",
        "reconstruction_blur",
        "reconstruction_sharpness",
        "reconstruction_sharpness_se",
    }
    assert set(measures(reproduced, "generate")) == {
        *(f"{measure}_se" for measure in (*QUALITY, "unclear_share", "class_balance", "sample_sharpness")),
        *(f"{images}.{measure}{se}" for images in ("mixture", "real") for measure in QUALITY for se in ("", "_se")),
        "mixture.unclear_share",
        "mixture.class_balance",
        "real.unclear_share",
        "features",
        "sample_blur",
        "sample_sharpness",
        "class_balance",
        "least_class_balance",
        *(f"marginal_kl.{name}" for name in ("lower", "lower_se", "upper")),
        "interpolation_dip.linear",
        "interpolation_dip.spherical",
        "samples",
    }
    assert set(measures(reproduced, "embed")) == {
        "neighbour_accuracy_se",
        "linear_probe_accuracy_se",
        "silhouette",
        "trustworthiness",
        "label_information",
    }


def verdicts(project: Project, stage: str) -> dict[str, str]:
    """The level of each verdict of a stage."""
    table = csv.DictReader(project.read(f"plots/{stage}/verdicts.csv").decode().splitlines())
    return {row["verdict"]: row["level"] for row in table}


def test_each_stage_gives_its_verdicts(reproduced: Project) -> None:
    assert set(verdicts(reproduced, "evaluate")) == {
        "posterior_collapse",
        "blur_of_reconstructions",
        "overfitting",
        "training_length",
        "inference_gap",
    }
    assert set(verdicts(reproduced, "generate")) == {
        "sample_quality",
        "blur_of_samples",
        "classes_of_samples",
        "holes_in_the_latent_space",
    }
    assert set(verdicts(reproduced, "embed")) == {"representation"}


def test_the_summary_in_the_metrics_counts_failures_and_warnings_among_the_verdicts(reproduced: Project) -> None:
    for stage in ("evaluate", "generate", "embed"):
        levels = list(verdicts(reproduced, stage).values())
        assert set(levels) <= set(Level)
        failures, warnings = (levels.count(level) for level in (Level.FAILURE, Level.WARNING))
        summary = json.loads(reproduced.read(f"metrics/{stage}.json"))[f"{stage}_verdict"]
        assert (f"{failures} failure" in summary, f"{warnings} warning" in summary) == (failures > 0, warnings > 0)
        assert (summary == "healthy") == (failures + warnings == 0)
    # Three epochs are too few to judge the length of training.
    assert verdicts(reproduced, "evaluate")["training_length"] == "not judged"


def structure(value: Any) -> Any:
    """The keys of nested mappings."""
    return {key: structure(each) for key, each in value.items()} if isinstance(value, dict) else None


@pytest.mark.parametrize(
    "parameters",
    [
        {
            "prepare.train_images": "400",
            "model.network": "conv",
            "model.likelihood": "gaussian",
            "train.importance_samples": "2",
            "train.schedule": "eight_stages",
        },
        {
            "prepare.binarize": "dynamic",
            "prepare.train_images": "400",
            "model.network": "autoregressive",
            "model.activation": "gelu",
            "train.schedule": "cosine",
            "train.free_bits": "0.1",
        },
    ],
    ids=["conv, gaussian", "autoregressive, dynamic"],
)
def test_other_models_write_the_same_files_and_metrics_and_log_their_verdicts(
    workspace: Project,
    reproduced: Project,
    parameters: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = workspace.files(*OUTPUTS)
    for name in before:
        (workspace.folder / name).unlink()
    workspace.set({**TINY, **parameters})
    monkeypatch.chdir(workspace.folder)
    monkeypatch.setenv("VAE_DEVICE", "cpu")
    with settings_of_a_run(), caplog.at_level("INFO"):
        for stage in (stages.prepare, stages.train, stages.evaluate, stages.generate, stages.embed):
            entry.run(stage.main)
    after = workspace.files(*OUTPUTS)
    assert set(after) == set(before) == declared_outputs(workspace)
    for name in (name for name in after if name.endswith(".json")):
        metrics = json.loads(after[name])
        assert structure(metrics) == structure(json.loads(before[name])), name
    log = "\n".join(caplog.messages)
    for name in ("evaluate", "generate", "embed"):
        assert set(measures(workspace, name)) == set(measures(reproduced, name))
        levels = verdicts(workspace, name)
        assert set(levels) == set(verdicts(reproduced, name))
        for verdict, level in levels.items():
            words = verdict.replace("_", " ")
            assert re.search(rf"^{level} +{words}  ", log, re.MULTILINE), f"{name}: {verdict}"
    assert workspace.read("models/vae.safetensors") != before["models/vae.safetensors"]


def test_the_negative_elbo_is_the_sum_of_its_terms_and_above_the_tighter_bound_and_the_floor(
    reproduced: Project,
) -> None:
    metrics = json.loads(reproduced.read("metrics/evaluate.json"))
    test = metrics["test"]
    floor = json.loads(reproduced.read("metrics/prepare.json"))["entropy_floor"]
    assert test["negative_elbo"] == pytest.approx(test["reconstruction"] + test["kl"], rel=1e-5)
    assert test["negative_iwae_bound"] < test["negative_elbo"]
    assert test["reconstruction"] > floor
    above = float(measures(reproduced, "evaluate")["reconstruction_above_floor"])
    assert above == pytest.approx(test["reconstruction"] - floor, rel=1e-4)


def test_losses_and_history_have_one_entry_per_epoch_and_agree(reproduced: Project) -> None:
    header, *rows = reproduced.read("plots/train/losses.csv").decode().splitlines()
    assert header == (
        "epoch,train_loss,train_reconstruction,train_kl,gradient_norm,"
        "validation_loss,validation_reconstruction,validation_kl"
    )
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3"]
    history = json.loads(reproduced.read("models/history.json"))
    assert list(history["epochs"]) == header.split(",")
    epochs = zip(*history["epochs"].values(), strict=True)
    assert [[float(cell) for cell in row.split(",")] for row in rows] == [list(epoch) for epoch in epochs]
    assert history["best_epoch"] == json.loads(reproduced.read("metrics/train.json"))["best_epoch"]


@pytest.mark.parametrize(
    "changed",
    [
        {
            "vae/figures/charts.py": {"prepare", "evaluate", "generate", "embed"},
            "vae/diagnostics/overfitting.py": {"evaluate", "generate", "embed"},
            "vae/explorer/map.js": {"embed"},
            "vae/model/objective.py": {"train", "evaluate", "generate", "embed"},
            "vae/training/handwritten_gradient.py": {"train"},
            "vae/data/sources.py": set(STAGES),
            "stages/generate.py": {"generate"},
            "stages/results.py": {"evaluate", "generate", "embed"},
        },
        {"vae/model/networks/autoregressive.py": {"train", "evaluate", "generate", "embed"}},
    ],
    ids=["files", "a file in a folder within"],
)
def test_a_change_of_code_affects_the_stages_that_import_from_its_folder(
    workspace: Project, changed: dict[str, set[str]]
) -> None:
    expected: dict[str, set[str]] = {}
    for name, affected in changed.items():
        with (workspace.folder / name).open("a", encoding="utf-8") as file:
            file.write("// changed\n" if name.endswith(".js") else "# changed\n")
        dependency = name if name.startswith("stages/") else "/".join(name.split("/")[:2])
        for stage in affected:
            expected.setdefault(stage, set()).add(dependency)
    status = json.loads(workspace.dvc("status", "--json"))
    assert {
        stage: {path for change in status[stage] for path in change["changed deps"]} for stage in status
    } == expected


def test_an_experiment_with_other_parameters_appears_in_the_table_and_in_the_diff_of_metrics(
    workspace: Project,
) -> None:
    settings = ("-S", "model.latent_dim=2", "-S", "train.learning_rate=0.00001")
    workspace.dvc("exp", "run", "evaluate", "--name", "flat", *settings)
    (rows,) = json.loads(workspace.dvc("exp", "show", "--json"))[1]["experiments"]
    (experiment,) = rows["revs"]
    assert experiment["name"] == "flat"
    assert experiment["data"]["params"]["params.yaml"]["data"]["model"]["latent_dim"] == 2
    assert experiment["data"]["metrics"]["metrics/evaluate.json"]["data"]["active_units"] <= 2
    assert measures(workspace, "evaluate")["latent_dim"] == "2"
    added, removed, _ = workspace.run("git", "diff", "--numstat", "--", "params.yaml").split()
    assert (added, removed) == ("2", "2"), "lines of params.yaml"
    changes = json.loads(workspace.dvc("metrics", "diff", "HEAD", "--json"))
    assert changes["metrics/evaluate.json"]["test.negative_elbo"]["diff"] > 0


def test_an_experiment_in_a_temporary_folder_does_not_change_the_workspace_which_takes_its_results_from_the_cache(
    workspace: Project,
) -> None:
    before = workspace.files("metrics", "plots") | {"params.yaml": workspace.read("params.yaml")}
    workspace.dvc("exp", "run", "--temp", "--name", "aside", "-S", "embed.method=pca")
    after = workspace.files("metrics", "plots") | {"params.yaml": workspace.read("params.yaml")}
    assert after == before
    assert "aside" in workspace.dvc("exp", "list")

    workspace.set({"embed.method": "pca"})
    assert "Stage 'embed' is cached - skipping run" in workspace.dvc("repro")
    changed = workspace.files("metrics", "plots")
    workspace.set({"embed.method": "tsne"})
    assert "Stage 'embed' is cached - skipping run" in workspace.dvc("repro")
    restored = workspace.files("metrics", "plots")
    assert before == restored | {"params.yaml": before["params.yaml"]}
    assert changed["plots/embed/projection.csv"] != restored["plots/embed/projection.csv"]


def test_plots_of_two_revisions_can_be_compared_in_a_clone_with_an_empty_cache(clone: Project) -> None:
    assert not (clone.folder / "models").exists()
    page = clone.dvc("plots", "diff", "HEAD~1", "HEAD", "--out", "report")
    assert "index.html" in page
    html = clone.read("report/index.html").decode()
    pictures = {path.name for path in (clone.folder / "report" / "static").iterdir()}
    for revision in ("HEAD~1", "HEAD"):
        assert f"{revision}_plots_generate_samples.png" in pictures
    for title in ("Losses during training", "KL and variance per latent dimension", "Latent codes of test images"):
        assert title in html


def test_dvc_plots_shows_each_plot_once(clone: Project) -> None:
    clone.dvc("plots", "show", "--out", "report")
    pictures = [path.name for path in (clone.folder / "report" / "static").iterdir()]
    assert len(pictures) == len([name for name in declared_outputs(clone) if name.endswith(".png")])
    assert clone.read("report/index.html").decode().count("vegaEmbed(") == 14


@pytest.mark.skipif(not (Path(sys.prefix) / ".ready").exists(), reason="needs the environment that make env sets up")
def test_stages_run_in_the_environment_of_make_env_without_activating_it(workspace: Project) -> None:
    bare = {"PATH": os.defpath, "VIRTUAL_ENV": ""}
    dvc = str(Path(sys.prefix) / "bin" / "dvc")
    output = workspace.run(dvc, "repro", "--force", "--single-item", "train", env=bare)
    assert "Running stage 'train'" in output
    assert workspace.run("git", "status", "--porcelain") == ""
