"""What runs in the processes of trials, and in the one they fork from."""
