"""`SyncConfig` and `Syncer`, where Ray Tune has them."""

from prefect_tune.storage.sync.sync_config import SyncConfig
from prefect_tune.storage.sync.syncer import Syncer

__all__ = ["SyncConfig", "Syncer"]
