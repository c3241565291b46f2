"""Stage 5: a projection of the latent codes, measures of the representation, and the latent explorer."""

import logging
import sys
from collections.abc import Mapping

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from stages import entry, paths
from stages.results import write_curves, write_results
from vae.base import runtime
from vae.base.artifacts import write_bytes, write_csv, write_png
from vae.base.params import Params
from vae.data.images import drawn_once, load_images
from vae.diagnostics import collapse, projection, representation
from vae.diagnostics.verdict import Diagnosis
from vae.explorer.latent_map import LatentMap, latent_map
from vae.explorer.page import explorer_page
from vae.figures.charts import class_scatter
from vae.figures.diagnoses import label_information
from vae.model import inference
from vae.model.inference import Posterior
from vae.model.model_file import load_model
from vae.model.objective import kl_divergence

log = logging.getLogger(__name__)

PLOTS = paths.PLOTS / "embed"
ACCURACIES = ("neighbour_accuracy", "linear_probe_accuracy")


def main(params: Params) -> None:
    """Encode the images; write their codes, a projection, the latent explorer, measures, a verdict and pictures."""
    settings = params.embed
    projection.require_method(settings.method, "embed.method")
    train = drawn_once(load_images(paths.TRAIN_IMAGES), settings.seed, "training pixels")
    test = load_images(paths.TEST_IMAGES)
    chosen = runtime.permutation(len(test), settings.seed, "pictured images")[: settings.points]
    representation.require_neighbours(len(chosen), settings.neighbours)
    model = load_model(paths.MODEL, runtime.device(), test.shape)

    mean, log_variance = (part.cpu() for part in inference.encode(model, test.images))
    train_codes = inference.encode(model, train.images).mean.cpu()
    kl = kl_divergence(mean, log_variance).mean(0)
    active = collapse.mean_variances(mean) > collapse.ACTIVE_VARIANCE
    explored = latent_map(model, test, chosen, Posterior(mean, log_variance), settings.method, settings.seed)

    data = train_codes.numpy(), train.labels.numpy(), mean.numpy(), test.labels.numpy()
    right = {}
    if min(len(labels.unique()) for labels in (train.labels, test.labels)) > 1:
        right = {
            "neighbour_accuracy": torch.from_numpy(representation.right_by_neighbours(*data, settings.neighbours)),
            "linear_probe_accuracy": torch.from_numpy(representation.right_by_linear_probe(*data)),
        }
    parts = [
        look_at_classes(right, test.labels, explored),
        look_at_map(explored, settings.neighbours),
        look_at_dimensions(explored, kl, settings.seed),
    ]
    write_bytes(paths.LATENTS, save({"mean": mean, "log_variance": log_variance, "labels": test.labels}))
    write_bytes(paths.EXPLORER, explorer_page(model, explored, kl, active, "Latent explorer").encode())
    measures = {name: value for part in parts for name, value in part.measures.items()}
    shown = ", ".join(f"{name} {value:.3f}" for name, value in measures.items() if value is not None)
    log.info("codes of test images: %s", shown)
    write_results(
        "embed",
        "Verdict on the representation",
        measures,
        list(ACCURACIES),
        [verdict for part in parts for verdict in part.verdicts],
        per_image=right,
    )


def look_at_classes(right: Mapping[str, Tensor], labels: Tensor, latent_map: LatentMap) -> Diagnosis:
    """Measure and judge how well the codes of test images separate the classes.

    ``right`` tells by the name of each accuracy whether the class of each test image is predicted correctly. It is
    empty if there are no classes to predict.
    """
    codes, classes = latent_map.codes.numpy(), latent_map.images.labels.numpy()
    measures = {
        **{name: float(right[name].double().mean()) if right else None for name in ACCURACIES},
        "silhouette": representation.class_silhouette(codes, classes) if representation.has_classes(classes) else None,
    }
    by_chance = float(labels.bincount().max() / len(labels))
    return Diagnosis(measures, [representation.judge_representation(**measures, largest_class_share=by_chance)])


def look_at_map(latent_map: LatentMap, neighbours: int) -> Diagnosis:
    """Write the projection as a table and a picture, and measure its trustworthiness."""
    labels, class_names = latent_map.images.labels, latent_map.images.class_names
    names = [class_names[label] for label in labels]
    write_csv(
        PLOTS / "projection.csv",
        ["x", "y", "class", "image"],
        zip(*latent_map.points.T.tolist(), names, latent_map.indices.tolist(), strict=True),
    )
    title = f"Latent codes of {len(labels):,} test images"
    figure = class_scatter(latent_map.points, labels.numpy(), class_names, latent_map.axis_names, title)
    write_png(PLOTS / "projection.png", figure)
    trustworthiness = projection.trustworthiness(latent_map.codes.numpy(), latent_map.points, neighbours)
    return Diagnosis({"trustworthiness": trustworthiness}, [])


def look_at_dimensions(latent_map: LatentMap, kl: Tensor, seed: int) -> Diagnosis:
    """Measure and draw how much each latent dimension tells about the class."""
    labels, information = latent_map.images.labels.numpy(), np.full(len(kl), np.nan)
    measurable = representation.has_classes(labels)
    if measurable:
        information = representation.label_information(latent_map.codes.numpy(), labels, seed)
    write_curves(
        PLOTS / "label_information.csv",
        [
            ("Class information by latent dimension", "each dimension", rank, float(information[dimension]))
            for rank, dimension in enumerate(kl.argsort(descending=True, stable=True).tolist(), start=1)
            if np.isfinite(information[dimension])
        ],
    )
    write_png(PLOTS / "label_information.png", label_information(information, kl.double().numpy()))
    return Diagnosis({"label_information": float(information.max()) if measurable else None}, [])


if __name__ == "__main__":
    entry.run(main, sys.argv[1:])
