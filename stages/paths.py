"""Where the stages keep their files, relative to the project's folder."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")

TRAIN_IMAGES = Path("data/prepared/train.safetensors")
VALIDATION_IMAGES = Path("data/prepared/validation.safetensors")
TEST_IMAGES = Path("data/prepared/test.safetensors")
MODEL = Path("models/vae.safetensors")
HISTORY = Path("models/history.json")
LATENTS = Path("data/embedded/latents.safetensors")
EXPLORER = Path("pages/explorer.html")

METRICS = Path("metrics")
PLOTS = Path("plots")
LOSSES = PLOTS / "train" / "losses.csv"

# Checkpoints of interrupted trainings. DVC deletes outputs before it runs a stage, and a temporary experiment's whole
# folder after it; it leaves this folder alone, which Git ignores and both share.
CHECKPOINTS = Path(os.environ.get("DVC_ROOT", ""), ".dvc/tmp/train")
