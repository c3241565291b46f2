"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package knows nothing of DVC or of the pipeline's stages. ``FOLDERS`` is the order of imports.
"""

from vae.base import openmp

openmp.configure()

# The order of imports, which tests/test_layers.py holds all modules to: each folder imports only from itself and from
# those before it. stages/ comes after all of them, and review/ after stages/.
FOLDERS = ("base", "data", "model", "training", "diagnostics", "figures", "explorer")
