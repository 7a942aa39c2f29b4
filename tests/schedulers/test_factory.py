from __future__ import annotations

import importlib

import pytest

from prefect_tune import schedulers
from prefect_tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PromotionASHAScheduler,
    ResourceChangingScheduler,
    TrialScheduler,
    create_scheduler,
)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("fifo", FIFOScheduler),
        ("asha", ASHAScheduler),
        ("ASHA", ASHAScheduler),
        ("async_hyperband", ASHAScheduler),
        ("asynchyperband", ASHAScheduler),
        ("median_stopping_rule", MedianStoppingRule),
        ("medianstopping", MedianStoppingRule),
        ("hyperband", HyperBandScheduler),
        ("hb_bohb", HyperBandForBOHB),
        ("resource_changing", ResourceChangingScheduler),
        ("asha_promotion", PromotionASHAScheduler),
    ],
)
def test_schedulers_by_name(name: str, cls: type[TrialScheduler]) -> None:
    assert type(create_scheduler(name)) is cls


def test_arguments_are_passed_on_and_unknown_ones_left_out() -> None:
    scheduler = create_scheduler("asha", metric="loss", mode="min", max_t=7, perturbation=3)
    assert scheduler.metric == "loss"
    assert create_scheduler("fifo", metric="loss").metric is None
    with pytest.raises(ValueError, match="`max_t`"):
        create_scheduler("asha", max_t=-7)


@pytest.mark.parametrize("name", ["nonsense", "", None, 3])
def test_unknown_name_lists_the_known(name: object) -> None:
    with pytest.raises(ValueError, match=r"`scheduler`: there is no .*fifo, asha"):
        create_scheduler(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("trial_scheduler", "TrialScheduler"),
        ("trial_scheduler", "FIFOScheduler"),
        ("async_hyperband", "AsyncHyperBandScheduler"),
        ("async_hyperband", "ASHAScheduler"),
        ("median_stopping_rule", "MedianStoppingRule"),
        ("hyperband", "HyperBandScheduler"),
        ("hb_bohb", "HyperBandForBOHB"),
        ("pbt", "PopulationBasedTraining"),
        ("pbt", "PopulationBasedTrainingReplay"),
        ("pb2", "PB2"),
        ("resource_changing_scheduler", "ResourceChangingScheduler"),
        ("resource_changing_scheduler", "DistributeResources"),
        ("resource_changing_scheduler", "DistributeResourcesToTopJob"),
        ("resource_changing_scheduler", "evenly_distribute_cpus_gpus"),
    ],
)
def test_rays_import_paths(module: str, name: str) -> None:
    place = importlib.import_module(f"prefect_tune.schedulers.{module}")
    assert getattr(place, name) is getattr(schedulers, name)
