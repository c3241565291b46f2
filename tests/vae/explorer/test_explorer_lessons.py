"""The examples for learners."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, expect

from tests.browser import needs_chromium, opened
from tests.vae.explorer.digits import digits, mapped, trained, write_page
from tests.vae.explorer.opened_explorer import Explorer, Open
from vae.explorer.page import explorer_page
from vae.model import inference
from vae.model.vae import VAE

pytestmark = needs_chromium


def test_the_hole_is_the_emptiest_draw_from_the_prior_if_there_is_none_between_images(
    explore: Open, model: VAE
) -> None:
    with explore(model, digits()) as explorer:
        draws = torch.tensor(
            explorer.page.evaluate("Array.from({ length: 60 }, (_, i) => [...coordinates.draw(i + 1, 5)])")
        )
        distances = torch.cdist(draws, explorer.codes).min(1).values
        explorer["hole"].click()
        explorer.assert_decoded(draws[distances.argmax()])
        expect(explorer["lesson"]).to_contain_text(
            f"At draw {int(distances.argmax()) + 1} from the prior, the nearest code of a test image is "
            f"{distances.max():.2f} away"
        )
        expect(explorer["status"]).to_contain_text("At draw")
        explorer["undo"].click()
        explorer.assert_test_image(0)
        expect(explorer["lesson"]).to_be_hidden()


def test_the_hole_is_the_emptiest_place_halfway_between_two_images_if_there_are_hardly_any_codes(
    explore: Open, model: VAE
) -> None:
    """Two classes of nearly equal codes, far apart."""
    mean, log_variance = inference.encode(model, digits().images)
    first = (torch.arange(60) < 30).float()
    with torch.no_grad():
        codes = 0.01 * mean + (4 * first - 2)[:, None]
    latent_map = replace(
        mapped(model, digits()),
        images=replace(digits(), labels=first.long()),
        codes=codes,
        deviations=torch.full_like(log_variance, 1e-3),
    )
    with explore(model, digits(), latent_map=latent_map) as explorer:
        middle = (codes[:30, None] + codes[None, 30:]).flatten(0, 1) / 2
        explorer["hole"].click()
        explorer.assert_decoded(middle[torch.cdist(middle, codes).min(1).values.argmax()])
        expect(explorer["lesson"]).to_contain_text("Halfway between")
        expect(explorer["lesson"]).to_contain_text("its images are often unreal")
        expect(explorer["path"]).to_be_visible()


def test_a_lesson_stays_while_its_path_is_looked_at(explore: Open, model: VAE) -> None:
    with explore(model, digits(), active=torch.tensor([True, True, True, False, True])) as explorer:
        explorer["collapsed"].click()
        explorer["strip"].get_by_role("button").first.click()
        explorer.image()
        expect(explorer["lesson"]).to_be_visible()
        explorer["mean"].click()
        expect(explorer["lesson"]).to_be_hidden()


def test_the_collapsed_dimension_is_one_without_a_slider_from_end_to_end_of_the_prior(
    explore: Open, model: VAE
) -> None:
    with explore(model, digits(), active=torch.tensor([True, True, True, False, True])) as explorer:
        explorer["collapsed"].click()
        expect(explorer["lesson"]).to_contain_text("z3 goes from −3 to +3")
        code = explorer.codes[0].clone()
        code[3] = 3
        explorer.assert_decoded(code)


def test_lessons_that_the_data_have_no_example_of_are_not_offered(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        expect(explorer["hole"]).to_be_visible()
        expect(explorer["collapsed"]).to_be_hidden()
        expect(explorer["distances"]).to_be_hidden()  # the map is no t-SNE
    with explore(trained(digits(), steps=0, network="autoregressive"), digits()) as explorer:
        expect(explorer["try"]).to_be_hidden()


@pytest.fixture
def projected(browser: Browser, model: VAE, tmp_path: Path) -> Iterator[Explorer]:
    """A page whose map says that it is a t-SNE."""
    latent_map = replace(mapped(model, digits()), axis_names=("t-SNE 1", "t-SNE 2"))
    page = explorer_page(model, latent_map, torch.ones(5), torch.ones(5, dtype=torch.bool), "Explorer")
    with opened(browser, write_page(tmp_path, page)) as seen:
        expect(seen.page.locator("#source-caption")).to_contain_text("Test image")
        yield Explorer(seen.page, model, digits())
        assert seen.complaints == []


def test_the_example_of_distances_has_similar_codes_that_lie_far_apart_on_the_map(projected: Explorer) -> None:
    between = torch.cdist(projected.codes, projected.codes).fill_diagonal_(torch.inf)
    nearest = between.argmin(1)
    apart = (projected.places - projected.places[nearest]).norm(dim=1)
    index = int(apart.argmax())
    projected["distances"].click()
    projected.assert_test_image(index)
    expect(projected["lesson"]).to_contain_text(f"test image {100 + int(nearest[index])}", ignore_case=True)
    expect(projected["lesson"]).to_contain_text("distances between its clusters, and their sizes, mean nothing")


def test_lessons_work_without_classes(explore: Open, model: VAE) -> None:
    data = replace(digits(), labels=torch.zeros_like(digits().labels), class_names=("images",))
    with explore(model, data) as explorer:
        explorer["hole"].click()
        expect(explorer["lesson"]).to_contain_text("the nearest code of a test image is")
