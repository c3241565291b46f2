import json
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from torch import Tensor

from tests.browser import NARROW, WIDE, needs_chromium
from tests.settings import LIKELIHOODS, architecture
from tests.vae.explorer.digits import codes, coloured, digits, enlarged, page_of, trained, write_page
from tests.vae.explorer.opened_explorer import ONE_GREY_LEVEL, Open, mixed_code
from vae.data.images import ImageShape, LabelledImages, pixels
from vae.explorer import weights
from vae.explorer.weights import Precision
from vae.model import inference
from vae.model.networks import mlp
from vae.model.networks.network import ACTIVATIONS
from vae.model.vae import VAE

pytestmark = needs_chromium

LONGEST_LOAD = 3_000  # milliseconds; it takes a tenth of that where nothing else runs
# In intensities, of images of a small decoder.
LARGEST_ERROR = {Precision.FLOAT32: 1e-5, Precision.BITS_16: 1e-3, Precision.BITS_8: 0.15, Precision.BITS_6: 0.5}
DEFAULTS: dict[str, Any] = {"hidden_dims": (400,), "channels": 32, "latent_dim": 20}

# As text, since Playwright takes seconds for a list of a million numbers.
DECODE = """([description, codes]) => {
    const decode = decoding.decoder(description ?? JSON.parse(document.getElementById("content").textContent).decoder);
    return JSON.stringify(codes.map((code) => Array.from(decode(code))));
}"""


def decoded(page: Page, codes: Tensor, description: dict[str, Any] | None = None) -> Tensor:
    """What a page decodes codes (N, D) to, by its own decoder or the one that is described: (N, pixels)."""
    return torch.tensor(json.loads(page.evaluate(DECODE, [description, codes.tolist()])))


# Decoding


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_browser_decodes_codes_of_images_as_pytorch_does(
    any_page: Page, network: str, activation: str, likelihood: str
) -> None:
    model = trained(digits(), network=network, activation=activation, likelihood=likelihood)
    z = codes(model, digits())
    assert model.decoder.layers is not None
    for precision, tolerance in LARGEST_ERROR.items():
        description = weights.description(model.decoder.layers, likelihood, precision)
        images = decoded(any_page, z, description).view(-1, 1, 8, 8)
        reference = weights.rounded(model, precision)
        torch.testing.assert_close(images, inference.decode(reference, z, 0), rtol=0, atol=1e-5)
        torch.testing.assert_close(images, inference.decode(model, z, 0), rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 21, 34)], ids=str)
