"""Trains the classifier."""

from dataclasses import replace
from math import cos, pi, sqrt

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vae.base.runtime import generator
from vae.classifier.classifier import Classifier, ClassifierKind
from vae.classifier.network import ImageClassifier, shrinking
from vae.data.images import LabelledImages, PixelKind, draw_pixels, drawn_once, pixels, shrunk
from vae.optimizer.adam import Adam
from vae.optimizer.weights import Weights

PRESENTATIONS = 200_000  # of training images, in all
FEWEST_EPOCHS, MOST_EPOCHS = 4, 40
SMALLEST_BATCH, LARGEST_BATCH, STEPS_AN_EPOCH = 16, 128, 20
LEARNING_RATE = 0.003
WARM_UP = 0.1  # share of the steps

# With few images, shifts halve the errors on test images (1,294 digits: 2.9% to 1.6%). With many they gain nothing, and
# interpolation would teach the network to overlook blur.
FEW_IMAGES = 10_000
SHIFT = 0.5  # the largest, in pixels


def train_classifier(data: LabelledImages, seed: int, device: torch.device) -> Classifier:
    """Train a network to classify images, by the cross-entropy of their labels.

    Where all images are of one class, its weights stay random. Pixels that are probabilities are drawn anew each time
    an image is used.

    Args:
        data: the training images; some classes may have none.
        seed: for the initial weights, the order of images, shifts and drawn pixels.
        device: to train on; the network stays there.
    """
    with torch.device("meta"):  # draws no weights
        network = ImageClassifier(data.shape, len(data.class_names))
    network.to_empty(device="cpu")
    network.draw_weights(generator(seed, "classifier's weights"))
    network.to(device)
    data = small(data)
    kind = ClassifierKind.TRAINED if len(torch.unique(data.labels)) > 1 else ClassifierKind.RANDOM
    classifier = Classifier(network, kind)
    if kind == ClassifierKind.TRAINED:
        _minimize(network, data, seed, device)
    variance = float(classifier.features(_sample(data, seed)).double().var(0, correction=0).sum())
    if variance > 0:
        network.scale_features(1 / sqrt(variance))
    return classifier


def _minimize(network: ImageClassifier, data: LabelledImages, seed: int, device: torch.device) -> None:
    """Take the steps of all epochs."""
    count = len(data)
    batch_size = min(max(count // STEPS_AN_EPOCH, SMALLEST_BATCH), LARGEST_BATCH)
    epochs = min(max(round(PRESENTATIONS / count), FEWEST_EPOCHS), MOST_EPOCHS)
    order = generator(seed, "classifier's order of images")
    shifts, draws = generator(seed, "classifier's shifts"), generator(seed, "classifier's pixels")
    batches = [batch for _ in range(epochs) for batch in torch.randperm(count, generator=order).split(batch_size)]
    weights = Weights(network)
    optimizer = Adam(weights.vector)
    for step, batch in enumerate(tqdm(batches, "classifier", unit="step", disable=None), 1):
        images = data.images[batch]
        if count < FEW_IMAGES and data.kind != PixelKind.BINARY:
            images = shifted(images, shifts)
        if data.kind == PixelKind.PROBABILITIES:
            images = draw_pixels(images, draws)
        logits = network(pixels(images.to(device)))
        weights.gradient.zero_()
        nn.functional.cross_entropy(logits, data.labels[batch].to(device)).backward()
        optimizer.step(weights.gradient, torch.tensor(learning_rate(step / len(batches)), device=device))


def small(data: LabelledImages) -> LabelledImages:
    """The images as the network shrinks them, in 8 bits: once, and not each time an image is used."""
    factor = shrinking(data.shape)
    if factor == 1:
        return data
    images = torch.cat(
        [shrunk(batch.float(), factor).round_().to(torch.uint8) for batch in data.images.split(LARGEST_BATCH)]
    )
    return replace(data, images=images)


def learning_rate(progress: float) -> float:
    """The learning rate at a share of the steps: a linear warm-up, and a cosine to zero (Loshchilov & Hutter 2017)."""
    return LEARNING_RATE * min(1, progress / WARM_UP) * (1 + cos(pi * progress)) / 2


def shifted(images: Tensor, random: torch.Generator) -> Tensor:
    """Shift each image by up to half a pixel along both axes, by linear interpolation.

    Outside, grey images are black, like those of characters, and colour images repeat the pixels of the border.

    Args:
        images: uint8 (B, C, H, W).
        random: draws the shifts.
    """
    x = images.float()
    shifts = (2 * torch.rand(2, len(x), 1, 1, 1, generator=random) - 1).mul_(SHIFT)
    for axis, shift in zip((2, 3), shifts, strict=True):
        size = x.shape[axis] - 1
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, size, 1)
        if x.shape[1] == 1:
            first, last = torch.zeros_like(first), torch.zeros_like(last)
        before = torch.cat([first, x.narrow(axis, 0, size)], axis)
        after = torch.cat([x.narrow(axis, 1, size), last], axis)
        x = (1 - shift.abs()) * x + shift.clamp(min=0) * before + (-shift).clamp(min=0) * after
    return x.round_().to(torch.uint8)


def _sample(data: LabelledImages, seed: int) -> Tensor:
    """The first training images, which are in random order."""
    return drawn_once(data[:FEW_IMAGES], seed, "classifier's scale").images
