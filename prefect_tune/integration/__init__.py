"""Names of Ray Tune's integrations."""
