"""The Prefect record of an experiment. The only package that imports Prefect."""
