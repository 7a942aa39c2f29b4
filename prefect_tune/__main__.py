"""``python -m prefect_tune`` is ``prefect-tune``."""

import sys

from prefect_tune.cli.main import main

sys.exit(main())
