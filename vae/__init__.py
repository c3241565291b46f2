"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package does not depend on DVC or on the pipeline's stages. ``vae.load`` reads a trained model to use it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vae.use.trained_model import TrainedModel

# Each folder imports only from itself and from the folders before it; stages/ comes after all of them, and review/
# after stages/. tests/test_layers.py checks every module.
FOLDERS = (
    "base",
    "data",
    "optimizer",
    "classifier",
    "model",
    "training",
    "diagnostics",
    "figures",
    "explorer",
    "use",
)


def load(path: str | Path, device: str | None = None) -> "TrainedModel":
    """Load a trained model, to encode, decode, reconstruct, sample and score images with it.

    Args:
        path: of the model file: ``models/vae.safetensors``.
        device: such as ``cpu`` or ``cuda``; by default ``VAE_DEVICE`` if set, else the accelerator if there is one.

    Raises:
        ModuleFileError: the file is missing, damaged or of another version, or does not say how its images were
            prepared.
        DeviceError: this machine does not have the device.
    """
    from vae.use.trained_model import load_trained  # PyTorch takes a second to import

    return load_trained(Path(path), device)
