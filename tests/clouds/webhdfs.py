"""A small WebHDFS server: what Hadoop's documentation says of the operations that fsspec uses.

A stand-in, not Hadoop: it keeps files in a local directory, and answers for name and data node.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

_PREFIX = "/webhdfs/v1"


@dataclass
class WebHdfs:
    """A running server.

    Attributes:
        root: Where its files are.
        url: `webhdfs://127.0.0.1:PORT`.
        users: Who has asked.
        refused: Operations that the data node answers with an error, and how often still.
        denied: Operations that the name node answers with an exception: its name and text.
        lost_renames: How many renames are not done, and only answered with false.
    """

    root: Path
    url: str = ""
    users: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    denied: dict[str, tuple[str, str]] = field(default_factory=dict)
    lost_renames: int = 0


@contextlib.contextmanager
def webhdfs_server(root: Path) -> Iterator[WebHdfs]:
    """A server while the block runs.

    Args:
        root: Takes its files.
    """
    state = WebHdfs(root)

    class Handler(_Handler):
        hdfs = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"webhdfs://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="webhdfs")
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hdfs: WebHdfs
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hdfs.users.add(self.query.get("user.name", ""))
        self.target = self._local(unquote(parts.path).removeprefix(_PREFIX))
        operation = self.query["op"]
        if operation in self.hdfs.denied:
            self._fail(403, *self.hdfs.denied[operation])
            return
        if operation in ("OPEN", "CREATE", "APPEND"):
            if "datanode" not in self.query:
                self._send(
                    307, b"", Location=f"http://{self.headers['Host']}{self.path}&datanode=1"
                )
                return
            if self.hdfs.refused.get(operation, 0) > 0:
                self.hdfs.refused[operation] -= 1
                self._fail(500, "IOException", "the data node is not well")
                return
        try:
            getattr(self, f"_{operation.lower()}")()
        except FileNotFoundError:
            self._fail(404, "FileNotFoundException", f"File does not exist: {self.target}")

    def _local(self, path: str) -> Path:
        return self.hdfs.root / path.lstrip("/")

    def _open(self) -> None:
        data = self.target.read_bytes()
        begin = int(self.query.get("offset", 0))
        self._send(200, data[begin : begin + int(self.query.get("length", len(data)))])

    def _create(self) -> None:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.target.write_bytes(self.body)
        self._send(201, b"")

    def _append(self) -> None:
        with self.target.open("ab") as file:
            file.write(self.body)
        self._send(200, b"")

    def _mkdirs(self) -> None:
        self.target.mkdir(parents=True, exist_ok=True)
        self._say(boolean=True)

    def _rename(self) -> None:
        new = self._local(self.query["destination"])
        if self.hdfs.lost_renames:
            self.hdfs.lost_renames -= 1
            self._say(boolean=False)
        elif new.exists() or not new.parent.exists() or not self.target.exists():
            self._say(boolean=False)
        else:
            self.target.rename(new)
            self._say(boolean=True)

    def _delete(self) -> None:
        there = self.target.exists()
        if self.target.is_dir():
            shutil.rmtree(self.target)
        elif there:
            self.target.unlink()
        self._say(boolean=there)

    def _getfilestatus(self) -> None:
        self._say(FileStatus=_status(self.target, ""))

    def _liststatus(self) -> None:
        if self.target.is_dir():
            found = [_status(path, path.name) for path in sorted(self.target.iterdir())]
        else:
            found = [_status(self.target, "")]
        self._say(FileStatuses={"FileStatus": found})

    def _say(self, **values: object) -> None:
        self._send(200, json.dumps(values).encode())

    def _fail(self, status: int, exception: str, message: str) -> None:
        remote = {"RemoteException": {"exception": exception, "message": message}}
        self._send(status, json.dumps(remote).encode())

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _status(path: Path, suffix: str) -> dict[str, object]:
    length = 0 if path.is_dir() else path.stat().st_size
    path.stat()
    return {
        "pathSuffix": suffix,
        "type": "DIRECTORY" if path.is_dir() else "FILE",
        "length": length,
    }