@pytest.mark.parametrize("residual_blocks", [0, 2])
def test_the_browser_decodes_images_of_odd_sizes_with_residual_blocks_as_pytorch_does(
    any_page: Page, shape: ImageShape, residual_blocks: int
) -> None:
    torch.manual_seed(0)
    sizes = {"image_shape": shape, "latent_dim": 5, "hidden_dims": (7,), "residual_blocks": residual_blocks}
    model = VAE(architecture(network="conv", likelihood="gaussian", activation="silu", **sizes))
    with torch.no_grad():
        for weight in model.decoder.parameters():  # residual blocks start as the identity
            weight.uniform_(-0.2, 0.2)
    assert model.decoder.layers is not None
    z = torch.randn(3, 5)
    description = weights.description(model.decoder.layers, "gaussian", Precision.FLOAT32)
    images = decoded(any_page, z, description).view(-1, *shape)
    expected = inference.decode(model, z, 0)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_expected_pixels_are_those_of_pytorch_for_outputs_from_far_below_zero_to_far_above(
    any_page: Page, likelihood: str
) -> None:
    """A linear decoder whose pixels are multiples of the code; the series and the closed form meet at ¼."""
    model = trained(digits(), steps=0, latent_dim=1, hidden_dims=(), likelihood=likelihood)
    assert isinstance(model.decoder, mlp.Decoder)
    with torch.no_grad():
        model.decoder.output.weight.fill_(1)
        model.decoder.output.bias.zero_()
    z = torch.tensor([-1000, -90, -5, -0.3, -0.25, -0.2499, -1e-3, -1e-20, 0, 1e-20, 1e-3, 0.2499, 0.25, 5, 90, 1000])
    description = weights.description(model.decoder.layers, likelihood, Precision.FLOAT32)
    images = decoded(any_page, z.unsqueeze(1), description).view(-1, 1, 8, 8)
    # Where the scale of a logistic distribution is large, PyTorch's float32 loses digits to cancellation.
    tolerance = 3e-5 if likelihood.startswith("discretized") else 1e-6
    torch.testing.assert_close(images, inference.decode(model, z.unsqueeze(1), 0), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_those_of_pytorch_from_far_below_zero_to_far_above(any_page: Page, activation: str) -> None:
    x = torch.linspace(-30, 30, 1201)
    description = {"layers": [{"kind": activation}], "likelihood": "gaussian", "precision": "float32", "weights": ""}
    (result,) = decoded(any_page, x[None], description)
    expected = ACTIVATIONS[activation]()(x.double())  # float32 has no digits left of a GELU far below zero
    torch.testing.assert_close(result.double(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("precision", Precision)
def test_numbers_are_read_as_they_were_written(any_page: Page, precision: Precision) -> None:
    torch.manual_seed(0)
    numbers = torch.randn(700) * torch.logspace(-8, 3, 700)
    text = weights.encoded(numbers, precision)
    assert len(text) == weights.encoded_length(700, precision)
    read = any_page.evaluate("([text, name]) => Array.from(decoding.numbers(text, name))", [text, precision])
    assert read[:700] == weights.as_read(numbers, precision).tolist()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more"),
    [(4, 2, 1, 0), (3, 1, 0, 0), ((3, 5), (2, 3), (1, 2), (1, 0)), (2, 3, 0, 1), (5, 1, 4, 0)],
    ids=str,
)
def test_transposed_convolutions_of_any_size_are_those_of_pytorch(
    any_page: Page, kernel: Any, stride: Any, padding: Any, more: Any
) -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Unflatten(1, (2, 4, 6)), torch.nn.ConvTranspose2d(2, 3, kernel, stride, padding, more)]
    numbers = torch.cat([weight.detach().flatten() for weight in layers[1].parameters()])
    description = {
        "layers": [weights.described(layer) for layer in layers],
        "likelihood": "gaussian",
        "precision": "float32",
        "weights": weights.encoded(numbers),
    }
    z = torch.randn(3, 48)
    with torch.no_grad():
        expected = torch.nn.Sequential(*layers)(z).flatten(1)
    result = decoded(any_page, z, description)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("network", "precision"), [("mlp", "float32"), ("conv", "16-bit blocks")])
def test_a_page_of_the_default_model_of_28_by_28_pixels_decodes_as_pytorch_does(
    explore: Open, network: str, precision: str
) -> None:
    data = enlarged(digits())
    model = trained(data, steps=8, network=network, **DEFAULTS)
    with explore(model, data) as explorer:
        assert f"weights in {precision}" in explorer.page.locator("footer").inner_text()
        images = decoded(explorer.page, explorer.codes).view(-1, *data.shape)
        torch.testing.assert_close(images, inference.decode(model, explorer.codes, 0), rtol=0, atol=1e-3)


# The interface


def test_coordinates_have_a_sign_and_zero_has_none(any_page: Page) -> None:
    words = any_page.evaluate("[1.234, -0.5, 0.004, -0.004, 0].map(captions.signed)")
    assert words == ["+1.23", "−0.50", "0.00", "0.00", "0.00"]


def test_a_page_loads_offline_without_delay(explore: Open) -> None:
    data = enlarged(digits())
    with explore(trained(data, steps=0, network="conv", **DEFAULTS), data) as explorer:
        timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        assert explorer.page.evaluate(timing) < LONGEST_LOAD


