"""The S3 services and the fault proxy do what the tests built on them take for granted."""

from __future__ import annotations

import threading
import time

import botocore.config
import botocore.exceptions
import botocore.session
import pytest
import s3fs

from .endpoint import OWN_URL, Bucket, Endpoint, fresh_bucket, own_bucket
from .fault_proxy import FaultProxy
from .faults import (
    INTERNAL_ERROR,
    SLOW_DOWN,
    WRONG_KEY,
    CutDownload,
    CutUpload,
    Delay,
    Drop,
    LoseAnswer,
)

MB = 1024 * 1024


def once(bucket: Bucket):
    """A client that tries everything once."""
    endpoint = bucket.endpoint
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        region_name=endpoint.region,
        config=botocore.config.Config(
            retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=5
        ),
    )


def filesystem(bucket: Bucket) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(**bucket.options, skip_instance_cache=True, use_listings_cache=False)


def check_objects(bucket: Bucket) -> None:
    fs = filesystem(bucket)
    small, large = f"{bucket.url}/a/small", f"{bucket.url}/a/large"
    fs.pipe(small, b"x" * 10)
    content = bytes(range(256)) * (12 * MB // 256)
    fs.pipe(large, content, chunksize=5 * MB)
    assert fs.cat(large) == content
    assert fs.cat(small) == b"x" * 10
    assert fs.cat_file(large, start=MB, end=MB + 3) == content[MB : MB + 3]
    assert bucket.keys() == ["a/large", "a/small"]
    bucket.remove("a/small")
    assert bucket.keys() == ["a/large"]


def test_objects_in_s3(s3_bucket):
    check_objects(s3_bucket)


def test_objects_through_the_proxy(fault_bucket):
    check_objects(fault_bucket)


def test_objects_in_swift(swift_bucket):
    check_objects(swift_bucket)


def test_swift_refuses_a_wrong_secret_and_a_bulk_delete_without_md5(swift_bucket):
    swift_bucket.write("x", b"1")
    wrong = swift_bucket.at(Endpoint(swift_bucket.endpoint.url, "test:tester", "no", "us-east-1"))
    with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
        wrong.keys()
    with pytest.raises(OSError, match="Content-MD5"):
        filesystem(swift_bucket).rm(swift_bucket.url + "/x", recursive=True)


def test_swift_spoils_the_connection_on_which_it_is_asked_for_what_is_not_there(swift_bucket):
    # It ends its answer to HEAD with a chunk of a body that must not be there. aiohttp takes that
    # for the next answer, where other clients drop the connection: a store must try once more.
    fs = filesystem(swift_bucket)
    with pytest.raises(botocore.exceptions.HTTPClientError, match="Bad status line"):
        fs.exists(f"{swift_bucket.url}/nothing")


def test_buckets_are_fresh_and_gone_afterwards(moto_server):
    with fresh_bucket(moto_server) as first, fresh_bucket(moto_server) as second:
        first.write("x", b"1")
        assert second.keys() == []
    names = [b["Name"] for b in moto_server.client().list_buckets()["Buckets"]]
    assert not {first.name, second.name} & set(names)


def test_a_bucket_of_ones_own_is_used_below_a_prefix_and_cleaned(moto_server, monkeypatch):
    with fresh_bucket(moto_server) as whole:
        for name, value in moto_server.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(OWN_URL, f"{whole.url}/some/where/")
        own = own_bucket()
        assert own is not None
        with fresh_bucket(own.endpoint) as place:
            filesystem(place).pipe(f"{place.url}/x/y", b"1")
            assert place.keys() == ["x/y"]
            assert place.read("x/y") == b"1"
            (key,) = whole.keys()
            assert key.startswith("some/where/")
        assert whole.keys() == []


@pytest.mark.parametrize("url", ["bucket", "s3://", "http://host/bucket"])
def test_a_wrong_url_of_ones_own_is_named(url, monkeypatch):
    monkeypatch.setenv(OWN_URL, url)
    with pytest.raises(ValueError, match=OWN_URL):
        own_bucket()


@pytest.mark.parametrize(
    ("fault", "code"),
    [(SLOW_DOWN, "SlowDown"), (INTERNAL_ERROR, "InternalError"), (WRONG_KEY, "InvalidAccessKeyId")],
)
def test_answers_in_the_services_place(fault, code, fault_bucket, fault_proxy: FaultProxy):
    rule = fault_proxy.inject(fault, times=1)
    with pytest.raises(botocore.exceptions.ClientError, match=code):
        once(fault_bucket).put_object(Bucket=fault_bucket.name, Key="x", Body=b"1" * MB)
    assert rule.hits == 1
    assert fault_bucket.keys() == []


def test_a_dropped_connection_and_a_cut_upload_leave_nothing(
    fault_bucket, fault_proxy: FaultProxy, moto_server
):
    for fault in (Drop(), CutUpload(0.5)):
        fault_proxy.inject(fault, times=1)
        with pytest.raises(botocore.exceptions.HTTPClientError):
            once(fault_bucket).put_object(Bucket=fault_bucket.name, Key="x", Body=b"1" * 10 * MB)
    assert fault_bucket.at(moto_server).keys() == []


def test_a_lost_answer_is_to_a_request_that_was_carried_out(fault_bucket, fault_proxy: FaultProxy):
    fault_proxy.inject(LoseAnswer(), times=1)
    with pytest.raises(botocore.exceptions.HTTPClientError):
        once(fault_bucket).put_object(Bucket=fault_bucket.name, Key="x", Body=b"1")
    assert fault_bucket.read("x") == b"1"


def test_a_cut_download_is_an_error_for_the_reader(fault_bucket, fault_proxy: FaultProxy):
    fault_bucket.write("x", b"1" * 3 * MB)
    fault_proxy.inject(CutDownload(0.5), times=1, methods=["GET"])
    answer = once(fault_bucket).get_object(Bucket=fault_bucket.name, Key="x")
    with pytest.raises(botocore.exceptions.ResponseStreamingError):
        answer["Body"].read()


def test_a_delayed_request_arrives_when_its_time_has_come(fault_bucket, fault_proxy: FaultProxy):
    fault_proxy.inject(Delay(0.2), times=1)
    begin = time.monotonic()
    once(fault_bucket).put_object(Bucket=fault_bucket.name, Key="x", Body=b"1")
    assert time.monotonic() - begin >= 0.2


def test_while_the_service_is_away_connections_are_refused(fault_bucket, fault_proxy: FaultProxy):
    fault_proxy.go_away()
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        once(fault_bucket).put_object(Bucket=fault_bucket.name, Key="x", Body=b"1")
    fault_proxy.come_back()
    fault_bucket.write("x", b"1")
    assert fault_bucket.keys() == ["x"]


def test_going_away_breaks_requests_under_way(fault_bucket, fault_proxy: FaultProxy):
    fault_proxy.inject(Delay(60), times=1)
    errors: list[Exception] = []

    def put() -> None:
        try:
            once(fault_bucket).put_object(Bucket=fault_bucket.name, Key="x", Body=b"1")
        except botocore.exceptions.HTTPClientError as error:
            errors.append(error)

    thread = threading.Thread(target=put)
    seen = len(fault_proxy.seen)
    thread.start()
    while len(fault_proxy.seen) == seen:
        time.sleep(0.01)
    fault_proxy.go_away()
    thread.join(30)
    assert len(errors) == 1
    fault_proxy.clear()
    assert fault_bucket.keys() == []


def test_rules_choose_by_method_and_path(fault_bucket, fault_proxy: FaultProxy):
    rule = fault_proxy.inject(SLOW_DOWN, methods=["PUT"], path=r"checkpoint_\d+/")
    client = once(fault_bucket)
    client.put_object(Bucket=fault_bucket.name, Key="journal", Body=b"1")
    with pytest.raises(botocore.exceptions.ClientError, match="SlowDown"):
        client.put_object(Bucket=fault_bucket.name, Key="checkpoint_000001/data", Body=b"1")
    client.delete_object(Bucket=fault_bucket.name, Key="checkpoint_000001/data")
    assert rule.hits == 1
    fault_proxy.refuse_writes()
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket=fault_bucket.name, Key="journal")
    assert fault_bucket.read("journal") == b"1"
    fault_proxy.clear()
    fault_bucket.write("checkpoint_000001/data", b"1")


def test_probabilities_are_seeded(moto_server):
    def draw(seed: int) -> list[bool]:
        proxy = FaultProxy(moto_server, seed=seed)
        proxy.start()
        try:
            proxy.inject(SLOW_DOWN, probability=0.5)
            return [proxy.choose("GET", "/", 0) is not None for _ in range(50)]
        finally:
            proxy.stop()

    assert draw(1) == draw(1) != draw(2)
    assert 10 < sum(draw(1)) < 40
