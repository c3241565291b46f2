"""What a page of limited size can hold: versions of it, from the best to the smallest."""

from collections.abc import Iterator
from dataclasses import dataclass

from vae.explorer.sprite import Format, Sprite, Sprites
from vae.explorer.weights import Precision, encoded_length

FEWEST_DOTS = 250  # below which leaving out more gains little


@dataclass(frozen=True)
class Version:
    """What one version of a page holds.

    Attributes:
        dots: the number of test images on the map; the first of those given.
        sprite: their pictures, or those of the first of them.
        precision: of the decoder's weights.
        decodes: whether it has the decoder.
    """

    dots: int
    sprite: Sprite
    precision: Precision
    decodes: bool

    @property
    def precision_of_codes(self) -> Precision:
        """Codes are few and show as numbers, so they keep at least eight bits."""
        return precision_of_codes(self.precision)

    def reductions(self, given: int, has_deviations: bool) -> str:
        """In a sentence, what was left out, shrunk or compressed; empty if nothing was.

        Args:
            given: the number of test images on the map of the complete version.
            has_deviations: whether the page has the standard deviations of posteriors.
        """
        parts = []
        if self.dots < given:
            parts.append(f"the map shows {self.dots:,} of {given:,} test images")
        changes = []
        if self.sprite.factor > 1:
            height, width = self.sprite.size
            changes.append(f"shrunk to {width}×{height} pixels")
        if self.sprite.format == Format.WEBP:
            changes.append("compressed with losses")
        if changes:
            decoded = "; decoded images are not" if self.decodes else ""
            parts.append(f"test images are {' and '.join(changes)}{decoded}")
        if self.sprite.count < self.dots:
            parts.append(f"only {self.sprite.count:,} of the dots have a picture")
        if not has_deviations:
            parts.append("the standard deviations of posteriors are left out")
        return f"To keep this page small, {'; '.join(parts)}." if parts else ""


def precision_of_codes(precision: Precision) -> Precision:
    """The precision of codes on a page whose decoder's weights have this precision."""
    return Precision.BITS_8 if precision == Precision.BITS_6 else precision


def versions(sprites: Sprites, given: int, latent_dim: int, weights: int | None, budget: int) -> Iterator[Version]:
    """Versions from the best to the smallest: pictures give way first, then dots, then the decoder.

    A version whose numbers alone exceed the budget is left out. The last version is the smallest, whatever it needs.

    Args:
        sprites: of the test images.
        given: the number of test images.
        latent_dim: the length of a code.
        weights: the number of the decoder's weights; None if the browser cannot run it.
        budget: bytes.
    """
    fewer = [(Precision.BITS_6, dots) for dots in _halves(given)]
    for decodes in (True, False) if weights is not None else (False,):
        for precision, dots in [*((precision, given) for precision in Precision), *fewer]:
            numbers = encoded_length(latent_dim * dots, precision_of_codes(precision))
            numbers += encoded_length(weights or 0, precision) if decodes else 0
            if numbers > budget:
                continue
            for sprite in sprites(dots):
                yield Version(dots, sprite, precision, decodes)
                if precision == Precision.FLOAT32:
                    break  # rounding to 16 bits does not show, fewer or smaller pictures do
    dots = fewer[-1][1] if fewer else given
    *_, smallest = sprites(dots)
    yield Version(dots, smallest, Precision.BITS_6, decodes=False)


def _halves(count: int) -> list[int]:
    """Half of a number, a quarter and so on, down to ``FEWEST_DOTS``."""
    halves = [count // 2**power for power in range(1, count.bit_length())]
    return [half for half in halves if half >= FEWEST_DOTS]