def test_the_page_opens_with_a_test_image_and_its_reconstruction(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer.assert_test_image(0)
        explorer.assert_decoded(explorer.codes[0])


def test_images_of_three_channels_are_shown_in_colour(explore: Open) -> None:
    data = coloured(digits())
    with explore(trained(data), data) as explorer:
        explorer.assert_test_image(0)
        explorer.assert_decoded(explorer.codes[0])


def test_a_slider_moved_by_keyboard_changes_its_dimension_and_no_other(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        before = float(explorer["z3"].input_value())
        explorer["z3"].focus()
        for _ in range(20):
            explorer.page.keyboard.press("ArrowRight")
        code = explorer.codes[0].clone()
        code[3] = float(explorer["z3"].input_value())
        assert code[3].item() == pytest.approx(before + 1)
        explorer.assert_decoded(code)
        assert (explorer.expected(code) - explorer.expected(explorer.codes[0])).abs().max() > 5 * ONE_GREY_LEVEL
        assert explorer["decoded-caption"].text_content() == "Decoded after changing z3"
        assert explorer["source-caption"].text_content() == f"From test image 100, labelled\u00a0{explorer.name(0)}"

        explorer.page.get_by_role("button", name="Reset sliders").click()
        explorer.assert_decoded(explorer.codes[0])


def test_sliders_reach_every_code_and_three_standard_deviations(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        largest = max(3.0, explorer.codes.abs().max().item())
        for dimension in range(5):
            slider = explorer[f"z{dimension}"]
            high = float(slider.get_attribute("max") or "nan")
            assert largest <= high < largest + 0.2
            assert slider.get_attribute("min") == f"-{slider.get_attribute('max')}"
            assert slider.evaluate("(input) => input.labels[0].textContent").startswith(f"z{dimension} ")


def test_pressing_a_point_shows_its_image_and_reconstruction(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        index = explorer.lonely_point()
        x, y = explorer.pixel(explorer.places[index])
        explorer.page.mouse.click(x + 2, y - 2)
        explorer.assert_test_image(index)
        explorer.assert_decoded(explorer.codes[index])


def test_pressing_a_place_between_points_decodes_the_average_of_the_nearest_codes(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        x, y = explorer.empty_pixel()
        explorer.page.mouse.click(x, y)
        explorer.assert_decoded(mixed_code(explorer.places, explorer.codes, explorer.place(x, y)))
        assert explorer["source-caption"].text_content() == "Average of these codes"


def test_dragging_over_the_map_decodes_on_the_way(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        x, y = explorer.empty_pixel()
        explorer.page.mouse.move(x - 30, y)
        explorer.page.mouse.down()
        explorer.page.mouse.move(x - 10, y)
        explorer.page.mouse.move(x, y)
        explorer.assert_decoded(mixed_code(explorer.places, explorer.codes, explorer.place(x, y)))
        explorer.page.mouse.up()


def test_pointing_at_a_point_shows_image_class_and_number(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        index = explorer.lonely_point()
        x, y = explorer.pixel(explorer.places[index])
        assert explorer["tooltip"].is_hidden()
        explorer.page.mouse.move(x, y)
        assert explorer["tooltip"].inner_text().split("\n") == [
            explorer.name(index),
            f"test image {100 + index}",
        ]
        shown = explorer.image("tooltip canvas")[4::9, 4::9]
        torch.testing.assert_close(shown[:, :, 0], pixels(digits().images[index, 0]), rtol=0, atol=1e-6)
        explorer.page.mouse.move(*explorer.empty_pixel())
        assert explorer["tooltip"].is_hidden()


def test_arrow_keys_move_the_crosshair_and_enter_takes_the_nearest_point(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        box = explorer["map"].bounding_box()
        assert box is not None
        explorer["map"].focus()
        x, y = explorer.pixel(explorer.places[0])
        for key, across, down in [("ArrowRight", 1 / 80, 0.0), ("Shift+ArrowUp", 0.0, -1 / 12)]:
            explorer.page.keyboard.press(key)
            x, y = x + across * box["width"], y + down * box["width"]
            explorer.assert_decoded(mixed_code(explorer.places, explorer.codes, explorer.place(x, y)))
        nearest = int((explorer.places - explorer.place(x, y)).norm(dim=1).argmin())
        explorer.page.keyboard.press("Enter")
        explorer.assert_test_image(nearest)
        explorer.assert_decoded(explorer.codes[nearest])
        assert explorer["tooltip"].is_visible()
        explorer.page.keyboard.press("Escape")
        assert explorer["tooltip"].is_hidden()


def test_the_crosshair_stays_on_the_map(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer["map"].focus()
        for _ in range(15):
            explorer.page.keyboard.press("Shift+ArrowLeft")
        for _ in range(15):
            explorer.page.keyboard.press("Shift+ArrowDown")
        box = explorer["map"].bounding_box()
        assert box is not None
        corner = explorer.place(box["x"], box["y"] + box["height"])
        explorer.assert_decoded(mixed_code(explorer.places, explorer.codes, corner))


def test_screen_readers_are_told_what_is_shown_once_it_stops_changing(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer["map"].focus()
        assert explorer["status"].get_attribute("aria-live") == "polite"
        explorer.page.keyboard.press("ArrowRight")
        explorer.page.keyboard.press("Enter")
        expect(explorer["status"]).to_contain_text("Test image")
        assert (
            explorer["status"].text_content() == f"{explorer['source-caption'].text_content()}. Decoded from its code"
        )


def test_pressing_a_class_dims_the_others_on_the_map(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        button = explorer.page.get_by_role("button", name="7", exact=True)
        assert button.get_attribute("aria-pressed") == "false"
        plain = explorer["map"].screenshot()
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert explorer["map"].screenshot() != plain
        explorer["map"].focus()
        explorer.page.keyboard.press("Enter")
        expect(explorer["source-caption"]).to_contain_text("labelled\u00a07")
        button.click()
        assert button.get_attribute("aria-pressed") == "false"


def test_buttons_decode_the_mean_of_the_prior_and_draws_from_it(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer.page.get_by_role("button", name="Prior mean").click()
        explorer.assert_decoded(torch.zeros(5))
        assert explorer["source"].is_hidden()
        explorer.page.get_by_role("button", name="Prior draw").click()
        explorer.assert_decoded(torch.tensor(explorer.page.evaluate("Array.from(coordinates.draw(1, 5))")))
        assert explorer["decoded-caption"].text_content() == "Decoded draw 1 from the prior"


def test_draws_are_standard_normal_and_the_same_for_the_same_seed(any_page: Page) -> None:
    draws = "[1, 1, 2].map((seed) => Array.from(coordinates.draw(seed, 20000)))"
    first, again, other = torch.tensor(any_page.evaluate(draws), dtype=torch.float64)
    assert torch.equal(first, again)
    assert abs(torch.corrcoef(torch.stack([first, other]))[0, 1]) < 0.03
    expected = torch.distributions.Normal(0, 1).cdf(first.sort().values)
    steps = (torch.arange(20_000) + 0.5) / 20_000
    assert (expected - steps).abs().max() < 0.012  # Kolmogorov-Smirnov at 1%
    lagged = torch.corrcoef(torch.stack([first[1:], first[:-1]]))[0, 1]
    assert abs(lagged) < 0.03


def test_in_two_dimensions_a_place_is_the_code_and_sliders_move_the_crosshair(explore: Open) -> None:
    model = trained(digits(), latent_dim=2)
    with explore(model, digits()) as explorer:
        x, y = explorer.empty_pixel()
        explorer.page.mouse.click(x, y)
        explorer.assert_decoded(explorer.place(x, y))
        explorer["z0"].fill("1.5")
        code = torch.tensor([1.5, explorer.place(x, y)[1]])
        explorer.assert_decoded(code)
        explorer["map"].focus()
        explorer.page.keyboard.press("ArrowUp")
        moved_x, moved_y = explorer.pixel(code)
        box = explorer["map"].bounding_box()
        assert box is not None
        explorer.assert_decoded(explorer.place(moved_x, moved_y - box["width"] / 80))


def test_in_one_dimension_a_place_is_the_code_from_left_to_right(explore: Open) -> None:
    with explore(trained(digits(), latent_dim=1), digits()) as explorer:
        explorer.places = torch.stack([explorer.codes[:, 0], -digits().labels.float()], 1)
        for place in ([0.5, -2.5], [0.5, -7.5]):
            explorer.page.mouse.click(*explorer.pixel(torch.tensor(place)))
            explorer.assert_decoded(torch.tensor([0.5]))
        index = explorer.lonely_point()
        explorer.page.mouse.click(*explorer.pixel(explorer.places[index]))
        explorer.assert_test_image(index)
        explorer.assert_decoded(explorer.codes[index])


def test_dimensions_that_are_not_active_keep_the_value_that_the_code_has(explore: Open, model: VAE) -> None:
    active = torch.tensor([False, True, True, True, False])
    with explore(model, digits(), active=active) as explorer:
        assert explorer.page.get_by_role("slider").count() == 3
        explorer["z2"].fill("-2")
        code = explorer.codes[0].clone()
        code[2] = -2
        explorer.assert_decoded(code)


def test_without_active_dimensions_nothing_can_be_moved_but_all_is_shown(explore: Open, model: VAE) -> None:
    with explore(model, digits(), active=torch.zeros(5, dtype=torch.bool)) as explorer:
        assert explorer.page.get_by_role("slider").count() == 0
        explorer.assert_decoded(explorer.codes[0])
        explorer.page.get_by_role("button", name="Prior mean").click()
        explorer.assert_decoded(torch.zeros(5))


def test_where_all_codes_are_the_same_every_place_decodes_to_that_code(explore: Open) -> None:
    """After a complete collapse, where all points are projected to one place."""
    collapsed = trained(digits(), steps=0)
    with torch.no_grad():
        for weight in collapsed.encoder.parameters():
            weight.zero_()
    with explore(collapsed, digits()) as explorer:
        explorer.assert_decoded(torch.zeros(5))
        box = explorer["map"].bounding_box()
        assert box is not None
        explorer.page.mouse.click(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
        explorer.assert_decoded(torch.zeros(5))


@pytest.mark.parametrize("reason", ["autoregressive", "too large"])
def test_without_a_decoder_the_map_still_shows_test_images(explore: Open, model: VAE, reason: str) -> None:
    if reason == "autoregressive":
        model = trained(digits(), steps=0, network="autoregressive")
    with explore(model, digits(), budget=20_000 if reason == "too large" else 5_000_000) as explorer:
        assert reason in explorer["no-decoder"].inner_text()
        assert explorer.page.get_by_role("slider").count() == 0
        index = explorer.lonely_point()
        x, y = explorer.pixel(explorer.places[index])
        explorer.page.mouse.move(x, y)
        assert explorer["tooltip"].is_visible()
        explorer.page.mouse.click(x, y)
        explorer.assert_test_image(index, 0.5 if reason == "too large" else 1e-6)  # it is compressed
        explorer.page.mouse.click(*explorer.empty_pixel())
        expect(explorer["source-caption"]).to_have_text("Nearest test images")
        explorer["map"].focus()
        explorer.page.keyboard.press("Enter")
        expect(explorer["source-caption"]).to_contain_text("Test image")


@pytest.mark.parametrize("latent_dim", [1, 2, 12])
@pytest.mark.parametrize("size", [NARROW, (320, 600), WIDE, (1000, 600)], ids=str)
def test_nothing_is_wider_than_the_window(explore: Open, latent_dim: int, size: tuple[int, int]) -> None:
    names = ("Ankle boot", "T-shirt/top", *digits().class_names[2:])
    data = LabelledImages(digits().images, digits().labels, names)
    with explore(trained(data, steps=0, latent_dim=latent_dim), data, size) as explorer:
        assert explorer.page.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["phone", "desktop"])
def test_the_decoded_image_is_in_view_while_the_last_slider_is(explore: Open, size: tuple[int, int]) -> None:
    model = trained(digits(), steps=0, latent_dim=40)
    with explore(model, digits(), size, kl=torch.arange(40, 0, -1.0)) as explorer:
        explorer.page.get_by_role("button", name="Show all 40").click()
        explorer["z39"].scroll_into_view_if_needed()
        for name in ("z39", "decoded"):
            box = explorer[name].bounding_box()
            assert box is not None
            assert box["y"] >= 0, name
            assert box["y"] + box["height"] <= size[1], name
            middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
            assert explorer.page.evaluate("([x, y]) => document.elementFromPoint(x, y).id", middle) == name


def test_the_map_is_sharp_on_screens_of_high_density(browser: Browser, model: VAE, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 800, "height": 600}, device_scale_factor=3, offline=True)
    page = context.new_page()
    page.goto(write_page(tmp_path, page_of(model, digits())).as_uri())
    drawn, shown = page.locator("#map").evaluate("(canvas) => [canvas.width, canvas.clientWidth]")
    context.close()
    assert drawn == pytest.approx(3 * shown, abs=2)


def unlabelled(data: LabelledImages) -> LabelledImages:
    """The same images without classes."""
    return LabelledImages(data.images, torch.zeros_like(data.labels), ("images",))


def test_without_classes_there_is_no_legend_and_no_caption_names_a_class(explore: Open, model: VAE) -> None:
    with explore(model, unlabelled(digits())) as explorer:
        expect(explorer["legend"]).to_be_hidden()
        expect(explorer["source-caption"]).to_have_text("Test image 100")
        index = explorer.lonely_point()
        x, y = explorer.pixel(explorer.places[index])
        explorer.page.mouse.move(x, y)
        expect(explorer["tooltip"]).to_have_text(f"test image {100 + index}")
        explorer.page.mouse.click(x, y)
        explorer.assert_decoded(explorer.codes[index])


def test_two_hundred_classes_with_long_names_have_a_legend_that_scrolls(explore: Open, model: VAE) -> None:
    names = tuple(f"a class with a long name, number {index}" for index in range(200))
    data = LabelledImages(digits().images, torch.arange(60) * 3, names)
    with explore(model, data) as explorer:
        buttons = explorer["legend"].get_by_role("button")
        assert buttons.count() == 60
        assert explorer["legend"].bounding_box()["height"] < 150  # type: ignore[index]  # it is visible
        assert all(len(text) <= 24 for text in buttons.all_inner_texts())
        assert buttons.first.get_attribute("title") == names[0]
        buttons.last.click()
        expect(buttons.last).to_have_attribute("aria-pressed", "true")
        width = explorer.page.evaluate("document.documentElement.scrollWidth")
        assert width <= explorer.page.viewport_size["width"]  # type: ignore[index]  # it has a size


def test_shrunk_test_images_are_shown_in_colour_beside_decoded_images_of_full_size(explore: Open) -> None:
    data = coloured(digits())
    large = LabelledImages(
        data.images.repeat_interleave(16, 2).repeat_interleave(12, 3), data.labels, data.class_names, data.kind
    )
    with explore(trained(large, steps=0), large) as explorer:
        assert explorer.image().shape == (128, 96, 3)
        shown = explorer.image("source")
        assert shown.shape == (64, 48, 3)
        expected = pixels(data.images[0]).permute(1, 2, 0).repeat_interleave(8, 0).repeat_interleave(6, 1)
        torch.testing.assert_close(shown, expected, rtol=0, atol=ONE_GREY_LEVEL)
