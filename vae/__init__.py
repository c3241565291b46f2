"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package knows nothing of DVC or of the pipeline's stages. Imports point one way:

    training, diagnostics, figures  ->  steps, inference  ->  backpropagation, objective, checkpoints
    ->  model, sources  ->  likelihoods, datasets, resumption
    ->  params, runtime, artifacts, adam, cuda_graphs, latent_space  ->  errors
"""

import os

# Read when PyTorch is loaded: how often a thread without work looks for some before it lets another have its core.
# By the library's own choice, two trainings side by side keep each other from working and take not twice but twenty
# times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
