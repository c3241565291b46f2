"""What scores are worth: how well each tells the test images of a model from images of other kinds.

``python -m scoring.worth [FOLDER …]`` prints a table in Markdown. Other kinds of images are the test images turned and
inverted, images of one colour, noise, the digits of scikit-learn, with ``--mnist`` those of MNIST, and those of the
given folders.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scoring.folder import read_folder
from scoring.scorer import Scorer, require_training_images
from scoring.scores import Scores, joined
from stages import paths
from vae import load
from vae.base import command, runtime
from vae.base.artifacts import write_png
from vae.data.images import load_images, pixels
from vae.data.sources import load_source
from vae.use.trained_model import TrainedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = tuple[str, Tensor]

IMAGES = 2000  # of each kind at most, drawn at random
SCORES = {
    "negative_elbo": "negative ELBO",
    "complexity_corrected": "complexity-corrected",
    "typicality": "typicality",
    "likelihood_path": "likelihood path",
    "code_distance": "code distance",
}
COLOURS = ("#7F7F7F", "#E69F00", "#56B4E9", "#D55E00", "#0072B2")  # of Okabe & Ito


class Area(NamedTuple):
    """The area under the ROC curve of a score, and its standard error."""

    area: float
    standard_error: float


Areas = Mapping[str, Mapping[str, Area]]  # by the kind of images, then by the score


def area_under_curve(usual: Tensor, other: Tensor) -> Area:
    """The probability that an image of another kind has a higher score than a usual one; ½ by chance.

    The standard error is that of Hanley & McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating
    Characteristic (ROC) Curve".

    Args:
        usual: scores of images like the training images (N,).
        other: scores of other images (M,).
    """
    from sklearn.metrics import roc_auc_score

    n, m = len(usual), len(other)
    labels = torch.cat([torch.zeros(n), torch.ones(m)])
    area = float(roc_auc_score(labels.numpy(), torch.cat([usual, other]).numpy()))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)
    return Area(area, sqrt(max(variance, 0) / (n * m)))


def other_images(model: TrainedModel, usual: Tensor, mnist: bool, folders: Sequence[Path]) -> Iterator[Kind]:
    """Images of other kinds than the test images, of the same size, by name: uint8 (M, C, H, W) each."""
    if usual.shape[2] == usual.shape[3]:
        yield "rotated by 90°", usual.rot90(1, (2, 3))
    yield "upside down", usual.flip(2)
    yield "inverted", 255 - usual
    random = runtime.generator(0, "plain and noisy images")
    plain = torch.randint(0, 256, (*usual.shape[:2], 1, 1), generator=random, dtype=torch.uint8)
    yield "of one colour", plain.expand_as(usual)
    yield "noise", torch.randint(0, 256, usual.shape, generator=random, dtype=torch.uint8)
    yield "digits of scikit-learn", of_size(model, torch.cat([part.images for part in load_source("digits", seed=0)]))
    if mnist:
        yield "MNIST", of_size(model, load_source("mnist", seed=0).test.images)
    for folder in folders:
        yield folder.name, read_folder(folder, model, Path(tempfile.gettempdir())).images


def of_size(model: TrainedModel, images: Tensor) -> Tensor:
    """At most ``IMAGES`` grey images, stretched to the size of a model's images and in as many channels."""
    channels, *size = model.image_shape
    stretched = F.interpolate(pixels(images[:IMAGES]), size, mode="bicubic", antialias=True).clamp(0, 1)
    return stretched.mul(255).round().to(torch.uint8).expand(-1, channels, -1, -1)


def measure(scorer: Scorer, usual: Tensor, others: Iterator[Kind]) -> Areas:
    """How well each score tells the usual images from each other kind."""
    reference = scores(scorer, usual, "test images")
    return {name: areas(reference, scores(scorer, images, name)) for name, images in others}


def scores(scorer: Scorer, images: Tensor, name: str) -> Scores:
    """The scores of at most ``IMAGES`` images, drawn at random."""
    chosen = images[runtime.permutation(len(images), scorer.seed, f"scored: {name}")[:IMAGES]]
    return joined([piece.scores for piece in scorer.pieces(chosen, name)])


def areas(usual: Scores, other: Scores) -> dict[str, Area]:
    """The area under the ROC curve of each score that both have."""
    found = {}
    for name in SCORES:
        first, second = getattr(usual, name), getattr(other, name)
        if first is not None and second is not None:
            found[name] = area_under_curve(first, second)
    return found


def table(found: Areas) -> str:
    """The areas as a table in Markdown, with the largest standard error below it."""
    lines = ["| test images against | " + " | ".join(SCORES.values()) + " |", "|---" * (len(SCORES) + 1) + "|"]
    for name, values in found.items():
        cells = [f"{values[score].area:.3f}" if score in values else "–" for score in SCORES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    largest = max(each.standard_error for values in found.values() for each in values.values())
    return "\n".join([*lines, "", f"Standard errors are at most {largest:.3f}."])


def picture(found: Areas, title: str) -> "Figure":
    """The areas as bars, from ½ by chance to the right, or to the left where a score is worse than chance."""
    from vae.figures.canvas import canvas

    figure = canvas(9, 1.2 + 0.6 * len(found), title, "Area under the ROC curve; 1 tells them apart, ½ is chance.")
    axes = figure.add_subplot()
    height = 0.8 / len(SCORES)
    for number, (score, words) in enumerate(SCORES.items()):
        rows = {row: values[score].area for row, values in enumerate(found.values()) if score in values}
        places = [row + height * (number - (len(SCORES) - 1) / 2) for row in rows]
        widths = [area - 0.5 for area in rows.values()]
        axes.barh(places, widths, height, left=0.5, label=words, color=COLOURS[number])
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.axvline(0.5, color="black", linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(SCORES), frameon=False)
    return figure


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m scoring.worth", description=__doc__)
    parser.add_argument("--model", type=Path, default=paths.MODEL, help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=paths.TRAIN_IMAGES.parent, help="default: %(default)s")
    parser.add_argument("--mnist", action="store_true", help="compare with MNIST as well")
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="images to compare with")
    parser.add_argument("--picture", type=Path, metavar="PATH", help="write the areas as bars to a PNG")
    parser.add_argument("--title", default="test images against others", help="what the picture compares")
    arguments = parser.parse_args()

    runtime.configure()
    model = load(arguments.model)
    train, test = (load_images(arguments.data / path.name) for path in (paths.TRAIN_IMAGES, paths.TEST_IMAGES))
    require_training_images(arguments.data, train, arguments.model, model)
    scorer = Scorer(model, train, seed=0)
    kinds = other_images(model, test.images, arguments.mnist, arguments.folders)
    found = measure(scorer, test.images, kinds)
    print(table(found))
    if arguments.picture:
        write_png(arguments.picture, picture(found, f"What scores are worth: {arguments.title}"))


if __name__ == "__main__":
    command.run("", main, failure=2)
