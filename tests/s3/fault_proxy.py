"""An HTTP proxy in front of an S3 service that makes things go wrong on request."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Collection, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .endpoint import Endpoint
from .faults import ACCESS_DENIED, WRITES, Fault, Rule, Seen
from .proxy_connection import ProxyConnection

T = TypeVar("T")


class FaultProxy:
    """Passes requests on, except where a rule says otherwise.

    It runs on a thread of its own and may be told what to do from any thread. Rules are tried
    in the order in which they were made; the first that hits a request decides what becomes of it.

    Attributes:
        upstream: The service.
        endpoint: The service as seen through the proxy.
        seen: Every request that has reached the proxy, in order.
    """

    def __init__(self, upstream: Endpoint, *, seed: int = 0) -> None:
        """Make a proxy; `start` opens its port.

        Args:
            upstream: The service; must have a `http://` URL.
            seed: For rules with a probability.
        """
        parts = urlsplit(upstream.url or "")
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"the fault proxy speaks plain HTTP only, not {upstream.url!r}")
        self.upstream = upstream
        self._address = (parts.hostname, parts.port or 80)
        self._random = random.Random(seed)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._socket = _bound(0)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.seen: list[Seen] = []
        self.endpoint = replace(upstream, url=f"http://127.0.0.1:{self._socket.getsockname()[1]}")

    def start(self) -> None:
        """Open the port."""
        self._thread.start()
        self.come_back()

    def stop(self) -> None:
        """Break all connections and end the thread."""
        self.go_away()
        self._socket.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def inject(
        self,
        fault: Fault,
        *,
        times: int | None = None,
        probability: float = 1.0,
        methods: Collection[str] = (),
        path: str = "",
    ) -> Rule:
        """Let something go wrong from now on.

        Args:
            fault: What.
            times: For how many requests; None until `clear`.
            probability: With which probability for each request that fits.
            methods: Only for these HTTP methods.
            path: Only where this regular expression is found in path and query.

        Returns:
            The rule; its `hits` counts.
        """
        rule = Rule(fault, times, probability, tuple(methods), path)
        with self._lock:
            self._rules.append(rule)
        return rule

    def refuse_writes(self) -> Rule:
        """Behave like a bucket that may only be read."""
        return self.inject(ACCESS_DENIED, methods=WRITES)

    def clear(self) -> None:
        """Forget all rules and be there."""
        with self._lock:
            self._rules.clear()
        if self._server is None:
            self.come_back()

    def go_away(self) -> None:
        """Break all connections and refuse new ones."""
        self._call(self._close())

    def come_back(self) -> None:
        """Take connections again, on the same port."""
        self._call(self._open())

    def choose(self, method: str, target: str, size: int) -> Fault | None:
        """What happens to a request that has just arrived."""
        with self._lock:
            fault = None
            for rule in self._rules:
                if rule.concerns(method, target) and self._random.random() < rule.probability:
                    rule.hits += 1
                    fault = rule.fault
                    break
            self.seen.append(Seen(method, target, size, fault))
            return fault

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=self._socket)

    async def _close(self) -> None:
        if self._server is not None:
            port = self._socket.getsockname()[1]
            self._server.close()
            self._server = None
            # Bound but not listening: connections are refused, and nobody else gets the port.
            self._socket = _bound(port)
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await ProxyConnection(self, self._address, reader, writer).serve()
        finally:
            self._connections.discard(task)


@contextlib.contextmanager
def running_proxy(upstream: Endpoint, *, seed: int = 0) -> Iterator[FaultProxy]:
    """A proxy that runs while the block does."""
    proxy = FaultProxy(upstream, seed=seed)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock
