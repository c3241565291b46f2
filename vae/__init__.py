"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package does not depend on DVC or on the pipeline's stages.
"""

# Each folder imports only from itself and from the folders before it; stages/ comes after all of them, and review/
# after stages/. tests/test_layers.py checks every module.
FOLDERS = ("base", "data", "optimizer", "classifier", "model", "training", "diagnostics", "figures", "explorer")
