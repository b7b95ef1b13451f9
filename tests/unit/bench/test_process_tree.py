"""CPU and memory of a process with its children."""

import doctest
import subprocess
import sys

from bench import process_tree
from bench.process_tree import PEAK, RESIDENT, cpu_s, memory_mb, own_cpu_s, peak_mb, tree, usage_of


def test_the_examples_in_the_docstrings_hold() -> None:
    found = doctest.testmod(process_tree)
    assert found.attempted > 0
    assert found.failed == 0


def test_usage_adds_user_and_system_time_of_a_process_and_of_its_ended_children() -> None:
    usage = usage_of("7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 100 50 20 30 20 0 1 0 0")
    assert usage == (3, 200 / process_tree.TICKS_S)


def test_a_tree_has_the_children_that_run_and_the_time_of_those_that_have_ended() -> None:
    work = "n = 0\nwhile __import__('time').process_time() < 0.3: n += 1"
    then_wait = "print('spent', flush=True)\ninput()"
    shell = f'{sys.executable} -c "{work}"; {sys.executable} -c "{work}\n{then_wait}"; true'
    process = subprocess.Popen(["sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "spent\n"
        child = next(pid for pid in tree(process.pid) if pid != process.pid)
        least_s = 0.3 - 2 / process_tree.TICKS_S
        assert own_cpu_s(child) >= least_s
        assert least_s <= own_cpu_s(process.pid) <= cpu_s(process.pid) - least_s
        assert 0 < memory_mb(child, RESIDENT) <= memory_mb(child, PEAK) < peak_mb(process.pid)
    finally:
        process.communicate("\n", timeout=30)
    assert tree(process.pid) == {}
    assert memory_mb(process.pid, PEAK) == 0.0
