"""The quickstart: a real sweep over a small neural network that reads handwritten digits.

`model` is what a user would write (data, network, trainable), `sweep` hands it to
`prefect_tune.run`, `summary` says what came out, `main` does one after the other.
"""
