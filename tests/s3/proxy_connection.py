"""One client's connection to the fault proxy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from .faults import Answer, CutDownload, CutUpload, Delay, Drop, Fault, LoseAnswer

_PIECE = 256 * 1024
_END = b"\r\n\r\n"


class Chooser(Protocol):
    """Decides what happens to a request."""

    def choose(self, method: str, target: str, size: int) -> Fault | None:
        """The fault, or None to pass the request on."""


class Broken(Exception):
    """The connection is to be closed now, without another byte."""


@dataclass
class Head:
    """First line and headers of a request or an answer."""

    first: str
    headers: list[tuple[str, str]]

    @classmethod
    def parse(cls, data: bytes) -> Head:
        first, *lines = data[: -len(_END)].decode("latin-1").split("\r\n")
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        return cls(first, headers)  # type: ignore[arg-type]

    def get(self, name: str) -> str:
        """The value of a header, empty if it is not there."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def without(self, *names: str) -> Head:
        return Head(self.first, [(k, v) for k, v in self.headers if k.lower() not in names])

    def encode(self) -> bytes:
        lines = [self.first, *(f"{key}: {value}" for key, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + _END

    @property
    def size(self) -> int:
        """Announced length of the body; -1 if none was announced."""
        return int(self.get("content-length") or -1)

    @property
    def chunked(self) -> bool:
        return "chunked" in self.get("transfer-encoding").lower()


class ProxyConnection:
    """Serves a client's requests one after the other, each on a new connection to the service."""

    def __init__(
        self,
        chooser: Chooser,
        upstream: tuple[str, int],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._chooser = chooser
        self._upstream = upstream
        self._reader = reader
        self._writer = writer

    async def serve(self) -> None:
        """Until the client closes the connection, or a fault does."""
        try:
            while await self._one_request():
                pass
        except (Broken, OSError, asyncio.IncompleteReadError):
            # A reset, not an orderly end: this is what a client sees of a dying server.
            self._writer.transport.abort()
        finally:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def _one_request(self) -> bool:
        try:
            request = Head.parse(await self._reader.readuntil(_END))
        except asyncio.IncompleteReadError:
            return False
        method, target, _ = request.first.split(" ", 2)
        fault = self._chooser.choose(method, target, request.size)
        match fault:
            case Drop():
                raise Broken
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Answer():
                await self._refuse(method, request, fault)
                return True
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            await self._pass_request(request, writer, fault)
            return await self._pass_answer(method, reader, fault)
        finally:
            writer.close()

    async def _body(self, head: Head, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        if head.chunked:
            async for piece in _chunks(reader):
                yield piece
        else:
            left = max(head.size, 0)
            while left:
                piece = await reader.read(min(left, _PIECE))
                if not piece:
                    raise Broken
                left -= len(piece)
                yield piece

    async def _request_body(self, request: Head) -> AsyncIterator[bytes]:
        if request.get("expect").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for piece in self._body(request, self._reader):
            yield piece

    async def _refuse(self, method: str, request: Head, answer: Answer) -> None:
        async for _ in self._request_body(request):
            pass
        body = answer.body
        head = (
            f"HTTP/1.1 {answer.status} Injected\r\nContent-Type: application/xml\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + (b"" if method == "HEAD" else body))
        await self._writer.drain()

    async def _pass_request(
        self, request: Head, writer: asyncio.StreamWriter, fault: Fault | None
    ) -> None:
        head = request.without("expect", "connection")
        head.headers.append(("Connection", "close"))
        writer.write(head.encode())
        allowed = None
        if isinstance(fault, CutUpload):
            allowed = int(max(request.size, 0) * fault.fraction)
        async for piece in self._request_body(request):
            if allowed is not None and len(piece) >= allowed:
                writer.write(piece[:allowed])
                await writer.drain()
                raise Broken
            if allowed is not None:
                allowed -= len(piece)
            writer.write(piece)
            await writer.drain()
        if allowed is not None:
            raise Broken

    async def _pass_answer(
        self, method: str, reader: asyncio.StreamReader, fault: Fault | None
    ) -> bool:
        answer = Head.parse(await reader.readuntil(_END))
        if isinstance(fault, LoseAnswer):
            raise Broken
        status = answer.first.split(" ", 2)[1]
        bodiless = method == "HEAD" or status in ("204", "304")
        head = answer.without("connection")
        unbounded = not bodiless and answer.size < 0 and not answer.chunked
        if unbounded:
            head.headers.append(("Connection", "close"))
        self._writer.write(head.encode())
        if not bodiless:
            allowed = None
            if isinstance(fault, CutDownload):
                allowed = int(max(answer.size, 0) * fault.fraction)
            pieces = _rest(reader) if unbounded else self._body(answer, reader)
            await self._pass_body(pieces, allowed)
        await self._writer.drain()
        return not unbounded

    async def _pass_body(self, pieces: AsyncIterator[bytes], allowed: int | None) -> None:
        async for piece in pieces:
            if allowed is not None and len(piece) >= allowed:
                self._writer.write(piece[:allowed])
                await self._writer.drain()
                raise Broken
            if allowed is not None:
                allowed -= len(piece)
            self._writer.write(piece)
            await self._writer.drain()
        if allowed is not None:
            raise Broken


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """A chunked body as it is on the wire, trailers and all."""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            while line != b"\r\n":
                yield line
                line = await reader.readuntil(b"\r\n")
            yield line
            return
        yield line + await reader.readexactly(size + 2)


async def _rest(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(_PIECE):
        yield piece
