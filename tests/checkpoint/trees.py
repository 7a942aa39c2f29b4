"""Directories with arbitrary files."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st

#: For properties that write files.
on_disk = settings(max_examples=40, deadline=None)

_NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda name: not name.startswith("."))
_DIRECTORIES = st.sampled_from(["", "deep/", "deep/er/"])

#: Files by relative path; no name is both a file and a directory.
FILES = st.dictionaries(
    st.tuples(_DIRECTORIES, _NAMES).map("".join).filter(lambda n: n not in ("deep", "deep/er")),
    st.binary(max_size=20),
    max_size=5,
)
#: What every file system that fsspec knows can hold: names without the signs of patterns.
PLAIN_FILES = FILES.filter(lambda files: not set("?*[]").intersection("".join(files)))


def write_tree(directory: Path, files: dict[str, bytes]) -> Path:
    """Make a directory with these files."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def read_tree(directory: str | Path) -> dict[str, bytes]:
    """The files of a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in Path(directory).rglob("*")
        if path.is_file()
    }
