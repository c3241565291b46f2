"""Build the latent explorer's page from its sources, a model and a map of encoded images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.base.pages import content_security_policy
from vae.base.runtime import generator
from vae.data.images import LabelledImages
from vae.explorer import weights
from vae.explorer.sprite import Sprites, columns
from vae.explorer.versions import Version, versions
from vae.explorer.weights import Precision
from vae.figures.canvas import brief
from vae.figures.charts import densest
from vae.model.vae import VAE

if TYPE_CHECKING:
    from jinja2 import Template

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent
# In this order; each uses those before it.
SCRIPTS = (
    "decoder.js",
    "coordinates.js",
    "captions.js",
    "address.js",
    "origins.js",
    "elements.js",
    "pictures.js",
    "past.js",
    "scatter.js",
    "map.js",
    "tooltip.js",
    "sliders.js",
    "neighbourhood.js",
    "path.js",
    "explorer.js",
)

LARGEST_PAGE = 5_000_000  # bytes
DEVIATIONS_SHARE = 0.1  # of the page's bytes, at most, for standard deviations of posteriors, which are else left out
MOST_COMPARED = 1000  # images whose posteriors give the usual distance to the nearest code
ANY_SEED = 0  # the same page for the same model
FIRST_SLIDERS = 20  # shown of more, until one is looked for or all are asked for
MOST_NAMES = 20  # classes named on the map; the largest, until others are highlighted
PRIOR_REACH = 3  # standard deviations, which hold 99.7% of the prior in each dimension


@dataclass(frozen=True)
class LatentMap:
    """Encoded images and their coordinates on a map of the latent space.

    Attributes:
        images: N images with their classes.
        indices: their indices among the test images, int64 (N,).
        codes: their posterior means (N, D).
        deviations: the standard deviations of their posteriors (N, D).
        points: their coordinates (N, 2); the codes themselves if D is two, or one (padded with zero).
        axis_names: what the two axes show.
        colours: the classes' colours for CSS, reused from the start if there are more classes.
    """

    images: LabelledImages
    indices: Tensor
    codes: Tensor
    deviations: Tensor
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
            deviations=self.deviations[:count],
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
        rounding_error: the largest change in intensity that rounding makes in decoded test images.
        compared: the number of those.
    """

    precision: Precision
    size: int
    rounding_error: float
    compared: int


def explorer_page(
    model: VAE, latent_map: LatentMap, kl: Tensor, active: Tensor, title: str, budget: int = LARGEST_PAGE
) -> str:
    """Build a self-contained page with a map of images and a slider for each latent dimension, decoded in the browser.

    If the page exceeds the budget, numbers are rounded, and pictures of test images are compressed, shrunk and left
    out; then fewer test images are on the map; and only then is the decoder left out. The page and the log say so.

    Args:
        model: the model whose decoder the page runs, if it is a sequence of layers.
        latent_map: encoded images and their coordinates.
        kl: nats per latent dimension, averaged over images (D,).
        active: which dimensions are active, bool (D,); they get sliders, sorted by KL.
        title: the page's title.
        budget: the largest size of the page in bytes.

    Returns:
        HTML, the same for the same arguments.
    """
    builder = _Builder(model, latent_map, kl, active, title, budget)
    sprites, given = Sprites(latent_map.images.images), len(latent_map.images)
    for version in versions(sprites, given, latent_map.latent_dim, builder.size, budget):
        page = builder.page(version)
        if len(page.encode()) <= budget:
            break
    for sentence in (builder.reductions(version), "" if version.decodes else builder.reason):
        if sentence:
            log.info("latent explorer: %s", sentence)
    return page


