"""What `import flow_xray` costs, and what a traced function costs when nobody records."""

import os
import statistics
import subprocess
import sys
import time
import timeit

from flow_xray import trace


def test_the_import_is_cheap_and_loads_nothing_heavy(tmp_path):
    """The bar is 25 ms over bare python on a quiet machine (benchmarks); processor time, the best of several tries, because a busy machine only adds."""

    def best(code):
        times = []
        for _ in range(6):
            process = subprocess.Popen([sys.executable, "-X", f"pycache_prefix={tmp_path}", "-c", code], env={})
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = status
            assert status == 0
            times.append(used.ru_utime + used.ru_stime)
        return min(times)

    assert best("import flow_xray") - best("pass") < 0.040
    heavy = (
        "[m for m in ('asyncio','hashlib','logging','traceback','pathlib','concurrent.futures') if m in sys.modules]"
    )
    code = f"import sys; before=set(sys.modules); import flow_xray; print([m for m in {heavy} if m not in before])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout == "[]\n"


def test_a_call_without_a_session_costs_next_to_nothing():
    """The bar is 0.18 us; this guards against a wrong order of magnitude on a busy machine."""

    def plain(x):
        return x

    traced = trace(plain)
    plain_s = min(timeit.repeat(lambda: plain(1), number=20_000, repeat=7)) / 20_000
    traced_s = min(timeit.repeat(lambda: traced(1), number=20_000, repeat=7)) / 20_000
    assert traced_s - plain_s < 0.6e-6


def test_recording_a_call_stays_within_microseconds():
    """The bar is 5 us (benchmarks); this guards against a wrong order of magnitude on a busy machine."""
    traced = trace(lambda x: x)
    costs = []
    for _ in range(7):
        with trace.capture():
            start = time.perf_counter()
            for n in range(2_000):
                traced(n)
            costs.append((time.perf_counter() - start) / 2_000)
    assert min(costs) < 25e-6
    assert statistics.median(costs) < 60e-6
