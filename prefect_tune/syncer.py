"""`SyncConfig` and `Syncer`, where Ray Tune has them."""

from prefect_tune.storage.sync_config import SyncConfig
from prefect_tune.storage.syncer import Syncer

__all__ = ["SyncConfig", "Syncer"]
