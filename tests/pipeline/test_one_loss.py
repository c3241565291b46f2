"""Training minimizes what vae/model/objective.py defines: an edit of it changes what the default path trains."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from faults.project import Project, copy_project
from vae.base.runtime import CPU
from vae.data.images import load_images
from vae.model import inference
from vae.model.model_file import load_model
from vae.model.objective import Losses, average_loss

ACCELERATOR = "vae/training/handwritten_gradient.py"
ACCELERATOR_LINE = '    import_module("vae.training.handwritten_gradient"),\n'
WARNING = "vae.training.handwritten_gradient is not used"
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16"])
# Tolerances for two computations of the same training, which differ by rounding that grows over the steps.
AGREE = {"float32": 0.002, "bfloat16": 0.1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with the digits prepared, without a validation set."""
    project = copy_project(tmp_path_factory.mktemp("one_loss") / "project")
    project.set({"prepare.validation_fraction": "0", "model.latent_dim": "20", "train.epochs": "30"})
    project.run("python", "-m", "stages.prepare")
    return project


class Copy:
    """A copy of the prepared project, to edit and to train once."""

    def __init__(self, prepared: Project, folder: Path, precision: str, beta: float = 1.0) -> None:
        self.project = Project(shutil.copytree(prepared.folder, folder))
        self.project.set({"train.precision": precision, "train.beta": str(beta)})
        self.log = ""

    def edit(self, name: str, before: str, after: str) -> "Copy":
        """Replace a piece of code that occurs exactly once."""
        path = self.project.folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1
        path.write_text(text.replace(before, after), encoding="utf-8")
        return self

    def without_accelerator(self) -> "Copy":
        """Delete the file of the accelerator, and the line that registers it."""
        (self.project.folder / ACCELERATOR).unlink()
        return self.edit("vae/training/accelerators.py", ACCELERATOR_LINE, "")

    def train(self) -> Losses[float]:
        """Train, and measure the model with the project's unedited code."""
        self.log = self.project.run("python", "-m", "stages.train")
        images = load_images(self.project.folder / "data/prepared/train.safetensors")
        model = load_model(self.project.folder / "models/vae.safetensors", CPU, images.shape)
        losses = average_loss(inference.negative_elbo(model, images.images, seed=0))
        return Losses(*(float(term) for term in losses))


Trained = tuple[Losses[float], str]  # and the log


@pytest.fixture(scope="module")
def train_unedited(prepared: Project, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, float], Trained]:
    """Train the code as it is, in a precision and with a β; once for all tests."""

    @cache
    def trained(precision: str, beta: float) -> Trained:
        copy = Copy(prepared, tmp_path_factory.mktemp("unedited") / "project", precision, beta)
        return copy.train(), copy.log

    return trained


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return 0.5 * (mean", "return 4 * 0.5 * (mean"),
        ("return reconstruction + kl_weight * kl", "return reconstruction + 4 * kl_weight * kl"),
    ],
    ids=["KL", "loss"],
)
@PRECISIONS
def test_multiplying_the_kl_or_its_weight_by_four_in_the_code_trains_the_model_of_beta_4(
    prepared: Project,
    train_unedited: Callable[[str, float], Trained],
    tmp_path: Path,
    precision: str,
    before: str,
    after: str,
) -> None:
    (unedited, log), (expected, log_of_expected) = (train_unedited(precision, beta) for beta in (1.0, 4.0))
    edited = Copy(prepared, tmp_path / "edited", precision).edit("vae/model/objective.py", before, after)
    found = edited.train()
    assert unedited.kl > 2.0
    assert expected.kl < 0.5 * unedited.kl
    assert found.kl == pytest.approx(expected.kl, rel=AGREE[precision])
    assert found.reconstruction == pytest.approx(expected.reconstruction, rel=0.1 * AGREE[precision])
    assert WARNING in edited.log
    assert edited.log.count(WARNING) == 1
    assert WARNING not in log + log_of_expected


@PRECISIONS
def test_multiplying_the_log_density_by_four_in_the_code_trains_the_model_of_beta_one_quarter(
    prepared: Project, train_unedited: Callable[[str, float], Trained], tmp_path: Path, precision: str
) -> None:
    """Adam is invariant to the scale of the loss, so only the ratio of the terms matters."""
    expected, _ = train_unedited(precision, 0.25)
    edited = Copy(prepared, tmp_path / "edited", precision)
    edited.edit("vae/model/likelihoods.py", "flatten(1).sum(1).neg_()", "flatten(1).sum(1).neg_() * 4")
    found = edited.train()
    assert expected.kl > 4.0
    assert found.kl == pytest.approx(expected.kl, rel=5 * AGREE[precision])
    assert WARNING in edited.log


@PRECISIONS
def test_an_edited_reparameterization_trains_the_same_model_as_without_the_accelerator(
    prepared: Project, tmp_path: Path, precision: str
) -> None:
    """The edit removes the noise, so that the reconstruction does not depend on the variance."""
    edited, plain = (Copy(prepared, tmp_path / name, precision) for name in ("edited", "plain"))
    for copy in (edited, plain):
        copy.edit("vae/model/vae.py", "return mean + torch.exp(0.5 * log_variance) * noise", "return mean + 0 * noise")
    found, expected = edited.train(), plain.without_accelerator().train()
    assert found == expected
    assert WARNING in edited.log
    assert WARNING not in plain.log


@PRECISIONS
def test_training_without_the_accelerator_ends_with_the_same_model_up_to_rounding(
    prepared: Project, train_unedited: Callable[[str, float], Trained], tmp_path: Path, precision: str
) -> None:
    fast, _ = train_unedited(precision, 1.0)
    slow = Copy(prepared, tmp_path / "slow", precision).without_accelerator().train()
    assert slow != fast  # equal values would mean that the accelerator was not used
    for name, rel in zip(Losses._fields, (0.1, 0.1, 1.0), strict=True):
        assert getattr(slow, name) == pytest.approx(getattr(fast, name), rel=rel * AGREE[precision])
