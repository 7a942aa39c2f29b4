"""The block of what a team's experiments have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

from prefect_tune.blocks import DaskCluster, ExperimentDefaults, Notification, TuneStorage
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import RUNNING, Trial
from prefect_tune.orchestration.blocks.experiment_defaults import NotifyOnEnd
from prefect_tune.orchestration.spec.experiment import ExperimentSpec
from prefect_tune.tuner import Tuner

NEEDED = {"trainable": "tests.integration.trainables:quadratic", "metric": "score", "mode": "max"}


class TestStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return ExperimentDefaults

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        # The suite fetches the image; tests have no network.
        assert str(block._logo_url).startswith("https://")


class Pager(NotificationBlock):
    """Remembers what it is to tell."""

    told: ClassVar[list[tuple[str | None, str]]] = []

    async def notify(self, body: str, subject: str | None = None) -> None:
        self.told.append((subject, body))


def test_it_fills_what_is_not_given_and_nothing_else(tmp_path: Path) -> None:
    defaults = ExperimentDefaults(
        storage=str(tmp_path), cluster=DaskCluster(), resources={"cpu": 2, "gpu": 1}
    )
    filled = ExperimentSpec.parse({**NEEDED, "defaults": defaults, "resources": {"cpu": 1}})
    assert filled.storage == str(tmp_path)
    assert filled.cluster is defaults.cluster
    assert filled.resources.request() == {"cpu": 2, "gpu": 1}, "1 CPU is what a form has anyway"
    given = {"storage": "/own", "cluster": "tcp://own:1", "resources": {"cpu": 4}}
    kept = ExperimentSpec.parse({**NEEDED, "defaults": defaults, **given})
    assert (kept.storage, kept.cluster) == ("/own", "tcp://own:1")
    assert kept.resources.request() == {"cpu": 4, "gpu": 0}


@pytest.mark.parametrize("when", ["daily", ""])
def test_wrong_fields_are_refused_when_the_block_is_made(when: str) -> None:
    with pytest.raises(ValidationError, match="when"):
        ExperimentDefaults(notifications=[{"block": "pager/team", "when": when}])
    with pytest.raises(ValidationError, match="block"):
        ExperimentDefaults(notifications=[{"block": "pager"}])


def test_what_is_no_such_block_is_refused(prefect_api: str) -> None:
    with pytest.raises(InvalidArgument, match=r"`defaults`: there is no block 'experiment-def.*x'"):
        ExperimentSpec.parse({**NEEDED, "defaults": "block://experiment-defaults/x"})
    with pytest.raises(InvalidArgument, match="`defaults`: got 3"):
        ExperimentSpec.parse({**NEEDED, "defaults": 3})
    told = ExperimentDefaults(notifications=[{"block": "pager/none"}])
    with pytest.raises(InvalidArgument, match=r"`defaults.notifications`: there is no block"):
        ExperimentSpec.parse({**NEEDED, "defaults": told}).run_arguments()


def test_a_saved_block_with_blocks_in_it_fills_and_tells_the_end(
    prefect_api: str, tmp_path: Path
) -> None:
    storage = TuneStorage(basepath=str(tmp_path))
    storage.save("of-the-team", overwrite=True)
    Pager().save("team", overwrite=True)
    Pager.told.clear()
    ExperimentDefaults(storage=storage, notifications=[{"block": "pager/team"}]).save(
        "team", overwrite=True
    )
    spec: dict[str, Any] = {
        **NEEDED,
        "space": {"x": {"grid_search": [0.0, 0.3]}},
        "budget": {"trials": 1},
        "name": "told",
        "defaults": "block://experiment-defaults/team",
    }
    tuner = Tuner.from_spec(spec)
    tuner._request.run_config.orchestrate = False
    assert len(tuner.fit()) == 2
    assert (tmp_path / "told").is_dir()
    ((subject, body),) = Pager.told
    assert subject is not None
    assert subject.endswith("told has ended")
    assert body.startswith("best score=")
    assert "2 trials (2 TERMINATED)" in body


def test_the_end_is_told_with_the_best_value_of_a_nested_metric(prefect_api: str) -> None:
    Pager().save("team", overwrite=True)
    Pager.told.clear()
    trials = [Trial("train", config={}) for _ in range(2)]
    for trial, score in zip(trials, (0.5, 0.25), strict=True):
        trial.status, trial.last_result = RUNNING, {"val": {"score": score}}
    notify = NotifyOnEnd(Notification(block="pager/team"), "val/score", "max")
    notify.on_experiment_end(trials)
    ((_, body),) = Pager.told
    assert body.startswith("best val/score=0.5; 2 trials (2 RUNNING)")
