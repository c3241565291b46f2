"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package knows nothing of DVC or of the pipeline's stages. ``FOLDERS`` is the order of imports.
"""

import os

# Both are read when torch is imported or computes for the first time, and left alone where a user has set them.
#
# How often a thread of GNU OpenMP looks for work before it sleeps. By itself it looks 300,000 times, and two processes
# on the same cores keep each other from working; `python -m benchmarks threads` measures it.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
# MKL's conditional numerical reproducibility: the same bits in every run on a machine.
os.environ.setdefault("MKL_CBWR", "AUTO")

# The order of imports, which tests/test_layers.py holds all modules to: each folder imports only from itself and from
# those before it. stages/ comes after all of them, and review/ after stages/.
FOLDERS = ("base", "data", "model", "training", "diagnostics", "figures", "explorer")
