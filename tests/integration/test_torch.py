"""PyTorch's process groups in the workers of a trial: `make test-torch`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.integration.torch import (
    DistributedTrainableCreator,
    distributed_checkpoint_dir,
    is_distributed_trainable,
)

torch = pytest.importorskip("torch")
#: Importing PyTorch in each new process takes its time on a busy machine.
pytestmark = pytest.mark.timeout(300)


def learn(config, checkpoint_dir=None):
    """Learns digits; its workers have the same model at each step."""
    import torch
    import torch.distributed as dist
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(rank)
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    first = 0
    if checkpoint_dir:
        state = torch.load(Path(checkpoint_dir, "state.pt"))
        model.load_state_dict(state["model"])
        first = state["epoch"] + 1
    both = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(both.parameters(), lr=0.1, momentum=0.9)
    mine = torch.arange(rank, 1400, size)
    for epoch in range(first, 4):
        for part in mine[torch.randperm(len(mine))].split(64 // size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(both(x[part]), y[part]).backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (model(x[1400:]).argmax(1) == y[1400:]).float().mean()
        mean = accuracy.clone()
        dist.all_reduce(mean)
        with distributed_checkpoint_dir(epoch) as directory:
            torch.save({"model": model.state_dict(), "epoch": epoch}, Path(directory, "state.pt"))
        if epoch == config.get("dies_at") and rank == 1 and first == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        tune.report(
            accuracy=accuracy.item(),
            mean=mean.item() / size,
            size=size,
            first=first,
            backend=dist.get_backend(),
            distributed=is_distributed_trainable(),
        )


@pytest.mark.parametrize("size", [2, 4])
def test_workers_learn_digits_together(sweep, size):
    trainable = DistributedTrainableCreator(learn, num_workers=size, num_cpus_per_worker=0.5)
    (trial,) = sweep(trainable, config={}).trials
    result = trial.last_result
    assert result["accuracy"] > 0.8
    assert result["mean"] == pytest.approx(result["accuracy"]), "all have the same model"
    assert (result["size"], result["backend"], result["distributed"]) == (size, "gloo", True)


def preloaded(config):
    tune.report(modules=[name for name in ("torch", "torch._dynamo") if name in sys.modules])


def test_what_takes_long_to_import_is_there_for_all_workers(sweep):
    trainable = DistributedTrainableCreator(preloaded, num_workers=1)
    (trial,) = sweep(trainable, config={}).trials
    assert trial.last_result["modules"] == ["torch", "torch._dynamo"]


def test_trials_beside_each_other_have_groups_of_their_own(sweep):
    trainable = DistributedTrainableCreator(learn, num_workers=2)
    analysis = sweep(trainable, config={"n": tune.grid_search([1, 2])})
    assert [trial.last_result["size"] for trial in analysis.trials] == [2, 2]


def test_the_loss_of_a_worker_ends_the_attempt_and_the_trial_goes_on(sweep):
    trainable = DistributedTrainableCreator(learn, num_workers=2)
    (trial,) = sweep(trainable, config={"dies_at": 2}, max_failures=1).trials
    assert trial.status == "TERMINATED"
    assert trial.num_failures == 1
    assert trial.last_result["first"] in (2, 3)
    text = Path(trial.logdir, "error.txt").read_text()
    assert "worker 1 of 2 (127.0.0.1) has failed" in text
    assert "SIGKILL" in text
