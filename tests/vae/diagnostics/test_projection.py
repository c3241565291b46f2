from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from vae.diagnostics import projection

Codes = NDArray[np.float32]

METHODS = pytest.mark.parametrize("method", ["tsne", "pca", "umap"])


def gaussian(count: int, dimensions: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)


def distances(points: Codes) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(points[:, None].astype(float) - points[None].astype(float), axis=2)
    return lengths


def test_pca_projects_onto_the_first_two_singular_vectors() -> None:
    codes = gaussian(50, 5) * np.array([1, 5, 0.5, 3, 2], dtype=np.float32) + 7
    centred = codes.astype(float) - codes.astype(float).mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:2].T
    projected = projection.project(codes, "pca", seed=0)
    signs = np.sign((projected * expected).sum(0))  # a singular vector has no sign of its own
    assert projected.shape == (50, 2)
    np.testing.assert_allclose(projected * signs, expected, atol=1e-4)


@METHODS
def test_projection_of_two_dimensional_codes_is_the_codes_themselves(method: str) -> None:
    codes = gaussian(20, 2)
    np.testing.assert_array_equal(projection.project(codes, method, seed=0), codes)


@METHODS
def test_projection_of_one_dimensional_codes_lies_on_the_first_axis(method: str) -> None:
    codes = gaussian(20, 1)
    expected = np.concatenate([codes, np.zeros((20, 1))], axis=1)
    np.testing.assert_array_equal(projection.project(codes, method, seed=0), expected)


def test_tsne_repeats_bit_for_bit() -> None:
    codes = gaussian(60, 4)
    np.testing.assert_array_equal(projection.project(codes, "tsne", seed=3), projection.project(codes, "tsne", seed=3))


def test_tsne_keeps_two_blobs_apart() -> None:
    codes = np.concatenate([gaussian(40, 4, seed=1), gaussian(40, 4, seed=2) + 50])
    between = distances(projection.project(codes, "tsne", seed=0))
    nearest = np.argsort(between, axis=1)[:, 1]
    assert ((nearest < 40) == (np.arange(80) < 40)).all()
    assert between[:40, 40:].min() > np.quantile(between[:40, :40], 0.9)


def test_tsne_works_with_as_few_as_ten_points() -> None:
    projected = projection.project(gaussian(10, 4), "tsne", seed=0)
    assert projected.shape == (10, 2)
    assert np.isfinite(projected).all()
    assert (projected.std(0) > 0).all()


def test_umap_without_its_package_is_refused_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "find_spec", lambda _: None)
    with pytest.raises(projection.MissingExtraError, match=r"embed\.method: umap .*make umap") as caught:
        projection.require_method("umap", "embed.method")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("method", "installed"), [("tsne", None), ("pca", None), ("umap", object())])
def test_projection_methods_whose_package_is_installed_are_accepted(
    method: str, installed: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "find_spec", lambda _: installed)
    projection.require_method(method, "embed.method")


@pytest.mark.parametrize(
    ("dimensions", "method", "expected"),
    [
        (1, "tsne", ("z0", "(no second dimension)")),
        (2, "pca", ("z0", "z1")),
        (3, "tsne", ("t-SNE 1", "t-SNE 2")),
        (3, "umap", ("UMAP 1", "UMAP 2")),
        (3, "pca", ("principal component 1", "principal component 2")),
    ],
)
def test_axis_names_are_the_latent_dimensions_or_those_of_the_method(
    dimensions: int, method: str, expected: tuple[str, str]
) -> None:
    assert projection.axis_names(dimensions, method) == expected


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("others", [[], [1e-7]], ids=["all", "all but one"])
def test_projection_of_collapsed_codes_is_finite_and_one_point_where_all_are_equal(
    method: str, others: list[float]
) -> None:
    codes = np.full((50, 4), 0.7, dtype=np.float32)
    codes[: len(others), 1] += np.array(others, dtype=np.float32)
    projected = projection.project(codes, method, seed=0)
    assert projected.shape == (50, 2)
    assert np.isfinite(projected).all()
    if not others:
        assert not projected.any()


@pytest.mark.parametrize(
    "move",
    [lambda points: points[:, ::-1], lambda points: -3 * points + 5],
    ids=["mirrored", "turned, scaled and moved"],
)
def test_trustworthiness_of_a_projection_with_the_same_neighbours_is_one(move: Callable[[Codes], Codes]) -> None:
    points = gaussian(60, 2)
    codes = np.concatenate([points, np.zeros((60, 3), dtype=np.float32)], axis=1)
    assert projection.trustworthiness(codes, move(points), neighbours=5) == 1


def test_trustworthiness_of_a_random_projection_is_about_one_half() -> None:
    """A projected neighbour has a uniform rank r in the latent space, so Σ max(0, r - k) is about half its maximum."""
    trustworthiness = projection.trustworthiness(gaussian(200, 4, seed=1), gaussian(200, 2, seed=2), neighbours=5)
    assert trustworthiness == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("neighbours", [1, 5])
def test_trustworthiness_agrees_with_a_loop_over_its_formula(neighbours: int) -> None:
    count, codes = 30, gaussian(30, 4)
    picture = codes[:, :2] + 0.5 * gaussian(30, 2, seed=1)
    in_picture, in_codes = distances(picture), distances(codes)
    penalty = 0
    for i in range(count):
        rank = {j: rank for rank, j in enumerate(np.argsort(in_codes[i]).tolist())}  # i itself has rank 0
        nearest = [j for j in np.argsort(in_picture[i]).tolist() if j != i][:neighbours]
        penalty += sum(max(0, rank[j] - neighbours) for j in nearest)
    expected = 1 - 2 * penalty / (count * neighbours * (2 * count - 3 * neighbours - 1))
    assert 0.6 < expected < 0.99
    assert projection.trustworthiness(codes, picture, neighbours) == pytest.approx(expected, rel=1e-12)
