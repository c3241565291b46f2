"""The latent explorer that the pipeline writes, with the pipeline's own model and codes."""

import json

import torch
from playwright.sync_api import Browser
from safetensors.torch import load_file

from tests.browser import needs_chromium, opened
from tests.projects import Project
from vae import inference
from vae.checkpoints import load_model
from vae.runtime import CPU

CONTENT = "JSON.parse(document.getElementById('content').textContent)"
DECODED = f"(codes) => codes.map((code) => Array.from(decoding.decoder({CONTENT}.decoder)(code)))"


@needs_chromium
def test_the_page_decodes_the_codes_of_test_images_as_the_model_does_and_maps_them(
    reproduced: Project, browser: Browser
) -> None:
    latents = load_file(reproduced.folder / "data/embedded/latents.safetensors")
    model = load_model(reproduced.folder / "models/vae.safetensors", CPU, (1, 8, 8))
    chosen = latents["mean"][:50]
    with opened(browser, reproduced.folder / "pages/explorer.html") as seen:
        images = torch.tensor(seen.page.evaluate(DECODED, chosen.tolist())).view(-1, 1, 8, 8)
        content = json.loads(seen.page.evaluate(f"JSON.stringify({CONTENT})"))
        codes = torch.tensor(seen.page.evaluate(f"Array.from(decoding.numbers({CONTENT}.codes))")).view(-1, 20)
        sliders = seen.page.locator("input[type=range]").count()
        assert seen.requests == []
        assert seen.complaints == []
    torch.testing.assert_close(images, inference.decode(model, chosen, 0), rtol=0, atol=1e-3)
    torch.testing.assert_close(codes, latents["mean"][content["indices"]], rtol=0, atol=1e-6)
    assert content["labels"] == latents["labels"][content["indices"]].tolist()
    assert sliders == json.loads(reproduced.read("metrics/evaluate.json"))["active_units"]


def test_the_page_is_small_and_whole(reproduced: Project) -> None:
    page = reproduced.read("pages/explorer.html").decode()
    assert len(page.encode()) < 5_000_000
    assert page.rstrip().endswith("</html>")
    assert page.count("<script") == page.count("</script>") > 1
