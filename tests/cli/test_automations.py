"""``prefect-tune automations``."""

from __future__ import annotations

import pytest

from prefect_tune.cli.commands import EXIT_FAILURE, EXIT_OK, EXIT_USAGE
from prefect_tune.cli.main import main


def test_create_list_and_delete(prefect_api: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["automations", "create", "--silence", "45", "--max-runs", "4"]) == EXIT_OK
    created = capsys.readouterr().out
    assert prefect_api in created
    assert "no sign of life for 45 s" in created
    assert "up to 4 runs in all" in created
    assert main(["automations", "list"]) == EXIT_OK
    assert capsys.readouterr().out == created
    assert main(["automations", "delete"]) == EXIT_OK
    assert "prefect-tune: resume crashed sweeps" in capsys.readouterr().out
    assert main(["automations", "list"]) == EXIT_OK
    assert "No automations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "--silence", "1"], "argument --silence: got 1. It is >= 10."),
        (["create", "--max-runs", "1"], "argument --max-runs: got 1. It is >= 2."),
        (["creat"], "ACTION"),
    ],
)
def test_wrong_options(
    prefect_api: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["automations", *arguments])
    assert ended.value.code == EXIT_USAGE
    assert message in capsys.readouterr().err


def test_without_a_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert main(["automations", "list"]) == EXIT_FAILURE
    assert "does not answer" in capsys.readouterr().err
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert main(["automations", "list"]) == EXIT_FAILURE
    assert "prefect server start" in capsys.readouterr().err
