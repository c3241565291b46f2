"""The architecture of a model: the parameters that it is built from."""

from typing import Annotated

from pydantic import Field

from vae.base.errors import VAEError
from vae.base.params import Count, ModelParams


class ArchitectureError(VAEError):
    """The network cannot take images of this size."""


class Architecture(ModelParams):
    """The parameters of the ``model`` section, and ``image_shape``: channels, height and width."""

    image_shape: Annotated[tuple[Count, Count, Count], Field(strict=False)]
