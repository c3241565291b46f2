"""The way between two codes: the strip of decoded images and the path on the map."""

import pytest
import torch
from playwright.sync_api import Page, expect
from torch import Tensor

from tests.browser import NARROW, needs_chromium
from tests.vae.explorer.digits import digits, trained
from tests.vae.explorer.opened_explorer import NEXT_FRAME, ONE_GREY_LEVEL, Explorer, Open
from vae.model import latent_space
from vae.model.vae import VAE

pytestmark = needs_chromium

DRAWN = 300  # milliseconds after which the strip is drawn
SHARES = torch.linspace(0, 1, 9)


def show(explorer: Explorer, fragment: str) -> None:
    explorer.page.evaluate("(hash) => { location.hash = hash; }", fragment)
    explorer.page.wait_for_timeout(DRAWN)


def pin_and_go(explorer: Explorer) -> tuple[Tensor, Tensor]:
    """Pin the first test image, and go to the eighth."""
    explorer["pin"].click()
    explorer["z1"].focus()  # no pointer is on the map
    show(explorer, "image=107&pin=image%3D100")
    return explorer.codes[0], explorer.codes[7]


def strip(explorer: Explorer) -> list[Tensor]:
    explorer.page.wait_for_timeout(DRAWN)
    return [explorer.image(f"strip button:nth-child({step}) canvas") for step in range(1, 10)]


def assert_strip(explorer: Explorer, codes: Tensor) -> None:
    for image, code in zip(strip(explorer), codes, strict=True):
        torch.testing.assert_close(image, explorer.expected(code), rtol=0, atol=ONE_GREY_LEVEL)


def test_without_a_pinned_code_there_is_no_strip(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        expect(explorer["path"]).to_be_hidden()
        explorer["pin"].click()
        expect(explorer["path"]).to_be_visible()
        explorer["unpin"].click()
        expect(explorer["path"]).to_be_hidden()
        expect(explorer["pin"]).to_be_focused()


def test_the_strip_shows_images_decoded_on_a_straight_line_or_an_arc(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        start, end = pin_and_go(explorer)
        assert_strip(explorer, latent_space.interpolations(start[None], end[None], SHARES)[0])
        expect(explorer["path-ends"]).to_have_text(
            f"A: test image 100, labelled\u00a0{explorer.name(0)}. B: test image 107, labelled\u00a0{explorer.name(7)}."
        )
        explorer["spherical"].click()
        expect(explorer["spherical"]).to_have_attribute("aria-pressed", "true")
        expect(explorer["straight"]).to_have_attribute("aria-pressed", "false")
        assert_strip(explorer, latent_space.spherical_interpolations(start[None], end[None], SHARES)[0])


def test_the_strip_follows_the_code_that_is_shown(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        start, end = pin_and_go(explorer)
        explorer["z1"].fill("1.5")
        moved = end.clone()
        moved[1] = 1.5
        assert_strip(explorer, latent_space.interpolations(start[None], moved[None], SHARES)[0])


def test_an_image_of_the_strip_is_gone_to_and_the_strip_stays(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        start, end = pin_and_go(explorer)
        before = strip(explorer)
        third = explorer["strip"].get_by_role("button").nth(2)
        third.click()
        explorer.assert_decoded(torch.lerp(start, end, 0.25))
        assert all(torch.equal(one, other) for one, other in zip(before, strip(explorer), strict=True))
        expect(third).to_have_attribute("aria-current", "true")
        expect(explorer["decoded-caption"]).to_have_text("Decoded 2/8 of the way from A to B")
        explorer["strip"].get_by_role("button").last.click()
        explorer.assert_test_image(7)
        explorer["undo"].click()
        expect(explorer["decoded-caption"]).to_have_text("Decoded 2/8 of the way from A to B")


def test_the_other_way_moves_an_image_between_a_and_b(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        start, end = pin_and_go(explorer)
        explorer["strip"].get_by_role("button").nth(4).click()
        explorer["spherical"].click()
        explorer.assert_decoded(
            latent_space.spherical_interpolations(start[None], end[None], torch.tensor([0.5]))[0, 0]
        )


def test_the_pinned_code_the_way_and_the_image_are_in_the_address_and_can_be_undone(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        pin_and_go(explorer)
        explorer["spherical"].click()
        explorer["strip"].get_by_role("button").nth(3).click()
        link, shown = explorer.page.url, explorer.image()
        images = strip(explorer)
        explorer.page.goto("about:blank")
        explorer.page.goto(link)
        expect(explorer["decoded-caption"]).to_have_text("Decoded 3/8 of the way from A to B")
        assert torch.equal(explorer.image(), shown)
        assert all(torch.equal(one, other) for one, other in zip(images, strip(explorer), strict=True))
        explorer["unpin"].click()
        expect(explorer["path"]).to_be_hidden()
        explorer["undo"].click()
        expect(explorer["path"]).to_be_visible()
        explorer["redo"].click()
        expect(explorer["path"]).to_be_hidden()


@pytest.mark.parametrize("text", ["line=0.5&from=image%3D100&to=image%3D1", "arc=2&from=mean&to=mean", "line=&to=mean"])
def test_a_path_in_the_address_that_leads_nowhere_is_refused(explore: Open, model: VAE, text: str) -> None:
    with explore(model, digits()) as explorer:
        show(explorer, text)
        explorer.assert_test_image(0)


def test_pinning_is_announced_once(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer["pin"].click()
        expect(explorer["status"]).to_contain_text("Pinned as A. Test image 100")
        explorer["draw"].click()
        expect(explorer["status"]).to_contain_text("Decoded draw 1")
        assert "Pinned" not in (explorer["status"].text_content() or "")


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_the_path_is_drawn_on_the_map(explore: Open, latent_dim: int) -> None:
    with explore(trained(digits(), latent_dim=latent_dim), digits()) as explorer:
        show(explorer, "image=107")
        explorer.page.evaluate(NEXT_FRAME)
        before = explorer.image("map")
        show(explorer, "image=107&pin=image%3D100")
        assert not torch.equal(explorer.image("map"), before)


def test_a_path_is_no_wider_than_a_phone(explore: Open, model: VAE) -> None:
    with explore(model, digits(), NARROW) as explorer:
        pin_and_go(explorer)
        assert explorer.page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
        box = explorer["strip"].get_by_role("button").first.bounding_box()
        assert box is not None
        assert box["width"] >= 24  # WCAG 2.2, target size


def test_places_are_averaged_by_their_shares(any_page: Page) -> None:
    mixture = [{"index": 0, "share": 0.25}, {"index": 2, "share": 0.75}]
    place = any_page.evaluate("(mixture) => coordinates.mixedPlace([4, 8, 0, 0, 0, 4], mixture)", mixture)
    assert place == [1, 5]


@pytest.mark.parametrize("to", [[0.0, 0.0], [2.0, 4.0], [-1.0, -2.0]], ids=["zero", "parallel", "opposite"])
def test_an_arc_without_an_angle_is_a_line(any_page: Page, to: list[float]) -> None:
    codes = any_page.evaluate("(to) => Array.from(coordinates.between([1, 2], to, 0.5, true))", to)
    assert codes == pytest.approx([(1 + to[0]) / 2, (2 + to[1]) / 2], abs=1e-6)
