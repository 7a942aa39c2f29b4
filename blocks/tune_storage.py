"""Register the block type `TuneStorage` and save one: `python blocks/tune_storage.py [NAME]`.

What it holds is taken from the environment, so that no secret is written into a file::

    export PREFECT_API_URL=http://prefect:4200/api
    export STORAGE_URL=s3://bucket/experiments
    export STORAGE_KEY=... STORAGE_SECRET=... [STORAGE_TOKEN=...]
    export STORAGE_ENDPOINT_URL=https://minio:9000 STORAGE_REGION=eu-central-1   # as needed
    export STORAGE_OPTIONS='{"config_kwargs": {"read_timeout": 60}}'               # as needed
    python blocks/tune_storage.py experiments

From then on `storage_path="block://tune-storage/experiments"` means that place, in Python, in a
deployment's parameters and in the UI's form.
"""

import json
import os
import sys

from prefect_tune.blocks import TuneStorage

_FIELDS = ("key", "secret", "token", "endpoint_url", "region")


def main() -> None:
    """Register, save, try, and say how it is named."""
    name = sys.argv[1] if len(sys.argv) > 1 else "experiments"
    url = os.environ.get("STORAGE_URL")
    if not url:
        sys.exit(__doc__)
    given = {field: os.environ.get(f"STORAGE_{field.upper()}") or None for field in _FIELDS}
    options = json.loads(os.environ.get("STORAGE_OPTIONS", "null"))
    storage = TuneStorage(basepath=url, options=options, **given)
    TuneStorage.register_type_and_schema()
    storage.save(name, overwrite=True)
    probe = ".prefect_tune_probe"
    storage.write_path(probe, b"written by blocks/tune_storage.py")
    storage.read_path(probe)
    print(f"{probe} has been written to {url} and read again.")
    print(f'Give storage_path="block://{storage.slug}".')


if __name__ == "__main__":
    main()