class _Builder:
    """Builds versions of a page."""

    def __init__(self, model: VAE, latent_map: LatentMap, kl: Tensor, active: Tensor, title: str, budget: int) -> None:
        self.model, self.latent_map = model, latent_map
        self.layers = model.decoder.layers
        self.size = None if self.layers is None else len(weights.numbers(self.layers))
        self.budget = budget
        self.active = active.cpu()
        self.labels = {"title": title, "active_count": int(active.sum()), "first_sliders": FIRST_SLIDERS}
        order = kl.argsort(descending=True, stable=True).tolist()
        self.dimensions = [{"dimension": d, "kl": round(float(kl[d]), 4)} for d in order if active[d]]
        self.template = _template()
        self.decoder = cache(self._decoder)

    def page(self, version: Version) -> str:
        """Render a version."""
        shown = self.latent_map.first(version.dots)
        decoder, description = self.decoder(version.precision) if version.decodes else (None, None)
        deviations = self._deviations(shown)
        return self.template.render(
            **self.labels,
            latent_map=shown,
            reductions=self.reductions(version),
            content={
                **_content(shown, version),
                "percentiles": _percentiles(shown, self.active),
                "deviations": deviations,
                "deviations_precision": Precision.BITS_8,
                "dimensions": self.dimensions,
                "first_sliders": FIRST_SLIDERS,
                "decoder": description,
            },
            decoder=decoder,
            reason=None if version.decodes else self.reason,
        )

    def reductions(self, version: Version) -> str:
        """In a sentence, what a version leaves out, shrinks or compresses; empty if nothing."""
        has_deviations = self._deviations(self.latent_map.first(version.dots)) is not None
        return version.reductions(len(self.latent_map.images), has_deviations)

    def _deviations(self, latent_map: LatentMap) -> str | None:
        """The standard deviations of posteriors, if they are not too many."""
        text = weights.encoded(latent_map.deviations, Precision.BITS_8)
        return text if len(text) <= DEVIATIONS_SHARE * self.budget else None

    def _decoder(self, precision: Precision) -> tuple[RunningDecoder, dict[str, Any]]:
        """What a page says about its decoder, and what its scripts need to run it."""
        assert self.layers is not None
        assert self.size is not None
        error = weights.rounding_error(self.model, self.latent_map.codes, precision)
        description = weights.description(self.layers, self.model.architecture.likelihood, precision)
        compared = min(len(self.latent_map.codes), weights.MOST_COMPARED)
        return RunningDecoder(precision, self.size, error, compared), description

    @property
    def reason(self) -> str:
        """Why the page has no decoder."""
        if self.size is None:
            return f"The decoder of the {self.model.architecture.network} network does not run in the browser."
        smallest = list(Precision)[-1]
        length = weights.encoded_length(self.size, smallest)
        return (
            f"The decoder is too large for a page of {_megabytes(self.budget)}: its {self.size:,} weights take "
            f"{_megabytes(length)} even in {smallest}, in addition to the rest of the page."
        )


def _content(latent_map: LatentMap, version: Version) -> dict[str, Any]:
    """What the scripts read about the test images and the map."""
    images = latent_map.images
    channels, height, width = images.shape
    sizes = images.labels.bincount(minlength=len(images.class_names))
    return {
        "shape": [channels, height, width],
        "tile": version.sprite.size,
        "columns": columns(version.sprite.count),
        "sprite": version.sprite.url,
        "pictures": version.sprite.count,
        "labels": images.labels.tolist(),
        "indices": latent_map.indices.tolist(),
        "class_names": images.class_names,
        "short_names": [brief(name) for name in images.class_names],
        "named": sizes.argsort(descending=True, stable=True)[:MOST_NAMES].sort().values.tolist(),
        "densest": _densest_points(latent_map),
        "colours": [latent_map.colours[label % len(latent_map.colours)] for label in range(len(images.class_names))],
        "latent_dim": latent_map.latent_dim,
        "precision": version.precision_of_codes,
        "codes": weights.encoded(latent_map.codes, version.precision_of_codes),
        "places": weights.encoded(latent_map.places),
        "place_is_code": latent_map.place_is_code,
        "axes": _axes(latent_map),
    }


def _percentiles(latent_map: LatentMap, active: Tensor) -> list[float]:
    """Percentiles from 0 to 100 of the distance between a draw from a posterior and the nearest code of another image.

    Decoders are trained on such draws, which spread wider than the codes themselves, the means. The distance is over
    active dimensions, bool (D,). Measured with a draw for each of the first ``MOST_COMPARED`` images. Empty if there
    are no two images or no active dimensions.
    """
    if len(latent_map.codes) < 2 or not active.any():
        return []
    codes, deviations = latent_map.codes[:, active], latent_map.deviations[:MOST_COMPARED, active]
    noise = torch.randn(deviations.shape, generator=generator(ANY_SEED, "draws from posteriors"))
    draws = codes[:MOST_COMPARED] + deviations * noise
    distances = torch.cdist(draws, codes, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.fill_diagonal_(torch.inf).min(1).values
    return [round(float(value), 4) for value in nearest.quantile(torch.linspace(0, 1, 101))]


def _densest_points(latent_map: LatentMap) -> list[int | None]:
    """For each class, the point at which its name stands; None if the class has no points."""
    places, labels = latent_map.places.numpy(), latent_map.images.labels
    points = [(labels == label).nonzero().flatten() for label in range(len(latent_map.images.class_names))]
    return [int(own[densest(places[own.numpy()])]) if len(own) else None for own in points]


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
