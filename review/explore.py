"""Show the models of two revisions side by side: the same test images reconstructed, on a page for the browser."""

import argparse
import tempfile
from pathlib import Path

import torch

from review import command
from review.changes import in_words, parameters_that_differ
from review.folders import whole_folder
from review.recorded import RevisionError
from review.revisions import WORKSPACE, Revision, load_revision
from review.side_by_side import ComparedModel, side_by_side_page
from stages import paths
from vae.base import runtime
from vae.base.artifacts import write_bytes
from vae.base.errors import VAEError
from vae.data.images import LabelledImages, load_images
from vae.diagnostics import collapse, projection
from vae.explorer.latent_map import latent_map
from vae.model import inference
from vae.model.inference import Posterior
from vae.model.model_file import load_model
from vae.model.vae import VAE


def main() -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m review.explore", description=__doc__)
    parser.add_argument("first", metavar="A", help="revision or experiment")
    parser.add_argument("second", metavar="B", nargs="?", default=WORKSPACE, help="another (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("explore"), help="folder to write (default: %(default)s)")
    arguments = parser.parse_args()

    runtime.configure()
    page = page_of(load_revision(arguments.first), load_revision(arguments.second))
    with whole_folder(arguments.out) as folder:
        write_bytes(folder / "index.html", page.encode())
    print(f"Written: {arguments.out}/index.html")
    return 0


def page_of(first: Revision, second: Revision) -> str:
    """The page on which two revisions are compared, with the map of the first one's parameters for both.

    Raises:
        RevisionError: a revision lacks its model or test images, or the test images differ.
    """
    (test, model), (other_test, other_model) = load(first), load(second)
    if not is_same(test, other_test):
        raise RevisionError(
            f"the test images of {first.name} and {second.name} differ, so their reconstructions cannot be compared; "
            "choose revisions with the same data"
        )
    settings = [first.parameters.get(f"embed.{name}") for name in ("method", "points", "seed")]
    match settings:
        case [str(method), int(points), int(seed)]:
            projection.require_method(method, "embed.method")
        case _:
            raise RevisionError(f"params.yaml at {first.name}: embed.method, embed.points or embed.seed is missing")
    chosen = runtime.permutation(len(test), seed, "pictured images")[:points]

    def compared(name: str, model: VAE) -> ComparedModel:
        posterior = Posterior(*(part.cpu() for part in inference.encode(model, test.images)))
        active = collapse.mean_variances(posterior.mean) > collapse.ACTIVE_VARIANCE
        return ComparedModel(name, model, latent_map(model, test, chosen, posterior, method, seed), active)

    differences = [(row.key, *map(in_words, row.values)) for row in parameters_that_differ([first, second])]
    models = compared(first.name, model), compared(second.name, other_model)
    return side_by_side_page(models, [(key, one, other) for key, one, other in differences])


def load(revision: Revision) -> tuple[LabelledImages, VAE]:
    """The test images of a revision, and its model.

    Raises:
        RevisionError: one of them is missing or cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        for path in (paths.TEST_IMAGES, paths.MODEL):
            content = revision.read(path.as_posix())
            if content is None:
                raise RevisionError(
                    f"{path} at {revision.name}: not in the workspace or DVC's cache; run dvc pull, or dvc repro there"
                )
            write_bytes(Path(folder, path), content)
        try:
            test = load_images(Path(folder, paths.TEST_IMAGES))
            return test, load_model(Path(folder, paths.MODEL), runtime.CPU, test.shape)
        except VAEError as error:
            raise RevisionError(f"{revision.name}: {str(error).replace(f'{folder}/', '')}") from error


def is_same(test: LabelledImages, other: LabelledImages) -> bool:
    """Whether two sets of test images have the same images in the same order, with the same classes."""
    return (
        test.class_names == other.class_names
        and torch.equal(test.images, other.images)
        and torch.equal(test.labels, other.labels)
    )


if __name__ == "__main__":
    command.run(main)
