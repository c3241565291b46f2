"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package knows nothing of DVC or of the pipeline's stages. Imports point one way:

    training, diagnostics, figures  ->  inference  ->  objective, checkpoints
    ->  model, likelihoods, datasets, sources  ->  params, runtime, artifacts, latent_space  ->  errors
"""
