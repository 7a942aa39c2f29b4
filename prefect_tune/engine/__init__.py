"""The loop that carries the coordinator: events in order, journal first, then effects."""
