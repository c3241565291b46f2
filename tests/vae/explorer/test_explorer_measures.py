"""Colours of dots by a measure, steps from the worst test image, and the difference to the decoded image."""

import re

import pytest
import torch
from playwright.sync_api import expect

from tests.browser import needs_chromium
from tests.vae.explorer.digits import coloured, digits, mapped, trained
from tests.vae.explorer.opened_explorer import ONE_GREY_LEVEL, Explorer, Open
from vae.data.images import LabelledImages, pixels
from vae.explorer.latent_map import image_measures
from vae.model import inference
from vae.model.vae import VAE

pytestmark = needs_chromium

NAMES = ["Negative ELBO (nats)", "KL (nats)", "Squared error"]
ENDS = ((68, 1, 84), (253, 231, 37))  # of the scale


def worst_first(explorer: Explorer, name: str) -> list[int]:
    order: list[int] = mapped(explorer.model, explorer.data).measures[name].argsort(descending=True).tolist()
    return order


def test_the_kl_and_the_squared_error_are_those_of_the_definitions(model: VAE) -> None:
    mean, log_variance = inference.encode(model, digits().images)
    measures = image_measures(model, digits(), mean, 0)
    assert list(measures) == NAMES
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
    torch.testing.assert_close(measures["KL (nats)"].float(), kl)
    error = (inference.decode(model, mean, 0) - pixels(digits().images)) ** 2
    torch.testing.assert_close(measures["Squared error"], error.sum((1, 2, 3)))
    assert (measures["Negative ELBO (nats)"] > measures["KL (nats)"]).all()


def test_an_autoregressive_model_has_no_squared_error() -> None:
    model = trained(digits(), steps=0, network="autoregressive")
    mean = inference.encode(model, digits().images).mean
    assert list(image_measures(model, digits(), mean, 0)) == NAMES[:2]


@pytest.mark.parametrize("name", NAMES)
def test_next_and_previous_step_through_the_images_from_the_worst(explore: Open, model: VAE, name: str) -> None:
    with explore(model, digits()) as explorer:
        explorer["colour"].select_option(name)
        order = worst_first(explorer, name)
        expect(explorer["previous-worst"]).to_be_disabled()
        for index in order[:3]:
            explorer["next-worst"].click()
            explorer.assert_test_image(index)
        expect(explorer["measured"]).to_contain_text("worst 3 of 60")
        expect(explorer["status"]).to_contain_text("worst 3 of 60. Test image")
        explorer["previous-worst"].click()
        explorer.assert_test_image(order[1])
        explorer["undo"].click()
        explorer.assert_test_image(order[2])


def test_by_class_the_worst_images_are_those_of_the_largest_negative_elbo(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        expect(explorer["order"]).to_have_text("Worst by negative ELBO")
        explorer["next-worst"].click()
        explorer.assert_test_image(worst_first(explorer, NAMES[0])[0])


def test_dots_are_coloured_from_the_least_to_the_largest_value(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer["mean"].click()
        expect(explorer["scale"]).to_be_hidden()
        explorer["colour"].select_option("KL (nats)")
        values = mapped(model, digits()).measures["KL (nats)"]
        expect(explorer["scale"]).to_be_visible()
        assert float(explorer["lowest"].inner_text()) == pytest.approx(values.min().item(), rel=0.01)
        assert float(explorer["highest"].inner_text()) == pytest.approx(values.max().item(), rel=0.01)
        assert all(explorer.has_colour(colour) for colour in ENDS)
        explorer["colour"].select_option("Class")
        assert not any(explorer.has_colour(colour) for colour in ENDS)


@pytest.mark.parametrize("data", [digits(), coloured(digits())], ids=["grey", "colour"])
def test_the_difference_is_that_between_the_test_image_and_the_decoded_image(
    explore: Open, data: LabelledImages
) -> None:
    with explore(trained(data), data) as explorer:
        image = pixels(data.images[0]).expand(3, -1, -1).permute(1, 2, 0)
        expected = (explorer.expected(explorer.codes[0]) - image).abs()
        torch.testing.assert_close(explorer.image("difference"), expected, rtol=0, atol=ONE_GREY_LEVEL)
        explorer["z1"].fill("2")
        code = explorer.codes[0].clone()
        code[1] = 2
        expected = (explorer.expected(code) - image).abs()
        torch.testing.assert_close(explorer.image("difference"), expected, rtol=0, atol=ONE_GREY_LEVEL)
        explorer["draw"].click()
        expect(explorer["difference-absent"]).to_have_text("No test image to compare with.")


def test_without_the_exact_test_image_there_is_no_difference(explore: Open) -> None:
    data = digits()
    large = LabelledImages(
        data.images.repeat_interleave(16, 2).repeat_interleave(16, 3), data.labels, data.class_names, data.kind
    )
    with explore(trained(large, steps=0), large) as explorer:
        expect(explorer["difference-absent"]).to_contain_text("exact test image does not fit")
        expect(explorer["difference"]).to_be_hidden()
        expect(explorer["measured"]).to_contain_text(re.compile(r"Negative ELBO \d\d,\d{3} nats"))


def test_the_colour_and_the_rank_are_in_the_address_and_can_be_undone(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        order = worst_first(explorer, "Squared error")
        explorer["colour"].select_option("Squared error")
        assert explorer.page.url.endswith("#image=100&colour=squared-error")
        for _ in range(3):
            explorer["next-worst"].click()
        assert explorer.page.url.endswith(f"#image={100 + order[2]}&colour=squared-error&worst=3")
        link = explorer.page.url
        explorer["undo"].click()
        explorer.assert_test_image(order[1])
        explorer["next-worst"].click()
        explorer.assert_test_image(order[2])
        for _ in range(4):
            explorer["undo"].click()
        expect(explorer["scale"]).to_be_hidden()
        expect(explorer["order"]).to_have_text("Worst by negative ELBO")
        explorer["redo"].click()
        expect(explorer["scale"]).to_be_visible()
        explorer.page.goto("about:blank")
        explorer.page.goto(link)
        expect(explorer["colour"]).to_have_value("2")
        expect(explorer["scale"]).to_be_visible()
        explorer["previous-worst"].click()
        explorer.assert_test_image(order[1])


@pytest.mark.parametrize("text", ["image=101&colour=beauty&worst=99", "image=101&worst=1.5", "image=101&worst=-1"])
def test_an_unknown_colour_or_rank_in_the_address_is_ignored(explore: Open, model: VAE, text: str) -> None:
    with explore(model, digits()) as explorer:
        explorer.page.evaluate("(hash) => { location.hash = hash; }", text)
        expect(explorer["source-caption"]).to_contain_text("101")
        expect(explorer["scale"]).to_be_hidden()
        expect(explorer["previous-worst"]).to_be_disabled()
