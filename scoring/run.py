"""Score the images of a folder, and write the results as a whole."""

from pathlib import Path
from typing import NamedTuple

import torch

from review.folders import whole_folder
from scoring import gallery
from scoring.folder import read_folder
from scoring.neighbours import DUPLICATE, Nearest
from scoring.scorer import Scorer, require_training_images
from scoring.scores import joined
from scoring.tables import write_scores, writing_embeddings
from scoring.training_files import training_files
from stages.paths import MANIFEST
from vae import load
from vae.base import runtime
from vae.base.artifacts import write_bytes
from vae.base.terminal import printable
from vae.data.images import load_images


class Result(NamedTuple):
    """How many images were scored and look like training images, why files were skipped, and the path of the page."""

    scored: int
    duplicates: int
    skipped: dict[str, str]
    page: Path


def score(images: Path, model_path: Path, train_path: Path, out: Path, seed: int) -> Result:
    """Write ``scores.csv``, ``embeddings.csv`` and ``index.html`` to a folder, all of them or none.

    The same images and model give the same bytes.

    Args:
        images: a folder of images.
        model_path: the model file.
        train_path: the images that the model was trained on, as prepare wrote them.
        out: the folder to write.
        seed: of all draws.

    Raises:
        VAEError: of many kinds: something cannot be read or written, or does not fit together.
    """
    runtime.configure()
    model = load(model_path)
    train = load_images(train_path)
    require_training_images(train_path, train, model_path, model)
    names = training_files(train_path.parent / MANIFEST.name)
    with whole_folder(out) as partial:
        folder = read_folder(images, model, partial)
        scorer = Scorer(model, train, seed)
        found, near = [], []
        with writing_embeddings(partial / "embeddings.csv", folder, model.latent_dim) as embeddings:
            for piece in scorer.pieces(folder.images):
                embeddings.write(piece.rows, piece.codes)
                found.append(piece.scores)
                near.append(piece.nearest)
        scores = joined(found)
        nearest = Nearest(*(torch.cat(parts) for parts in zip(*near, strict=True)))
        write_scores(partial / "scores.csv", folder, scores, nearest, names)
        page = gallery.html(images.resolve().name, folder, scorer, scores, nearest, names)
        write_bytes(partial / "index.html", page.encode())
    skipped = {printable(name): printable(reason) for name, reason in folder.skipped.items()}
    return Result(len(folder.images), int((nearest.difference <= DUPLICATE).sum()), skipped, out / "index.html")
