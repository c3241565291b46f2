"""Projections of the latent space to two dimensions, and how far they can be trusted."""

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from vae.base.errors import VAEError
from vae.base.runtime import derive, one_thread

PERPLEXITY = 30.0  # t-SNE's usual effective number of neighbours (van der Maaten & Hinton 2008, section 2)

Codes = NDArray[np.float32]


class MissingExtraError(VAEError):
    """A parameter asks for an optional package that is not installed."""


def require_method(method: str, key: str) -> None:
    """Check that the package of a method is installed. ``key`` is the parameter that names the method.

    Raises:
        MissingExtraError: the method is ``umap``, and the package umap-learn is not installed.
    """
    if method == "umap" and find_spec("umap") is None:
        raise MissingExtraError(f"params.yaml: {key}: umap needs the package umap-learn; install it with: make umap")


@one_thread()  # t-SNE magnifies rounding errors
def project(codes: Codes, method: str, seed: int) -> Codes:
    """Project latent codes (N, D) to two dimensions (N, 2). Codes of one or two dimensions are returned as they are.

    Args:
        codes: latent codes (N, D).
        method: ``tsne``, ``pca`` or ``umap``.
        seed: for the randomness of the method. t-SNE uses it only in its initial PCA, and hardly depends on it.
    """
    if codes.shape[1] <= 2:
        return np.pad(codes, ((0, 0), (0, 2 - codes.shape[1])))
    offsets = codes.astype(np.float64) - codes[0]
    reach = np.abs(offsets).max()
    if reach == 0:  # all codes are equal, as after a complete collapse
        return np.zeros((len(codes), 2), np.float32)
    random_state = derive(seed, "projection") % 2**32
    match method:
        case "tsne":
            # Rescaled, because t-SNE divides by the spread of the codes, which float32 might round to zero. The scale
            # has no other effect.
            return _tsne(offsets / reach, random_state)
        case "umap":
            import umap

            return np.asarray(umap.UMAP(random_state=random_state, n_jobs=1).fit_transform(codes), np.float32)
        case _:
            from sklearn.decomposition import PCA

            return np.asarray(PCA(2, svd_solver="full").fit_transform(codes), np.float32)


def axis_names(latent_dim: int, method: str) -> tuple[str, str]:
    """The names of the two axes of a projection."""
    if latent_dim <= 2:
        return "z0", "z1" if latent_dim == 2 else "(no second dimension)"
    name = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal component"}[method]
    return f"{name} 1", f"{name} 2"


@one_thread()
def trustworthiness(codes: Codes, projection: Codes, neighbours: int) -> float:
    """How far neighbours in the projection are neighbours in the latent space, in [0, 1] (Venna & Kaski 2001).

        1 - 2 / (N·k·(2N - 3k - 1)) Σ_i Σ_j max(0, r(i, j) - k)

    over the k nearest neighbours j of i in the projection, with r(i, j) the rank of j among the neighbours of i in the
    latent space.

    Args:
        codes: latent codes (N, D).
        projection: their projected coordinates (N, 2).
        neighbours: k, below N / 2.
    """
    from sklearn import manifold

    return float(manifold.trustworthiness(codes, projection, n_neighbors=neighbours))


def _tsne(codes: NDArray[np.float64], random_state: int) -> Codes:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    tsne = TSNE(2, init="pca", perplexity=perplexity, random_state=random_state)
    return np.asarray(tsne.fit_transform(codes), np.float32)
