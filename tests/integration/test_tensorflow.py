"""The TensorFlow example of the guide runs as it is printed, where TensorFlow is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "distributed-training.md"
BLOCK = re.compile(r'^```python title="train_tf.py"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_example_of_the_guide_trains_with_two_workers(tmp_path):
    pytest.importorskip("tensorflow")
    (code,) = BLOCK.findall(GUIDE.read_text())
    script = tmp_path / "train_tf.py"
    script.write_text(code)
    environment = {
        **os.environ,
        "PREFECT_TUNE_ORCHESTRATE": "0",
        "TUNE_RESULT_DIR": str(tmp_path / "results"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "2 TERMINATED" in done.stdout
