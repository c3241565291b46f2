"""What can be taken away from the page: the decoded image as a file, and the code for Python."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from torchvision.transforms.functional import to_tensor

from tests.browser import needs_chromium
from tests.vae.explorer.digits import digits
from tests.vae.explorer.opened_explorer import ONE_GREY_LEVEL, Open
from vae.data.preparation import Preparation
from vae.model.model_file import Origin, save_model
from vae.model.vae import VAE

pytestmark = needs_chromium


def test_the_downloaded_image_is_the_decoded_image(explore: Open, model: VAE) -> None:
    with explore(model, digits()) as explorer:
        explorer["take"].click()
        with explorer.page.expect_download() as download:
            explorer["download"].click()
        assert download.value.suggested_filename == "image-100.png"
        image = to_tensor(Image.open(download.value.path()).convert("RGB")).permute(1, 2, 0)
        torch.testing.assert_close(image, explorer.expected(explorer.codes[0]), rtol=0, atol=ONE_GREY_LEVEL)
        expect(explorer["status"]).to_have_text("Downloaded.")


@pytest.mark.parametrize("allowed", [True, False])
def test_the_copied_code_decodes_the_shown_image_in_python(
    explore: Open, model: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    with explore(model, digits()) as explorer:
        explorer.page.evaluate(
            """(allowed) => Object.defineProperty(navigator, "clipboard", { value: { async writeText(text) {
                if (!allowed) throw new DOMException("refused");
                window.copied = text;
            } } })""",
            allowed,
        )
        explorer["z1"].fill("1.5")
        explorer["take"].click()
        explorer["copy"].click()
        expect(explorer["taken"]).to_contain_text("Copied." if allowed else "The text is selected")
        text = explorer.page.evaluate("window.copied ?? getSelection().toString()")
        shown = explorer.image()
    preparation = Preparation(dataset="digits", fit="pad", background="#000000", binarize="none")
    origin = Origin(preparation=preparation, training_images="0123abcd")
    save_model(tmp_path / "models/vae.safetensors", model, origin)
    monkeypatch.chdir(tmp_path)
    names: dict[str, torch.Tensor] = {}
    exec(text, names)  # the text is this project's own
    image = torch.as_tensor(names["images"])[0].permute(1, 2, 0).expand(-1, -1, 3)
    torch.testing.assert_close(image, shown, rtol=0, atol=ONE_GREY_LEVEL)
