"""The nearest test images of a code, draws from the posterior, and the address and history of what is shown."""

import re
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, expect

from tests.browser import NARROW, needs_chromium
from tests.vae.explorer.digits import digits, page_of, trained, write_page
from tests.vae.explorer.opened_explorer import Explorer, Open, mixed_code
from vae.data.images import LabelledImages
from vae.model import inference
from vae.model.vae import VAE

pytestmark = needs_chromium

SETTLED = 700  # milliseconds after which a change is a step of the history


def nearest_shown(explorer: Explorer) -> list[str]:
    explorer.image()  # waits for the next frame
    buttons = explorer["neighbours"].get_by_role("button").all()
    return [button.get_attribute("aria-label") or "" for button in buttons]


def nearest_expected(explorer: Explorer, code: torch.Tensor, but: int | None = None) -> list[str]:
    distances = (explorer.codes - code).double().norm(dim=1)
    order = [index for index in distances.argsort().tolist() if index != but][:5]
    return [
        f"test image {100 + index}, labelled\u00a0{explorer.name(index)}, distance {distances[index]:.2f}"
        for index in order
    ]


# Nearest test images


def test_the_nearest_test_images_of_an_image_leave_out_the_image_itself(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        assert nearest_shown(explorer) == nearest_expected(explorer, explorer.codes[0], but=0)
        expect(explorer["nearness"]).to_contain_text("The nearest other code is")


def test_the_nearest_test_images_are_those_of_a_place_a_draw_and_a_moved_slider(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        x, y = explorer.empty_pixel()
        explorer.page.mouse.click(x, y)
        code = mixed_code(explorer.places, explorer.codes, explorer.place(x, y))
        assert nearest_shown(explorer) == nearest_expected(explorer, code)
        explorer["draw"].click()
        code = torch.tensor(explorer.page.evaluate("Array.from(coordinates.draw(1, 5))"))
        assert nearest_shown(explorer) == nearest_expected(explorer, code)
        explorer["z1"].fill("1.5")
        code[1] = 1.5
        assert nearest_shown(explorer) == nearest_expected(explorer, code)


def test_only_active_dimensions_count_for_the_distance(explore: Open, model: VAE) -> None:
    active = torch.tensor([True, True, False, False, False])
    with explore(model, digits(), active=active) as explorer:
        explorer["draw"].click()
        code = torch.tensor(explorer.page.evaluate("Array.from(coordinates.draw(1, 5))"))
        distance = (explorer.codes - code)[:, :2].norm(dim=1).min()
        assert nearest_shown(explorer)[0].endswith(f"distance {distance:.2f}")


def test_a_press_on_a_neighbour_shows_it(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        first = nearest_shown(explorer)[0]
        explorer["neighbours"].get_by_role("button").first.click()
        explorer.image()
        caption = explorer["source-caption"].text_content() or ""
        assert first.startswith(caption.replace("Test", "test"))


def test_an_empty_area_is_warned_of_and_an_inhabited_one_is_not(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        for name in ("z0", "z1", "z2", "z3", "z4"):
            explorer[name].fill(str(explorer[name].get_attribute("max")))
        expect(explorer["nearness"]).to_contain_text("Empty area")
        expect(explorer["nearness"]).to_contain_text("100% of the encoder’s codes have a nearer neighbour")
        expect(explorer["nearness"]).to_have_class("notice")
        expect(explorer["status"]).to_contain_text("Empty area")
        explorer["reset"].click()
        explorer["z1"].focus()
        explorer.page.keyboard.press("ArrowRight")
        expect(explorer["nearness"]).to_contain_text("The nearest code is 0.0")
        expect(explorer["nearness"]).to_have_class("note")


def test_a_distance_is_compared_with_those_between_draws_from_posteriors_and_codes_of_other_images(
    explore: Open, model: VAE
) -> None:
    with explore(model, digits()) as explorer:
        mean, log_variance = inference.encode(model, digits().images)
        noise = torch.randn(200, *mean.shape, generator=torch.Generator().manual_seed(0))
        draws = mean + (log_variance / 2).exp() * noise
        distances = torch.stack([torch.cdist(each, mean).fill_diagonal_(torch.inf) for each in draws]).min(2).values
        explorer["mean"].click()
        explorer.image()
        found = re.search(r"is ([\d.]+) away; (\d+)% of", explorer["nearness"].inner_text())
        assert found
        expected = (distances < mean.norm(dim=1).min()).double().mean() * 100
        assert float(found[2]) == pytest.approx(float(expected), abs=15)  # the page has a draw for each of 60 images


def test_a_single_test_image_has_no_neighbours_and_the_page_works(explore: Open, model: VAE) -> None:
    one = digits()[torch.arange(1)]
    with explore(model, one) as explorer:
        assert explorer["neighbours"].count() == 0
        explorer.assert_decoded(explorer.codes[0])


@pytest.mark.parametrize("size", [(1280, 800), (1400, 1000), NARROW], ids=str)
def test_sliders_keep_their_place_when_an_empty_area_is_warned_of(
    explore: Open, model: VAE, size: tuple[int, int]
) -> None:
    with explore(model, digits(), size) as explorer:
        top = "(element) => element.getBoundingClientRect().top + scrollY"
        before = explorer["sliders"].evaluate(top)
        for name in ("z0", "z1", "z2", "z3", "z4"):
            explorer[name].fill(str(explorer[name].get_attribute("max")))
        expect(explorer["nearness"]).to_contain_text("Empty area")
        assert explorer["sliders"].evaluate(top) == before


# The posterior


def test_sliders_show_one_standard_deviation_of_the_posterior_around_its_mean(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        mean, log_variance = (part[0, 3].item() for part in inference.encode(model, digits().images))
        deviation = 2.718281828 ** (log_variance / 2)
        limit = float(explorer["z3"].get_attribute("max") or "nan")
        style = "(input) => ['--low', '--high'].map((name) => Number(input.style.getPropertyValue(name)))"
        explorer.image()
        low, high = explorer["z3"].evaluate(style)
        assert low == pytest.approx((mean - deviation + limit) / (2 * limit), abs=0.005)
        assert high == pytest.approx((mean + deviation + limit) / (2 * limit), abs=0.005)
        explorer["mean"].click()
        assert explorer["z3"].evaluate(style) == [0, 0]


def test_a_draw_from_the_posterior_is_its_mean_and_noise_of_its_standard_deviation(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer["posterior"].click()
        noise = torch.tensor(explorer.page.evaluate("Array.from(coordinates.draw(1, 5))"))
        mean, log_variance = (part[0] for part in inference.encode(model, digits().images))
        expected = explorer.expected(mean + (log_variance / 2).exp() * noise)
        torch.testing.assert_close(explorer.image(), expected, rtol=0, atol=0.03)  # the deviations have 8 bits
        assert explorer["decoded-caption"].text_content() == "Decoded draw 1 from its posterior"
        explorer["mean"].click()
        expect(explorer["posterior"]).to_be_disabled()


# The address and the history


def fragment(explorer: Explorer) -> str:
    return str(explorer.page.evaluate("location.hash"))


def test_steps_are_undone_and_redone_by_buttons_and_by_the_browser(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        expect(explorer["undo"]).to_be_disabled()
        explorer["draw"].click()
        explorer["draw"].click()
        explorer["z1"].fill("1.5")
        explorer.page.wait_for_timeout(SETTLED)
        assert fragment(explorer) == "#draw=2&z1=1.5"
        draws = torch.tensor(explorer.page.evaluate("[1, 2].map((seed) => Array.from(coordinates.draw(seed, 5)))"))
        changed = draws[1].clone()
        changed[1] = 1.5
        explorer.assert_decoded(changed)
        explorer["undo"].click()
        expect(explorer["decoded-caption"]).to_have_text("Decoded draw 2 from the prior")
        explorer.assert_decoded(draws[1])
        explorer.page.go_back()
        expect(explorer["decoded-caption"]).to_have_text("Decoded draw 1 from the prior")
        explorer.assert_decoded(draws[0])
        explorer["redo"].click()
        explorer["redo"].click()
        expect(explorer["decoded-caption"]).to_have_text("Decoded after changing z1")
        explorer.assert_decoded(changed)
        expect(explorer["redo"]).to_be_disabled()
        for _ in range(3):
            explorer["undo"].click()
        expect(explorer["source-caption"]).to_contain_text("Test image 100")
        expect(explorer["undo"]).to_be_disabled()
        explorer["mean"].click()
        expect(explorer["redo"]).to_be_disabled()


def test_an_edited_address_is_a_step_that_can_be_undone(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer.page.evaluate("location.hash = 'image=107'")
        expect(explorer["source-caption"]).to_contain_text("Test image 107")
        explorer["undo"].click()
        expect(explorer["source-caption"]).to_contain_text("Test image 100")
        explorer["redo"].click()
        expect(explorer["source-caption"]).to_contain_text("Test image 107")
        expect(explorer["redo"]).to_be_disabled()


def test_a_page_without_an_address_of_its_own_works_without_a_history(
    browser: Browser, model: VAE, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.add_init_script("history.pushState = history.replaceState = () => { throw new DOMException('refused'); }")
    page.goto(write_page(tmp_path, page_of(model, digits())).as_uri())
    for number in (1, 2):
        page.get_by_role("button", name="Prior draw").click()
        expect(page.locator("#decoded-caption")).to_have_text(f"Decoded draw {number} from the prior")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.close()


def test_an_address_shows_the_same_image_in_another_window(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        x, y = explorer.empty_pixel()
        explorer.page.mouse.click(x, y)
        explorer["z2"].fill("-1")
        explorer.page.wait_for_timeout(SETTLED)
        shown, link = explorer.image(), explorer.page.url
        explorer.page.goto("about:blank")
        explorer.page.goto(link)
        expect(explorer["decoded-caption"]).to_have_text("Decoded after changing z2")
        assert torch.equal(explorer.image(), shown)
        assert fragment(explorer) == link[link.index("#") :]


def test_a_draw_after_that_of_an_address_is_another(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer.page.evaluate("location.hash = 'draw=41'")
        expect(explorer["decoded-caption"]).to_have_text("Decoded draw 41 from the prior")
        explorer["draw"].click()
        expect(explorer["decoded-caption"]).to_have_text("Decoded draw 42 from the prior")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image=7",
        "image=103&draw=",
        "place=1",
        "place=a,b",
        "place=1e300,0",
        "z1=2",
        "draw=-1",
        "<b>",
        "z9=1",
        "__proto__=1",
    ],
)
def test_an_address_that_leads_nowhere_shows_the_first_image(explore: Open, model: VAE, text: str) -> None:
    with explore(model, digits()) as explorer:
        address = explorer.page.url.split("#")[0]
        explorer.page.goto("about:blank")
        explorer.page.goto(f"{address}#{text}")
        expect(explorer["source-caption"]).to_contain_text("Test image")
        number = 103 if text.startswith("image=103") else 100
        expect(explorer["source-caption"]).to_contain_text(str(number))


def test_values_beyond_the_sliders_are_limited_and_unknown_dimensions_ignored(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        address = explorer.page.url.split("#")[0]
        explorer.page.goto("about:blank")
        explorer.page.goto(f"{address}#mean&z1=1e9&z77=1&z2=NaN")
        expect(explorer["decoded-caption"]).to_have_text("Decoded after changing z1")
        code = torch.zeros(5)
        code[1] = float(explorer["z1"].get_attribute("max") or "nan")
        explorer.assert_decoded(code)


def test_too_many_standard_deviations_are_left_out_with_what_needs_them(explore: Open) -> None:
    data = digits()[torch.arange(2000) % 60]
    data = LabelledImages(data.images, data.labels, data.class_names, data.kind)
    model = trained(digits(), steps=0, latent_dim=200)
    with explore(model, data) as explorer:
        assert explorer["posterior"].count() == 0
        expect(explorer["size-note"]).to_contain_text("the standard deviations of posteriors are left out")
        assert "μ ± σ" not in explorer.page.locator("body").inner_text()
