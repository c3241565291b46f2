"""A page with the oddest and the most typical images of a folder, and those that are like training images."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from review import pages
from scoring.folder import Folder
from scoring.neighbours import DUPLICATE, Nearest
from scoring.scorer import Scorer
from scoring.scores import Scores
from vae.base.terminal import printable

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 12  # images of each kind
SHOWN_PAIRS = 24  # of duplicates
BINS = 40
FAR = 0.99  # the share of images within the scale of the chart
SCORES = {
    "likelihood_path": "Likelihood path: unusual norms of reconstruction error, code and posterior",
    "code_distance": "Code distance: far from the codes of training images",
    "complexity_corrected": "Negative ELBO corrected for complexity: harder for the model than for an image codec",
    "negative_elbo": "Negative ELBO: improbable under the model",
    "typicality": "Typicality: a negative ELBO far from that of training images, on either side",
}


class Card(NamedTuple):
    """An image on the page: its file, class, scores in words, and PNGs of it and of what it is compared with.

    The neighbour is the nearest training image.
    """

    name: str
    label: str
    words: str
    image: bytes
    reconstruction: bytes
    neighbour_name: str
    neighbour: bytes


class Group(NamedTuple):
    """Images of one kind, with a heading."""

    title: str
    cards: Sequence[Card]


def html(
    name: str, folder: Folder, scorer: Scorer, scores: Scores, nearest: Nearest, training: Mapping[int, str]
) -> str:
    """Write the page, which works without a network.

    Args:
        name: of the folder.
        folder: the images.
        scorer: with which they were scored.
        scores: of all images.
        nearest: training images to all of them.
        training: names of the files of training images, by index.
    """

    def group(title: str, rows: Tensor) -> Group:
        return Group(title, cards(rows, folder, scorer, scores, nearest, training))

    odd = [
        group(title, getattr(scores, key).argsort(descending=True, stable=True)[:SHOWN])
        for key, title in SCORES.items()
        if getattr(scores, key) is not None
    ]
    typical = scores.typicality if scores.likelihood_path is None else scores.likelihood_path
    by_difference = nearest.difference.argsort(stable=True)
    count = int((nearest.difference <= DUPLICATE).sum())
    return pages.rendered(
        TEMPLATES / "gallery.html",
        styles=[TEMPLATES / "gallery.css"],
        name=printable(name),
        count=len(folder.images),
        skipped=folder.skipped,
        odd=odd,
        typical=group("", typical.argsort(stable=True)[:SHOWN]),
        duplicates=group("", by_difference[: min(count, SHOWN_PAIRS)]),
        duplicate_count=count,
        limit=DUPLICATE,
        chart=histogram(scorer.typical.negative_elbo, scores.negative_elbo),
    )


def cards(
    rows: Tensor, folder: Folder, scorer: Scorer, scores: Scores, nearest: Nearest, training: Mapping[int, str]
) -> list[Card]:
    """The images of some rows, as cards."""
    if not len(rows):
        return []
    files = folder.used
    images = folder.images[rows]
    reconstructions = torch.as_tensor(scorer.model.reconstruct(images, scorer.seed)).mul(255).round().to(torch.uint8)
    return [
        Card(
            name=printable(files[row].name),
            label=printable(files[row].label or ""),
            words=in_words(row, scores, nearest),
            image=png(image),
            reconstruction=png(reconstruction),
            neighbour_name=printable(training.get(int(nearest.image[row]), f"number {nearest.image[row]}")),
            neighbour=png(scorer.training.data.images[int(nearest.image[row])]),
        )
        for row, image, reconstruction in zip(rows.tolist(), images, reconstructions, strict=True)
    ]


def in_words(row: int, scores: Scores, nearest: Nearest) -> str:
    """The scores of an image."""
    parts = [f"−ELBO {scores.negative_elbo[row]:,.1f} ± {scores.standard_error[row]:.1f}"]
    if scores.complexity_corrected is not None:
        parts.append(f"corrected {scores.complexity_corrected[row]:,.1f}")
    if scores.likelihood_path is not None:
        parts.append(f"path {scores.likelihood_path[row]:.2f}")
    parts += [f"code distance {scores.code_distance[row]:.2f}", f"pixels differ by {nearest.difference[row]:.1f}"]
    return " · ".join(parts)


def png(image: Tensor) -> bytes:
    """An image as PNG: uint8 (C, H, W)."""
    array = image.permute(1, 2, 0).numpy()
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)).save(content, "PNG")
    return content.getvalue()


def histogram(training: Tensor, scored: Tensor) -> dict[str, Any]:
    """How the negative ELBO is distributed in both sets, for Vega-Lite. Values beyond the scale are at its end."""
    both = {"training images": training.numpy(), "scored images": scored.numpy()}
    ends = (
        min(float(values.min()) for values in both.values()),
        max(float(np.quantile(values, FAR)) for values in both.values()),
    )
    edges = np.linspace(*ends, BINS + 1) if ends[0] < ends[1] else np.array([ends[0] - 0.5, ends[0] + 0.5])
    rows = []
    for name, values in both.items():
        counts, _ = np.histogram(values.clip(*ends), edges)
        rows += [
            {"images": name, "from": float(low), "to": float(high), "share": float(count / len(values))}
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
    colour = {
        "field": "images",
        "title": None,
        "scale": {"domain": list(both), "range": ["#0072B2", "#D55E00"]},
        "legend": {"orient": "top"},
    }
    return {
        "config": {"font": "system-ui, sans-serif", "view": {"stroke": None}, "axis": {"gridColor": "#e7e9ec"}},
        "data": {"values": rows},
        "width": 640,
        "height": 220,
        "mark": {"type": "bar", "opacity": 0.55},
        "encoding": {
            "x": {"field": "from", "bin": {"binned": True}, "title": "negative ELBO (nats per image)"},
            "x2": {"field": "to"},
            "y": {"field": "share", "type": "quantitative", "stack": None, "axis": {"format": "%"}, "title": "share"},
            "color": colour,
            "tooltip": [{"field": "images"}, {"field": "from", "format": ".4~g"}, {"field": "share", "format": ".1%"}],
        },
    }
