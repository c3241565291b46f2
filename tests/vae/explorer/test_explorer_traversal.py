"""The images along the dimension whose slider was used last."""

import pytest
import torch
from playwright.sync_api import expect

from tests.browser import NARROW, needs_chromium
from tests.vae.explorer.digits import digits, trained
from tests.vae.explorer.opened_explorer import ONE_GREY_LEVEL, Explorer, Open
from vae.model.vae import VAE

pytestmark = needs_chromium

DRAWN = 300  # milliseconds after which the strip is drawn
VALUES = torch.arange(-3.0, 4.0)
COUNT_DRAWINGS = """() => {
    window.drawn = 0;
    const observer = new MutationObserver((changes) => (window.drawn += changes.length));
    const canvases = document.querySelectorAll("#traversal canvas");
    for (const canvas of canvases) observer.observe(canvas, { attributeFilter: ["width"] });
}"""


def assert_strip(explorer: Explorer, code: torch.Tensor, dimension: int) -> None:
    explorer.page.wait_for_timeout(DRAWN)
    for position, value in enumerate(VALUES.tolist()):
        changed = code.clone()
        changed[dimension] = value
        image = explorer.image(f"traversal button:nth-child({position + 1}) canvas")
        torch.testing.assert_close(image, explorer.expected(changed), rtol=0, atol=ONE_GREY_LEVEL)


def test_moving_a_slider_shows_the_images_along_its_dimension(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        expect(explorer["traversal"]).to_be_hidden()
        explorer["z3"].focus()
        expect(explorer["traversal"]).to_be_hidden()
        explorer.page.keyboard.press("ArrowRight")
        expect(explorer["traversed"]).to_have_text("Along z3")
        code = explorer.codes[0].clone()
        assert_strip(explorer, code, 3)
        explorer["z1"].fill("1.5")
        code[3], code[1] = float(explorer["z3"].input_value()), 1.5
        expect(explorer["traversed"]).to_have_text("Along z1")
        assert_strip(explorer, code, 1)
        explorer["mean"].click()
        assert_strip(explorer, torch.zeros(5), 1)


def test_an_image_along_a_dimension_sets_its_slider_by_mouse_and_keyboard(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer["z3"].fill("0.5")
        explorer.page.get_by_role("button", name="Set to -2").click()
        code = explorer.codes[0].clone()
        code[3] = -2
        explorer.assert_decoded(code)
        expect(explorer["z3"]).to_have_value("-2")
        marked = explorer["traversal"].locator("[aria-current=true]")
        expect(marked).to_have_text("−2")
        explorer.page.keyboard.press("Tab")
        explorer.page.keyboard.press("Enter")
        expect(marked).to_have_text("−1")
        expect(explorer["z3"]).to_have_value("-1")
        explorer["undo"].click()
        expect(explorer["z3"]).to_have_value("-2")


def test_dragging_a_slider_does_not_draw_the_images_along_it_again(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer["z3"].fill("0.5")
        explorer.page.wait_for_timeout(DRAWN)
        explorer.page.evaluate(COUNT_DRAWINGS)
        for value in ("0.6", "0.7", "-1"):
            explorer["z3"].fill(value)
            explorer.page.wait_for_timeout(DRAWN / 3)
        assert explorer.page.evaluate("drawn") == 0
        explorer["z1"].fill("1")
        explorer.page.wait_for_timeout(DRAWN)
        assert explorer.page.evaluate("drawn") == len(VALUES)


@pytest.mark.parametrize("size", [NARROW, (320, 700), (1280, 800)], ids=str)
def test_the_images_along_the_first_of_many_dimensions_are_in_view_and_hide_no_slider(
    explore: Open, size: tuple[int, int]
) -> None:
    model = trained(digits(), steps=0, latent_dim=20)
    with explore(model, digits(), size, kl=torch.arange(20, 0, -1.0)) as explorer:
        explorer["z0"].focus()
        explorer.page.keyboard.press("ArrowRight")
        expect(explorer["traversal"]).to_be_in_viewport(ratio=1)
        assert explorer.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        box = explorer["traversal"].get_by_role("button").first.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24  # WCAG 2.2, target size
        explorer["z19"].focus()
        expect(explorer["z19"]).to_be_in_viewport(ratio=1)
        slider, strip = explorer["z19"].bounding_box(), explorer["traversal"].bounding_box()
        assert slider is not None
        assert strip is not None
        assert slider["y"] + slider["height"] <= strip["y"] + 1
