"""What becomes of memory that was freed."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
import psutil
from jobs import memory

def held():
    return psutil.Process().memory_info().rss // 2**20

def work():
    arrays = [np.ones(2**20) for _ in range(20)]  # of 8 MiB
    return held()

before = held()
if KEEP:
    memory.keep_freed()
at_work = work()
after = held()
memory.give_back()
print(at_work - before, after - before, held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="GNU's C library keeps it")
@pytest.mark.parametrize("keep", [True, False])
def test_it_is_kept_while_a_process_works_and_given_back(keep):
    program = PROGRAM.replace("KEEP", str(keep))
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    at_work, after, at_rest = map(int, said.split())
    assert at_work > 150
    assert (after > 150) == keep
    assert at_rest < 60
