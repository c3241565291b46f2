"""An explorer's page that is open in a browser, and what a test can ask of it."""

from base64 import b64decode
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from playwright.sync_api import Locator, Page
from torch import Tensor

from tests.vae.explorer.digits import codes, mapped
from vae.data.images import LabelledImages, pixels
from vae.model import inference
from vae.model.vae import VAE

ONE_GREY_LEVEL = 1 / 255
NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
# Of a copy, since a canvas that is read often is no longer drawn by the graphics card. In Base64, since Playwright
# takes seconds for a list of a million numbers.
COLOURS_OF = """(canvas) => {
    const { width, height } = canvas;
    const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    pen.drawImage(canvas, 0, 0);
    const { data } = pen.getImageData(0, 0, width, height);
    let bytes = "";
    for (let i = 0; i < data.length; i += 10000) bytes += String.fromCharCode(...data.subarray(i, i + 10000));
    return [width, height, btoa(bytes)];
}"""
HAS_COLOUR = """(canvas, [red, green, blue]) => {
    const { width, height } = canvas;
    const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    pen.drawImage(canvas, 0, 0);
    const { data } = pen.getImageData(0, 0, width, height);
    for (let i = 0; i < data.length; i += 4) {
        if (data[i] === red && data[i + 1] === green && data[i + 2] === blue && data[i + 3] === 255) return true;
    }
    return false;
}"""
# Between the map's places and the window's pixels, by the page's own scales.
SCALES = """() => {
    const content = JSON.parse(document.getElementById("content").textContent);
    const scatter = createScatter(content, decoding.numbers(content.places));
    const box = document.getElementById("map").getBoundingClientRect();
    scatter.fit(box.width, box.height);
    return [box, scatter];
}"""
PIXELS_OF_PLACES = f"""(places) => {{
    const [box, scatter] = ({SCALES})();
    return places.map(scatter.toPixels).map(([x, y]) => [box.x + x, box.y + y]);
}}"""
PLACE_OF_PIXEL = f"""([x, y]) => {{
    const [box, scatter] = ({SCALES})();
    return scatter.toPlace(x - box.x, y - box.y);
}}"""


def intensities(canvas: Locator) -> Tensor:
    """Intensities of a canvas (H, W, 3), once what is asked of it is drawn."""
    canvas.page.evaluate(NEXT_FRAME)
    width, height, colours = canvas.evaluate(COLOURS_OF)
    values = torch.frombuffer(bytearray(b64decode(colours)), dtype=torch.uint8)
    return values.view(height, width, 4)[:, :, :3] / 255


class Explorer:
    """An explorer's page in the browser, with the model and images that it was built from."""

    def __init__(self, page: Page, model: VAE, data: LabelledImages) -> None:
        self.page, self.model, self.data = page, model, data
        self.codes = codes(model, data)
        self.places = torch.from_numpy(mapped(model, data).points)

    def __getitem__(self, name: str) -> Locator:
        return self.page.locator(f"#{name}")

    def image(self, name: str = "decoded") -> Tensor:
        """Intensities of a canvas (H, W, 3)."""
        return intensities(self[name])

    def expected(self, code: Tensor) -> Tensor:
        """The image that PyTorch decodes from a code (D,), as it can be shown: (H, W, 3)."""
        image = inference.decode(self.model, code.float().unsqueeze(0), 0)[0]
        return image.clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0)

    def has_colour(self, colour: tuple[int, int, int]) -> bool:
        """Whether a pixel of the map has a colour."""
        self.page.evaluate(NEXT_FRAME)
        return bool(self["map"].evaluate(HAS_COLOUR, list(colour)))

    def assert_decoded(self, code: Tensor) -> None:
        torch.testing.assert_close(self.image(), self.expected(code), rtol=0, atol=ONE_GREY_LEVEL)

    def assert_test_image(self, index: int, tolerance: float = 1e-6) -> None:
        image = pixels(self.data.images[index]).expand(3, -1, -1).permute(1, 2, 0)
        torch.testing.assert_close(self.image("source"), image, rtol=0, atol=tolerance)
        assert self["source-caption"].text_content() == f"Test image {100 + index}, labelled\u00a0{self.name(index)}"

    def name(self, index: int) -> str:
        return self.data.class_names[int(self.data.labels[index])]

    def pixels(self, places: Tensor) -> list[tuple[float, float]]:
        """The window's pixels of places (N, 2), once the map has the size that it keeps."""
        self.page.evaluate(NEXT_FRAME)
        return [(x, y) for x, y in self.page.evaluate(PIXELS_OF_PLACES, places.tolist())]

    def pixel(self, place: Tensor) -> tuple[float, float]:
        return self.pixels(place[None])[0]

    def place(self, x: float, y: float) -> Tensor:
        return torch.tensor(self.page.evaluate(PLACE_OF_PIXEL, [x, y]), dtype=torch.float64)

    def lonely_point(self) -> int:
        """The point that is farthest from all others."""
        distances = torch.cdist(self.places, self.places).fill_diagonal_(torch.inf)
        return int(distances.min(1).values.argmax())

    def empty_pixel(self) -> tuple[float, float]:
        """A pixel of the map that is near no point."""
        box = self["map"].bounding_box()
        assert box is not None
        points = torch.tensor(self.pixels(self.places))
        across = torch.arange(60, int(box["width"]) - 20, 10) + box["x"] + 0.5
        down = torch.arange(20, int(box["height"]) - 60, 10) + box["y"] + 0.5
        candidates = torch.cartesian_prod(across, down)
        distances = torch.cdist(candidates, points.float()).min(1).values
        near_enough = distances.where((distances > 25), torch.inf)
        x, y = candidates[int(near_enough.argmin())].tolist()
        return x, y


def mixed_code(places: Tensor, all_codes: Tensor, place: Tensor) -> Tensor:
    """Inverse squared distances of the nine nearest points as weights of their codes, in float64."""
    distances = (places.double() - place).norm(dim=1)
    nearest = distances.argsort()[:9]
    shares = distances[nearest] ** -2 / (distances[nearest] ** -2).sum()
    code: Tensor = shares @ all_codes[nearest].double()
    return code


Open = Callable[..., AbstractContextManager[Explorer]]
