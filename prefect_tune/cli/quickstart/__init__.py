"""The quickstart: a sweep over a small neural network that classifies handwritten digits.

`model` is the part that a user would write (data, network, trainable), `sweep` calls
`prefect_tune.run`, `summary` prints the outcome, and `main` runs these steps.
"""
