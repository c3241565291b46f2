"""The latent space in two dimensions, and how far the picture may be trusted."""

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from vae.errors import VAEError
from vae.runtime import derive

PERPLEXITY = 30.0  # t-SNE's usual effective number of neighbours (van der Maaten & Hinton 2008, section 2)

Codes = NDArray[np.float32]


class MissingExtraError(VAEError):
    """A parameter asks for an optional package that is not installed."""


def require_method(method: str) -> None:
    """Refuse a method whose package is not installed, before any work.

    Raises:
        MissingExtraError: ``umap`` is asked for without the package umap-learn.
    """
    if method == "umap" and find_spec("umap") is None:
        raise MissingExtraError(
            "params.yaml: embed.method: umap needs the package umap-learn; install it by: make umap"
        )


def project(codes: Codes, method: str, seed: int) -> Codes:
    """Map latent codes (N, D) to the plane (N, 2). Codes of one or two dimensions are shown as they are.

    Args:
        codes: latent codes (N, D).
        method: ``tsne``, ``pca`` or ``umap``.
        seed: of what the method draws at random.
    """
    if codes.shape[1] <= 2:
        return np.pad(codes, ((0, 0), (0, 2 - codes.shape[1])))
    random_state = derive(seed, "projection") % 2**32
    match method:
        case "tsne":
            return _tsne(codes, random_state)
        case "umap":
            import umap

            return np.asarray(umap.UMAP(random_state=random_state, n_jobs=1).fit_transform(codes), np.float32)
        case _:
            from sklearn.decomposition import PCA

            return np.asarray(PCA(2, svd_solver="full").fit_transform(codes), np.float32)


def axis_name(codes: Codes, method: str) -> str:
    """What the axes of the picture show."""
    if codes.shape[1] <= 2:
        return "latent dimension"
    return {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal component"}[method]


def trustworthiness(codes: Codes, projection: Codes, neighbours: int) -> float:
    """How far neighbours in the picture are neighbours in the latent space, in [0, 1] (Venna & Kaski 2001).

        1 - 2 / (N·k·(2N - 3k - 1)) Σ_i Σ_j max(0, r(i, j) - k)

    over the k nearest neighbours j of i in the picture, with r(i, j) the rank of j by nearness to i in the latent
    space.

    Args:
        codes: latent codes (N, D).
        projection: their places in the plane (N, 2).
        neighbours: k, below N / 2.
    """
    from sklearn import manifold

    return float(manifold.trustworthiness(codes, projection, n_neighbors=neighbours))


def _tsne(codes: Codes, random_state: int) -> Codes:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    # Threads add up their shares in whichever order they finish, and t-SNE makes a rounding error visible.
    with threadpool_limits(limits=1):
        tsne = TSNE(2, init="pca", perplexity=perplexity, random_state=random_state)
        return np.asarray(tsne.fit_transform(codes), np.float32)
