"""Stage 5: the latent space, in two dimensions and in numbers."""

import logging

import numpy as np
from safetensors.torch import save

from stages import entry, paths
from stages.results import write_results
from vae import inference, runtime
from vae.artifacts import write_bytes, write_csv, write_png
from vae.checkpoints import load_model
from vae.datasets import drawn_once, load_images
from vae.diagnostics import projection, representation
from vae.figures.charts import class_scatter
from vae.figures.diagnoses import label_information
from vae.objective import kl_divergence
from vae.params import Params

log = logging.getLogger(__name__)

PLOTS = paths.PLOTS / "embed"


def main(params: Params) -> None:
    """Encode the images; write the test images' codes, their projection, and what the codes tell about classes."""
    settings = params.embed
    projection.require_method(settings.method, "embed.method")
    train = drawn_once(load_images(paths.TRAIN_IMAGES), settings.seed, "training pixels")
    test = load_images(paths.TEST_IMAGES)
    chosen = runtime.permutation(len(test), settings.seed, "pictured images")[: settings.points].numpy()
    representation.require_neighbours(len(chosen), settings.neighbours)
    model = load_model(paths.MODEL, runtime.device(), test.shape)

    posterior = inference.encode(model, test.images)
    codes, labels = posterior.mean.cpu().numpy(), test.labels.numpy()
    train_codes, train_labels = inference.encode(model, train.images).mean.cpu().numpy(), train.labels.numpy()
    points = projection.project(codes[chosen], settings.method, settings.seed)

    information = representation.label_information(codes[chosen], labels[chosen], settings.seed)
    measures = {
        "neighbour_accuracy": representation.neighbour_accuracy(
            train_codes, train_labels, codes, labels, settings.neighbours
        ),
        "linear_probe_accuracy": representation.linear_probe_accuracy(train_codes, train_labels, codes, labels),
        "silhouette": representation.class_silhouette(codes[chosen], labels[chosen]),
        "trustworthiness": projection.trustworthiness(codes[chosen], points, settings.neighbours),
    }
    verdicts = [
        representation.judge_representation(
            measures["neighbour_accuracy"],
            measures["linear_probe_accuracy"],
            measures["silhouette"],
            float(np.bincount(labels).max() / len(labels)),
        )
    ]

    latents = {
        "mean": posterior.mean.cpu(),
        "log_variance": posterior.log_variance.cpu(),
        "labels": test.labels,
    }
    write_bytes(paths.LATENTS, save({name: tensor.contiguous() for name, tensor in latents.items()}))
    names = [test.class_names[label] for label in labels[chosen]]
    write_csv(
        PLOTS / "projection.csv",
        ["x", "y", "class", "image"],
        [(float(x), float(y), name, int(image)) for (x, y), name, image in zip(points, names, chosen, strict=True)],
    )
    draw_projection(points, labels[chosen], test.class_names, projection.axis_names(model.latent_dim, settings.method))
    kl = kl_divergence(*posterior).mean(0).cpu().double().numpy()
    write_png(PLOTS / "label_information.png", label_information(information, kl))
    log.info("codes of test images: %s", ", ".join(f"{name} {value:.3f}" for name, value in measures.items()))
    write_results(
        "embed",
        "Verdict on the representation",
        {**measures, "label_information": float(information.max())},
        ["neighbour_accuracy", "linear_probe_accuracy"],
        verdicts,
    )


def draw_projection(
    points: representation.Codes,
    labels: representation.Labels,
    class_names: tuple[str, ...],
    axis_names: tuple[str, str],
) -> None:
    """Show the projected codes, coloured by class."""
    title = f"Latent codes of {len(points):,} test images"
    write_png(PLOTS / "projection.png", class_scatter(points, labels, class_names, axis_names, title))


if __name__ == "__main__":
    entry.run(main)
