"""`Checkpoint`: the saved state of a training, as users get and give it."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle

from prefect_tune.checkpoint.conversion import download, read_dict, upload, write_dict
from prefect_tune.checkpoint.files import clone_tree, remove_tree
from prefect_tune.checkpoint.metadata import (
    encode_metadata,
    read_metadata,
    write_metadata,
)
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.filesystem.location import Location, is_absolute
from prefect_tune.filesystem.store import open_store

Self = TypeVar("Self", bound="Checkpoint")
#: Key of the metadata in a checkpoint that is converted to bytes.
_METADATA_KEY = "_checkpoint_metadata"
_NO_OBJECT_STORE = "There is no object store here: use `to_dict`, `to_bytes` or `to_directory`."


class Checkpoint:
    """Saved state of a training: a directory (local or at a URL), or a dict in memory.

    Create one with `from_directory`, `from_dict`, `from_bytes` or `from_uri`; every form can be
    converted into every other one. A dict becomes the file ``dict_checkpoint.pkl`` of a directory;
    the files of a directory become the entry ``_checkpoint_files`` of a dict.

    Args:
        path: A directory: local, or a URL that fsspec knows (``s3://bucket/dir``).
        filesystem: The fsspec file system that `path` is on; by default derived from `path`.

    Raises:
        InvalidArgument: If `path` is not a path.
    """

    def __init__(self, path: str | os.PathLike[str], filesystem: Any = None) -> None:
        self._set_content(location=_locate(path, filesystem))

    def _set_content(
        self,
        data: dict[str, Any] | None = None,
        location: Location | None = None,
        uri: str | None = None,
    ) -> None:
        self._data = data
        self._data_metadata: dict[str, Any] = {}
        self._location = location
        self._uri = uri

    @classmethod
    def from_directory(cls: type[Self], path: str | os.PathLike[str]) -> Self:
        """Create a checkpoint from a local directory, which is not copied.

        Raises:
            InvalidArgument: If `path` is not a path.
        """
        return cls(path)

    @classmethod
    def from_dict(cls: type[Self], data: Mapping[str, Any]) -> Self:
        """Create a checkpoint from a dict, whose values are neither copied nor checked.

        Raises:
            InvalidArgument: If `data` is no dict.
        """
        if not isinstance(data, Mapping):
            raise InvalidArgument(
                "data", f"got {type(data).__name__} ({data!r:.80}).", "It is a dict."
            )
        checkpoint = cls.__new__(cls)
        checkpoint._set_content(dict(data))
        return checkpoint

    @classmethod
    def from_bytes(cls: type[Self], data: bytes) -> Self:
        """Create a checkpoint from the bytes of `to_bytes` or any pickled dict, if you trust them.

        Raises:
            InvalidArgument: If `data` is no pickled dict.
        """
        try:
            content = pickle.loads(data)
        except Exception as error:
            raise InvalidArgument(
                "data", f"cannot be unpickled ({type(error).__name__}: {error}).", "Use `to_bytes`."
            ) from error
        if not isinstance(content, dict):
            raise InvalidArgument("data", f"is a pickled {type(content).__name__}, not a dict.")
        metadata = content.pop(_METADATA_KEY, {})
        checkpoint = cls.from_dict(content)
        checkpoint._data_metadata = metadata
        return checkpoint

    @classmethod
    def from_uri(cls: type[Self], uri: str) -> Self:
        """Create a checkpoint for a URL that fsspec knows, without reading from it.

        Raises:
            InvalidArgument: If `uri` is not a str.
        """
        if not isinstance(uri, str):
            raise InvalidArgument("uri", f"got {uri!r:.80}.", "It is a URL such as s3://a/b.")
        return cls(uri)

    @classmethod
    def from_checkpoint(cls: type[Self], other: Checkpoint) -> Self:
        """Create an object of this class for another checkpoint.

        Raises:
            InvalidArgument: If `other` is no checkpoint.
        """
        if not isinstance(other, Checkpoint):
            raise InvalidArgument("other", f"got {other!r:.80}.", "It is a Checkpoint.")
        checkpoint = cls.__new__(cls)
        checkpoint.__dict__.update(other.__dict__)
        return checkpoint

    @classmethod
    def at_location(cls: type[Self], location: Location, kept: str | None = None) -> Self:
        """Create a checkpoint for a location.

        Args:
            location: Directory of the checkpoint.
            kept: Path or URL of the original checkpoint, if `location` is a copy.
        """
        checkpoint = cls.__new__(cls)
        checkpoint._set_content(location=location, uri=None if kept is None else _as_url(kept))
        return checkpoint

    @classmethod
    def from_object_ref(cls, obj_ref: object) -> Checkpoint:
        """Raise an error that says what to use in place of Ray's `obj_ref`.

        Raises:
            TuneError: Always.
        """
        raise TuneError(f"Checkpoint.from_object_ref: {_NO_OBJECT_STORE}")

    def to_object_ref(self) -> object:
        """Raise an error that says what to use instead of Ray's object store.

        Raises:
            TuneError: Always.
        """
        raise TuneError(f"Checkpoint.to_object_ref: {_NO_OBJECT_STORE}")

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Copy the checkpoint into a directory.

        Args:
            path: The directory, created if missing; None for a new temporary one, which the caller
                removes.

        Returns:
            The directory.

        Raises:
            InvalidArgument: If the checkpoint's own directory does not exist.
            StorageError: If it cannot be fetched or is damaged.
            OSError: If the directory cannot be written, e.g. because the disk is full.
        """
        given = tempfile.mkdtemp(prefix="checkpoint_") if path is None else os.path.expanduser(path)
        target = Path(os.path.abspath(given))
        target.mkdir(parents=True, exist_ok=True)
        try:
            self._write(target)
        except BaseException:
            if path is None:
                remove_tree(target)
            raise
        return str(target)

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """Provide the checkpoint as a directory: its own one, or a temporary copy if it has none.

        Raises:
            InvalidArgument: If the checkpoint's own directory does not exist.
            StorageError: If it cannot be fetched or is damaged.
        """
        own = self._local_path
        if own is not None:
            yield str(_existing(own))
            return
        copy = self.to_directory()
        try:
            yield copy
        finally:
            remove_tree(copy)

    def to_dict(self) -> dict[str, Any]:
        """Return the checkpoint as a dict.

        Raises:
            InvalidArgument: If its directory does not exist.
            StorageError: If it cannot be fetched or is damaged.
        """
        if self._data is not None:
            return dict(self._data)
        with self.as_directory() as directory:
            return read_dict(Path(directory))

    def to_bytes(self) -> bytes:
        """Return the checkpoint, with its metadata, as a pickled dict.

        Raises:
            InvalidArgument: If its directory does not exist.
            StorageError: If it cannot be fetched or is damaged.
        """
        data, metadata = self.to_dict(), self.get_metadata()
        if metadata:
            data[_METADATA_KEY] = metadata
        pickled: bytes = cloudpickle.dumps(data)
        return pickled

    def to_uri(self, uri: str) -> str:
        """Upload the checkpoint to a URL, with a manifest of its files.

        Args:
            uri: A URL that fsspec knows, or a local path.

        Returns:
            The URL.

        Raises:
            StorageError: If the storage fails.
            InvalidArgument: If the checkpoint's own directory does not exist.
        """
        staged = Path(self.to_directory())
        try:
            upload(staged, _locate(uri, None))
        finally:
            remove_tree(staged)
        return uri

    def get_metadata(self) -> dict[str, Any]:
        """Return the metadata of the checkpoint; {} if it has none.

        Raises:
            StorageError: If it cannot be read.
        """
        if self._location is None:
            return dict(self._data_metadata)
        return read_metadata(open_store(self._location))

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Attach the dict `metadata` to the checkpoint, replacing its current metadata.

        Raises:
            InvalidArgument: If it is no dict, or has no JSON form.
            StorageError: If it cannot be written.
        """
        if self._location is None:
            encode_metadata(metadata)
            self._data_metadata = dict(metadata)
        else:
            if self._location.is_local:
                _existing(self._location.path)
            write_metadata(open_store(self._location), metadata)

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add the entries of `metadata` to the checkpoint's metadata.

        Raises:
            InvalidArgument: If it is no dict, or has no JSON form.
            StorageError: If it cannot be written.
        """
        encode_metadata(metadata)
        self.set_metadata({**self.get_metadata(), **metadata})

    @property
    def path(self) -> str:
        """Directory of the checkpoint: a local path or a URL.

        Raises:
            TuneError: If the checkpoint is a dict.
        """
        if self._location is None:
            raise TuneError("The checkpoint is a dict in memory: `to_directory` gives it a path.")
        return self._location.path if self._location.is_local else self._location.url

    def __fspath__(self) -> str:
        own = self._local_path
        if own is None:
            raise TuneError(
                f"{self!r} is not a local directory: `as_directory` or `to_directory` makes it one."
            )
        return own

    @property
    def filesystem(self) -> Any:
        """The fsspec file system that `path` is on.

        Raises:
            TuneError: If the checkpoint is a dict.
        """
        if self._location is None:
            raise TuneError("The checkpoint is a dict in memory and on no file system.")
        if self._location.is_local:
            import fsspec

            return fsspec.filesystem("file")
        from prefect_tune.filesystem.connect import connect

        return connect(self._location)[0]

    @property
    def uri(self) -> str | None:
        """URL of the checkpoint; None for a dict."""
        if self._uri is not None or self._location is None:
            return self._uri
        return _as_url(self.path)

    def get_internal_representation(self) -> tuple[str, Any]:
        """Return ``("local_path", path)``, ``("uri", url)`` or ``("data_dict", dict)``."""
        if self._location is None:
            return "data_dict", self._data
        return ("local_path" if self._location.is_local else "uri"), self.path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Checkpoint):
            return NotImplemented
        if self._data is None or other._data is None:
            return (self._data is None) is (other._data is None) and self.path == other.path
        try:
            return bool(self._data == other._data)
        except Exception:  # comparing arrays gives no single truth value
            return bool(cloudpickle.dumps(self._data) == cloudpickle.dumps(other._data))

    def __hash__(self) -> int:
        return hash(self.path if self._location is not None else "data_dict")

    def __repr__(self) -> str:
        kind, _ = self.get_internal_representation()
        name = type(self).__name__
        if self._data is not None:
            return f"{name}(data_dict={sorted(map(str, self._data))})"
        return f"{name}({kind}={self.path})"

    def __str__(self) -> str:
        """Return the path, because a checkpoint was a path in Ray 1; for a dict, the `repr`."""
        return repr(self) if self._location is None else self.path

    def __add__(self, other: str) -> str:
        """Append to the path, as in ``analysis.best_checkpoint + "/model"``."""
        return self.path + other if isinstance(other, str) else NotImplemented

    @property
    def _local_path(self) -> str | None:
        """Local directory of the checkpoint, or None; scripts for Ray 2.0 use this name."""
        local = self._location is not None and self._location.is_local
        return self.path if local else None

    def _write(self, target: Path) -> None:
        """Write the content into an existing directory."""
        if self._location is None:
            write_dict(self._data or {}, target)
            if self._data_metadata:
                write_metadata(open_store(Location(str(target))), self._data_metadata)
        elif not self._location.is_local:
            download(self._location, target)
        elif (source := _existing(self._location.path)).resolve() != target.resolve():
            clone_tree(source, target)


def _locate(path: str | os.PathLike[str], filesystem: Any) -> Location:
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidArgument(
            "path", f"got {type(path).__name__} ({path!r:.80}).", "It is a directory or a URL."
        )
    text = os.fspath(path)
    if filesystem is None and "://" not in text:
        return Location(os.path.abspath(os.path.expanduser(text)))
    # Imported here because most trials never use URLs.
    from prefect_tune.filesystem.parse import parse_location

    return parse_location(text, "path", filesystem)


def _as_url(path: str) -> str:
    return path if "://" in path else f"file://{path}"


def _existing(path: str) -> Path:
    directory = Path(path)
    if not directory.is_dir():
        raise InvalidArgument("checkpoint", f"there is no directory {path}.")
    return directory


def open_checkpoint(saved: TrialCheckpoint, root: Location) -> Checkpoint:
    """Return a trial's checkpoint as a `Checkpoint` object.

    Args:
        saved: The trial's record of the checkpoint.
        root: The experiment directory, local or in storage.
    """
    is_outside = is_absolute(saved.path)
    place = Location(saved.path, root.options, root.block) if is_outside else root / saved.path
    return Checkpoint.at_location(place)
