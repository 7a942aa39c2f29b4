"""What is kept as a pickle: who may have written it, and how plain data is read from anybody."""
