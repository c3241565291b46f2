"""What can be laid over the map: contours of the classes' density, and draws from the prior."""

import json

import pytest
import torch
from playwright.sync_api import expect
from torch import Tensor

from tests.browser import needs_chromium
from tests.vae.explorer.digits import digits, trained
from tests.vae.explorer.opened_explorer import NEXT_FRAME, Explorer, Open
from vae.data.images import LabelledImages
from vae.model.vae import VAE

pytestmark = needs_chromium

# The share of places on the map at which a pixel has a colour, or nearly.
SHARE_OF_COLOUR = """async ([pixels, colour]) => {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const canvas = document.getElementById("map");
    const box = canvas.getBoundingClientRect();
    const pen = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {
        willReadFrequently: true,
    });
    pen.drawImage(canvas, 0, 0);
    const matches = pixels.filter(([x, y]) => {
        const { data } = pen.getImageData(Math.round(x - box.x) - 1, Math.round(y - box.y) - 1, 3, 3);
        const near = (at) => colour.every((value, channel) => Math.abs(data[at + channel] - value) < 12);
        return Array.from({ length: 9 }, (_, i) => 4 * i).some(near);
    });
    return matches.length / pixels.length;
}"""


def two_classes() -> LabelledImages:
    """The digits, in two classes of thirty."""
    return LabelledImages(digits().images, (digits().labels > 4).long(), ("small", "large"))


def vertices(explorer: Explorer, label: int) -> list[tuple[float, float]]:
    """The pixels of the contours of a class."""
    content = json.loads(explorer.page.locator("#content").text_content() or "")
    flat = [number for line in content["contours"][label] for number in line]
    return explorer.pixels(torch.tensor(flat).view(-1, 2))


def draws(explorer: Explorer) -> tuple[Tensor, Tensor]:
    """The codes of the draws, and their places: averages over the nine nearest codes."""
    size = explorer.codes.shape[1]
    codes = torch.tensor(
        explorer.page.evaluate(f"Array.from({{ length: 100 }}, (_, i) => [...coordinates.draw(i + 1, {size})])")
    )
    distances, nearest = torch.cdist(codes, explorer.codes).topk(9, largest=False)
    weights = distances**-2 / (distances**-2).sum(1, keepdim=True)
    return codes, (weights.unsqueeze(2) * explorer.places[nearest]).sum(1)


def lonely_draw(explorer: Explorer, places: Tensor) -> int:
    """The draw whose cross is farthest from all dots and other crosses, of those among the dots."""
    others = torch.cdist(places, places).fill_diagonal_(torch.inf).min(1).values
    distances = torch.minimum(others, torch.cdist(places, explorer.places).min(1).values)
    low, high = explorer.places.min(0).values, explorer.places.max(0).values
    return int(distances.where(((places > low) & (places < high)).all(1), 0).argmax())


def test_contours_have_the_colour_of_their_class_and_are_there_only_when_asked_for(explore: Open, model: VAE) -> None:
    with explore(model, two_classes()) as explorer:
        pixels, colour = vertices(explorer, 1), [0x88, 0xCC, 0xEE]
        assert explorer.page.evaluate(SHARE_OF_COLOUR, [pixels, colour]) < 0.3
        explorer["show-contours"].focus()
        explorer.page.keyboard.press("Space")
        expect(explorer["show-contours"]).to_have_attribute("aria-pressed", "true")
        expect(explorer["contours-note"]).to_contain_text("90% of a class’s dots")
        pixels = vertices(explorer, 1)  # the note takes room from the map
        assert explorer.page.evaluate(SHARE_OF_COLOUR, [pixels, colour]) > 0.7
        explorer.page.get_by_role("button", name="small", exact=True).click()
        assert explorer.page.evaluate(SHARE_OF_COLOUR, [pixels, colour]) < 0.3
        explorer.page.keyboard.press("Space")
        explorer["show-contours"].click()
        expect(explorer["contours-note"]).to_be_hidden()


def test_without_classes_one_density_is_shown(explore: Open, model: VAE) -> None:
    data = LabelledImages(digits().images, torch.zeros_like(digits().labels), ("images",))
    with explore(model, data) as explorer:
        plain = explorer.image("map")
        explorer["show-contours"].click()
        expect(explorer["contours-note"]).to_contain_text("90% of all dots")
        pixels = vertices(explorer, 0)
        assert pixels
        assert explorer.page.evaluate(SHARE_OF_COLOUR, [pixels, [0x33, 0x22, 0x88]]) > 0.7
        explorer["show-contours"].click()
        assert torch.equal(explorer.image("map"), plain)


