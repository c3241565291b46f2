"""The latent explorer's page, put together from its sources, a model and a map of encoded images."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.data.images import LabelledImages
from vae.explorer import weights
from vae.explorer.sprite import columns, sprite
from vae.explorer.weights import Precision
from vae.model.vae import VAE

if TYPE_CHECKING:
    from jinja2 import Template

SOURCES = Path(__file__).parent
# In this order; each uses those before it.
SCRIPTS = ("decoder.js", "coordinates.js", "captions.js", "scatter.js", "map.js", "explorer.js")

LARGEST_PAGE = 5_000_000  # bytes
MOST_IMAGES = 2000  # with so many of MNIST the page has 2.4 MB (mlp) or 4.3 MB (conv, in 16 bits) at the default sizes
PRIOR_REACH = 3  # standard deviations, within which 99.7% of the prior lie in each dimension


@dataclass(frozen=True)
class LatentMap:
    """Encoded images and their places in a picture of the latent space.

    Attributes:
        images: N images with their classes.
        indices: which of the test images they are, int64 (N,).
        codes: their posterior means (N, D).
        points: their places (N, 2); the codes themselves where D is one, padded with zero, or two.
        axis_names: what the two axes show.
        colours: of the classes, as CSS has them; they start again where there are more classes.
    """

    images: LabelledImages
    indices: Tensor
    codes: Tensor
    points: NDArray[np.float32]
    axis_names: tuple[str, str]
    colours: Sequence[str]

    def first(self, count: int) -> "LatentMap":
        """A map of the first images alone."""
        return replace(
            self,
            images=self.images[:count],
            indices=self.indices[:count],
            codes=self.codes[:count],
            points=self.points[:count],
        )

    @property
    def latent_dim(self) -> int:
        """D."""
        return self.codes.shape[1]

    @property
    def place_is_code(self) -> bool:
        """Whether the picture shows the latent space itself, and no projection of it."""
        return self.latent_dim <= 2

    @property
    def places(self) -> Tensor:
        """Where points are drawn (N, 2). On a line of one latent dimension each class has a row of its own."""
        if self.latent_dim > 1:
            return torch.tensor(self.points)
        return torch.stack([self.codes[:, 0].cpu(), -self.images.labels.float()], 1)


@dataclass(frozen=True)
class RunningDecoder:
    """What a page says of the decoder in it.

    Attributes:
        precision: of its numbers.
        size: how many there are.
        rounding_error: the largest difference in intensity that rounding makes to the mapped codes' images.
    """

    precision: Precision
    size: int
    rounding_error: float


def explorer_page(
    model: VAE, latent_map: LatentMap, kl: Tensor, active: Tensor, title: str, budget: int = LARGEST_PAGE
) -> str:
    """A self-contained page: a map of images to point at, and a slider a latent dimension, decoded in the browser.

    The decoder's numbers are in it in float32 where the whole page keeps within the budget, else in 16 bits. Where that
    is too large as well, or where the decoder is no sequence of layers, the page has no decoder and says why.

    Args:
        model: whose decoder the page runs.
        latent_map: encoded images and their places; the page shows the first ``MOST_IMAGES`` of them.
        kl: nats per latent dimension, averaged over images (D,).
        active: which dimensions are active, bool (D,); they get sliders, by falling KL.
        title: of the page.
        budget: bytes that the page may have.

    Returns:
        HTML, the same for the same arguments.
    """
    template = _template()
    latent_map = latent_map.first(MOST_IMAGES)
    content = _content(latent_map, kl, active)
    labels = {"title": title, "latent_map": latent_map, "active_count": int(active.sum())}
    layers = model.decoder.layers
    if layers is None:
        reason = f"The decoder of the {model.architecture.network} network does not run in the browser."
        return template.render(**labels, content=content, decoder=None, reason=reason)
    size = len(weights.numbers(layers))
    for precision in Precision:
        error = weights.rounding_error(model, latent_map.codes) if precision == Precision.BLOCKS else 0.0
        description = weights.description(layers, model.architecture.likelihood, precision)
        page = template.render(
            **labels,
            content={**content, "decoder": description},
            decoder=RunningDecoder(precision, size, error),
            reason=None,
        )
        if len(page.encode()) <= budget:
            return page
    length = len(description["weights"])
    reason = (
        f"The decoder is too large for a page of {_megabytes(budget)}: its {size:,} numbers would take "
        f"{_megabytes(length)} in {precision}, next to the images and their codes."
    )
    return template.render(**labels, content=content, decoder=None, reason=reason)


def _content(latent_map: LatentMap, kl: Tensor, active: Tensor) -> dict[str, Any]:
    """What the scripts read, except the decoder."""
    images = latent_map.images
    channels, height, width = images.shape
    dimensions = [int(dimension) for dimension in kl.argsort(descending=True, stable=True) if active[dimension]]
    return {
        "shape": [channels, height, width],
        "columns": columns(len(images)),
        "sprite": f"data:image/png;base64,{b64encode(sprite(images.images)).decode()}",
        "labels": images.labels.tolist(),
        "indices": latent_map.indices.tolist(),
        "class_names": images.class_names,
        "colours": [latent_map.colours[label % len(latent_map.colours)] for label in range(len(images.class_names))],
        "latent_dim": latent_map.latent_dim,
        "codes": weights.encoded(latent_map.codes),
        "places": weights.encoded(latent_map.places),
        "place_is_code": latent_map.place_is_code,
        "dimensions": [{"dimension": dimension, "kl": round(float(kl[dimension]), 4)} for dimension in dimensions],
        "axes": _axes(latent_map),
        "decoder": None,
    }


def _axes(latent_map: LatentMap) -> dict[str, Any]:
    """How the map is scaled: names; which axes have numbers; whether both have one scale; how far they reach at least.

    Where a place is a code, the prior lies within reach. The axes of a projection have no meaning of their own.
    """
    if not latent_map.place_is_code:
        return {"names": latent_map.axis_names, "ticks": [False, False], "equal": True, "rows": False, "reach": []}
    on_line = latent_map.latent_dim == 1
    return {
        "names": ("z0", "class") if on_line else latent_map.axis_names,
        "ticks": [True, not on_line],
        "equal": not on_line,
        "rows": on_line,
        "reach": [PRIOR_REACH] if on_line else [PRIOR_REACH, PRIOR_REACH],
    }


def _template() -> "Template":
    """The page, with scripts and styles already in it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(SOURCES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # These are the project's own, and do not work when escaped.
    environment.globals["styles"] = Markup(_source("explorer.css"))
    environment.globals["scripts"] = [Markup(_source(name)) for name in SCRIPTS]
    return environment.get_template("page.html")


def _source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"
