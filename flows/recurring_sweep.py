"""Serve sweeps that recur: `python flows/recurring_sweep.py`, a sweep every night at two.

Each night has an experiment of its own, which begins with the best configurations of the last three
nights. The best model replaces the champion only if it is better by a margin; the champion is in
the Prefect variable `prefect_tune_nightly`, the history in the artifact
`prefect-tune-nightly-history`. The schedule and every parameter can be changed in the UI.

Trainables are imported, so start it where they can be: in their directory or environment.
"""

from prefect_tune.flows import recurring_sweep

if __name__ == "__main__":
    recurring_sweep.serve(
        name="nightly",
        cron="0 2 * * *",
        parameters={
            "trainable": "prefect_tune.cli.quickstart.model:train_digits",
            "metric": "accuracy",
            "mode": "max",
            "name": "nightly-{date}",
            "space": [
                {"name": "learning_rate", "domain": {"low": 0.001, "high": 0.1, "scale": "log"}},
                {"name": "hidden_units", "domain": {"lowest": 8, "highest": 64}},
                {"name": "layers", "domain": {"lowest": 1, "highest": 3}},
                {"name": "activation", "domain": {"texts": ["relu", "tanh"]}},
                {"name": "weight_decay", "domain": {"low": 1e-6, "high": 1e-2, "scale": "log"}},
                {"name": "batch_size", "domain": {"numbers": [32, 128]}},
                {"name": "epochs", "domain": {"value": 10}},
                {"name": "seed", "domain": {"value": 0}},
            ],
            "scheduler": {"kind": "asha", "max_t": 10},
            # Prefect's form finds the tab by the names of the options, of which `kind` is in all.
            "search": {"kind": "optuna", "seed": 1},
            "budget": {"trials": 8, "hours": 1},
            "if_exists": "new",
            "promotion": {"margin": 0.002, "alert_drop": 0.05},
        },
    )
