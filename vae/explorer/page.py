"""Build the latent explorer's page from its sources, a model and a map of encoded images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vae.base.pages import content_security_policy
from vae.explorer import content, weights
from vae.explorer.contours import INSIDE
from vae.explorer.latent_map import LatentMap
from vae.explorer.sprite import Sprites
from vae.explorer.versions import Version, versions
from vae.explorer.weights import Precision
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
    "views.js",
    "past.js",
    "scatter.js",
    "map.js",
    "tooltip.js",
    "toggles.js",
    "legend.js",
    "measures.js",
    "overlays.js",
    "strip.js",
    "sliders.js",
    "traversal.js",
    "neighbourhood.js",
    "path.js",
    "take_away.js",
    "lessons.js",
    "explorer.js",
)

LARGEST_PAGE = 5_000_000  # bytes
DEVIATIONS_SHARE = 0.1  # of the page's bytes, at most, for standard deviations of posteriors, which are else left out
FIRST_SLIDERS = 20  # shown of more, until one is looked for or all are asked for
DRAWS = 100  # from the prior, which can be shown on the map


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
        self.template = template(SOURCES / "page.html", [SOURCES / name for name in SCRIPTS])
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
                **content.of_images(shown, version),
                **content.of_codes(shown, version),
                "draws": DRAWS,
                "contours": content.contours_of_classes(shown),
                "percentiles": content.percentiles(shown, self.active),
                "deviations": deviations,
                "deviations_precision": Precision.BITS_8,
                "dimensions": self.dimensions,
                "first_sliders": FIRST_SLIDERS,
                "decoder": description,
            },
            inside=INSIDE,
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


def template(path: Path, scripts: Sequence[Path]) -> "Template":
    """A template that extends ``frame.html``, including scripts and styles."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader([path.parent, SOURCES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # These are the project's own files, and must not be escaped.
    styles, *texts = (each.read_text(encoding="utf-8") for each in (SOURCES / "explorer.css", *scripts))
    environment.globals["styles"] = Markup(styles)
    environment.globals["scripts"] = list(map(Markup, texts))
    environment.globals["policy"] = content_security_policy
    return environment.get_template(path.name)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"
