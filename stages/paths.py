"""Where the stages keep their files, relative to the project's folder."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")

TRAIN_IMAGES = Path("data/prepared/train.safetensors")
VALIDATION_IMAGES = Path("data/prepared/validation.safetensors")
TEST_IMAGES = Path("data/prepared/test.safetensors")
MODEL = Path("models/vae.safetensors")
LATENTS = Path("data/embedded/latents.safetensors")
EXPLORER = Path("pages/explorer.html")

METRICS = Path("metrics")
PLOTS = Path("plots")
TRAINING = METRICS / "train.json"
LOSSES = PLOTS / "train" / "losses.csv"

# Of trainings that were interrupted. DVC deletes outputs before it runs a stage, and a temporary experiment's whole
# folder after it; this one is left alone, ignored by Git, and shared by both.
RESUMPTION = Path(os.environ.get("DVC_ROOT", ""), ".dvc/tmp/train")
