"""Small, plain parameters for tests, which can be changed by name."""

from typing import Any, get_args

from vae.base.params import ModelParams, TrainParams
from vae.model.architecture import Architecture

LIKELIHOODS: tuple[str, ...] = get_args(ModelParams.model_fields["likelihood"].annotation)

PLAIN_ARCHITECTURE: dict[str, Any] = {
    "image_shape": (1, 3, 4),
    "network": "mlp",
    "hidden_dims": (8,),
    "activation": "relu",
    "channels": 4,
    "residual_blocks": 0,
    "masked_layers": 2,
    "latent_dim": 2,
    "likelihood": "bernoulli",
    "scale": "learned",
}
PLAIN_TRAINING: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 7,
    "shards": 1,
    "learning_rate": 0.01,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "beta": 1.0,
    "kl_warmup_epochs": 0,
    "free_bits": 0.0,
    "importance_samples": 1,
    "weight_decay": 0.0,
    "gradient_clip": 0.0,
    "skip_above": 0.0,
    "ema_decay": 0.0,
    "precision": "float32",
    "seed": 0,
}


def architecture(**changes: Any) -> Architecture:
    """The architecture of a small MLP, with changes."""
    return Architecture(**{**PLAIN_ARCHITECTURE, **changes})


def train_params(**changes: Any) -> TrainParams:
    """Parameters of training with the plain objective, with changes."""
    return TrainParams(**{**PLAIN_TRAINING, **changes})
