from __future__ import annotations

from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import RUNNING, Trial
from prefect_tune.resources import PlacementGroupFactory, Resources
from prefect_tune.schedulers import (
    ASHAScheduler,
    DistributeResources,
    DistributeResourcesToTopJob,
    ResourceChangingScheduler,
    evenly_distribute_cpus_gpus,
)
from prefect_tune.testing.simulation import SimulatedController


class Cluster(SimulatedController):
    def __init__(
        self,
        scheduler: ResourceChangingScheduler,
        trials: int,
        *nodes: Resources,
        base: Resources | None = None,
    ) -> None:
        super().__init__(slots=99)
        self.nodes = list(nodes)
        self.scheduler = scheduler
        self.trials = [self.join(f"t{number}", base) for number in range(trials)]

    def join(self, name: str, resources: Resources | None = None) -> Trial:
        trial = Trial(name, {}, resources=resources)
        trial.status = RUNNING
        self.add(trial)
        self.scheduler.on_trial_add(self, trial)
        return trial

    def get_node_resources(self) -> list[Resources]:
        return self.nodes

    def change_trial(self, trial: Trial, **changes: Any) -> bool:
        trial.resources = changes["resources"]
        return True

    def report(self, number: int, score: float = 0.0) -> str:
        trial = self.trials[number]
        result = {"training_iteration": 1, "score": score}
        answer = self.scheduler.on_trial_result(self, trial, result)
        trial.last_result = result
        return answer


def cpus(cluster: Cluster) -> list[float]:
    return [trial.resources.cpu for trial in cluster.trials]


def test_trials_share_evenly_and_the_oldest_get_the_rest() -> None:
    cluster = Cluster(ResourceChangingScheduler(), 3, Resources.of(CPU=8))
    assert [cluster.report(number) for number in range(3)] == ["PAUSE"] * 3
    assert cpus(cluster) == [3, 3, 2]
    assert [cluster.report(number) for number in range(3)] == ["CONTINUE"] * 3


def test_what_a_finished_trial_had_goes_to_the_others_and_new_ones_get_it_back() -> None:
    cluster = Cluster(ResourceChangingScheduler(), 2, Resources.of(CPU=8))
    gone = cluster.trials[1]
    cluster.scheduler.on_trial_complete(cluster, gone, {})
    cluster.finish(gone)
    cluster.report(0)
    assert cluster.trials[0].resources.cpu == 8
    cluster.trials.append(cluster.join("t2"))
    cluster.report(0)
    assert cluster.trials[0].resources.cpu == 4


def test_no_more_than_the_largest_node_has() -> None:
    cluster = Cluster(ResourceChangingScheduler(), 1, *[Resources.of(CPU=4)] * 3)
    cluster.report(0)
    assert cpus(cluster) == [4]


def test_steps_limits_and_reserves() -> None:
    def after(allocate: Any) -> Resources:
        nodes = Resources.of(CPU=16, GPU=4)
        cluster = Cluster(ResourceChangingScheduler(None, allocate), 2, nodes)
        cluster.report(0)
        return cluster.trials[0].resources

    assert after(DistributeResources(increase_by={"CPU": 1, "GPU": 1})) == Resources.of(
        CPU=3, GPU=2
    )
    assert after(DistributeResources(increase_by={"CPU": 2}, increase_by_times=2)).cpu == 5
    assert after(DistributeResources(reserve_resources={"CPU": 10})).cpu == 3
    assert after(evenly_distribute_cpus_gpus).cpu == 8
    assert after(DistributeResources(add_bundles=True)).cpu == 8
    assert after(lambda controller, trial, result, scheduler: {"cpu": 2, "gpu": 1}).gpu == 1
    assert after(lambda *_: PlacementGroupFactory([{"CPU": 1}, {"CPU": 2}])).cpu == 3
    assert after(lambda *_: None).cpu == 1
    assert after(None).cpu == 1


@pytest.mark.parametrize(("base", "grown"), [({"cpu": 2}, {"CPU": 8}), ({"gpu": 1}, {"GPU": 2})])
def test_a_step_is_one_gpu_for_trials_with_gpus_and_one_cpu_for_others(
    base: dict[str, float], grown: dict[str, float]
) -> None:
    nodes = Resources.of(CPU=17, GPU=5)
    cluster = Cluster(ResourceChangingScheduler(), 2, nodes, base=Resources.parse(base))
    cluster.report(1)
    began = dict(Resources.parse(base))
    assert dict(cluster.trials[1].resources) == {**began, **grown}


