"""How the images of a data set became pixels, recorded so that other images can be prepared alike."""

from typing import Self

from pydantic import field_validator

from vae.base.params import Binarization, Fit, PrepareParams, Section
from vae.data.decoding import Framing, colour


class Preparation(Section):
    """What the prepare stage did to each image. The size and the number of channels are those of the pixels.

    Attributes:
        dataset: the name of the data set.
        fit: how images of other sizes are brought to the size: ``crop``, ``pad`` or ``stretch``.
        background: the colour behind transparent pixels and around padded images.
        binarize: how pixels were made black or white.
    """

    dataset: str
    fit: Fit
    background: str
    binarize: Binarization

    @classmethod
    def of(cls, settings: PrepareParams) -> Self:
        """What the parameters say.

        The images of the digits, MNIST and its relatives have one size and were not framed. What they show is bright on
        black, so other images are padded with black for their models.
        """
        framed = settings.dataset == "folder"
        fit, background = (settings.fit, settings.background) if framed else ("pad", "black")
        return cls(dataset=settings.dataset, fit=fit, background=background, binarize=settings.binarize)

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, name: str) -> str:
        colour(name)
        return name

    def framing(self, height: int, width: int) -> Framing:
        """How images of other sizes are brought to one size."""
        return Framing(height, width, self.fit, colour(self.background))
