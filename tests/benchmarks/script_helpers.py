"""How the benchmark scripts are run in these tests, and what their results must carry."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import common

ROOT = Path(__file__).resolve().parents[2]


TINY_SIM = "sim:num_entities=20,num_relations=4,num_days=12,facts_per_day=15"


def run(script, *args, timeout=280):
    """The document on the last line of a script run as a program of its own."""
    command = [sys.executable, "-m", script if "." in script else f"benchmarks.{script}", *(str(arg) for arg in args)]
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def check_provenance(document):
    assert set(common.PROVENANCE) <= set(document)
    assert document["dataset"]["facts"] > 0 and len(document["dataset"]["sha256"]) == 64
    assert set(document["commit"]) == {"id", "dirty"}
    assert document["machine"]["cores"] >= 1 and document["machine"]["memory_bytes"] > 0
    assert {"jax", "numpy", "python"} <= set(document["versions"])
    assert "embedding_dim" in document["setting"]