def test_draws_from_the_prior_lie_at_averages_of_nearby_codes_and_are_decoded_by_a_click(
    explore: Open, model: VAE
) -> None:
    with explore(model, digits()) as explorer:
        codes, places = draws(explorer)
        lonely = lonely_draw(explorer, places)
        explorer["show-draws"].focus()
        explorer.page.keyboard.press("Enter")
        expect(explorer["draws-note"]).to_contain_text("placed roughly")
        explorer.page.mouse.click(*explorer.pixel(places[lonely]))
        explorer.assert_decoded(codes[lonely])
        expect(explorer["decoded-caption"]).to_have_text(f"Decoded draw {lonely + 1} from the prior")
        explorer["show-draws"].click()
        explorer["mean"].click()
        explorer.page.mouse.click(*explorer.pixel(places[lonely]))
        expect(explorer["decoded-caption"]).to_have_text("Decoded between dots")


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_on_a_map_of_the_latent_space_draws_lie_at_their_codes(explore: Open, latent_dim: int) -> None:
    with explore(trained(digits(), latent_dim=latent_dim), digits()) as explorer:
        codes, _ = draws(explorer)
        rows = -torch.arange(100.0)[:, None] % -10
        places = codes if latent_dim == 2 else torch.cat([codes, rows], 1)
        if latent_dim == 1:
            explorer.places = torch.stack([explorer.codes[:, 0], -digits().labels.float()], 1)
        lonely = lonely_draw(explorer, places)
        expect(explorer["show-contours"]).to_be_visible(visible=latent_dim == 2)
        explorer["show-draws"].click()
        assert "roughly" not in explorer["draws-note"].inner_text()
        explorer.page.mouse.click(*explorer.pixel(places[lonely]))
        explorer.assert_decoded(codes[lonely])


def test_overlays_are_in_the_address_and_can_be_undone(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        for name in ("contours", "draws"):
            explorer[f"show-{name}"].click()
        assert str(explorer.page.url).endswith("#image=100&show=contours,draws")
        link, shown = explorer.page.url, explorer.image("map")
        explorer["undo"].click()
        expect(explorer["draws-note"]).to_be_hidden()
        expect(explorer["contours-note"]).to_be_visible()
        explorer.page.goto("about:blank")
        explorer.page.goto(link)
        expect(explorer["show-draws"]).to_have_attribute("aria-pressed", "true")
        explorer.page.mouse.move(0, 0)
        assert torch.equal(explorer.image("map"), shown)


def test_highlighted_classes_are_in_the_address_and_can_be_undone(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        plain = explorer.image("map")
        button = explorer.page.get_by_role("button", name="7", exact=True)
        button.click()
        assert explorer.page.url.endswith("#image=100&classes=7")
        explorer["undo"].click()
        expect(button).to_have_attribute("aria-pressed", "false")
        explorer.page.mouse.move(0, 0)
        assert torch.equal(explorer.image("map"), plain)
        explorer["redo"].click()
        expect(button).to_have_attribute("aria-pressed", "true")


def test_overlays_without_anything_to_show_are_not_offered(explore: Open, model: VAE) -> None:
    few = LabelledImages(digits().images, torch.arange(60) % 10, tuple("abcdefghij"))  # six in each class
    with explore(model, few, active=torch.zeros(5, dtype=torch.bool)) as explorer:
        expect(explorer["show-contours"]).to_be_hidden()
        expect(explorer["show-draws"]).to_be_hidden()


def test_without_a_decoder_draws_are_shown_and_cannot_be_decoded(explore: Open) -> None:
    with explore(trained(digits(), steps=0, network="autoregressive"), digits()) as explorer:
        explorer["show-draws"].click()
        assert "decode" not in explorer["draws-note"].inner_text()
        _, places = draws(explorer)
        explorer.page.mouse.click(*explorer.pixel(places[lonely_draw(explorer, places)]))
        expect(explorer["source-caption"]).to_have_text("Nearest test images")


@pytest.mark.parametrize("media", [{"color_scheme": "dark"}, {"forced_colors": "active"}], ids=str)
def test_crosses_are_seen_in_the_dark_and_in_forced_colours(explore: Open, model: VAE, media: dict[str, str]) -> None:
    with explore(model, digits()) as explorer:
        explorer.page.emulate_media(**media)  # type: ignore[arg-type]  # names of settings
        explorer["show-draws"].click()
        _, places = draws(explorer)
        explorer.page.evaluate(NEXT_FRAME)
        ink = explorer.page.evaluate("elements.theme('ink')")
        colour = {"#e6e8eb": [230, 232, 235], "CanvasText": [0, 0, 0]}[ink]
        pixel = explorer.pixel(places[lonely_draw(explorer, places)])
        assert explorer.page.evaluate(SHARE_OF_COLOUR, [[pixel], colour]) == 1
