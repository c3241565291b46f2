"""Pictures at several revisions: how much they differ, and where."""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from review.precision import same_output
from review.revisions import Revision
from stages import paths

# Values of a pixel from 0 to 255 that another machine may round differently.
ROUNDING = 2
# Pictures whose images show the same inputs at revisions with the same test images and the same of these parameters.
SAME_INPUTS: Mapping[str, Sequence[str]] = {
    "plots/evaluate/reconstructions.png": ("evaluate.seed",),
    "plots/generate/interpolations.png": ("generate.seed",),
    "plots/generate/samples.png": ("generate.seed", "generate.samples", "model.latent_dim"),
}
BRIGHTER, DARKER = (213, 94, 0), (0, 114, 178)  # orange and blue of Okabe & Ito


class Picture(NamedTuple):
    """A picture at each revision.

    Attributes:
        path: path of the picture.
        stage: the stage that writes it.
        title: title of the picture.
        contents: content of the file at each revision, or None if a revision lacks it.
        same_inputs: whether each head decodes the same images or codes as the base.
    """

    path: str
    stage: str
    title: str
    contents: tuple[bytes | None, ...]
    same_inputs: tuple[bool, ...] = ()

    @property
    def change(self) -> float:
        """The largest difference of a head from the base, from 0 to 1: the root mean square over pixels.

        1 if the sizes differ, or a revision lacks the picture. Differences as small as rounding count as 0.
        """
        return max(_distance(self.contents[0], content) for content in self.contents)

    @property
    def same(self) -> bool:
        """Whether all revisions have the same picture."""
        return self.change == 0

    @property
    def differences(self) -> list[bytes | None]:
        """For each head, a picture of the difference from the base; None unless both decode the same inputs."""
        return [
            difference(self.contents[0], content) if same else None
            for same, content in zip(self.same_inputs, self.contents[1:], strict=False)
        ]

    @property
    def media_type(self) -> str:
        """The media type, for a data URL."""
        suffix = PurePosixPath(self.path).suffix.removeprefix(".").lower()
        return {"svg": "image/svg+xml", "jpg": "image/jpeg"}.get(suffix, f"image/{suffix}")


def have_same_inputs(path: str, base: Revision, head: Revision) -> bool:
    """Whether a picture decodes the same images or codes at both revisions."""
    parameters = SAME_INPUTS.get(path)
    return (
        parameters is not None
        and same_output(base, head, paths.TEST_IMAGES)
        and all(base.parameters.get(key) == head.parameters.get(key) for key in parameters)
    )


def difference(before: bytes | None, after: bytes | None) -> bytes | None:
    """A picture of where the second picture is brighter (orange) or darker (blue) than the first; white where equal.

    None if either is missing or no picture that can be read, or if the sizes differ.
    """
    from PIL import Image

    first, second = _pixels(before), _pixels(after)
    if first is None or second is None or first.shape != second.shape:
        return None
    change = (second - first).mean(axis=2) / 255
    colours = np.where(change[..., None] > 0, BRIGHTER, DARKER)
    shown = 255 - np.abs(change)[..., None] * (255 - colours)
    content = io.BytesIO()
    Image.fromarray(shown.round().astype(np.uint8)).save(content, "png")
    return content.getvalue()


@cache
def _distance(before: bytes | None, after: bytes | None) -> float:
    if before == after:
        return 0.0
    first, second = _pixels(before), _pixels(after)
    if first is None or second is None or first.shape != second.shape:
        return 1.0
    differences = np.abs(second - first)
    return float(np.sqrt((differences**2).mean())) / 255 if differences.max() > ROUNDING else 0.0


@cache
def _pixels(content: bytes | None) -> NDArray[np.float32] | None:
    """The pixels of a picture (H, W, 3) from 0 to 255, or None if there is none or it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    if content is None:
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"), np.float32)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
