"""The page on which the models of two revisions are shown side by side."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from playwright.sync_api import Browser, Locator, Page, expect
from torch import Tensor

from review.explore import page_of
from review.recorded import RevisionError
from review.revisions import Revision, Value
from review.side_by_side import SideBySideError
from stages import paths
from tests.browser import NARROW, WIDE, accessibility_violations, needs_chromium, opened
from tests.vae.explorer.digits import digits, trained
from tests.vae.explorer.opened_explorer import ONE_GREY_LEVEL, intensities
from vae.base.runtime import permutation
from vae.data.images import LabelledImages, pixels, save_images
from vae.model import inference
from vae.model.model_file import save_model
from vae.model.vae import VAE

SETTINGS: dict[str, Value] = {"embed.method": "pca", "embed.points": 40, "embed.seed": 0}
CHOSEN = permutation(len(digits()), 0, "pictured images")[:40]


class Contents(NamedTuple):
    """The files in a folder."""

    folder: Path

    def read_bytes(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()


def revision(folder: Path, model: VAE, data: LabelledImages, epochs: int = 1) -> Revision:
    """A revision with test images and a model in a folder, whose name it has."""
    for path in (paths.TEST_IMAGES, paths.MODEL):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    save_images(folder / paths.TEST_IMAGES, data)
    save_model(folder / paths.MODEL, model)
    return Revision(folder.name, {**SETTINGS, "train.epochs": epochs}, {}, {}, Contents(folder))


@pytest.fixture(scope="module")
def models() -> tuple[VAE, VAE]:
    return trained(digits()), trained(digits(), steps=200, latent_dim=2)


@pytest.fixture(scope="module")
def html(models: tuple[VAE, VAE], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("revisions")
    first = revision(folder / "main", models[0], digits(), 60)
    return page_of(first, revision(folder / "workspace", models[1], digits(), 200))


@pytest.fixture
def page(html: str, browser: Browser, tmp_path: Path) -> Iterator[Page]:
    path = tmp_path / "index.html"
    path.write_text(html, encoding="utf-8")
    with opened(browser, path) as seen:
        expect(seen.page.locator("#shown")).to_contain_text("Test image")
        yield seen.page
        assert seen.requests == []
        assert seen.complaints == []


def image(canvas: Locator) -> Tensor:
    return intensities(canvas)[:, :, 0]


def assert_shows(page: Page, expected: dict[str, Tensor]) -> None:
    for name, grey in expected.items():
        torch.testing.assert_close(image(page.locator(f"#{name}")), grey, rtol=0, atol=ONE_GREY_LEVEL)


def reconstructed(model: VAE, index: int) -> Tensor:
    codes = inference.encode(model, digits().images[index : index + 1]).mean
    return inference.decode(model, codes, 0)[0, 0]


@needs_chromium
def test_both_models_reconstruct_the_same_test_image(page: Page, models: tuple[VAE, VAE]) -> None:
    for index in CHOSEN[:2].tolist():
        expect(page.locator("#shown")).to_contain_text(f"Test image {index}")
        x, (a, b) = pixels(digits().images[index, 0]), (reconstructed(model, index) for model in models)
        differences = {"difference-A": (x - a).abs(), "difference-B": (x - b).abs(), "between": (a - b).abs()}
        assert_shows(page, {"source": x, "decoded-A": a, "decoded-B": b, **differences})
        error = float(page.locator("#difference-A-caption").inner_text().split()[-1])
        assert error == pytest.approx(((x - a) ** 2).sum().item(), rel=0.01)
        page.get_by_role("button", name="Next image").click()


@needs_chromium
def test_both_models_decode_a_draw_of_the_same_seed(page: Page, models: tuple[VAE, VAE]) -> None:
    page.get_by_role("button", name="Prior draw").click()
    expect(page.locator("#shown")).to_have_text("Draw 1 from the prior")
    expect(page.locator("#source")).to_be_hidden()
    expect(page.locator("#difference-A")).to_be_hidden()
    drawn = [torch.tensor(page.evaluate(f"Array.from(coordinates.draw(1, {model.latent_dim}))")) for model in models]
    a, b = (inference.decode(model, code[None], 0)[0, 0] for model, code in zip(models, drawn, strict=True))
    assert_shows(page, {"decoded-A": a, "decoded-B": b, "between": (a - b).abs()})


@needs_chromium
@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_dot_of_either_map_selects_an_image_that_can_be_undone_and_linked(page: Page, letter: str) -> None:
    before = page.locator("#shown").inner_text()
    page.locator(f"#map-{letter}").focus()
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#shown")).not_to_have_text(before)
    expect(page.locator("#status")).to_contain_text("A: squared error")
    after, link = page.locator("#shown").inner_text(), page.url
    page.goto("about:blank")
    page.goto(link)
    expect(page.locator("#shown")).to_have_text(after)
    page.get_by_role("button", name="Prior draw").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#shown")).to_have_text(after)


@needs_chromium
def test_the_parameters_that_differ_are_listed(page: Page) -> None:
    rows = page.get_by_role("row").all_inner_texts()
    assert [row.split() for row in rows] == [["parameter", "A", "B"], ["train.epochs", "60", "200"]]


@needs_chromium
@pytest.mark.parametrize("size", [WIDE, NARROW, (320, 600)], ids=str)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window_and_axe_finds_no_violation(page: Page, size: tuple[int, int], scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a scheme
    page.set_viewport_size({"width": size[0], "height": size[1]})
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert accessibility_violations(page) == []


def test_the_same_revisions_give_the_same_bytes(models: tuple[VAE, VAE], tmp_path: Path) -> None:
    both = [revision(tmp_path / name, model, digits()) for name, model in zip("ab", models, strict=True)]
    assert page_of(*both) == page_of(*both)


def test_revisions_with_different_test_images_are_refused(models: tuple[VAE, VAE], tmp_path: Path) -> None:
    one = revision(tmp_path / "main", models[0], digits())
    other = revision(tmp_path / "workspace", models[1], digits()[torch.arange(59)])
    with pytest.raises(RevisionError, match="the test images of main and workspace differ"):
        page_of(one, other)


def test_a_revision_without_its_model_is_refused(models: tuple[VAE, VAE], tmp_path: Path) -> None:
    one = revision(tmp_path / "main", models[0], digits())
    other = revision(tmp_path / "workspace", models[1], digits())
    (tmp_path / "workspace" / paths.MODEL).unlink()
    with pytest.raises(RevisionError, match=r"models/vae.safetensors at workspace: .*run dvc pull"):
        page_of(one, other)


def test_a_damaged_model_is_named_without_a_temporary_path(models: tuple[VAE, VAE], tmp_path: Path) -> None:
    one = revision(tmp_path / "main", models[0], digits())
    (tmp_path / "main" / paths.MODEL).write_bytes(b"damaged")
    with pytest.raises(RevisionError, match=r"^main: models/vae.safetensors: "):
        page_of(one, one)


def test_a_decoder_that_the_browser_cannot_run_is_refused(models: tuple[VAE, VAE], tmp_path: Path) -> None:
    one = revision(tmp_path / "main", models[0], digits())
    slow = revision(tmp_path / "pixel", trained(digits(), steps=0, network="autoregressive"), digits())
    with pytest.raises(SideBySideError, match="pixel: the decoder of the autoregressive network does not run"):
        page_of(one, slow)
