"""The Python in README.md and docs/ runs as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Libraries that a document's code needs and the tests do not have; see `make test-torch`.
NEEDS = {"distributed-training.md": "torch"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCHEDULER = "tcp://scheduler:8786"
DOCUMENTS = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if BLOCK.search(path.read_text())
]


@pytest.fixture
def scheduler_address():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow  # `make docs` runs it
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_code_blocks_of_a_document_run_one_after_the_other(
    document, tmp_path, scheduler_address
):
    if document.name in NEEDS:
        pytest.importorskip(NEEDS[document.name])
    code = "\n".join(BLOCK.findall(document.read_text()))
    script = tmp_path / "blocks.py"
    script.write_text(code.replace(SCHEDULER, scheduler_address))
    environment = {
        **os.environ,
        "PREFECT_TUNE_ORCHESTRATE": "0",
        "TUNE_RESULT_DIR": str(tmp_path / "results"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_there_is_something_to_run():
    assert {"README.md", "getting-started.md"} <= {path.name for path in DOCUMENTS}


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")], ids=lambda path: path.name
)
def test_links_between_documents_lead_somewhere(document):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    assert not [target for target in targets if not (document.parent / target).exists()]
