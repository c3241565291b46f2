import io
import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.imports import ROOT
from tests.settings import architecture
from tests.vae.explorer.digits import COLOURS, codes, coloured, digits, mapped, page_of, trained
from vae.base.runtime import seeded
from vae.data.images import LabelledImages
from vae.explorer.page import LARGEST_PAGE, SCRIPTS, SOURCES, explorer_page
from vae.explorer.sprite import SIDES, Format, Sprites, columns, sprite
from vae.explorer.versions import versions
from vae.explorer.weights import Precision, encoded_length, rounding_error
from vae.model.vae import VAE

WRITE_PAGE = """
import codecs, locale, sys
from pathlib import Path
from tests.vae.explorer.digits import digits, page_of, trained, write_page
write_page(Path(sys.argv[1]), page_of(trained(digits()), digits()))
print(codecs.lookup(locale.getencoding()).name, end="")
"""
FLOAT32, BLOCKS = "weights in float32", "weights in 16-bit blocks"


class Parsed(HTMLParser):
    """What a browser would find in a page: elements with their attributes, scripts, and text outside of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem is None:
            self.words += data

    @property
    def text(self) -> str:
        return " ".join(self.words.split())


def content(page: str) -> dict[str, Any]:
    """The data for the scripts."""
    values: dict[str, Any] = json.loads(Parsed(page).scripts[0])
    return values


def numbers(text: str) -> list[float]:
    values: list[float] = np.frombuffer(b64decode(text), "<f4").tolist()
    return values


@pytest.fixture(scope="module")
def model() -> VAE:
    return trained(digits())


@pytest.fixture(scope="module")
def page(model: VAE) -> str:
    return page_of(model, digits())


def test_the_same_arguments_give_the_same_bytes(page: str) -> None:
    assert page_of(trained(digits()), digits()) == page


@pytest.mark.slow
def test_the_page_is_the_same_where_the_systems_encoding_is_ascii(page: str, tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WRITE_PAGE, str(tmp_path)]
    assert subprocess.check_output(command, cwd=ROOT, env=environment) == b"ascii"
    assert (tmp_path / "explorer.html").read_bytes() == page.encode()


def test_the_page_loads_nothing_from_elsewhere(page: str) -> None:
    parsed = Parsed(page)
    policy = next(a["content"] for _, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert set(policy.split()) & {"https:", "http:", "*", "'self'"} == set()
    addresses = [
        value for _, attributes in parsed.elements for name, value in attributes.items() if name in {"src", "href"}
    ]
    assert all(address is not None and address.startswith("data:") for address in addresses)
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_page_has_language_title_and_viewport(page: str) -> None:
    elements = Parsed(page).elements
    assert ("html", {"lang": "en"}) in elements
    assert any(attributes.get("name") == "viewport" for _, attributes in elements)
    assert "<title>Explorer</title>" in page


def test_without_scripts_the_page_says_that_it_needs_them(page: str) -> None:
    assert re.search("<noscript>.*This page needs JavaScript.*</noscript>", page)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_contains_a_closing_script_tag(name: str) -> None:
    assert "</script" not in (SOURCES / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["</script><b>", "<!--<script>", '"&amp;\u2028', "{{ 1 }}"])
def test_markup_in_a_title_or_in_the_name_of_a_class_is_shown_as_text(page: str, model: VAE, name: str) -> None:
    data = replace(digits(), class_names=(name, *digits().class_names[1:]))
    changed = page_of(model, data, title=name)
    assert [tag for tag, _ in Parsed(changed).elements] == [tag for tag, _ in Parsed(page).elements]
    assert content(changed)["class_names"][0] == name
    assert Parsed(changed).text.count(" ".join(name.split())) == 2, "title and heading"


def test_codes_places_and_labels_are_those_of_the_map(page: str, model: VAE) -> None:
    values, latent_map = content(page), mapped(model, digits())
    assert numbers(values["codes"]) == latent_map.codes.flatten().tolist()
    assert numbers(values["places"]) == latent_map.points.flatten().tolist()
    assert values["labels"] == digits().labels.tolist()
    assert values["indices"] == latent_map.indices.tolist()


def test_colours_repeat_where_there_are_more_classes_than_colours(page: str) -> None:
    assert content(page)["colours"] == [COLOURS[label % 3] for label in range(10)]


def test_active_dimensions_have_sliders_sorted_by_kl(model: VAE) -> None:
    kl, active = torch.tensor([0.5, 2.0, 0.001, 3.0, 0.5]), torch.tensor([True, True, False, True, True])
    page = page_of(model, digits(), kl=kl, active=active)
    assert [(entry["dimension"], entry["kl"]) for entry in content(page)["dimensions"]] == [
        (3, 3.0),
        (1, 2.0),
        (0, 0.5),
        (4, 0.5),
    ]
    assert "4 of 5 latent dimensions are active, sorted by KL" in Parsed(page).text


def test_without_active_dimensions_the_page_says_that_the_posterior_has_collapsed(model: VAE) -> None:
    page = page_of(model, digits(), active=torch.zeros(5, dtype=torch.bool))
    assert "Posterior collapse: no latent dimension is active" in Parsed(page).text
    assert content(page)["decoder"] is not None


@pytest.mark.parametrize("data", [digits(), coloured(digits())], ids=["grey", "coloured"])
@pytest.mark.parametrize("count", [1, 7, 60])
def test_the_sprite_holds_every_image_in_reading_order(data: LabelledImages, count: int) -> None:
    from PIL import Image

    picture = Image.open(io.BytesIO(sprite(data.images[:count])))
    assert picture.info == {}, "metadata"
    pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
    for index, image in enumerate(data.images[:count].numpy()):
        row, column = divmod(index, columns(count))
        tile = pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert np.array_equal(tile, image.transpose(1, 2, 0))


def test_the_precision_is_the_highest_that_keeps_the_page_within_its_budget(page: str, model: VAE) -> None:
    size = len(page.encode())
    for precision in list(Precision)[1:]:
        smaller = page_of(model, digits(), budget=size - 1)
        assert f"weights in {precision}" in Parsed(smaller).text
        assert content(smaller)["decoder"]["precision"] == precision
        assert len(smaller.encode()) < size
        size = len(smaller.encode())
    assert content(page_of(model, digits(), budget=size - 1))["decoder"] is None


def test_a_page_with_rounded_weights_says_how_much_rounding_changes_images(page: str, model: VAE) -> None:
    half = page_of(model, digits(), budget=len(page.encode()) - 1)
    error = rounding_error(model, codes(model, digits()), Precision.BITS_16)
    words = f"Rounding changes intensities (0 to 1) by at most {error:.2g} in 60 decoded test images."
    assert words in Parsed(half).text
    assert "Rounding" not in Parsed(page).text


def test_a_decoder_that_is_too_large_is_left_out_with_its_size(model: VAE, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        page = page_of(model, digits(), budget=1_000)
    assert content(page)["decoder"] is None
    size = 5 * 24 + 24 + 24 * 64 + 64
    length = encoded_length(size, Precision.BITS_6) / 1e6
    words = f"too large for a page of 0.001 MB: its {size:,} weights take {length:.3g} MB even in 6-bit blocks"
    assert words in Parsed(page).text
    assert words in caplog.text


def test_an_autoregressive_decoder_is_left_out_with_the_reason() -> None:
    page = page_of(trained(digits(), steps=0, network="autoregressive"), digits())
    assert content(page)["decoder"] is None
    assert "The decoder of the autoregressive network does not run in the browser." in Parsed(page).text


@pytest.mark.parametrize(
    ("latent_dim", "words"),
    [(1, "horizontal axis is the latent space"), (2, "The map is the latent space"), (3, "nine nearest dots")],
)
def test_the_page_says_how_a_place_becomes_a_code(latent_dim: int, words: str) -> None:
    page = page_of(trained(digits(), steps=0, latent_dim=latent_dim), digits())
    assert words in Parsed(page).text
    assert content(page)["place_is_code"] is (latent_dim < 3)


def test_with_one_latent_dimension_each_class_has_a_row_of_the_map() -> None:
    model = trained(digits(), steps=0, latent_dim=1)
    places = torch.tensor(numbers(content(page_of(model, digits()))["places"])).view(-1, 2)
    assert torch.equal(places[:, 0], codes(model, digits())[:, 0])
    assert torch.equal(places[:, 1], -digits().labels.float())


def test_the_page_shows_all_of_ten_thousand_images_at_their_places() -> None:
    data = digits()[torch.arange(10_000) % len(digits())]
    model = trained(digits(), steps=0)
    values, latent_map = content(page_of(model, data)), mapped(model, data)
    assert values["indices"] == latent_map.indices.tolist()
    assert values["labels"] == data.labels.tolist()
    assert numbers(values["codes"]) == latent_map.codes.flatten().tolist()
    assert numbers(values["places"]) == latent_map.points.flatten().tolist()
    assert values["columns"] == columns(10_000)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_page_of_the_default_model_of_mnist_keeps_below_five_megabytes(network: str) -> None:
    """With a thousand images of noise, which PNG cannot compress: 0.79 MB, where 2000 of MNIST take 0.32 MB."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1000, 1, 28, 28), dtype=torch.uint8, generator=random)
    data = LabelledImages(images, torch.arange(1000) % 10, tuple("0123456789"))
    page = page_of(default_model(network), data)
    assert len(page.encode()) < LARGEST_PAGE == 5_000_000
    assert (FLOAT32 if network == "mlp" else BLOCKS) in page


