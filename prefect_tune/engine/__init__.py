"""The engine: feeds events to the coordinator, journals them, and carries commands out."""
