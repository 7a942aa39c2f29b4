"""Save an `ExperimentDefaults` block: `python blocks/experiment_defaults.py [NAME]`.

What it holds is taken from the environment; each is optional::

    export STORAGE=block://tune-storage/experiments    # see tune_storage.py; or a path or a URL
    export CLUSTER=block://dask-cluster/gpus           # see dask_cluster.py; or an address
    export CPU=2 GPU=1                                 # of a trial
    export NOTIFY=slack-webhook/team                   # tells the end of each sweep
    python blocks/experiment_defaults.py team

From then on `defaults: block://experiment-defaults/team` fills what an experiment leaves empty, in
a YAML file, in a deployment's parameters and in the UI's form.
"""

import os
import sys

from prefect_tune.blocks import ExperimentDefaults


def main() -> None:
    """Register, save, and say how it is named."""
    name = sys.argv[1] if len(sys.argv) > 1 else "team"
    told = os.environ.get("NOTIFY")
    defaults = ExperimentDefaults.model_validate(
        {
            "storage": os.environ.get("STORAGE"),
            "cluster": os.environ.get("CLUSTER"),
            "resources": {"cpu": os.environ.get("CPU", "1"), "gpu": os.environ.get("GPU", "0")},
            "notifications": [{"block": told}] if told else [],
        }
    )
    ExperimentDefaults.register_type_and_schema()
    defaults.save(name, overwrite=True)
    print(f"Give defaults: block://experiment-defaults/{name}")


if __name__ == "__main__":
    main()