def default_model(network: str) -> VAE:
    sizes = {"image_shape": (1, 28, 28), "hidden_dims": (400,), "channels": 32, "latent_dim": 20}
    with seeded(0, "weights"):
        return VAE(architecture(**{**sizes, "network": network}))


def test_without_classes_nothing_on_the_page_speaks_of_them(model: VAE) -> None:
    data = LabelledImages(digits().images, torch.zeros(60, dtype=torch.int64), ("images",))
    assert content(page_of(model, data))["axes"]["names"] == content(page_of(model, digits()))["axes"]["names"]
    on_line = page_of(trained(data, steps=0, latent_dim=1), data)
    assert content(on_line)["axes"]["names"] == ["z0", ""]
    assert "Rows only separate" not in Parsed(on_line).text


def test_of_two_hundred_classes_the_twenty_largest_are_named(model: VAE) -> None:
    labels = torch.arange(60) % 40 + 100
    data = LabelledImages(digits().images, labels, tuple(f"kind {index}" for index in range(200)))
    values = content(page_of(model, data))
    assert values["named"] == list(range(100, 120))
    assert len(values["colours"]) == len(values["class_names"]) == 200


def noisy(count: int, *shape: int) -> LabelledImages:
    """Images that PNG cannot compress."""
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return LabelledImages(images, torch.zeros(count, dtype=torch.int64), ("images",))


