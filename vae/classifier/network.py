"""The classifier's network: convolutions, 64 features, and a linear layer to the classes."""

from math import sqrt

import torch
from torch import Tensor, nn

from vae.data.images import ImageShape, shrunk

FEATURES = 64  # few enough for a covariance that some hundred images determine
CHANNELS, MOST_CHANNELS = 16, 128
KERNEL, PADDING = 3, 1
FULL_RESOLUTION = 16  # the first convolution of images up to this size does not halve them
LARGEST = 48  # larger images are shrunk until both sides are at most this, so that time and memory are bounded
SMALLEST = 3  # convolutions halve height and width until both are at most this


def shrinking(shape: tuple[int, ...]) -> int:
    """The factor by which the network shrinks images of a shape (…, H, W)."""
    return -(-max(shape[-2:]) // LARGEST)


class ImageClassifier(nn.Module):
    """A convolutional network that classifies images of any size.

    Convolutions with a stride of two take the place of pooling (Springenberg et al. 2015, section 2), because CUDA can
    compute their gradients deterministically.

    Attributes:
        image_shape: channels, height and width of an image.
        classes: the number of classes K.
    """

    def __init__(self, image_shape: ImageShape, classes: int) -> None:
        super().__init__()
        self.image_shape, self.classes = image_shape, classes
        inputs, *size = image_shape
        factor = shrinking(image_shape)
        size = [-(-side // factor) for side in size]
        outputs, stride = CHANNELS, 1 if max(size) <= FULL_RESOLUTION else 2
        layers: list[nn.Module] = []
        while not layers or max(size) > SMALLEST:
            layers += [nn.Conv2d(inputs, outputs, KERNEL, stride, PADDING), nn.ReLU()]
            size = [(side - 1) // stride + 1 for side in size]
            inputs, outputs, stride = outputs, min(2 * outputs, MOST_CHANNELS), 2
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Linear(inputs * size[0] * size[1], FEATURES)
        self.output = nn.Linear(FEATURES, classes)

    def features(self, x: Tensor) -> Tensor:
        """The activations of the last hidden layer: intensities (B, C, H, W) to (B, 64)."""
        maps = self.convolutions(shrunk(x, shrinking(x.shape)).contiguous(memory_format=torch.channels_last))
        features: Tensor = self.dense(maps.flatten(1)).relu()
        return features

    def forward(self, x: Tensor) -> Tensor:
        """The logit of each class: intensities (B, C, H, W) to (B, K)."""
        logits: Tensor = self.output(self.features(x))
        return logits

    @torch.no_grad()
    def draw_weights(self, random: torch.Generator) -> None:
        """Draw weights that keep the variance of activations from layer to layer (He et al. 2015, equation 10)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                variance = 2 / module.weight[0].numel()
                drawn = torch.randn(module.weight.shape, generator=random)
                module.weight.copy_(drawn.mul_(sqrt(variance)))
                module.bias.zero_()  # type: ignore[union-attr]  # every layer has one

    @torch.no_grad()
    def scale_features(self, factor: float) -> None:
        """Multiply the features by a positive factor, and leave the logits as they are.

        ReLU(a·x) = a·ReLU(x), so the weights before it take the factor, and those behind it its inverse.
        """
        self.dense.weight.mul_(factor)
        self.dense.bias.mul_(factor)
        self.output.weight.div_(factor)
