"""`SyncConfig` and `Syncer`: how users control the copy of an experiment in storage."""
