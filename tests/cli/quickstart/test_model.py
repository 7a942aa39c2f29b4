from types import ModuleType

import numpy as np
import pytest

CONFIG = {
    "hidden_units": 32,
    "layers": 1,
    "activation": "relu",
    "learning_rate": 0.01,
    "weight_decay": 1e-5,
    "batch_size": 32,
    "seed": 3,
}


@pytest.fixture
def model() -> ModuleType:
    """It imports scikit-learn, which takes seconds."""
    from prefect_tune.cli.quickstart import model

    return model


def test_the_parts_share_no_image_and_leave_none_out(model):
    data = model.load_data()
    assert [len(part) for part in (data.training, data.validation, data.test)] == [1077, 360, 360]
    everything = np.concatenate([data.training.images, data.validation.images, data.test.images])
    assert len(np.unique(everything, axis=0)) == len(everything)
    assert everything.min() == 0
    assert everything.max() == 1


def test_every_part_has_every_digit_in_the_same_share(model):
    data = model.load_data()
    shares = [
        np.bincount(part.labels, minlength=10) / len(part)
        for part in (data.training, data.validation, data.test)
    ]
    assert np.allclose(shares[0], shares[1], atol=0.01)
    assert np.allclose(shares[0], shares[2], atol=0.01)


def test_the_network_is_built_as_configured(model):
    network = model.build_network({**CONFIG, "layers": 3, "activation": "tanh"})
    assert network.hidden_layer_sizes == (32, 32, 32)
    assert network.activation == "tanh"
    assert network.learning_rate_init == 0.01
    assert network.alpha == 1e-5
    assert network.batch_size == 32


def test_training_teaches_it_to_read(model):
    assert model.refit(CONFIG, epochs=10)["accuracy"] > 0.9
    assert model.refit({**CONFIG, "learning_rate": 1e-6}, epochs=1)["accuracy"] < 0.5


def test_the_same_seed_trains_the_same_network(model):
    assert model.refit(CONFIG, epochs=2) == model.refit(CONFIG, epochs=2)
    assert model.refit(CONFIG, epochs=2) != model.refit({**CONFIG, "seed": 4}, epochs=2)


def test_loss_and_accuracy_of_known_predictions(model):
    class Guess:
        def predict_proba(self, images):
            return np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]])

    part = model.Part(np.zeros((2, 64), np.float32), np.array([0, 0]))
    scores = model.evaluate(Guess(), part)
    assert scores["accuracy"] == 0.5
    assert scores["loss"] == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_a_certain_mistake_has_a_finite_loss(model):
    class Wrong:
        def predict_proba(self, images):
            return np.array([[0.0, 1.0]])

    part = model.Part(np.zeros((1, 64), np.float32), np.array([0]))
    assert np.isfinite(model.evaluate(Wrong(), part)["loss"])


def test_the_trainable_reports_every_epoch_on_validation_data(model, monkeypatch):
    reported = []
    monkeypatch.setattr(model.tune, "report", reported.append, raising=False)
    model.train_digits({**CONFIG, "epochs": 4})
    assert len(reported) == 4
    assert all(set(result) == {"accuracy", "loss"} for result in reported)

    network = model.build_network(CONFIG)
    model.fit_epoch(network, model.load_data().training)
    assert reported[0] == model.evaluate(network, model.load_data().validation)