def test_the_best_trial_gets_all_that_is_free() -> None:
    scheduler = ResourceChangingScheduler(
        ASHAScheduler(metric="score", mode="max"), DistributeResourcesToTopJob()
    )
    cluster = Cluster(scheduler, 3, Resources.of(CPU=8))
    for number, score in ((0, 1.0), (1, 3.0), (2, 2.0)):
        cluster.report(number, score)
    cluster.report(0, 1.0)
    assert cpus(cluster) == [1, 6, 1]


def test_decisions_of_the_other_scheduler_come_first() -> None:
    base = ASHAScheduler(metric="score", mode="max", max_t=1)
    cluster = Cluster(ResourceChangingScheduler(base), 1, Resources.of(CPU=8))
    assert cluster.report(0) == "STOP"
    assert cpus(cluster) == [1]
    assert cluster.scheduler.metric == "score"
    assert "AsyncHyperBand" in cluster.scheduler.debug_string()


def test_what_no_node_has_is_refused() -> None:
    scheduler = ResourceChangingScheduler(None, lambda *_: {"cpu": 9})
    cluster = Cluster(scheduler, 1, Resources.of(CPU=8), Resources.of(CPU=8))
    with pytest.raises(InvalidArgument, match=r"`resources_allocation_function`.*no node has"):
        cluster.report(0)


def test_trials_have_to_begin_alike() -> None:
    cluster = Cluster(ResourceChangingScheduler(), 1, Resources.of(CPU=8))
    with pytest.raises(InvalidArgument, match="`resources_per_trial`"):
        cluster.join("other", Resources.of(CPU=2))
    cluster.report(0)
    cluster.scheduler.on_trial_add(cluster, cluster.trials[0])  # changed, and back


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: ResourceChangingScheduler("asha"), "base_scheduler"),
        (lambda: ResourceChangingScheduler(None, 3), "resources_allocation_function"),
        (lambda: DistributeResources(increase_by={"CPU": 0}), "increase_by"),
        (lambda: DistributeResources(increase_by={"CPU": -1}), "increase_by"),
        (lambda: DistributeResources(reserve_resources={"CPU": "x"}), "reserve_resources"),
        (lambda: DistributeResourcesToTopJob(mode="best"), "mode"),
    ],
)
def test_wrong_arguments_are_named(make: Any, argument: str) -> None:
    with pytest.raises(InvalidArgument, match=f"`{argument}"):
        make()


def test_a_best_trial_needs_a_metric() -> None:
    scheduler = ResourceChangingScheduler(None, DistributeResourcesToTopJob())
    cluster = Cluster(scheduler, 1, Resources.of(CPU=8))
    with pytest.raises(InvalidArgument, match="`metric`"):
        cluster.report(0)


class Counting(tune.Trainable):
    """Reports what it has at each step."""

    def step(self) -> dict[str, Any]:
        return {
            "cpus": tune.get_trial_resources().required_resources["CPU"],
            "done": self.iteration >= 5,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass


def test_a_trial_goes_on_with_more_in_a_real_sweep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("PREFECT_TUNE_ORCHESTRATE", "0")
    tune.init(num_cpus=4)
    try:
        results = tune.Tuner(
            Counting,
            tune_config=tune.TuneConfig(scheduler=ResourceChangingScheduler()),
            run_config=tune.RunConfig(name="more", storage_path=str(tmp_path), verbose=0),
        ).fit()
    finally:
        tune.shutdown()
    frame = results[0].metrics_dataframe
    assert list(frame["training_iteration"]) == [1, 2, 3, 4, 5, 6]
    assert list(frame["cpus"]) == [1, 4, 4, 4, 4, 4]


def test_processes_that_are_reused_keep_what_they_have() -> None:
    tuner = tune.Tuner(
        Counting,
        tune_config=tune.TuneConfig(scheduler=ResourceChangingScheduler(), reuse_actors=True),
    )
    with pytest.raises(InvalidArgument, match="`reuse_actors`"):
        tuner.fit()
