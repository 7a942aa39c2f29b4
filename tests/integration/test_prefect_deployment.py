"""The deployable flow: called, with bad parameters, served, cancelled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("prefect_api")

REPOSITORY = Path(__file__).parents[2]
SPACE = {"x": {"uniform": [0, 1]}, "act": {"choice": ["relu", "tanh"]}}


@pytest.fixture
def client(prefect_api: str) -> Iterator[Any]:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        yield client


def parameters(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "trainable": "tests.integration.trainables:quadratic",
        "space": SPACE,
        "metric": "score",
        "mode": "max",
        "budget": {"trials": 3},
        "storage": str(tmp_path),
        "seed": 1,
        **changes,
    }


def test_the_flow_run_is_the_experiment(cluster: None, client: Any, tmp_path: Path) -> None:
    from prefect_tune.flows import tune_experiment

    state = tune_experiment(**parameters(tmp_path, name="json"), return_state=True)
    result = state.result()
    assert result.trials == 3
    assert set(result.best_config) == {"x", "act"}
    assert state.message.startswith("best score=")
    flow_run = client.read_flow_run(state.state_details.flow_run_id)
    assert flow_run.name == "json"
    assert (tmp_path / "json").is_dir()


def test_the_users_modules_are_found_where_prefect_loads_the_flow_from_its_file(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import prefect_tune.flows as flows

    (tmp_path / "utils.py").write_text("SCORE = 7\n")
    (tmp_path / "users_train.py").write_text(
        "import prefect_tune as tune, utils\n"
        "def train(config):\n"
        "    tune.report({'score': utils.SCORE})\n"
    )
    monkeypatch.delitem(sys.modules, "utils", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(Path(flows.__file__).parent)
    changes = {"trainable": "users_train:train", "space": {"x": 1}, "budget": {"trials": 1}}
    state = flows.tune_experiment(**parameters(tmp_path, **changes), return_state=True)
    assert state.message.startswith("best score=7")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"x": {"unifrom": [0, 1]}}}, "Did you mean `uniform`"),
        ({"trainable": "tests.integration.trainables:quadratik"}, "Did you mean `quadratic`"),
        ({"trainable": "no_such_module:f"}, "`no_such_module` cannot be imported"),
        ({"budget": {"trials": -5}}, "budget.trials"),
        ({"mode": "biggest"}, "mode"),
        ({"scheduler": {"kind": "asha", "max_tt": 9}}, "scheduler.asha.max_tt"),
        ({"resources": {"cpu": -1}}, "resources.cpu"),
    ],
)
def test_wrong_parameters_fail_the_flow_with_a_clear_message(
    cluster: None, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    from prefect_tune.error import InvalidArgument
    from prefect_tune.flows import tune_experiment

    state = tune_experiment(**parameters(tmp_path, **changes), return_state=True)
    assert state.is_failed()
    assert message in state.message
    with pytest.raises(InvalidArgument):
        state.result()


def test_the_form_explains_each_parameter() -> None:
    from prefect_tune.flows import tune_experiment

    schema = tune_experiment.parameters.model_dump()
    assert schema["required"] == ["trainable", "metric", "mode"]
    for name, described in schema["properties"].items():
        model = schema["definitions"].get(described.get("$ref", "").split("/")[-1], {})
        assert described.get("description", model.get("description")), name
    assert schema["properties"]["mode"]["enum"] == ["min", "max"]


@pytest.fixture
def served(prefect_api: str, client: Any, tmp_path: Path) -> Iterator[None]:
    """`flows/tune.py` in a process of its own, in a directory with a trainable."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            import time
            import prefect_tune as tune

            def quick(config):
                return {"score": config["x"]}

            def endless(config):
                while True:
                    time.sleep(0.05)
                    tune.report({"score": config["x"]})
            """
        )
    )
    python_path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "flows" / "tune.py")],
        cwd=tmp_path,
        env={**os.environ, "PREFECT_API_URL": prefect_api, "PYTHONPATH": python_path},
    )
    poll(lambda: deployment(client), process)
    yield
    process.terminate()
    process.wait(timeout=30)


def deployment(client: Any) -> Any:
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name("tune-experiment/tune")
    except ObjectNotFound:
        return None


def poll(condition: Callable[[], Any], process: subprocess.Popen[Any] | None = None) -> Any:
    """Wait for a condition of the server's; the test's time limit bounds it."""
    while not (found := condition()):
        assert process is None or process.poll() is None
        time.sleep(0.2)
    return found


def start(tmp_path: Path, values: dict[str, Any], prefect_api: str) -> str:
    """`prefect deployment run`; gives the flow run's id."""
    command = [
        sys.executable,
        *("-m", "prefect", "deployment", "run", "tune-experiment/tune"),
        *("--params", json.dumps(values)),
    ]
    environment = {**os.environ, "PREFECT_API_URL": prefect_api}
    out = subprocess.check_output(command, env=environment, text=True)
    return next(line.split()[-1] for line in out.splitlines() if "UUID" in line)


@pytest.mark.slow
def test_a_served_deployment_runs_and_can_be_cancelled(
    served: None, client: Any, prefect_api: str, tmp_path: Path
) -> None:
    from prefect.states import Cancelling

    def state_of(flow_run_id: str) -> Any:
        return client.read_flow_run(flow_run_id).state

    changes = {"trainable": "mine:quick", "space": {"x": {"uniform": [0, 1]}}}
    good = start(tmp_path, parameters(tmp_path, **changes, name="quick"), prefect_api)
    final = poll(lambda: (s := state_of(good)).is_final() and s)
    assert final.message.startswith("best score=")
    assert client.read_flow_run(good).name == "quick"

    changes = {"trainable": "mine:endless", "name": "endless", "space": {"x": 1}}
    endless = start(tmp_path, parameters(tmp_path, **changes, budget={"trials": 1}), prefect_api)
    poll(lambda: list(tmp_path.glob("endless/*/result.json")))
    client.set_flow_run_state(endless, Cancelling())
    final = poll(lambda: (s := state_of(endless)).is_final() and s)
    assert final.is_cancelled()
