"""Save a `DaskCluster` block: `python blocks/dask_cluster.py ADDRESS [NAME]`.

For a scheduler with TLS, name its files::

    export DASK_CA_FILE=ca.pem DASK_CERT_FILE=cert.pem DASK_KEY_FILE=key.pem
    python blocks/dask_cluster.py tls://10.0.0.1:8786 gpus

From then on `cluster="block://dask-cluster/gpus"` means that cluster, in Python, in a deployment's
parameters and in the UI's form, where clusters of dask-jobqueue, dask-kubernetes and others can be
filled in, too.
"""

import os
import sys

from prefect_tune.blocks import DaskAddress, DaskCluster

_FILES = ("ca_file", "cert_file", "key_file")


def main() -> None:
    """Register, try, save, and say how it is named."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    name = sys.argv[2] if len(sys.argv) > 2 else "experiments"
    files = {field: os.environ.get(f"DASK_{field.upper()}") or None for field in _FILES}
    cluster = DaskCluster(connection=DaskAddress(address=sys.argv[1], **files))
    with cluster.open_client() as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
    DaskCluster.register_type_and_schema()
    cluster.save(name, overwrite=True)
    print(f"{len(workers)} workers there now.")
    print(f'Give cluster="block://dask-cluster/{name}".')


if __name__ == "__main__":
    main()
