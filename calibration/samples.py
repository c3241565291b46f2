"""Samples: real images, of which more and more are replaced, or of which whole classes are missing.

No VAE is needed: training images take the place of its samples.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import SEED, Material
from vae.base.runtime import generator, permutation
from vae.classifier.classifier import accuracy
from vae.data.images import LabelledImages, PixelKind, draw_pixels, pixels
from vae.diagnostics.classification import balance, class_shares, judge_classes, least_balance, unclear_share
from vae.diagnostics.sample_quality import RealImages, judge_samples

SAMPLES = 5000  # at most; as many as there are test images if those are fewer
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 1.0)
CLASSES_LEFT_OUT = (1, 3, 5)
CLEAN = "training images"


@dataclass(frozen=True)
class Classified:
    """Images as the classifier sees them.

    Attributes:
        features: (M, 64).
        probabilities: of the classes (M, K).
    """

    features: Tensor
    probabilities: Tensor

    def partly_replaced(self, other: "Classified", share: float) -> "Classified":
        """Replace a share of the images by the same number of others."""
        kept = round((1 - share) * len(self.features))
        return Classified(
            torch.cat([self.features[:kept], other.features[kept:]]),
            torch.cat([self.probabilities[:kept], other.probabilities[kept:]]),
        )


@lru_cache(maxsize=1)
def rungs(material: Material) -> tuple[Classified, dict[str, Classified]]:
    """The test images, and the images that take the place of samples at each rung."""
    count = min(SAMPLES, len(material.train), len(material.test))
    train = material.train[permutation(len(material.train), SEED, "training images")]
    test = material.test[permutation(len(material.test), SEED, "test images")[:count]]
    clean = classified(material, train[:count])
    found = {CLEAN: clean}
    for name, images in (("averages", averages(train, count)), ("noise", noise(train[:count]))):
        others = classified(material, images)
        found |= {replaced(name, share): clean.partly_replaced(others, share) for share in SHARES}
    for classes in CLASSES_LEFT_OUT:
        found[left_out(classes)] = classified(material, train[train.labels >= classes][:count])
    return classified(material, test), found


def classified(material: Material, data: LabelledImages) -> Classified:
    """Apply the classifier to images."""
    images, classifier = pixels(data.images), material.classifier
    return Classified(classifier.features(images), classifier.probabilities(images))


def averages(data: LabelledImages, count: int) -> LabelledImages:
    """Averages of two images of different classes; pixels that are black or white are drawn from the average."""
    partners = torch.randint(len(data), (len(data),), generator=generator(SEED, "averaged images"))
    differ = (data.labels != data.labels[partners]).nonzero().squeeze(1)[:count]
    first, second = (data.images[each].to(torch.int16) for each in (differ, partners[differ]))
    mean = ((first + second) // 2).to(torch.uint8)
    if data.kind == PixelKind.BINARY:
        mean = draw_pixels(mean, generator(SEED, "averaged pixels"))
    return LabelledImages(mean, data.labels[differ], data.class_names, data.kind)


def noise(data: LabelledImages) -> LabelledImages:
    """Noise: each pixel is that of a random image, so that its distribution stays the same, without any structure."""
    flat = data.images.flatten(1)
    order = torch.rand(flat.shape, generator=generator(SEED, "exchanged pixels")).argsort(0)
    images = flat.gather(0, order).view_as(data.images)
    return LabelledImages(images, data.labels, data.class_names, data.kind)


def read_quality(material: Material) -> Readings:
    """Compare the images of each rung with test images, in the classifier's features."""
    test, images = rungs(material)
    real = RealImages(test.features, material.params.generate.neighbours)
    found = {name: real.compare(each.features) for name, each in images.items()}
    readings = {}
    for name, comparison in found.items():
        quality = comparison.quality
        distance, *others = quality
        text = ", ".join([f"{distance:.3f}", *(f"{value:.2f}" for value in others)])
        readings[name] = Reading(text, judge_samples(quality, found[CLEAN].quality))
    return readings


def read_classes(material: Material) -> Readings:
    """Compare the classes of the images of each rung with those of test images."""
    test, images = rungs(material)
    count = len(test.probabilities)
    reference, real_unclear = class_shares(test.probabilities), unclear_share(test.probabilities)
    right = accuracy(material.classifier.probabilities(pixels(material.test.images)), material.test.labels)
    readings = {}
    for name, each in images.items():
        unclear, even = unclear_share(each.probabilities), balance(class_shares(each.probabilities), reference)
        least = least_balance(reference, len(each.probabilities), count)
        verdict = judge_classes(even, unclear, real_unclear, right, least)
        readings[name] = Reading(f"{unclear:.1%}, {even:.2f}", verdict)
    return readings


def replaced(name: str, share: float) -> str:
    """The name of a rung with some of the images replaced."""
    return f"{share:.0%} {name}"


def left_out(classes: int) -> str:
    """The name of a rung without some of the classes."""
    return f"{classes} of 10 classes left out"


RUNGS = (
    CLEAN,
    *(replaced(name, share) for name in ("averages", "noise") for share in SHARES),
    *map(left_out, CLASSES_LEFT_OUT),
)
DEGRADED = (
    "Training images take the place of samples. A share of them is replaced by averages of two images of different "
    "classes, or by noise: each pixel from another random image. Or whole classes are left out. Each of these starts "
    "from the first row."
)
QUALITY = Ladder(
    title="Sample quality",
    degraded=DEGRADED,
    measured="Fréchet distance, precision, recall, density and coverage, in the features of the classifier.",
    rungs=RUNGS,
    read=read_quality,
    needs_model=False,
)
CLASSES = Ladder(
    title="Classes of samples",
    degraded=DEGRADED,
    measured="The share of images that are no clear member of any class, and the balance of classes.",
    rungs=RUNGS,
    read=read_classes,
    needs_model=False,
)
