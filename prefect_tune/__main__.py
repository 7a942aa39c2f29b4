"""Runs the command line: ``python -m prefect_tune`` does the same as ``prefect-tune``."""

import sys

from prefect_tune.cli.main import main

sys.exit(main())
