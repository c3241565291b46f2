"""The latent explorer that the pipeline writes, with the model and the codes of the pipeline."""

import csv
import json
import re
from base64 import b64decode

import numpy as np
import torch
from playwright.sync_api import Browser
from safetensors.torch import load_file

from faults.project import Project
from tests.browser import needs_chromium, opened
from vae.base.runtime import CPU
from vae.model import inference
from vae.model.model_file import load_model

CONTENT = "JSON.parse(document.getElementById('content').textContent)"
DECODED = f"(codes) => codes.map((code) => Array.from(decoding.decoder({CONTENT}.decoder)(code)))"


@needs_chromium
def test_the_page_decodes_like_the_model_and_has_the_codes_and_active_units_of_the_other_outputs(
    reproduced: Project, browser: Browser
) -> None:
    latents = load_file(reproduced.folder / "data/embedded/latents.safetensors")
    model = load_model(reproduced.folder / "models/vae.safetensors", CPU, (1, 8, 8))
    chosen = latents["mean"][:50]
    with opened(browser, reproduced.folder / "pages/explorer.html") as seen:
        images = torch.tensor(seen.page.evaluate(DECODED, chosen.tolist())).view(-1, 1, 8, 8)
        content = json.loads(seen.page.evaluate(f"JSON.stringify({CONTENT})"))
        codes = torch.tensor(seen.page.evaluate(f"Array.from(decoding.numbers({CONTENT}.codes))")).view(
            -1, latents["mean"].shape[1]
        )
        sliders = seen.page.locator("input[type=range]").count()
        assert seen.requests == []
        assert seen.complaints == []
    torch.testing.assert_close(images, inference.decode(model, chosen, 0), rtol=0, atol=1e-3)
    torch.testing.assert_close(codes, latents["mean"][content["indices"]], rtol=0, atol=1e-6)
    assert content["labels"] == latents["labels"][content["indices"]].tolist()
    assert sliders == json.loads(reproduced.read("metrics/evaluate.json"))["active_units"]


def test_the_map_has_the_points_of_the_projection(reproduced: Project) -> None:
    page = reproduced.read("pages/explorer.html").decode()
    (text,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page)
    content = json.loads(text)
    rows = list(csv.DictReader(reproduced.read("plots/embed/projection.csv").decode().splitlines()))
    assert len(rows) == 100
    assert content["indices"] == [int(row["image"]) for row in rows]
    assert [content["class_names"][label] for label in content["labels"]] == [row["class"] for row in rows]
    places = np.frombuffer(b64decode(content["places"]), "<f4").reshape(-1, 2)
    np.testing.assert_allclose(places, [(float(row["x"]), float(row["y"])) for row in rows], rtol=1e-5)
