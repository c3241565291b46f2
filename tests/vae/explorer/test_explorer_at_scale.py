"""The page with many points, dimensions and classes, and with more than fits."""

import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import expect

from tests.browser import NARROW, needs_chromium
from tests.vae.explorer.digits import coloured, digits, trained
from tests.vae.explorer.opened_explorer import NEXT_FRAME, Explorer, Open, mixed_code
from vae.data.images import LabelledImages
from vae.model import inference

pytestmark = needs_chromium

LONGEST_FRAME = 500  # milliseconds for a map of 10,000 points; it takes a twentieth of that where nothing else runs


def ten_thousand() -> LabelledImages:
    """Images of noise, all different, in ten classes."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (10_000, 1, 8, 8), dtype=torch.uint8, generator=random)
    return LabelledImages(images, torch.arange(10_000) % 10, tuple("0123456789"))


def middle(explorer: Explorer) -> tuple[float, float]:
    box = explorer["map"].bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


# The map


def test_a_map_of_ten_thousand_points_is_drawn_and_searched_at_once(explore: Open) -> None:
    data = ten_thousand()
    with explore(trained(data, steps=0), data) as explorer:
        assert explorer["map"].get_attribute("aria-label") == "Map of 10,000 test images"
        for action in (
            "document.getElementById('zoom-in').click()",
            "document.querySelector('.legend button').click()",
            "document.getElementById('show-contours').click()",
            "document.getElementById('show-draws').click()",
        ):
            duration = explorer.page.evaluate(
                f"""async () => {{
                    const start = performance.now();
                    {action};
                    await new Promise(requestAnimationFrame);
                    await new Promise(requestAnimationFrame);
                    return performance.now() - start;
                }}"""
            )
            assert duration < LONGEST_FRAME
        explorer["whole"].click()
        explorer.page.mouse.click(*middle(explorer))
        expect(explorer["source-caption"]).not_to_have_text("Test image 100, labelled\u00a00")


def test_the_wheel_zooms_in_on_the_pointer_and_the_button_shows_the_whole_map_again(explore: Open) -> None:
    with explore(trained(digits()), digits()) as explorer:
        whole = explorer["map"].evaluate("(canvas) => canvas.toDataURL()")
        index = explorer.lonely_point()
        x, y = explorer.pixel(explorer.places[index])
        explorer.page.mouse.move(x, y)
        for _ in range(2):  # by 3.3 in all; the pointer is within a pixel of the point, which the zoom enlarges
            explorer.page.mouse.wheel(0, -300)
        expect(explorer["whole"]).to_be_enabled()
        explorer.page.mouse.click(x, y)  # where it was, since that is where it zooms
        explorer.assert_test_image(index)
        explorer["whole"].click()
        expect(explorer["whole"]).to_be_disabled()
        explorer.page.mouse.click(*middle(explorer))
        explorer.page.mouse.click(*explorer.pixel(explorer.places[0]))
        explorer.assert_test_image(0)
        explorer.page.mouse.move(0, 0)
        explorer.page.evaluate(NEXT_FRAME)
        assert explorer["map"].evaluate("(canvas) => canvas.toDataURL()") == whole


def test_a_zoomed_map_is_moved_by_dragging_with_shift_and_follows_the_crosshair(explore: Open) -> None:
    with explore(trained(digits()), digits()) as explorer:
        explorer["map"].focus()
        for _ in range(4):
            explorer.page.keyboard.press("+")
        x, y = middle(explorer)
        before = explorer["map"].screenshot()
        explorer.page.keyboard.down("Shift")
        explorer.page.mouse.move(x, y)
        explorer.page.mouse.down()
        explorer.page.mouse.move(x - 60, y - 40)
        explorer.page.mouse.up()
        explorer.page.keyboard.up("Shift")
        assert explorer["map"].screenshot() != before
        for _ in range(40):
            explorer.page.keyboard.press("Shift+ArrowLeft")
        box = explorer["map"].bounding_box()
        assert box is not None
        left = explorer.place(box["x"], y)[0]
        explorer.page.keyboard.press("0")
        expect(explorer["whole"]).to_be_disabled()
        explorer.page.mouse.click(*explorer.pixel(torch.tensor([float(left), float(explorer.place(x, y)[1])])))
        code = mixed_code(explorer.places, explorer.codes, torch.stack([left, explorer.place(x, y)[1]]))
        explorer.assert_decoded(code)


def test_two_fingers_zoom_the_map(explore: Open) -> None:
    with explore(trained(digits()), digits(), NARROW, has_touch=True) as explorer:
        x, y = middle(explorer)
        session = explorer.page.context.new_cdp_session(explorer.page)
        for step in range(6):
            points = [{"x": x - 20 - 10 * step, "y": y, "id": 0}, {"x": x + 20 + 10 * step, "y": y, "id": 1}]
            kind = "touchMove" if step else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(explorer["whole"]).to_be_enabled()
        assert explorer.page.evaluate("visualViewport.scale") == 1


# Dimensions


def test_of_two_hundred_dimensions_the_first_twenty_have_sliders_and_the_others_are_found(explore: Open) -> None:
    model = trained(digits(), steps=0, latent_dim=200)
    with explore(model, digits(), kl=torch.arange(200, 0, -1.0)) as explorer:
        sliders = explorer.page.get_by_role("slider")
        expect(sliders).to_have_count(20)
        search = explorer.page.get_by_label("Find a dimension")
        search.fill("19")
        expect(sliders).to_have_count(11)  # z19 and z190 to z199
        search.fill("Z150")
        expect(sliders).to_have_count(1)
        explorer["z150"].fill("2")
        code = explorer.codes[0].clone()
        code[150] = 2
        explorer.assert_decoded(code)
        search.fill("200")
        expect(explorer["none-found"]).to_be_visible()
        search.fill("")
        explorer.page.get_by_role("button", name="Show all 200").click()
        expect(sliders).to_have_count(200)


def test_few_dimensions_are_not_searched(explore: Open) -> None:
    with explore(trained(digits(), steps=0), digits()) as explorer:
        assert explorer.page.get_by_label("Find a dimension").count() == 0


# Classes


@pytest.mark.parametrize("size", [(1280, 800), (1000, 600), NARROW], ids=str)
@pytest.mark.parametrize("count", [2, 20, 50, 200])
def test_long_names_of_classes_leave_room_for_the_map(explore: Open, size: tuple[int, int], count: int) -> None:
    names = tuple(f"class number {index} with a long name" for index in range(count))
    data = LabelledImages(digits().images, torch.arange(60) % count, names)
    with explore(trained(data, steps=0), data, size) as explorer:
        box = explorer["map"].bounding_box()
        assert box is not None
        assert box["height"] >= 300
        assert box["width"] >= 300
        assert (
            explorer["source-caption"].text_content() == "Test image 100, labelled\u00a0class number 0 with a long name"
        )
        assert "class class" not in explorer.page.locator("body").inner_text()


# More than fits


def test_dots_without_a_picture_are_decoded_and_the_page_says_why_they_have_none(explore: Open) -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (300, 1, 16, 16), dtype=torch.uint8, generator=random)
    data = LabelledImages(images, torch.arange(300) % 2, ("even", "odd"))
    model = trained(data, steps=0, latent_dim=8)
    with explore(model, data, budget=135_000) as explorer:
        assert "of the dots have a picture" in explorer["size-note"].inner_text()
        pictures = explorer.page.evaluate("JSON.parse(document.getElementById('content').textContent).pictures")
        assert pictures < 300
        distances = torch.cdist(explorer.places, explorer.places).fill_diagonal_(torch.inf).min(1).values
        distances[:pictures] = 0
        index = int(distances.argmax())
        explorer.page.mouse.click(*explorer.pixel(explorer.places[index]))
        caption = f"Test image {100 + index}, labelled\u00a0{explorer.name(index)}"
        expect(explorer["source-caption"]).to_have_text(caption)
        expect(explorer["source-absent"]).to_contain_text("has no picture")


def test_a_decoder_in_eight_bits_decodes_colour_of_64_by_64_pixels_as_pytorch_does_but_for_rounding(
    explore: Open,
) -> None:
    small = coloured(digits())
    data = LabelledImages(
        small.images.repeat_interleave(8, 2).repeat_interleave(8, 3), small.labels, small.class_names, small.kind
    )
    model = trained(data, steps=4, network="conv", hidden_dims=(400,), channels=32, latent_dim=20)
    with explore(model, data) as explorer:
        footer = explorer.page.locator("footer").inner_text()
        assert "weights in 8-bit blocks" in footer
        error = float(footer.split("by at most ")[1].split()[0])
        difference = (explorer.image() - explorer.expected(explorer.codes[0])).abs().max()
        assert difference <= error + 1 / 255
        assert F.mse_loss(explorer.image(), explorer.expected(explorer.codes[0])) < 1e-3
        assert inference.decode(model, explorer.codes[:1], 0).shape == (1, 3, 64, 64)