def test_sprites_are_compressed_then_shrunk_and_then_of_fewer_images() -> None:
    data = noisy(401, 3, 60, 48)
    made = list(Sprites(data.images)(400))
    assert [(sprite.count, sprite.size, str(sprite.format)) for sprite in made] == [
        (400, (60, 48), "png"),
        (400, (60, 48), "webp"),
        (400, (30, 24), "webp"),
        (400, (15, 12), "webp"),
        (200, (15, 12), "webp"),
        (100, (15, 12), "webp"),
    ]
    lengths = [len(sprite.url) for sprite in made]
    assert lengths == sorted(lengths, reverse=True)


def test_a_sprite_of_ten_thousand_images_has_no_more_pixels_than_a_browser_can_keep() -> None:
    best = next(Sprites(torch.zeros(10_000, 1, 128, 128, dtype=torch.uint8))(10_000))
    assert best.size == (32, 32)


@pytest.mark.parametrize(
    ("shape", "budget", "tile", "pictures"),
    [
        ((3, 32, 32), 900_000, [32, 32], 40),
        ((3, 256, 192), 900_000, [64, 48], 40),
        ((3, 64, 48), 300_000, [64, 48], 40),
        ((3, 64, 48), 155_000, [32, 24], 40),
    ],
    ids=["fits", "always shrunk to 64", "compressed to fit", "shrunk to fit"],
)
def test_pictures_are_compressed_and_shrunk_to_fit_the_page_which_says_so(
    shape: tuple[int, int, int], budget: int, tile: list[int], pictures: int
) -> None:
    data = noisy(40, *shape)
    page = page_of(trained(data, steps=0, network="conv", hidden_dims=(), channels=1), data, budget=budget)
    values, words = content(page), Parsed(page).text
    assert values["decoder"] is not None
    assert values["tile"] == tile
    assert values["pictures"] == pictures
    assert len(values["indices"]) == len(values["labels"]) == 40
    assert len(page.encode()) <= budget
    assert (f"shrunk to {tile[1]}×{tile[0]} pixels" in words) == (list(shape[1:]) != tile)
    assert ("compressed with losses" in words) == ("image/webp" in values["sprite"])


