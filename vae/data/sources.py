"""Load a data set by its name."""

from vae.data import digits, mnist
from vae.data.images import Splits


def load_source(dataset: str, seed: int) -> Splits:
    """Load a data set by its name, split into training and test images.

    The digits are split at random by ``seed``; the other data sets come with a test set.

    Raises:
        DatasetError: an archive is neither in the download folder nor on any mirror.
    """
    return digits.load(seed) if dataset == "digits" else mnist.load(dataset)
