"""Data, network and training function: the part of a sweep that its user writes.

The data are the 1,797 scanned digits (8 x 8 pixels, ten classes) that come with scikit-learn;
nothing is downloaded. They are split once and for all into 60 % training, 20 % validation and 20 %
test, so that runs with different seeds compare on the same images. The sweep only ever sees the
first two.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import prefect_tune as tune

CLASSES = np.arange(10)
_PIXEL_MAXIMUM = 16.0
_SPLIT_SEED = 0
_SMALLEST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Part:
    """Some of the digits.

    Attributes:
        images: Pixels in [0, 1], shape (n, 64), float32.
        labels: The digit on each image, shape (n,).
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: Part) -> Part:
        return Part(
            np.concatenate([self.images, other.images]),
            np.concatenate([self.labels, other.labels]),
        )


@dataclass(frozen=True)
class Digits:
    """The digits in three parts that share no image, each with the same share of every class."""

    training: Part
    validation: Part
    test: Part


@functools.cache
def load_data() -> Digits:
    """Read and split the digits; the same split in every process."""
    images, labels = load_digits(return_X_y=True)
    everything = Part((images / _PIXEL_MAXIMUM).astype(np.float32), labels.astype(np.int64))
    rest, test = _split(everything, share=0.2)
    training, validation = _split(rest, share=0.25)
    return Digits(training, validation, test)


def _split(part: Part, share: float) -> tuple[Part, Part]:
    images, other_images, labels, other_labels = train_test_split(
        part.images,
        part.labels,
        test_size=share,
        stratify=part.labels,
        random_state=_SPLIT_SEED,
    )
    return Part(images, labels), Part(other_images, other_labels)


def build_network(config: dict[str, Any]) -> MLPClassifier:
    """Return an untrained multilayer perceptron, trained with Adam.

    Args:
        config: `hidden_units` per layer, number of hidden `layers`, `activation`, `learning_rate`,
            `weight_decay` (L2), `batch_size`, and the `seed` of weights and shuffling.
    """
    return MLPClassifier(
        hidden_layer_sizes=(config["hidden_units"],) * config["layers"],
        activation=config["activation"],
        learning_rate_init=config["learning_rate"],
        alpha=config["weight_decay"],
        batch_size=config["batch_size"],
        random_state=config["seed"],
    )


def fit_epoch(network: MLPClassifier, part: Part) -> None:
    """Show the network every image of `part` once."""
    network.partial_fit(part.images, part.labels, classes=CLASSES)


def evaluate(network: MLPClassifier, part: Part) -> dict[str, float]:
    """Accuracy (share of digits read correctly) and mean cross-entropy `loss` in nats."""
    probabilities = network.predict_proba(part.images)
    of_the_truth = probabilities[np.arange(len(part)), part.labels]
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == part.labels)),
        "loss": float(-np.log(np.maximum(of_the_truth, _SMALLEST_PROBABILITY)).mean()),
    }


def train_digits(config: dict[str, Any]) -> None:
    """Return the trainable: reports the accuracy on the validation part after every epoch.

    Args:
        config: As for `build_network`, and the number of `epochs` to train at most.
    """
    data = load_data()
    network = build_network(config)
    for _ in range(config["epochs"]):
        fit_epoch(network, data.training)
        tune.report(evaluate(network, data.validation))


def refit(config: dict[str, Any], epochs: int) -> dict[str, float]:
    """Train anew on training and validation data, then look at the test part for the first time.

    Args:
        config: As for `build_network`.
        epochs: How long to train, in epochs.

    Returns:
        Accuracy and loss on the test part.
    """
    data = load_data()
    network = build_network(config)
    everything_seen = data.training + data.validation
    for _ in range(epochs):
        fit_epoch(network, everything_seen)
    return evaluate(network, data.test)
