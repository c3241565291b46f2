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
    place = any_page.evaluate("(mixture) => coordinates.mixed([4, 8, 0, 0, 0, 4], 2, mixture)", mixture)
    assert place == [1, 5]


@pytest.mark.parametrize("to", [[0.0, 0.0], [2.0, 4.0], [-1.0, -2.0]], ids=["zero", "parallel", "opposite"])
def test_an_arc_without_an_angle_is_a_line(any_page: Page, to: list[float]) -> None:
    codes = any_page.evaluate("(to) => Array.from(coordinates.between([1, 2], to, 0.5, true))", to)
    assert codes == pytest.approx([(1 + to[0]) / 2, (2 + to[1]) / 2], abs=1e-6)


# The change from A to B, added to other codes


def test_the_change_from_a_to_b_is_added_to_what_is_shown_and_then_to_what_is_chosen(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        start, end = pin_and_go(explorer)
        change = end - start
        explorer["add"].focus()
        explorer.page.keyboard.press("Enter")
        expect(explorer["add"]).to_have_attribute("aria-pressed", "true")
        explorer.assert_decoded(end + change)
        expect(explorer["path-ends"]).to_contain_text("Choose another image or place to add B − A to it.")
        index = explorer.lonely_point()
        explorer.page.mouse.click(*explorer.pixel(explorer.places[index]))
        explorer.assert_decoded(explorer.codes[index] + change)
        expect(explorer["decoded-caption"]).to_have_text("Decoded after adding B − A")
        source = f"From test image {100 + index}, labelled\u00a0{explorer.name(index)}"
        expect(explorer["source-caption"]).to_have_text(source)
        expect(explorer["path-ends"]).to_contain_text("B: test image 107")
        assert_strip(explorer, latent_space.interpolations(start[None], end[None], SHARES)[0])
        explorer["draw"].click()
        draw = torch.tensor(explorer.page.evaluate("Array.from(coordinates.draw(1, 5))"))
        explorer.assert_decoded(draw + change)
        explorer["add"].click()
        explorer.assert_decoded(draw)
        expect(explorer["add"]).to_have_attribute("aria-pressed", "false")


def test_a_sum_is_in_the_address_and_can_be_undone_and_changed_by_sliders(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        start, end = pin_and_go(explorer)
        show(explorer, "sum=image%3D103&from=image%3D100&to=image%3D107&pin=image%3D100")
        code = explorer.codes[3] + end - start
        explorer.assert_decoded(code)
        expect(explorer["add"]).to_have_attribute("aria-pressed", "true")
        explorer["z2"].fill("0.5")
        changed = code.clone()
        changed[2] = 0.5
        explorer.assert_decoded(changed)
        expect(explorer["decoded-caption"]).to_have_text("Decoded after adding B − A and changing z2")
        explorer["reset"].click()
        explorer.assert_decoded(code)
        explorer["strip"].get_by_role("button").nth(4).click()
        explorer.assert_decoded((start + end) / 2)
        explorer["undo"].click()
        expect(explorer["decoded-caption"]).to_have_text("Decoded after adding B − A")
        explorer.assert_decoded(code)


def test_a_sum_can_be_pinned_itself(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        start, end = pin_and_go(explorer)
        show(explorer, "sum=image%3D103&from=image%3D100&to=image%3D107&pin=image%3D100")
        explorer["pin"].click()
        show(explorer, f"{explorer.page.url.split('#')[1].replace('sum=image%3D103', 'sum=image%3D104')}")
        codes = [explorer.codes[index] + end - start for index in (3, 4)]
        assert_strip(explorer, latent_space.interpolations(codes[0][None], codes[1][None], SHARES)[0])


@pytest.mark.parametrize("text", ["sum=image%3D100&from=mean", "sum=image%3D1&from=mean&to=mean"])
def test_a_sum_in_the_address_that_leads_nowhere_is_refused(explore: Open, model: VAE, text: str) -> None:
    with explore(model, digits()) as explorer:
        show(explorer, text)
        explorer.assert_test_image(0)
