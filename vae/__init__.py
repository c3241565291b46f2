"""A Variational Autoencoder (Kingma & Welling 2013), from scratch in PyTorch.

The package knows nothing of DVC or of the pipeline's stages. Imports point one way:

    training, diagnostics, figures  ->  steps  ->  inference, differentiation
    ->  backpropagation, objective, checkpoints  ->  model  ->  networks, sources
    ->  likelihoods, datasets, schedules, resumption
    ->  params, runtime, artifacts, adam, cuda_graphs, latent_space  ->  errors
"""
