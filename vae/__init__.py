"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package knows nothing of DVC or of the pipeline's stages.
"""

# The order of imports: each folder imports only from itself and from those before it. stages/ comes after all of them,
# and review/ after stages/. tests/test_layers.py checks every module.
FOLDERS = ("base", "data", "model", "training", "diagnostics", "figures", "explorer")
