"""What vae/model/objective.py says is what training minimises: an edit of it is what trains, on the default path."""

import shutil
from pathlib import Path

import pytest

from tests.projects import Project, copy_project
from vae.base.runtime import CPU
from vae.data.images import load_images
from vae.model import inference
from vae.model.model_file import load_model
from vae.model.objective import Losses, average_loss

ACCELERATOR = "vae/training/handwritten_gradient.py"
ACCELERATOR_LINE = '    import_module("vae.training.handwritten_gradient"),\n'
WARNING = "vae.training.handwritten_gradient is not used"
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16"])
# Two ways to the same training differ by rounding, which grows over the steps; in bfloat16 it is larger.
AGREE = {"float32": 0.002, "bfloat16": 0.1}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with the digits prepared, all of them for training."""
    project = copy_project(tmp_path_factory.mktemp("one_loss") / "project")
    project.set({"prepare.validation_fraction": "0"})
    project.run("python", "-m", "stages.prepare")
    return project


class Copy:
    """A copy of the prepared project whose code and parameters may be edited, trained once."""

    def __init__(self, prepared: Project, folder: Path, precision: str, beta: float = 1.0) -> None:
        self.project = Project(shutil.copytree(prepared.folder, folder))
        self.project.set({"train.precision": precision, "train.beta": str(beta)})
        self.log = ""

    def edit(self, name: str, before: str, after: str) -> "Copy":
        """Replace a piece of the code, which has to be there once."""
        path = self.project.folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1
        path.write_text(text.replace(before, after), encoding="utf-8")
        return self

    def without_accelerator(self) -> "Copy":
        """Delete the accelerator's file, and its one line elsewhere."""
        (self.project.folder / ACCELERATOR).unlink()
        return self.edit("vae/training/accelerators.py", ACCELERATOR_LINE, "")

    def train(self) -> Losses[float]:
        """Train, and measure the model by the project's own, unedited code."""
        self.log = self.project.run("python", "-m", "stages.train")
        images = load_images(self.project.folder / "data/prepared/train.safetensors")
        model = load_model(self.project.folder / "models/vae.safetensors", CPU, images.shape)
        losses = average_loss(inference.negative_elbo(model, images.images, seed=0))
        return Losses(*(float(term) for term in losses))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return 0.5 * (mean", "return 4 * 0.5 * (mean"),
        ("return reconstruction + kl_weight * kl", "return reconstruction + 4 * kl_weight * kl"),
    ],
    ids=["KL", "loss"],
)
@PRECISIONS
def test_a_kl_edited_to_four_times_its_size_or_weight_trains_the_model_of_beta_4(
    prepared: Project, tmp_path: Path, precision: str, before: str, after: str
) -> None:
    plain = Copy(prepared, tmp_path / "plain", precision)
    weighted = Copy(prepared, tmp_path / "weighted", precision, beta=4.0)
    edited = Copy(prepared, tmp_path / "edited", precision)
    edited.edit("vae/model/objective.py", before, after)
    unedited, expected, found = plain.train(), weighted.train(), edited.train()
    assert unedited.kl > 2.0
    assert expected.kl < 0.5 * unedited.kl
    assert found.kl == pytest.approx(expected.kl, rel=AGREE[precision])
    assert found.reconstruction == pytest.approx(expected.reconstruction, rel=0.1 * AGREE[precision])
    assert WARNING in edited.log
    assert edited.log.count(WARNING) == 1
    assert WARNING not in plain.log + weighted.log


@PRECISIONS
def test_a_density_edited_to_four_times_its_logarithm_trains_the_model_of_beta_one_quarter(
    prepared: Project, tmp_path: Path, precision: str
) -> None:
    """Adam does not see the size of a loss, only the ratio of its terms."""
    weighted = Copy(prepared, tmp_path / "weighted", precision, beta=0.25)
    edited = Copy(prepared, tmp_path / "edited", precision)
    edited.edit("vae/model/likelihoods.py", "flatten(1).sum(1).neg_()", "flatten(1).sum(1).neg_() * 4")
    expected, found = weighted.train(), edited.train()
    assert expected.kl > 4.0
    assert found.kl == pytest.approx(expected.kl, rel=5 * AGREE[precision])
    assert WARNING in edited.log


@PRECISIONS
def test_an_edited_reparameterisation_trains_as_it_does_without_the_accelerator(
    prepared: Project, tmp_path: Path, precision: str
) -> None:
    """Without noise the variance has no part in the reconstruction, and so no reason to be anything but one."""
    edited, plain = (Copy(prepared, tmp_path / name, precision) for name in ("edited", "plain"))
    for copy in (edited, plain):
        copy.edit("vae/model/vae.py", "return mean + torch.exp(0.5 * log_variance) * noise", "return mean + 0 * noise")
    found, expected = edited.train(), plain.without_accelerator().train()
    assert found == expected
    assert WARNING in edited.log
    assert WARNING not in plain.log


@PRECISIONS
def test_without_the_accelerators_file_and_its_line_training_comes_to_the_same_model(
    prepared: Project, tmp_path: Path, precision: str
) -> None:
    fast = Copy(prepared, tmp_path / "fast", precision).train()
    slow = Copy(prepared, tmp_path / "slow", precision).without_accelerator().train()
    assert slow != fast  # or it was not the accelerator that was deleted
    for name, rel in zip(Losses._fields, (0.1, 0.1, 1.0), strict=True):
        assert getattr(slow, name) == pytest.approx(getattr(fast, name), rel=rel * AGREE[precision])
