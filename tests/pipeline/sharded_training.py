"""Train several networks by one or more processes: ``python -m tests.pipeline.sharded_training FOLDER``."""

import sys
from pathlib import Path
from typing import Any

import torch

from tests.settings import architecture, train_params
from vae.base import collective, processes, runtime
from vae.base.artifacts import write_json
from vae.base.collective import connected, together
from vae.base.runtime import CPU, seeded
from vae.data.images import LabelledImages, PixelKind
from vae.model.vae import VAE
from vae.training.loop import train

SHARDS = 4
CONV = {"network": "conv", "activation": "gelu", "residual_blocks": 1}
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], PixelKind]] = {
    "mlp": ({}, {}, PixelKind.GREY),
    "mlp in bfloat16": ({}, {"precision": "bfloat16"}, PixelKind.GREY),
    "conv": (CONV, {}, PixelKind.GREY),
    "conv in bfloat16": (CONV, {"precision": "bfloat16"}, PixelKind.GREY),
    "dynamic pixels": ({}, {}, PixelKind.PROBABILITIES),
    "importance-weighted": ({}, {"importance_samples": 3}, PixelKind.GREY),
    "averages, skipped steps and clipped gradients": (
        {"likelihood": "gaussian"},
        {"ema_decay": 0.9, "skip_above": 1e4, "gradient_clip": 1.0, "weight_decay": 0.1},
        PixelKind.GREY,
    ),
}


def images(count: int, kind: PixelKind) -> LabelledImages:
    random = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, 1, 8, 12), dtype=torch.uint8, generator=random)
    return LabelledImages(pixels, torch.zeros(count, dtype=torch.int64), ("only",), kind)


def trained(name: str) -> dict[str, Any]:
    """The history of a run, and its weights."""
    network, settings, kind = RUNS[name]
    with seeded(0, "initial weights"):
        model = VAE(architecture(image_shape=(1, 8, 12), hidden_dims=(32,), **network))
    params = train_params(**{"batch_size": 16, "shards": SHARDS, "epochs": 2, **settings})
    training = train(model, images(83, kind), images(20, PixelKind.GREY), params, lambda _: None)
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    return {"history": repr(training.history), "weights": weights.view(torch.int32).tolist()}


if __name__ == "__main__":
    with together("tests.pipeline.sharded_training", SHARDS):
        runtime.configure()
        with connected(CPU):
            results = {name: trained(name) for name in RUNS}
            counts = collective.shared(range(5), lambda item: (item, processes.number()))
    if processes.is_first():
        write_json(Path(sys.argv[1]), {"runs": results, "by": counts})
