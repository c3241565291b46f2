"""Build a page on which two models reconstruct the same test images, and decode the same draws, in the browser."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from review.pages import TEMPLATES
from vae.base.errors import VAEError
from vae.explorer import content, weights
from vae.explorer.latent_map import LatentMap
from vae.explorer.page import LARGEST_PAGE, SOURCES, template
from vae.explorer.sprite import Sprites
from vae.explorer.versions import Version, versions
from vae.explorer.weights import Precision
from vae.model.vae import VAE

# Of the latent explorer, in this order; each uses those before it.
SCRIPTS = (
    "decoder.js",
    "coordinates.js",
    "captions.js",
    "address.js",
    "elements.js",
    "pictures.js",
    "past.js",
    "scatter.js",
    "map.js",
    "tooltip.js",
    "toggles.js",
    "legend.js",
)
LETTERS = ("A", "B")
FRAMES = (
    ("source", "x"),
    ("decoded-A", "A"),
    ("decoded-B", "B"),
    ("difference-A", "|x − A|"),
    ("difference-B", "|x − B|"),
    ("between", "|A − B|"),
)


class SideBySideError(VAEError):
    """Two models cannot be shown side by side."""


@dataclass(frozen=True)
class ComparedModel:
    """One of two models.

    Attributes:
        name: how the user calls it.
        model: the model.
        latent_map: its codes of the test images, the same images for both models.
        active: which latent dimensions are active, bool (D,).
    """

    name: str
    model: VAE
    latent_map: LatentMap
    active: Tensor

    @property
    def size(self) -> int:
        """The number of the decoder's weights.

        Raises:
            SideBySideError: the decoder does not run in the browser.
        """
        if self.model.decoder.layers is None:
            network = self.model.architecture.network
            raise SideBySideError(f"{self.name}: the decoder of the {network} network does not run in the browser")
        return len(weights.numbers(self.model.decoder.layers))

    def content(self, version: Version) -> dict[str, Any]:
        """What scripts read about it."""
        assert self.model.decoder.layers is not None
        shown = self.latent_map.first(version.dots)
        likelihood = self.model.architecture.likelihood
        return {
            **content.of_codes(shown, version),
            "dimensions": self.active.nonzero().flatten().tolist(),
            "decoder": weights.description(self.model.decoder.layers, likelihood, version.precision),
        }


def side_by_side_page(
    models: tuple[ComparedModel, ComparedModel],
    differences: Sequence[tuple[str, str, str]],
    budget: int = 2 * LARGEST_PAGE,
) -> str:
    """Build the page.

    If it exceeds the budget, numbers are rounded, then pictures of test images are compressed, shrunk and left out, and
    then test images; the page says so.

    Args:
        models: the two models, with the same test images.
        differences: parameters that differ: name, value of the first model, value of the second.
        budget: the largest size of the page in bytes.

    Returns:
        HTML, the same for the same arguments.

    Raises:
        SideBySideError: a decoder does not run in the browser, or is too large for the page.
    """
    first = models[0].latent_map
    dimensions = sum(each.latent_map.latent_dim for each in models)
    size = sum(each.size for each in models)
    for version in versions(Sprites(first.images.images), len(first.images), dimensions, size, budget):
        if not version.decodes:
            break
        page = _page(models, differences, version)
        if len(page.encode()) <= budget:
            return page
    raise SideBySideError(
        f"the decoders are too large for a page of {budget / 1e6:.3g} MB: together they have {size:,} weights, "
        f"{weights.encoded_length(size, list(Precision)[-1]) / 1e6:.3g} MB"
    )


def _page(models: Sequence[ComparedModel], differences: Sequence[tuple[str, str, str]], version: Version) -> str:
    first = models[0].latent_map
    scripts = [*(SOURCES / name for name in SCRIPTS), TEMPLATES / "side_by_side.js"]
    return template(TEMPLATES / "side_by_side.html", scripts).render(
        title="Two models side by side",
        frames=FRAMES,
        models=[{"letter": letter, "name": each.name} for letter, each in zip(LETTERS, models, strict=True)],
        differences=differences,
        reductions=version.reductions(len(first.images), has_deviations=True),
        content={
            **content.of_images(first.first(version.dots), version),
            "models": [each.content(version) for each in models],
        },
    )
