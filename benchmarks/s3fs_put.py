"""Plain s3fs, in a process of its own: `python -m benchmarks.s3fs_put FILE URL`.

Prints a line when it is connected, waits for one on its standard input, puts the file, and prints
how many seconds that took.
"""

from __future__ import annotations

import sys
import time

import s3fs


def main() -> None:
    file, url = sys.argv[1:]
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    fs.pipe_file(f"{url}.begin", b"connected")
    print("connected", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    fs.put_file(file, url)
    print(time.perf_counter() - began, flush=True)
    for used in (url, f"{url}.begin"):
        fs.rm_file(used)


if __name__ == "__main__":
    main()
