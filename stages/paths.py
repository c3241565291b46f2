"""Paths of the stages' files, relative to the project's folder."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")

TRAIN_IMAGES = Path("data/prepared/train.safetensors")
VALIDATION_IMAGES = Path("data/prepared/validation.safetensors")
TEST_IMAGES = Path("data/prepared/test.safetensors")
MANIFEST = Path("data/prepared/manifest.csv")
CLASSIFIER = Path("data/prepared/classifier.safetensors")
MODEL = Path("models/vae.safetensors")
HISTORY = Path("models/history.json")
GROUP_MEANS = Path("data/group_means")
LATENTS = Path("data/embedded/latents.safetensors")
EXPLORER = Path("pages/explorer.html")

METRICS = Path("metrics")
PLOTS = Path("plots")
LOSSES = PLOTS / "train" / "losses.csv"

# Checkpoints of interrupted training runs. DVC deletes a stage's outputs before it runs the stage, and the folder of a
# temporary experiment after it. It never touches this folder, which Git ignores and all experiments
# share.
CHECKPOINTS = Path(os.environ.get("DVC_ROOT", ""), ".dvc/tmp/train")
