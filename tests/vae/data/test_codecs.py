"""What image codecs need, compared with files on the disk and with entropies that are known."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from vae.data import codecs
from vae.data.codecs import codec_bits, pixel_entropy


def noise(count: int, *shape: int, levels: int = 256) -> Tensor:
    return torch.randint(levels, (count, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_codecs_need_the_size_of_files_on_the_disk_in_bits_per_dimension(channels: int, tmp_path: Path) -> None:
    images = noise(3, channels, 16, 20, levels=9)
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        picture.save(tmp_path / f"{number}.png", optimize=True)
        picture.save(tmp_path / f"{number}.webp", lossless=True, quality=100)
    found = codec_bits(images)
    assert found is not None
    for suffix, bits in (("png", found.png), ("webp", found.webp)):
        size = sum(path.stat().st_size for path in tmp_path.glob(f"*.{suffix}"))
        assert bits == pytest.approx(8 * size / images.numel())


def test_files_hold_every_value_since_webp_is_lossless(tmp_path: Path) -> None:
    image = noise(1, 3, 20, 20)[0].permute(1, 2, 0).numpy()
    Image.fromarray(image).save(tmp_path / "x.webp", **codecs.WEBP)
    assert (
        torch.tensor(list(Image.open(tmp_path / "x.webp").convert("RGB").tobytes())) == torch.tensor(image).flatten()
    ).all()


def test_no_codec_needs_less_than_eight_bits_for_noise_nor_more_than_its_header_for_a_blank_image() -> None:
    random, blank = codec_bits(noise(2, 3, 64, 64)), codec_bits(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert random is not None
    assert blank is not None
    assert min(random.png, random.webp) > 8
    assert random.pixels == pytest.approx(8, abs=0.03)
    assert max(blank.png, blank.webp) < 0.1
    assert blank.pixels == 0


def test_entropy_of_pixels_is_that_of_the_values_of_each_channel_averaged_over_channels() -> None:
    constant = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    coins = torch.tensor([0, 255], dtype=torch.uint8).repeat(8).view(4, 1, 2, 2)
    assert pixel_entropy(coins) == pytest.approx(1)
    assert pixel_entropy(torch.cat([constant, coins], 1)) == pytest.approx(0.5)
    quarter = torch.tensor([0, 0, 0, 9], dtype=torch.uint8).view(1, 1, 2, 2)
    assert pixel_entropy(quarter) == pytest.approx(2 - 0.75 * torch.log2(torch.tensor(3.0)).item())


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 16, 16), (4, 16, 16)])
def test_very_small_images_and_other_channels_than_grey_and_rgb_are_not_measured(shape: tuple[int, ...]) -> None:
    assert codec_bits(noise(3, *shape)) is None
    assert codec_bits(noise(0, 3, 16, 16)) is None


@pytest.mark.parametrize(("limit", "value"), [("IMAGES", 5), ("DIMENSIONS", 5 * 16 * 16)])
def test_of_many_images_some_are_encoded_that_are_spread_evenly(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.cat([noise(5, 1, 16, 16), torch.zeros(5, 1, 16, 16, dtype=torch.uint8)])
    half = codec_bits(images[::2])
    monkeypatch.setattr(codecs, limit, value)
    found = codec_bits(images)
    assert found is not None
    assert half is not None
    assert (found.png, found.webp) == (half.png, half.webp)
    assert found.pixels == pixel_entropy(images)
