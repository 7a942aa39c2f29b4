"""Sweeps in Prefect's UI, by clicking: each of its uses, as a person would go through it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.served import poll
from tests.ui.browser import Form, Screenshots, send, submit

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]

SPACE = [{"name": "x", "domain": {"low": 0.1, "high": 1}}]


def start(api: httpx.Client, deployment: str, **parameters: Any) -> str:
    """Start a run without the form; gives its id."""
    given = {"metric": "score", "mode": "max", "space": SPACE, **parameters}
    path = f"/deployments/{deployment}/create_flow_run"

    def ask() -> str | None:
        answer = api.post(path, json={"parameters": given})
        # Prefect's answer where two writers of SQLite meet: try again.
        return None if answer.status_code == 503 else str(answer.raise_for_status().json()["id"])

    return str(poll(ask))


def wait_for(api: httpx.Client, run: str, *states: str) -> dict[str, Any]:
    """Wait until a flow run has one of some states; gives the run."""

    def look() -> dict[str, Any] | None:
        read: dict[str, Any] = api.get(f"/flow_runs/{run}").raise_for_status().json()
        return read if read["state"]["name"] in states else None

    found = poll(look)
    assert found is not None
    return found


def trials_of(api: httpx.Client, run: str) -> list[dict[str, Any]]:
    """The task runs of a sweep's trials."""
    which = {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
    runs = api.post("/task_runs/filter", json=which).raise_for_status().json()
    return [task_run for task_run in runs if task_run["name"] != "coordinator"]


def test_a_sweep_is_started_from_the_form(
    ui: str,
    api: httpx.Client,
    page: Any,
    tune_deployment: str,
    screenshots: Screenshots,
    home: Path,
) -> None:
    page.goto(f"{ui}/v2/deployments")
    page.get_by_role("link", name="tune", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_text("Import path of a function").wait_for()
    form = Form(page)
    form.fill("trainable", "prefect_tune.cli.quickstart.model:train_digits")
    form.fill("metric", "accuracy")
    form.select("mode", "max")

    def parameter(name: str, domain: str) -> Form:
        item = form.add("space")
        item.fill("Name", name)
        item.tab("Domain", domain)
        return item

    rate = parameter("learning_rate", "Real number")
    rate.fill("Low", 0.001)
    rate.fill("High", 0.1)
    rate.select("Scale", "log")
    units = parameter("hidden_units", "Whole number")
    units.fill("Lowest", 8)
    units.fill("Highest", 64)
    rate.root.scroll_into_view_if_needed()
    screenshots.take(page, "form-space")
    activation = parameter("activation", "One of (texts)")
    activation.add_value("Texts", "relu")
    activation.add_value("Texts", "tanh")
    sizes = parameter("batch_size", "One of (numbers)")
    sizes.add_value("Numbers", 32)
    sizes.add_value("Numbers", 128)
    for name, value in {"layers": 2, "weight_decay": 0.0001, "epochs": 5, "seed": 0}.items():
        parameter(name, "Fixed").fill("Value", value)
    form.tab("scheduler", "asha").fill("Max T", 5)
    form.tab("search", "optuna")
    form.inside("budget").fill("Trials", 6)
    rule = form.add("stop")
    rule.fill("Metric", "accuracy")
    rule.fill("Value", 0.999)
    form.field("scheduler").scroll_into_view_if_needed()
    screenshots.take(page, "form-scheduler")
    form.tab("storage", "str")
    form.fill("storage", home / "experiments")
    form.tab("name", "str")
    form.fill("name", "digits")
    submit(page, screenshots)

    (run,) = poll(lambda: api.post("/flow_runs/filter", json={}).raise_for_status().json())
    ended = wait_for(api, run["id"], "Completed", "Failed", "Crashed")
    assert ended["state"]["name"] == "Completed", ended["state"]["message"]
    assert ended["name"] == "digits"
    assert set(ended["tags"]) == {"experiment:digits", "trainable:train_digits"}
    space = {item["name"]: item["domain"] for item in ended["parameters"]["space"]}
    assert space["learning_rate"]["scale"] == "log"
    assert space["batch_size"]["numbers"] == [32, 128]
    assert space["epochs"] == {"value": 5}

    page.goto(f"{ui}/v2/runs/flow-run/{run['id']}")
    page.get_by_role("tab", name="Logs").click()
    page.get_by_text("is the best so far").first.wait_for()
    screenshots.take(page, "run")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("digits-summary").first.click()
    page.get_by_text("Best trials").wait_for()
    page.wait_for_function("[...document.images].filter(i => i.naturalWidth > 300).length == 3")
    screenshots.take(page, "summary", height=1600)
    assert page.get_by_role("link", name=re.compile("train_digits_.*")).count() == 6

    trial = trials_of(api, run["id"])[0]
    page.goto(f"{ui}/v2/runs/task-run/{trial['id']}")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("MARKDOWN").first.click()
    page.get_by_text(re.compile("^(Stopped|Completed): ")).wait_for()
    screenshots.take(page, "trial")


def test_a_sweep_is_cancelled_from_its_page(
    ui: str, api: httpx.Client, page: Any, tune_deployment: str, home: Path
) -> None:
    space = [*SPACE, {"name": "until", "domain": {"value": str(home / "never")}}]
    run = start(api, tune_deployment, trainable="ui_trainables:until_told", space=space)
    poll(lambda: trials_of(api, run))
    page.goto(f"{ui}/v2/runs/flow-run/{run}")
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name="Cancel").click()
    page.get_by_role("button", name="Cancel Flow Run").click()
    ended = wait_for(api, run, "Cancelled", "Crashed", "Failed", "Completed")
    assert ended["state"]["name"] == "Cancelled"
    states = {trial["state"]["name"] for trial in trials_of(api, run)}
    assert states <= {"Interrupted", "NotStarted"}


def test_a_failed_sweep_is_retried_from_its_page(
    ui: str, api: httpx.Client, page: Any, tune_deployment: str, home: Path
) -> None:
    data = home / "data"
    space = [*SPACE, {"name": "until", "domain": {"value": str(data)}}]
    run = start(
        api,
        tune_deployment,
        trainable="ui_trainables:fails_once",
        space=space,
        budget={"trials": 2},
        name="retried",
        storage=str(home / "experiments"),
    )
    failed = wait_for(api, run, "Failed", "Completed", "Crashed")
    assert "all 2 trials failed: ValueError: no data yet" in failed["state"]["message"]
    data.touch()
    page.goto(f"{ui}/v2/runs/flow-run/{run}")
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name="Retry").click()
    page.get_by_role("button", name="Retry").last.click()
    ended = wait_for(api, run, "Completed", "Crashed")
    assert ended["run_count"] == 2
    # Brought up to date, not made again.
    which = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    keys = [
        artifact["key"]
        for artifact in api.post("/artifacts/filter", json=which).json()
        if artifact["key"]
    ]
    assert sorted(keys) == ["retried-leaderboard", "retried-summary", "retried-trials-done"]


