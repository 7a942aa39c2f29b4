"""The storage block, without a server."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.filesystems import RemoteFileSystem
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from prefect_tune.blocks import TuneStorage
from prefect_tune.error import InvalidArgument
from prefect_tune.filesystem.blocks import storage_options
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from tests.warm_python import run_script

SECRET = "wJalrXUtnFEMI-not-to-be-seen"


class TestStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return TuneStorage

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        # The suite fetches the image; tests have no network.
        assert str(block._logo_url).startswith("https://")


@pytest.fixture
def storage() -> TuneStorage:
    return TuneStorage(
        basepath="s3://bucket/experiments/",
        key="KEYID",
        secret=SECRET,
        endpoint_url="http://127.0.0.1:9000",
        region="eu-central-1",
        options={"config_kwargs": {"proxies": SECRET}},
    )


def test_nothing_shows_a_secret(storage: TuneStorage) -> None:
    for shown in (repr(storage), str(storage), f"{storage}", repr(storage.get_location())):
        assert SECRET not in shown
        assert "KEYID" not in shown
    assert SECRET not in storage.model_dump_json()


def test_options_of_s3(storage: TuneStorage) -> None:
    assert storage.storage_options() == {
        "key": "KEYID",
        "secret": SECRET,
        "endpoint_url": "http://127.0.0.1:9000",
        "client_kwargs": {"region_name": "eu-central-1"},
        "config_kwargs": {"proxies": SECRET},
    }


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("gs", {"token": "t", "endpoint_url": "e", "default_location": "r"}),
        (
            "az",
            {
                "connection_string": "DefaultEndpointsProtocol=https;AccountName=k;AccountKey=s;"
                "SharedAccessSignature=t;BlobEndpoint=https://e"
            },
        ),
        ("sftp", {"username": "k", "password": "s", "token": "t", "endpoint_url": "e"}),
    ],
)
def test_options_have_the_names_of_their_file_system(
    protocol: str, expected: dict[str, str]
) -> None:
    given = storage_options(protocol, key="k", secret="s", token="t", endpoint_url="e", region="r")
    assert given == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"key": "k", "secret": "s"}, {"account_name": "k", "account_key": "s"}),
        (
            {"secret": "s", "endpoint_url": "http://acc.local:1/acc/"},
            {
                "connection_string": "DefaultEndpointsProtocol=http;AccountName=acc;AccountKey=s;"
                "BlobEndpoint=http://acc.local:1/acc"
            },
        ),
        (
            {"key": "k", "token": "?sig=t", "endpoint_url": "https://k.blob.azure.cn"},
            {
                "connection_string": "DefaultEndpointsProtocol=https;AccountName=k;"
                "SharedAccessSignature=sig=t;BlobEndpoint=https://k.blob.azure.cn"
            },
        ),
        (
            {"endpoint_url": "https://k.blob.azure.cn"},
            {"account_name": "k", "account_host": "k.blob.azure.cn"},
        ),
    ],
)
def test_options_of_azure(given: dict[str, str], expected: dict[str, str]) -> None:
    assert storage_options("az", **given) == expected


def test_a_key_file_of_google_may_be_given_as_its_text() -> None:
    assert storage_options("gs", token='{"type": "service_account"}') == {
        "token": {"type": "service_account"}
    }
    assert storage_options("gs", token="/home/me/key.json") == {"token": "/home/me/key.json"}
    with pytest.raises(InvalidArgument, match="is not") as raised:
        storage_options("gs", token=f'{{"private_key": "{SECRET}"')
    assert SECRET not in str(raised.value)


def test_one_that_is_not_saved_gives_its_options_along(storage: TuneStorage) -> None:
    location = storage.get_location()
    assert location.url == "s3://bucket/experiments"
    assert location.block is None
    assert location.options["secret"] == SECRET


@pytest.mark.parametrize(
    "basepath", ["bucket/experiments", "", "s3://key:secret@bucket/x", "sftp://me@host/x"]
)
def test_impossible_base_paths(basepath: str) -> None:
    with pytest.raises(ValidationError):
        TuneStorage(basepath=basepath)


def test_a_local_directory(tmp_path: Path) -> None:
    storage = TuneStorage(basepath=str(tmp_path))
    storage.write_path("a/b", b"content")
    assert (tmp_path / "a" / "b").read_bytes() == b"content"
    assert storage.read_path("a/b") == b"content"
    assert storage.get_filesystem().exists(str(tmp_path / "a" / "b"))
    with pytest.raises(FileNotFoundError):
        storage.read_path("c")


def test_in_async_code(tmp_path: Path) -> None:
    storage = TuneStorage(basepath=str(tmp_path))

    async def write_and_read() -> bytes:
        # Prefect calls them so: they dispatch on where they are called.
        await storage.write_path("a", b"content")
        content: bytes = await storage.read_path("a")
        return content

    assert asyncio.run(write_and_read()) == b"content"


def aws(**changes: Any) -> Any:
    parts = {
        "aws_access_key_id": "KEYID",
        "aws_secret_access_key": SecretStr(SECRET),
        "aws_session_token": None,
        "region_name": "eu-central-1",
        "aws_client_parameters": SimpleNamespace(endpoint_url=None),
    }
    return SimpleNamespace(**{**parts, **changes})


def test_other_blocks_are_taken() -> None:
    of_credentials = TuneStorage.of(aws(), "s3://bucket/x")
    assert of_credentials.basepath == "s3://bucket/x"
    assert of_credentials.storage_options()["secret"] == SECRET
    bucket = SimpleNamespace(bucket_name="bucket", bucket_folder="x/", credentials=aws())
    assert TuneStorage.of(bucket).basepath == "s3://bucket/x"
    minio = SimpleNamespace(minio_root_user="KEYID", minio_root_password=SecretStr(SECRET))
    assert TuneStorage.of(minio, "s3://bucket").storage_options() == {
        "key": "KEYID",
        "secret": SECRET,
    }
    remote = RemoteFileSystem(basepath="s3://bucket/y", settings={"secret": SECRET})
    taken = TuneStorage.of(remote)
    assert taken.storage_options() == {"secret": SECRET}
    assert SECRET not in repr(taken)
    assert TuneStorage.of(taken) is taken


def test_what_is_no_storage_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="SimpleNamespace"):
        TuneStorage.of(SimpleNamespace())
    with pytest.raises(InvalidArgument, match="basepath"):
        TuneStorage.of(aws())


class TestSaved:
    """On a real server."""

    @pytest.fixture
    def saved(self, prefect_api: str, storage: TuneStorage) -> Iterator[TuneStorage]:
        storage.save("unit-tests", overwrite=True)
        yield storage
        TuneStorage.delete("unit-tests")

    def test_its_location_names_it_and_holds_no_secret(self, saved: TuneStorage) -> None:
        assert saved.slug == "tune-storage/unit-tests"
        expected = Location("s3://bucket/experiments", {}, "tune-storage/unit-tests")
        assert saved.get_location() == expected
        assert parse_location("block://tune-storage/unit-tests") == expected
        assert parse_location("block://tune-storage/unit-tests/sub/path") == expected / "sub/path"

    def test_a_pickle_of_it_holds_its_slug_only(self, saved: TuneStorage) -> None:
        loaded = TuneStorage.load("unit-tests")
        pickled = pickle.dumps(loaded)
        assert SECRET.encode() not in pickled
        assert b"tune-storage/unit-tests" in pickled
        assert pickle.loads(pickled).storage_options() == loaded.storage_options()
        assert copy.deepcopy(loaded).storage_options() == loaded.storage_options()

    def test_a_node_resolves_the_slug(self, saved: TuneStorage) -> None:
        code = (
            "from prefect_tune.filesystem.blocks import resolve_block\n"
            "print(resolve_block('tune-storage/unit-tests')['secret'])\n"
        )
        assert run_script([sys.executable, "-c", code]).stdout.strip() == SECRET

    def test_a_remote_file_system_block_will_do(self, prefect_api: str) -> None:
        RemoteFileSystem(basepath="s3://b/c", settings={"secret": SECRET}).save(
            "unit-tests", overwrite=True
        )
        location = parse_location("block://remote-file-system/unit-tests")
        assert location == Location("s3://b/c", {}, "remote-file-system/unit-tests")
        RemoteFileSystem.delete("unit-tests")
