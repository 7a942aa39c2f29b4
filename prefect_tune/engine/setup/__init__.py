"""From what a user asks for to the setup of an experiment."""
