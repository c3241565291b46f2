"""Training minimizes what vae/model/objective.py defines: an edit of it changes what the default path trains."""

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from faults.project import Project, copy_project
from stages import paths
from vae.base.runtime import CPU
from vae.data.images import hold_out, load_images, save_images
from vae.data.sources import load_source
from vae.model import inference
from vae.model.model_file import load_model
from vae.model.objective import Losses, average_loss

ACCELERATOR = "vae/training/handwritten_gradient.py"
ACCELERATOR_LINE = '    import_module("vae.training.handwritten_gradient"),\n'
WARNING = "vae.training.handwritten_gradient is not used"
# Tolerances for two computations of the same training, which differ by rounding that grows over the steps.
AGREE = {"float32": 0.002, "bfloat16": 0.1}
PRECISIONS = pytest.mark.parametrize("precision", AGREE)

# Trains in each precision and with each β; saves each model under the name of the case, and logs that first.
TRAIN = """
import sys
from stages import entry, paths, train

def main(params):
    for case in sys.argv[1:]:
        precision, beta = case.split(",")
        print("case", case, flush=True)
        settings = params.train.model_copy(update={"precision": precision, "beta": float(beta)})
        train.main(params.model_copy(update={"train": settings}))
        paths.MODEL.rename(f"{case}.safetensors")

entry.run(main)
"""


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    losses: Losses[float]  # measured with the project's unedited code
    log: str


Case = tuple[str, float]  # precision and β


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with the images for training, without a validation set."""
    project = copy_project(tmp_path_factory.mktemp("one_loss") / "project")
    project.set({"prepare.validation_fraction": "0", "model.latent_dim": "20", "train.epochs": "25"})
    digits, _ = load_source("digits", seed=0)
    train, validation = hold_out(digits, 0.0, 0, "validation split")
    save_images(project.folder / paths.TRAIN_IMAGES, train)
    save_images(project.folder / paths.VALIDATION_IMAGES, validation)
    return project


class Copy:
    """A copy of the prepared project, to edit and to train with."""

    def __init__(self, prepared: Project, folder: Path) -> None:
        self.project = Project(shutil.copytree(prepared.folder, folder))

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

    def train(self, betas: Iterable[float] = (1.0,)) -> dict[Case, Trained]:
        """Train in each precision with each β, in one process, which takes less time than one for each."""
        cases = {f"{precision},{beta}": (precision, beta) for precision in AGREE for beta in betas}
        printed = self.project.run("python", "-c", TRAIN, *cases)
        _, *logs = re.split(r"^case .*\n", printed, flags=re.MULTILINE)
        images = load_images(self.project.folder / paths.TRAIN_IMAGES)
        trained = {}
        for (name, case), log in zip(cases.items(), logs, strict=True):
            model = load_model(self.project.folder / f"{name}.safetensors", CPU, images.shape)
            losses = average_loss(inference.negative_elbo(model, images.images, seed=0))
            trained[case] = Trained(Losses(*(float(term) for term in losses)), log)
        return trained


@pytest.fixture(scope="module")
def unedited(prepared: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Trained]:
    """The models of the code as it is."""
    return Copy(prepared, tmp_path_factory.mktemp("unedited") / "project").train((1.0, 4.0, 0.25))


@pytest.fixture(scope="module")
def edited(prepared: Project, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[Case, Trained]]:
    """Train with edited code, or without the accelerator; each edit once, in all precisions."""

    @cache
    def trained(name: str = "", before: str = "", after: str = "", *, accelerator: bool = True) -> dict[Case, Trained]:
        copy = Copy(prepared, tmp_path_factory.mktemp("edited") / "project")
        if name:
            copy.edit(name, before, after)
        return (copy if accelerator else copy.without_accelerator()).train()

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
    unedited: dict[Case, Trained],
    edited: Callable[..., dict[Case, Trained]],
    precision: str,
    before: str,
    after: str,
) -> None:
    plain, expected = unedited[precision, 1.0], unedited[precision, 4.0]
    found = edited("vae/model/objective.py", before, after)[precision, 1.0]
    assert plain.losses.kl > 2.0
    assert expected.losses.kl < 0.5 * plain.losses.kl
    assert found.losses.kl == pytest.approx(expected.losses.kl, rel=AGREE[precision])
    assert found.losses.reconstruction == pytest.approx(expected.losses.reconstruction, rel=0.1 * AGREE[precision])
    assert found.log.count(WARNING) == 1
    assert WARNING not in plain.log + expected.log


@PRECISIONS
def test_multiplying_the_log_density_by_four_in_the_code_trains_the_model_of_beta_one_quarter(
    unedited: dict[Case, Trained], edited: Callable[..., dict[Case, Trained]], precision: str
) -> None:
    """Adam is invariant to the scale of the loss, so only the ratio of the terms matters."""
    expected = unedited[precision, 0.25].losses
    edit = ("vae/model/likelihoods.py", "flatten(1).sum(1).neg_()", "flatten(1).sum(1).neg_() * 4")
    found = edited(*edit)[precision, 1.0]
    assert expected.kl > 4.0
    assert found.losses.kl == pytest.approx(expected.kl, rel=5 * AGREE[precision])
    assert WARNING in found.log


@PRECISIONS
def test_an_edited_reparameterization_trains_the_same_model_as_without_the_accelerator(
    edited: Callable[..., dict[Case, Trained]], precision: str
) -> None:
    """The edit removes the noise, so that the reconstruction does not depend on the variance."""
    edit = (
        "vae/model/vae.py",
        "return mean + torch.exp(0.5 * log_variance) * noise",
        "return mean + 0 * noise",
    )
    found, expected = (edited(*edit, accelerator=accelerator)[precision, 1.0] for accelerator in (True, False))
    assert found.losses == expected.losses
    assert WARNING in found.log
    assert WARNING not in expected.log


@PRECISIONS
def test_training_without_the_accelerator_ends_with_the_same_model_up_to_rounding(
    unedited: dict[Case, Trained], edited: Callable[..., dict[Case, Trained]], precision: str
) -> None:
    fast, slow = unedited[precision, 1.0].losses, edited(accelerator=False)[precision, 1.0].losses
    assert slow != fast  # equal values would mean that the accelerator was not used
    for name, rel in zip(Losses._fields, (0.1, 0.1, 1.0), strict=True):
        assert getattr(slow, name) == pytest.approx(getattr(fast, name), rel=rel * AGREE[precision])
