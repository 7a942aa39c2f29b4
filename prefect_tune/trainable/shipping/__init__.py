"""How a trainable gets to the processes that run it."""
