"""What the scripts of the latent explorer's pages read, in a form for JSON."""

from typing import Any

import torch
from torch import Tensor

from vae.base.runtime import generator
from vae.explorer import weights
from vae.explorer.contours import Line, contours
from vae.explorer.latent_map import LatentMap
from vae.explorer.sprite import Format, columns
from vae.explorer.versions import Version
from vae.figures.canvas import brief
from vae.figures.charts import densest

MOST_COMPARED = 1000  # images whose posteriors give the usual distance to the nearest code
ANY_SEED = 0  # the same page for the same model
MOST_NAMES = 20  # classes named on the map; the largest, until others are highlighted
PRIOR_REACH = 3  # standard deviations, which hold 99.7% of the prior in each dimension


def of_images(latent_map: LatentMap, version: Version) -> dict[str, Any]:
    """What scripts read about the test images."""
    images = latent_map.images
    channels, height, width = images.shape
    sizes = images.labels.bincount(minlength=len(images.class_names))
    return {
        "shape": [channels, height, width],
        "tile": version.sprite.size,
        "columns": columns(version.sprite.count),
        "sprite": version.sprite.url,
        "pictures": version.sprite.count,
        "labels": images.labels.tolist(),
        "indices": latent_map.indices.tolist(),
        "class_names": images.class_names,
        "short_names": [brief(name) for name in images.class_names],
        "named": sizes.argsort(descending=True, stable=True)[:MOST_NAMES].sort().values.tolist(),
        "colours": [latent_map.colours[label % len(latent_map.colours)] for label in range(len(images.class_names))],
        # As they are, neither shrunk nor compressed with losses, so that decoded images can be compared with them.
        "exact": version.sprite.factor == 1 and version.sprite.format == Format.PNG,
    }


def of_codes(latent_map: LatentMap, version: Version) -> dict[str, Any]:
    """What scripts read about the codes of the test images, and the map."""
    return {
        "latent_dim": latent_map.latent_dim,
        "measures": [
            {"name": name, "values": [float(f"{value:.5g}") for value in values.tolist()]}
            for name, values in latent_map.measures.items()
        ],
        "densest": _densest_points(latent_map),
        "precision": version.precision_of_codes,
        "codes": weights.encoded(latent_map.codes, version.precision_of_codes),
        "places": weights.encoded(latent_map.places),
        "place_is_code": latent_map.place_is_code,
        "axes": _axes(latent_map),
    }


def contours_of_classes(latent_map: LatentMap) -> list[list[Line]]:
    """Contours of each class's density on the map; none with one latent dimension, where each class has its own row."""
    classes = len(latent_map.images.class_names)
    if latent_map.latent_dim == 1:
        return [[] for _ in range(classes)]
    return contours(latent_map.places.numpy(), latent_map.images.labels.numpy(), classes)


def percentiles(latent_map: LatentMap, active: Tensor) -> list[float]:
    """Percentiles from 0 to 100 of the distance between a draw from a posterior and the nearest code of another image.

    Decoders are trained on such draws, which spread wider than the codes themselves, the means. The distance is over
    active dimensions, bool (D,). Measured with a draw for each of the first ``MOST_COMPARED`` images. Empty if there
    are no two images or no active dimensions.
    """
    if len(latent_map.codes) < 2 or not active.any():
        return []
    codes, deviations = latent_map.codes[:, active], latent_map.deviations[:MOST_COMPARED, active]
    noise = torch.randn(deviations.shape, generator=generator(ANY_SEED, "draws from posteriors"))
    draws = codes[:MOST_COMPARED] + deviations * noise
    distances = torch.cdist(draws, codes, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.fill_diagonal_(torch.inf).min(1).values
    return [round(float(value), 4) for value in nearest.quantile(torch.linspace(0, 1, 101))]


def _densest_points(latent_map: LatentMap) -> list[int | None]:
    """For each class, the point at which its name stands; None if the class has no points."""
    places, labels = latent_map.places.numpy(), latent_map.images.labels
    points = [(labels == label).nonzero().flatten() for label in range(len(latent_map.images.class_names))]
    return [int(own[densest(places[own.numpy()])]) if len(own) else None for own in points]


def _axes(latent_map: LatentMap) -> dict[str, Any]:
    """The axes: names, which have tick labels, whether both have the same scale, whether classes are rows, ranges.

    If the map shows the latent space itself, the ranges cover the prior. The axes of a projection have no units.
    """
    ranges = [[float(values.min()), float(values.max())] for values in latent_map.places.T]
    if not latent_map.place_is_code:
        names, ticks = latent_map.axis_names, [False, False]
        return {"names": names, "ticks": ticks, "equal": True, "rows": False, "ranges": ranges}
    on_line = latent_map.latent_dim == 1
    bottom, top = ranges[1]
    of_prior = [[min(low, -PRIOR_REACH), max(high, PRIOR_REACH)] for low, high in ranges]
    return {
        "names": ("z0", "class" * (len(latent_map.images.class_names) > 1)) if on_line else latent_map.axis_names,
        "ticks": [True, not on_line],
        "equal": not on_line,
        "rows": on_line,
        "ranges": [of_prior[0], [bottom - 0.5, top + 0.5]] if on_line else of_prior,
    }
