"""The handwritten digits that ship with scikit-learn."""

import torch

from vae.data.images import LabelledImages, Splits, hold_out

TEST_FRACTION = 0.2


def load(seed: int) -> Splits:
    """Load the 1,797 digits of 8×8 pixels with 17 grey levels; a random fifth are test images."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).to(torch.int64)
    data = LabelledImages(images, labels, tuple(str(name) for name in digits.target_names))
    return Splits(*hold_out(data, TEST_FRACTION, seed, "test split"))
