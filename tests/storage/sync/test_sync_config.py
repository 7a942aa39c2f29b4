from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest

from prefect_tune.error import InvalidArgument, StorageError, StorageUnavailable
from prefect_tune.filesystem.location import Location
from prefect_tune.integration.docker import DockerSyncer
from prefect_tune.integration.kubernetes import NamespacedKubernetesSyncer
from prefect_tune.storage.storage_plan import StoragePlan, make_storage_plan
from prefect_tune.storage.sync.user_sync import make_user_sync
from prefect_tune.syncer import SyncConfig, Syncer
from tests.parameter_ids import stable_repr

ROOT = "/default/root"


def plan(**arguments: object) -> StoragePlan:
    return make_storage_plan(default_root=ROOT, **arguments)


class Copying(Syncer):
    """A syncer that remembers."""

    def __init__(self, **arguments: float) -> None:
        super().__init__(**arguments)
        self.calls: list[tuple[str, ...]] = []
        self.failures = 0

    def sync_up(self, local_dir: str, remote_dir: str, exclude: list[str] | None = None) -> bool:
        self.calls.append(("up", local_dir, remote_dir))
        return True

    def sync_down(self, remote_dir: str, local_dir: str, exclude: list[str] | None = None) -> bool:
        self.calls.append(("down", remote_dir, local_dir))
        return True

    def delete(self, remote_dir: str) -> bool:
        return True

    def retry(self) -> None:
        self.calls.append(("retry",))

    def wait(self, timeout: float | None = None) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no luck")


