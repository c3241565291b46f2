"""The architecture of a model: the parameters that it is built from."""

from typing import Annotated

from pydantic import Field

from vae.base.errors import VAEError
from vae.base.params import Count, ModelParams
from vae.model.likelihoods import likelihood


class ArchitectureError(VAEError):
    """The network cannot take images of this size."""


class Architecture(ModelParams):
    """The parameters of the ``model`` section, and ``image_shape``: channels, height and width."""

    image_shape: Annotated[tuple[Count, Count, Count], Field(strict=False)]

    @property
    def output_channels(self) -> int:
        """The number of channels of the decoder's output: the parameters of the likelihood at each pixel."""
        scale = None if self.scale == "learned" else self.scale
        return likelihood(self.likelihood, scale).output_channels(self.image_shape[0])