def test_a_sweep_is_controlled_by_a_form(
    ui: str,
    api: httpx.Client,
    page: Any,
    tune_deployment: str,
    serve: Callable[[str, str], str],
    screenshots: Screenshots,
    home: Path,
) -> None:
    control = serve("control.py", "control-sweep/control")
    space = [*SPACE, {"name": "until", "domain": {"value": str(home / "never")}}]
    run = start(api, tune_deployment, trainable="ui_trainables:until_told", space=space)
    poll(lambda: trials_of(api, run))
    page.goto(f"{ui}/v2/deployments/deployment/{control}/run")
    form = Form(page)
    form.fill("experiment", run)
    limits = form.tab("action", "Set limits")
    rule = limits.add("Stop")
    rule.fill("Metric", "training_iteration")
    rule.fill("Value", 1)
    screenshots.take(page, "form-control")
    submit(page, screenshots)
    ended = wait_for(api, run, "Completed", "Failed", "Crashed")
    assert ended["state"]["name"] == "Completed"
    page.goto(f"{ui}/v2/runs/flow-run/{run}")
    page.get_by_role("tab", name="Logs").click()
    page.get_by_text(re.compile("Sweep .*: .*training_iteration")).first.wait_for()


def test_a_schedule_is_made_on_the_page_of_the_deployment(
    ui: str, api: httpx.Client, page: Any, serve: Callable[[str, str], str]
) -> None:
    nightly = serve("recurring_sweep.py", "recurring-sweep/nightly")
    page.goto(f"{ui}/v2/deployments/deployment/{nightly}")

    def save() -> None:
        page.get_by_role("button", name="Schedule", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Save").click()

    made = send(page, "/schedules", save)
    sent = made.request.post_data_json[0]
    assert not sent.get("parameters"), "a schedule leaves the deployment's parameters as they are"
    schedules = api.get(f"/deployments/{nightly}").json()["schedules"]
    assert {frozenset(s["schedule"]) & {"cron", "interval"} for s in schedules} == {
        frozenset({"cron"}),
        frozenset({"interval"}),
    }


def test_a_storage_block_is_made_in_the_ui(
    ui: str, api: httpx.Client, page: Any, tune_deployment: str, home: Path
) -> None:
    types = api.post("/block_types/filter", json={}).json()
    assert "tune-storage" in {kind["slug"] for kind in types}
    page.goto(f"{ui}/v2/blocks/catalog/tune-storage/create")
    page.get_by_label("Name").first.fill("team")
    Form(page).fill("Base path", home / "team")
    send(page, "/block_documents/", page.get_by_role("button", name="Save").click)
    poll(lambda: api.get("/block_types/slug/tune-storage/block_documents/name/team").is_success)