@pytest.mark.parametrize(
    "arguments",
    [
        # 1.x
        {"upload_dir": "s3://b/p"},
        {"upload_dir": "s3://b/p", "sync_to_cloud": "aws s3 sync {source} {target}"},
        {"upload_dir": "s3://b/p", "sync_to_cloud": lambda source, target: None},
        {"sync_to_driver": True, "node_sync_period": 300, "cloud_sync_period": 300},
        {"sync_to_driver": False},
        {"sync_to_driver": DockerSyncer},
        {"sync_to_driver": NamespacedKubernetesSyncer("ray")},
        {"sync_to_driver": None, "sync_on_checkpoint": False},
        # 2.0
        {"upload_dir": "s3://b/p", "syncer": "auto", "sync_period": 60},
        {"upload_dir": "s3://b/p", "syncer": Copying()},
        {"syncer": None},
        # 2.60
        {"sync_timeout": 10, "sync_artifacts": True, "sync_artifacts_on_checkpoint": False},
    ],
    ids=stable_repr,
)
def test_forms_of_every_version(arguments: dict[str, object]) -> None:
    plan(sync_config=SyncConfig(**arguments))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"sync_to_cloud": "cp {source} {target}"}, "upload_dir"),
        ({"syncer": Copying()}, "upload_dir"),
        ({"upload_dir": "s3://b", "sync_to_cloud": "cp {source}"}, "sync_to_cloud"),
        ({"upload_dir": "s3://b", "sync_to_cloud": 3}, "sync_to_cloud"),
        ({"upload_dir": "s3://b", "syncer": "rsync"}, "syncer"),
        (
            {"upload_dir": "s3://b", "syncer": Copying(), "sync_to_cloud": print},
            "sync_to_cloud",
        ),
        ({"sync_period": -1}, "sync_period"),
        ({"sync_timeout": 0}, "sync_timeout"),
        ({"cloud_sync_period": "often"}, "cloud_sync_period"),
    ],
)
def test_what_cannot_work(arguments: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        SyncConfig(**arguments)
    assert caught.value.argument == name


def test_names_without_effect_say_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for given in (None, True, False):
            plan(sync_config=SyncConfig(sync_to_driver=given))
        assert caplog.records == []
        plan(sync_config=SyncConfig(sync_to_driver=DockerSyncer))
        plan(sync_config=SyncConfig(sync_to_driver=NamespacedKubernetesSyncer("ray")))
    texts = [record.getMessage() for record in caplog.records]
    assert "DockerSyncer" in texts[0]
    assert "NamespacedKubernetesSyncer" in texts[1]
    assert all("Dask's own connections" in text for text in texts)


def test_where_files_go(tmp_path: Path) -> None:
    assert plan() == StoragePlan(ROOT)
    assert plan(storage_path="/data") == StoragePlan("/data")
    assert plan(storage_path="file:///data") == StoragePlan("/data")
    assert plan(local_dir="/data") == StoragePlan("/data")
    remote = plan(storage_path="s3://b/p")
    assert (remote.root, remote.location) == (ROOT, Location("s3://b/p"))
    assert remote.location_of("exp") == Location("s3://b/p/exp")
    uploaded = plan(local_dir="/data", sync_config=SyncConfig(upload_dir="s3://b/p"))
    assert (uploaded.root, uploaded.location) == ("/data", Location("s3://b/p"))
    shared = plan(sync_config=SyncConfig(upload_dir=str(tmp_path)))
    assert shared.location == Location(str(tmp_path))


def test_the_users_own_sync_needs_no_store() -> None:
    config = SyncConfig(upload_dir="strange://place", sync_to_cloud="copy {source} {target}")
    given = plan(sync_config=config)
    assert given.location is None
    assert given.user_sync is not None
    assert given.user_target_of("exp") == "strange://place/exp"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"storage_path": "s3://b", "sync_config": SyncConfig(upload_dir="s3://c")}, "upload_dir"),
        ({"sync_config": SyncConfig(upload_dir=ROOT)}, "upload_dir"),
        ({"local_dir": "s3://b"}, "local_dir"),
        ({"sync_config": "often"}, "sync_config"),
        ({"sync_config": {"unknown": 1}}, "sync_config"),
        ({"storage_path": "nothing://x"}, "storage_path"),
    ],
)
def test_places_that_contradict(arguments: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan(**arguments)
    assert caught.value.argument == name


def test_periods() -> None:
    assert plan().period_s == 300
    assert plan(sync_config=SyncConfig(sync_period=60)).period_s == 60
    assert plan(sync_config=SyncConfig(cloud_sync_period=70)).period_s == 70
    assert plan(sync_config=SyncConfig(cloud_sync_period=-1)).period_s == 300
    assert plan(sync_config=SyncConfig(sync_period=60), cloud_sync_s=5).period_s == 5
    assert plan(cloud_sync_s=5, global_checkpoint_s=20).period_s == 20
    assert plan(cloud_sync_s=5, global_checkpoint_s="auto").period_s == 5
    config = SyncConfig(upload_dir="s3://b", syncer=Copying(sync_period=42))
    assert plan(sync_config=config).period_s == 42


def test_syncer_none_copies_nothing(caplog: pytest.LogCaptureFixture) -> None:
    given = plan(sync_config=SyncConfig(upload_dir="s3://b/p", syncer=None))
    assert given.location is None
    assert "Nothing is copied to s3://b/p" in caplog.text


def test_a_command(tmp_path: Path) -> None:
    source = tmp_path / "with space; and $more"
    source.mkdir()
    (source / "a").write_bytes(b"1")
    sync = make_user_sync("cp -r {source} {target}")
    sync.up(str(source), str(tmp_path / "there"), 30)
    assert (tmp_path / "there" / "a").read_bytes() == b"1"
    sync.down(str(tmp_path / "there"), str(tmp_path / "back"), 30)
    assert (tmp_path / "back" / "a").read_bytes() == b"1"


def test_a_command_for_a_shell(tmp_path: Path) -> None:
    source = tmp_path / "with space; and $more"
    source.mkdir()
    sync = make_user_sync("cp -r {source} {target} && touch {target}/done")
    sync.up(str(source), str(tmp_path / "there"), 30)
    assert (tmp_path / "there" / "done").exists()


@pytest.mark.parametrize(
    "template",
    [
        "cp -r {source} {target}",
        'true && cp -r "{source}/." "{target}"',
        "true && cp -r '{source}/.' '{target}'",
        "true; cp -r {source}/. {target}",
        """true && echo "it's" 'a "b"' \\" > /dev/null; cp -r "{source}" "{target}\"""",
        'true; cp -r "$(echo "{source}")" {target}',
        "true; cp -r `echo '{source}'` {target}",
    ],
)
@pytest.mark.parametrize("name", ["a b", "$(touch PWNED)", "`touch PWNED`", "'; touch PWNED; '"])
def test_names_are_never_run(tmp_path: Path, monkeypatch, template: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / name
    source.mkdir()
    (source / "a").touch()
    target = tmp_path / f"copy of {name}"
    with contextlib.suppress(StorageError):
        make_user_sync(template).up(str(source), str(target), 30)
    assert not list(tmp_path.rglob("PWNED"))
    assert (target / "a").exists() or "echo '" in template or "$(echo" in template


@pytest.mark.parametrize(
    "template",
    [
        "bash -c 'cp {source} {target}'",
        'true && sh -c "cp {source} {target}"',
        "ssh host mkdir {source} {target}",
        "eval cp {source} {target}",
    ],
)
def test_a_second_shell_gets_plain_names_only(tmp_path: Path, monkeypatch, template: str) -> None:
    monkeypatch.chdir(tmp_path)
    sync = make_user_sync(template)
    with pytest.raises(StorageError, match="second shell"):
        sync.up("$(touch PWNED)", "there", 30)
    assert not Path("PWNED").exists()
    if template.startswith(("bash", "true")):
        Path("here").touch()
        sync.up("here", "there", 30)
        assert Path("there").exists()


@pytest.mark.parametrize("template", ["cp '{source} {target}", 'cp {source} "{target} && true'])
def test_a_command_whose_quotes_are_not_closed(template: str) -> None:
    with pytest.raises(InvalidArgument, match=r"`sync_to_cloud`.*cut off.*Close its quotes"):
        make_user_sync(template)


def test_commands_that_fail(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"ended with 1: .*No such file"):
        make_user_sync("cp {source} {target}").up(str(tmp_path / "no"), str(tmp_path / "x"), 30)
    with pytest.raises(StorageError, match="cannot be run"):
        make_user_sync("no-such-command {source} {target}").up("a", "b", 30)
    with pytest.raises(StorageUnavailable, match="took longer than"):
        make_user_sync("sleep 60; echo {source} {target}").up("a", "b", 0.1)


def test_a_function() -> None:
    calls = []
    make_user_sync(lambda source, target: calls.append((source, target))).up("a", "b", 1)
    assert calls == [("a", "b")]
    with pytest.raises(StorageError, match="ZeroDivisionError"):
        make_user_sync(lambda source, target: 1 / 0).up("a", "b", 1)


def test_a_syncer() -> None:
    syncer = Copying()
    sync = make_user_sync(syncer)
    sync.up("here", "there", 1)
    sync.down("there", "here", 1)
    assert syncer.calls == [("up", "here", "there"), ("down", "there", "here")]
    syncer.failures = 1
    with pytest.raises(StorageError, match="Copying raised RuntimeError: no luck"):
        sync.up("here", "there", 1)


def test_the_period_of_a_syncer() -> None:
    syncer = Copying(sync_period=3600)
    assert syncer.sync_up_if_needed("a", "b")
    assert not syncer.sync_up_if_needed("a", "b")
    assert syncer.sync_down_if_needed("b", "a")
    syncer.reset()
    assert syncer.sync_up_if_needed("a", "b")


def test_a_syncer_tries_again() -> None:
    syncer = Copying()
    syncer.failures = 2
    syncer.wait_or_retry(max_retries=2, backoff_s=0)
    assert syncer.calls == [("retry",), ("retry",)]
    syncer.failures = 9
    with pytest.raises(RuntimeError, match=r"failed 2 times.*no luck"):
        syncer.wait_or_retry(max_retries=1, backoff_s=0)
