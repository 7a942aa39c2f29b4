"""What runs inside a trial process: the session, and function and class trainables."""
