"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package knows nothing of DVC or of the pipeline's stages. Imports point one way:

    training, diagnostics, figures  ->  steps, inference  ->  backpropagation, objective, checkpoints
    ->  model, sources  ->  likelihoods, datasets, resumption
    ->  params, runtime, artifacts, adam, cuda_graphs, latent_space  ->  errors
"""
