"""`TuneStorage`: a block with the place where experiments are stored, and its credentials.

Messages to nodes and files name a saved block by its slug, and the processes that open the storage
load the block. So its secrets are only on the Prefect server and in the memory of these processes.
"""

# Annotations must stay objects, because Prefect makes the form from them.
from typing import Any

import fsspec
from prefect.blocks.core import Block
from prefect.blocks.fields import SecretDict
from prefect.filesystems import WritableFileSystem
from prefect.utilities.asyncutils import run_sync_in_worker_thread
from pydantic import Field, SecretStr, field_validator

from prefect_tune.error import InvalidArgument
from prefect_tune.filesystem.blocks import storage_options
from prefect_tune.filesystem.connect import connect, protocol_of
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.store import open_store
from prefect_tune.orchestration.prefect_internals import async_dispatch
from prefect_tune.orchestration.spec.form import PlainOptionalFields


class TuneStorage(PlainOptionalFields, WritableFileSystem):
    """Location where experiments are stored, with its credentials.

    Any file system that fsspec knows will do. It can be Prefect's result storage too.

    Example:
        Load a saved block and use it:
        ```python
        from prefect_tune.blocks import TuneStorage

        storage = TuneStorage.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Tune Storage"
    _block_type_slug = "tune-storage"
    _logo_url = "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/assets/block-logos/filesystem.png"  # type: ignore[assignment]
    _documentation_url = (
        "https://filesystem-spec.readthedocs.io/en/latest/api.html#other-known-implementations"  # type: ignore[assignment]
    )

    basepath: str = Field(
        default=...,
        title="Base path",
        description="URL below which experiments are stored, or an absolute local path.",
        examples=["s3://bucket/experiments"],
    )
    key: SecretStr | None = Field(
        default=None, description="S3 access key id; account name on Azure; user name elsewhere."
    )
    secret: SecretStr | None = Field(
        default=None, description="S3 secret access key; account key on Azure; password elsewhere."
    )
    token: SecretStr | None = Field(
        default=None,
        description="S3 session token; SAS token on Azure; on GCS a token, or a key file's path or "
        "text.",
    )
    endpoint_url: str | None = Field(
        default=None,
        title="Endpoint URL",
        description="Address of the service, if it is not the vendor's own.",
        examples=["https://minio.example.com:9000"],
    )
    region: str | None = Field(
        default=None, description="Region of the bucket, where there are regions."
    )
    options: SecretDict | None = Field(
        default=None, description="Further arguments of the fsspec file system, as JSON; they win."
    )

    @field_validator("basepath")
    @classmethod
    def _check_basepath(cls, value: str) -> str:
        value = value.rstrip("/")
        if "://" not in value and not value.startswith("/"):
            raise ValueError("give a URL such as s3://bucket/path, or an absolute path")
        if "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError(
                "a URL must not hold a user or password: they have fields of their own"
            )
        return value

    @classmethod
    def of(cls, block: Any, basepath: str | None = None) -> "TuneStorage":
        """Make a `TuneStorage` from another block, without the package that defines that.

        Args:
            block: A `TuneStorage`, a `RemoteFileSystem`, an `S3Bucket`, or `AwsCredentials` or
                `MinIOCredentials` together with `basepath`.
            basepath: URL below which experiments are stored; None for that of the block.

        Returns:
            The same block if it is a `TuneStorage`, else one that is not saved.

        Raises:
            InvalidArgument: If it is another kind of block, or a URL is missing.
        """
        if isinstance(block, cls) and basepath is None:
            return block
        if hasattr(block, "aws_access_key_id") or hasattr(block, "minio_root_user"):
            if basepath is None:
                raise InvalidArgument(
                    "basepath",
                    f"it is missing, and a {type(block).__name__} does not say where to store.",
                    "Give a URL such as s3://bucket/path.",
                )
            return cls(basepath=basepath, **_credentials(block))
        if hasattr(block, "bucket_name") and hasattr(block, "credentials"):
            url = f"s3://{block.bucket_name}/{getattr(block, 'bucket_folder', '')}"
            return cls(basepath=basepath or url, **_credentials(block.credentials))
        if hasattr(block, "basepath"):
            settings = getattr(block, "settings", None)
            options = SecretDict(dict(settings)) if settings else None
            return cls(basepath=basepath or block.basepath, options=options)
        raise InvalidArgument(
            "storage_path",
            f"a {type(block).__name__} is not a storage block.",
            "Give a TuneStorage, RemoteFileSystem or S3Bucket.",
        )

    @property
    def slug(self) -> str | None:
        """``tune-storage/NAME`` if the block has been saved, else None."""
        name = self._block_document_name
        return None if name is None else f"{self.get_block_type_slug()}/{name}"

    def get_location(self) -> Location:
        """Return the `Location` of this storage.

        Returns:
            A location that names the block if that is saved, else one with the options, which
            include the secrets.
        """
        return self._opened if self.slug is None else Location(self.basepath, {}, self.slug)

    @property
    def _opened(self) -> Location:
        return Location(self.basepath, self.storage_options())

    def storage_options(self) -> dict[str, Any]:
        """Return the arguments of the fsspec file system, with secrets in clear."""
        return storage_options(
            protocol_of(Location(self.basepath)) if "://" in self.basepath else "file",
            key=_clear(self.key),
            secret=_clear(self.secret),
            token=_clear(self.token),
            endpoint_url=self.endpoint_url,
            region=self.region,
            further=self.options.get_secret_value() if self.options is not None else {},
        )

    def get_filesystem(self) -> fsspec.AbstractFileSystem:
        """Return the file system, which is made once per process.

        Raises:
            StorageError: If it cannot be made with these options.
        """
        location = self._opened
        if location.is_local:
            return fsspec.filesystem("file")
        return connect(location)[0]

    async def aread_path(self, path: str) -> bytes:
        """Read a file.

        Args:
            path: Relative to the base path.

        Raises:
            FileNotFoundError: If there is no such file.
            StorageError: If it cannot be read.
        """
        return await run_sync_in_worker_thread(self._read, path)

    @async_dispatch(aread_path)
    def read_path(self, path: str) -> bytes:
        """Read a file; see `aread_path`."""
        return self._read(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """Write a file; no directory or bucket is created on an object store.

        Args:
            path: Relative to the base path.
            content: The new content.

        Raises:
            StorageError: If it cannot be written.
        """
        await run_sync_in_worker_thread(self._write, path, content)

    @async_dispatch(awrite_path)
    def write_path(self, path: str, content: bytes) -> None:
        """Write a file; see `awrite_path`."""
        self._write(path, content)

    def _read(self, path: str) -> bytes:
        content = open_store(self._opened).read(path)
        if content is None:
            raise FileNotFoundError(f"{self.basepath}/{path}")
        return content

    def _write(self, path: str, content: bytes) -> None:
        open_store(self._opened).write(path, content)

    def __reduce__(self) -> Any:
        # A saved block is loaded when it is unpickled, so that no secret gets into a pickle.
        return super().__reduce__() if self.slug is None else (load_storage, (self.slug,))


def load_storage(slug: str) -> TuneStorage:
    """Load a saved block.

    Args:
        slug: ``tune-storage/NAME``, or that of another kind of block that `TuneStorage.of` takes.

    Raises:
        ValueError: If there is no such block on the server in effect.
    """
    block: Any = Block.load(slug, _sync=True)  # type: ignore[call-arg]
    return TuneStorage.of(block)


def _credentials(block: Any) -> dict[str, Any]:
    parameters = getattr(block, "aws_client_parameters", None)
    return {
        "key": _clear(getattr(block, "aws_access_key_id", getattr(block, "minio_root_user", None))),
        "secret": _clear(
            getattr(block, "aws_secret_access_key", getattr(block, "minio_root_password", None))
        ),
        "token": _clear(getattr(block, "aws_session_token", None)),
        "region": getattr(block, "region_name", None),
        "endpoint_url": getattr(parameters, "endpoint_url", None),
    }


def _clear(value: Any) -> Any:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value
