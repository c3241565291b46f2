"""``embedding``: time of the projections and measures of the latent space, and trustworthiness of the projections.

There are no goals. The results determined the defaults of ``embed.method`` and ``embed.points``.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from benchmarks import mnist
from benchmarks.measurement import Settings, Spread, interleave, timed
from benchmarks.table import Row, Section, skipped
from vae.base import runtime
from vae.diagnostics import projection, representation
from vae.model import inference

ROUNDS = 1  # t-SNE of many codes takes minutes
SIZES, QUICK_SIZES = (1000, 2000, 5000, 10_000), (1000, 2000, 5000)
NEIGHBOURS = 5

Codes = NDArray[np.float32]


def run(settings: Settings) -> Section:
    """Time projections and measures of the codes of MNIST test images."""
    model = mnist.trained_model(settings.device)
    train, test = mnist.splits()
    codes, labels = inference.encode(model, test.images).mean.cpu().numpy(), test.labels.numpy()
    train_codes, train_labels = inference.encode(model, train.images).mean.cpu().numpy(), train.labels.numpy()
    order = runtime.permutation(len(test), 0, "pictured images").numpy()

    pictures: dict[str, Codes] = {}
    works: dict[str, Callable[[], object]] = {}
    for method, name in (("pca", "PCA"), ("tsne", "t-SNE"), ("umap", "UMAP")):
        if method != "umap" or find_spec("umap"):
            for size in QUICK_SIZES if settings.quick else SIZES:
                title = f"{name} of {size:,} codes"
                works[title] = partial(draw, pictures, title, codes[order[:size]], method)
    for size in (1000, 2000) if settings.quick else SIZES[1:]:
        chosen = order[:size]
        works[f"silhouette of {size:,} codes"] = partial(representation.class_silhouette, codes[chosen], labels[chosen])
    works[f"nearest neighbours among {len(train_codes):,} codes"] = partial(
        representation.neighbour_accuracy, train_codes, train_labels, codes, labels, NEIGHBOURS
    )
    works[f"linear probe of {len(train_codes):,} codes"] = partial(
        representation.linear_probe_accuracy, train_codes, train_labels, codes, labels
    )

    clocks = {title: timed(work, runtime.CPU) for title, work in works.items()}
    projection.project(codes[:100], "tsne", 0)  # imports scikit-learn before the clock starts
    rows = []
    for title, seconds in interleave(clocks, settings.rounds(ROUNDS), "embedding").items():
        remark = ""
        if title in pictures:
            picture = pictures[title]
            trust = projection.trustworthiness(codes[order[: len(picture)]], picture, NEIGHBOURS)
            remark = f"trustworthiness {trust:.3f}"
        rows.append(Row(title, Spread(seconds), "s", remark=remark))
    if not find_spec("umap"):
        rows.append(skipped("UMAP", "not installed; run make umap"))
    return Section("embedding", f"codes of MNIST images, {mnist.ABOUT_THE_MODEL}, after one epoch", rows)


def draw(pictures: dict[str, Codes], title: str, codes: Codes, method: str) -> None:
    """Project codes, and store the projection."""
    pictures[title] = projection.project(codes, method, 0)
