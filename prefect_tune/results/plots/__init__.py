"""Pictures of an experiment."""
