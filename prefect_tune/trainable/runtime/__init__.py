"""The attempt's side: what a session does for the code of a user."""
