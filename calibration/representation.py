"""Representation: a trained model's codes, more and more of which have the label of another image."""

from math import nan

import torch
from torch import Tensor

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import SEED, Material
from vae.base.runtime import generator
from vae.diagnostics.representation import (
    judge_representation,
    linear_probe_accuracy,
    neighbour_accuracy,
)
from vae.model.inference import encode

SHUFFLED = (0.0, 0.25, 0.5, 0.75, 1.0)
TRAINING_CODES, TEST_CODES = 10_000, 2000  # more would change only the second digit, and take minutes


def read(material: Material) -> Readings:
    """Predict the classes of test codes from training codes, both with partly shuffled labels."""
    train, test = material.train[:TRAINING_CODES], material.test[:TEST_CODES]
    codes, test_codes = (encode(material.run.model, data.images).mean.cpu().numpy() for data in (train, test))
    by_chance = float(test.labels.bincount().max() / len(test))
    neighbours = material.params.embed.neighbours
    readings = {}
    for share in SHUFFLED:
        labels, test_labels = (shuffled(data.labels, share).numpy() for data in (train, test))
        data = codes, labels, test_codes, test_labels
        accuracies = neighbour_accuracy(*data, neighbours), linear_probe_accuracy(*data)
        # The silhouette is reported and not judged, so it is not computed.
        verdict = judge_representation(*accuracies, silhouette=nan, largest_class_share=by_chance)
        readings[_name(share)] = Reading(f"{max(accuracies):.1%}", verdict)
    return readings


def shuffled(labels: Tensor, share: float) -> Tensor:
    """Exchange a random share of the labels (N,) among one another."""
    random = generator(SEED, "shuffled labels")
    chosen = torch.randperm(len(labels), generator=random)[: round(share * len(labels))]
    labels = labels.clone()
    labels[chosen] = labels[chosen[torch.randperm(len(chosen), generator=random)]]
    return labels


def _name(share: float) -> str:
    return f"{share:.0%}"


LADDER = Ladder(
    title="Representation",
    degraded="A share of the labels is shuffled, among training codes and among test codes, so that these codes tell "
    "nothing about the class. Wrong labels of training codes alone would hardly mislead a probe.",
    measured="The share of test codes whose class the better of the two probes finds.",
    rungs=tuple(map(_name, SHUFFLED)),
    read=read,
)
