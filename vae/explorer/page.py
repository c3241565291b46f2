"""Build the latent explorer's page from its sources, a model and a map of encoded images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.base.pages import content_security_policy
from vae.data.images import LabelledImages
from vae.explorer import weights
from vae.explorer.sprite import Sprite, columns, fitting_sprite
from vae.explorer.weights import Precision
from vae.figures.canvas import brief
from vae.model.vae import VAE

if TYPE_CHECKING:
    from jinja2 import Template

SOURCES = Path(__file__).parent
# In this order; each uses those before it.
SCRIPTS = ("decoder.js", "coordinates.js", "captions.js", "scatter.js", "map.js", "explorer.js")

LARGEST_PAGE = 5_000_000  # bytes
MOST_IMAGES = 2000  # of MNIST; they give a page of 2.4 MB (mlp) or 4.3 MB (conv, in 16 bits) with default parameters
IMAGES_SHARE = 0.5  # of the page's bytes, at most, for images and codes
MOST_NAMES = 20  # classes named on the map; the largest, until others are highlighted
PRIOR_REACH = 3  # standard deviations, which hold 99.7% of the prior in each dimension


@dataclass(frozen=True)
class LatentMap:
    """Encoded images and their coordinates on a map of the latent space.

    Attributes:
        images: N images with their classes.
        indices: their indices among the test images, int64 (N,).
        codes: their posterior means (N, D).
        points: their coordinates (N, 2); the codes themselves if D is two, or one (padded with zero).
        axis_names: what the two axes show.
        colours: the classes' colours for CSS, reused from the start if there are more classes.
    """

    images: LabelledImages
    indices: Tensor
    codes: Tensor
    points: NDArray[np.float32]
    axis_names: tuple[str, str]
    colours: Sequence[str]

    def first(self, count: int) -> "LatentMap":
        """A map of only the first images."""
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
        """Whether the map shows the latent space itself instead of a projection."""
        return self.latent_dim <= 2

    @property
    def places(self) -> Tensor:
        """The coordinates of the drawn points (N, 2). With one latent dimension, each class has its own row."""
        if self.latent_dim > 1:
            return torch.tensor(self.points)
        return torch.stack([self.codes[:, 0].cpu(), -self.images.labels.float()], 1)


@dataclass(frozen=True)
class RunningDecoder:
    """What a page says about its decoder.

    Attributes:
        precision: of its weights.
        size: the number of weights.
        rounding_error: the largest change in intensity that rounding makes in the images decoded from the map's codes.
    """

    precision: Precision
    size: int
    rounding_error: float


def explorer_page(
    model: VAE, latent_map: LatentMap, kl: Tensor, active: Tensor, title: str, budget: int = LARGEST_PAGE
) -> str:
    """Build a self-contained page with a map of images and a slider for each latent dimension, decoded in the browser.

    The decoder's weights are stored as float32 if the page then fits the budget, else in 16 bits. If that is too large
    as well, or if the decoder is not a sequence of layers, the page has no decoder and says why. If test images take
    more than half of the budget, they are shrunk, then left out, and the page says so.

    Args:
        model: the model whose decoder the page runs.
        latent_map: encoded images and their coordinates; the page shows the first of them, ``MOST_IMAGES`` at most.
        kl: nats per latent dimension, averaged over images (D,).
        active: which dimensions are active, bool (D,); they get sliders, sorted by KL.
        title: the page's title.
        budget: the largest size of the page in bytes.

    Returns:
        HTML, the same for the same arguments.
    """
    template = _template()
    given = len(latent_map.images)
    latent_map, picture = _fitting(latent_map.first(MOST_IMAGES), int(IMAGES_SHARE * budget))
    content = _content(latent_map, picture, kl, active)
    labels = {
        "title": title,
        "latent_map": latent_map,
        "active_count": int(active.sum()),
        "given": given,
        "picture": picture,
    }
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
        f"The decoder is too large for a page of {_megabytes(budget)}: its {size:,} weights would take "
        f"{_megabytes(length)} in {precision}, in addition to the images and their codes."
    )
    return template.render(**labels, content=content, decoder=None, reason=reason)


def _fitting(latent_map: LatentMap, budget: int) -> tuple[LatentMap, Sprite]:
    """The first images of a map whose sprite and codes fit the budget in bytes, and their sprite. One always fits."""
    while True:
        count = len(latent_map.images)
        picture = fitting_sprite(latent_map.images.images, budget - len(weights.encoded(latent_map.codes)))
        if picture.fits or count == 1:
            return latent_map, picture
        latent_map = latent_map.first(count // 2)


def _content(latent_map: LatentMap, picture: Sprite, kl: Tensor, active: Tensor) -> dict[str, Any]:
    """What the scripts read, except the decoder."""
    images = latent_map.images
    channels, height, width = images.shape
    sizes = images.labels.bincount(minlength=len(images.class_names))
    dimensions = [int(dimension) for dimension in kl.argsort(descending=True, stable=True) if active[dimension]]
    return {
        "shape": [channels, height, width],
        "tile": picture.size,
        "columns": columns(len(images)),
        "sprite": picture.url,
        "labels": images.labels.tolist(),
        "indices": latent_map.indices.tolist(),
        "class_names": images.class_names,
        "short_names": [brief(name) for name in images.class_names],
        "named": sizes.argsort(descending=True, stable=True)[:MOST_NAMES].sort().values.tolist(),
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
    """The map's axes: names, which have tick labels, whether both have the same scale, and the range to show at least.

    If the map shows the latent space itself, that range covers the prior. The axes of a projection have no units.
    """
    if not latent_map.place_is_code:
        return {"names": latent_map.axis_names, "ticks": [False, False], "equal": True, "rows": False, "reach": []}
    on_line = latent_map.latent_dim == 1
    return {
        "names": ("z0", "class" * (len(latent_map.images.class_names) > 1)) if on_line else latent_map.axis_names,
        "ticks": [True, not on_line],
        "equal": not on_line,
        "rows": on_line,
        "reach": [PRIOR_REACH] if on_line else [PRIOR_REACH, PRIOR_REACH],
    }


def _template() -> "Template":
    """The page's template, including scripts and styles."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(SOURCES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # These are the project's own files, and must not be escaped.
    environment.globals["styles"] = Markup(_source("explorer.css"))
    environment.globals["scripts"] = [Markup(_source(name)) for name in SCRIPTS]
    environment.globals["policy"] = content_security_policy
    return environment.get_template("page.html")


def _source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"
