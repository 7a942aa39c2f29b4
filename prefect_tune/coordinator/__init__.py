"""The coordinator: the experiment as a state machine of events and commands, without I/O."""
