"""What runs in the flow process: attempts, nodes and their files."""
