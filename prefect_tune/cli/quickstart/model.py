"""Data, network and training function: the part of a sweep that a user writes.

The data are the 1,797 scanned digits (8 x 8 pixels, ten classes) that come with scikit-learn;
nothing is downloaded. They are always split in the same way into 60 % training, 20 % validation and
20 % test, so that runs with different seeds are compared on the same images. The sweep uses the
first two parts only.
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
    """A part of the digits: images and labels.

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
    """The digits in three disjoint parts with equal shares of the classes."""

    training: Part
    validation: Part
    test: Part


@functools.cache
def load_data() -> Digits:
    """Load and split the digits; the split is the same in every process."""
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
    """Make an untrained multilayer perceptron, which is trained with Adam.

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
    """Train the network on each image of `part` once."""
    network.partial_fit(part.images, part.labels, classes=CLASSES)


def evaluate(network: MLPClassifier, part: Part) -> dict[str, float]:
    """Return the accuracy and the mean cross-entropy `loss` in nats."""
    probabilities = network.predict_proba(part.images)
    of_the_truth = probabilities[np.arange(len(part)), part.labels]
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == part.labels)),
        "loss": float(-np.log(np.maximum(of_the_truth, _SMALLEST_PROBABILITY)).mean()),
    }


def train_digits(config: dict[str, Any]) -> None:
    """Train a network, and report its accuracy on the validation part after each epoch.

    Args:
        config: As for `build_network`, and the most `epochs`.
    """
    data = load_data()
    network = build_network(config)
    for _ in range(config["epochs"]):
        fit_epoch(network, data.training)
        tune.report(evaluate(network, data.validation))


def refit(config: dict[str, Any], epochs: int) -> dict[str, float]:
    """Train a new network on training and validation data, and evaluate it on the test part.

    Args:
        config: As for `build_network`.
        epochs: The number of epochs.

    Returns:
        Accuracy and loss on the test part.
    """
    data = load_data()
    network = build_network(config)
    everything_seen = data.training + data.validation
    for _ in range(epochs):
        fit_epoch(network, everything_seen)
    return evaluate(network, data.test)
