"""How the project reads its files, in this process, in a form to compare."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faults.material import CHECKPOINTS, STAGES
from faults.project import Project
from review.limits import load_limits
from review.precision import group_means
from review.revisions import WORKSPACE, load_revision
from vae.base.artifacts import read_json
from vae.base.module_file import ModuleFile
from vae.base.params import load_params
from vae.base.runtime import CPU
from vae.base.tensor_file import read_tensors
from vae.classifier.classifier_file import CLASSIFIER_FILE, load_classifier
from vae.data.images import METADATA_KEY, load_images
from vae.model.model_file import MODEL_FILE, load_model
from vae.training.checkpoint import Checkpoint

IMAGES = tuple(f"data/prepared/{split}.safetensors" for split in ("train", "validation", "test"))
CLASSIFIER, MODEL, HISTORY = "data/prepared/classifier.safetensors", "models/vae.safetensors", "models/history.json"
GROUP_MEANS = tuple(f"data/group_means/{stage}.csv" for stage in ("evaluate", "embed"))
METRICS = tuple(f"metrics/{stage}.json" for stage in STAGES)
TABLES = (
    *(f"plots/{stage}/{name}.csv" for stage in ("evaluate", "generate", "embed") for name in ("measures", "verdicts")),
    "plots/train/losses.csv",
    "plots/evaluate/kl_per_dimension.csv",
    "plots/embed/projection.csv",
)
STATE = f"{CHECKPOINTS}/saved.state"


class Reading(NamedTuple):
    """How the project reads a file, in this process.

    Attributes:
        fault: which files are damaged.
        names: their paths in a project.
        read: reads one, and gives what came out in a form to compare.
        is_source: whether the file is written by people, so that damage that is valid is an edit, which Git shows.
    """

    fault: str
    names: Sequence[str]
    read: Callable[[Project, str], Any]
    is_source: bool = False


def images(project: Project, name: str) -> Any:
    """All that a file of images contains, after the checks of ``load_images``."""
    load_images(project.folder / name)
    return contents(project.folder / name, METADATA_KEY)


def module(project: Project, name: str) -> Any:
    """All that the file of the model or the classifier contains, after the module was built."""
    shape = load_images(project.folder / IMAGES[0]).shape
    file: ModuleFile = MODEL_FILE if name == MODEL else CLASSIFIER_FILE
    (load_model if name == MODEL else load_classifier)(project.folder / name, CPU, shape)
    return contents(project.folder / name, file.key)


def contents(path: Path, key: str) -> Any:
    """The tensors of a file as lists, and their description."""
    tensors, description = read_tensors(path, key)
    return [(name, tensor.tolist()) for name, tensor in tensors.items()], description


def state(project: Project, name: str) -> Any:
    """The saved state of a training run; None if it is ignored, so that the run starts from the beginning."""
    path = project.folder / name
    found = Checkpoint(path.parent, path.stem).load()
    return found and ([(key, tensor.tolist()) for key, tensor in found.tensors.items()], found.values)


def revision(project: Project, name: str) -> Any:
    """All that the review compares of the workspace."""
    found = load_revision(WORKSPACE, project.folder)
    means = [group_means(found, stage) for stage in ("evaluate", "embed")]
    return (
        found.parameters,
        found.metrics,
        found.verdicts,
        found.errors,
        means,
        found.read(name) if name in TABLES else b"",
    )


READINGS = (
    Reading("images", IMAGES, images),
    Reading("model and classifier", (MODEL, CLASSIFIER), module),
    Reading("history of the training", (HISTORY,), lambda project, name: read_json(project.folder / name)),
    Reading("saved state of a training run", (STATE,), state),
    Reading("means of groups, read by the review", GROUP_MEANS, revision),
    Reading("metrics, read by the review", METRICS, revision),
    Reading("tables, read by the review", TABLES, revision),
    Reading("dvc.lock, read by the review", ("dvc.lock",), revision),
    Reading("params.yaml", ("params.yaml",), lambda project, name: load_params(project.folder / name), is_source=True),
    Reading("limits.yaml", ("limits.yaml",), lambda project, name: load_limits(project.folder / name), is_source=True),
)


def save_state(project: Project) -> None:
    """Save a state like that of a training run."""
    path = project.folder / STATE
    tensors, _ = read_tensors(project.folder / MODEL, MODEL_FILE.key)
    Checkpoint(path.parent, path.stem).save(tensors, {"epoch": 3, "losses": [1.5, 1.25, 1.125]})
