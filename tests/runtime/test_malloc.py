"""The C heap keeps large blocks when told to, and gives them back when asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
import numpy as np
from tirgn_eqx.runtime.malloc import keep_freed_memory, return_freed_memory

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))

told = keep_freed_memory()
sizes = [resident()]
block = np.ones(2**25)  # 256 MiB
sizes.append(resident())
del block
sizes.append(resident())
returned = return_freed_memory()
print(json.dumps({"told": told, "returned": returned, "sizes": [*sizes, resident()]}))
"""


def test_freed_memory_is_kept_until_it_is_returned():
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process its resident memory")
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if not found["told"]:
        pytest.skip("the C library is not glibc")
    before, with_block, freed, returned = found["sizes"]
    assert with_block - before > 250
    assert freed - before > 250, "freed, and kept"
    assert found["returned"] and returned - before < 50