def test_pictures_and_then_dots_are_left_out_before_the_decoder_is() -> None:
    data = noisy(1000, 1, 16, 16)
    model = trained(data, steps=0, latent_dim=200)
    half = page_of(model, data, budget=500_000)
    assert content(half)["decoder"] is not None
    assert content(half)["pictures"] < len(content(half)["indices"]) == 1000
    assert f"only {content(half)['pictures']} of the dots have a picture" in Parsed(half).text
    few = page_of(model, data, budget=390_000)
    assert content(few)["decoder"] is not None
    assert len(content(few)["indices"]) == 500
    assert "the map shows 500 of 1,000 test images" in Parsed(few).text


def test_versions_whose_numbers_alone_are_too_large_are_not_tried() -> None:
    sprites = Sprites(digits().images)
    size = encoded_length(10**6, Precision.BITS_8)
    tried = list(versions(sprites, 60, 1, 10**6, size + 1000))
    assert {(version.precision, version.decodes) for version in tried if version.decodes} == {
        (Precision.BITS_8, True),
        (Precision.BITS_6, True),
    }


def test_shrunk_images_on_the_page_are_averages() -> None:
    from PIL import Image

    data = noisy(2, 3, 128, 128)
    found = next(Sprites(data.images)(2))
    assert (found.factor, found.size, found.format) == (128 // SIDES[0], (64, 64), Format.PNG)
    picture = np.asarray(Image.open(io.BytesIO(b64decode(found.url.split(",")[1]))))
    expected = data.images[1, :, :2, :2].double().mean((1, 2))
    assert np.abs(picture[0, 64] - expected.numpy()).max() <= 0.5


@pytest.mark.slow
def test_a_page_of_the_default_convolutional_network_of_64_by_64_colour_pixels_has_its_decoder() -> None:
    data = noisy(1000, 3, 64, 64)
    sizes = {"network": "conv", "channels": 32, "hidden_dims": (400,), "latent_dim": 20}
    # The codes of another network, since those of this one take ten seconds.
    latent_map = mapped(trained(data, steps=0, hidden_dims=(2,), latent_dim=20), data)
    model = trained(data, steps=0, **sizes)
    active = torch.ones(20, dtype=torch.bool)
    page = explorer_page(
        model, latent_map=latent_map, kl=torch.ones(20), active=active, title="Explorer", budget=LARGEST_PAGE
    )
    assert len(page.encode()) <= LARGEST_PAGE
    assert content(page)["decoder"] is not None
    assert len(content(page)["indices"]) == 1000


def test_pages_of_the_largest_images_keep_within_five_megabytes() -> None:
    data = noisy(60, 3, 256, 256)
    page = page_of(trained(data, steps=0, hidden_dims=(2,), latent_dim=40), data, budget=LARGEST_PAGE)
    assert len(page.encode()) <= LARGEST_PAGE
    assert content(page)["decoder"] is not None
