"""The driver's side of execution, in the flow process: attempts, nodes and their files."""
