"""Python's threads, the engine's threads, and forks."""

import os
import threading
import time

import numpy as np
import pytest
from reference import assert_close

import fovea

R = np.random.default_rng(3)
Q, K, V = (R.normal(size=(4, 512, 64)).astype(np.float32) for _ in range(3))


def test_same_bits_for_any_number_of_threads():
    first = fovea.attend(Q, K, V, threads=1, received=True)
    for threads in (2, 3, np.int64(7), None):
        again = fovea.attend(Q, K, V, threads=threads, received=True)
        assert np.array_equal(first.out, again.out) and np.array_equal(first.received, again.received)


def test_others_run_meanwhile():
    """The interpreter's lock is let go: another thread counts on while attend computes."""
    q = R.normal(size=(8, 2048, 64)).astype(np.float32)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.001):
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    begin = time.perf_counter()
    fovea.attend(q, q, q, threads=1)
    end = time.perf_counter()
    stop.set()
    ticker.join()
    inside = [t for t in ticks if begin < t < end]
    assert end - begin > 0.02, "too quick to tell"
    assert len(inside) >= 3, f"{len(inside)} ticks in {end - begin:.3f} s"


def test_many_callers_at_once():
    want = fovea.attend(Q, K, V)
    wrong, done = [], []

    def work(number):
        for turn in range(6):
            got = fovea.attend(Q, K, V, threads=1 + (number + turn) % 3, top=3 if turn % 2 else 0)
            if not np.array_equal(got.out if turn % 2 else got, want):
                wrong.append((number, turn))
        done.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]  # more than pools are kept
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(done) == 12 and not wrong


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads as Linux shows them")
def test_pools_are_used_again(run_python):
    """One caller after another, also on new Python threads, makes one pool; idle ones stay few."""
    out = run_python("""
        import os, threading, time, numpy, fovea
        def count():
            time.sleep(0.3)  # threads that were joined may still be listed
            return len(os.listdir("/proc/self/task"))
        x = numpy.ones((64, 32), numpy.float32)
        before = count()
        fovea.attend(x, x, x, threads=3)
        for _ in range(20):
            t = threading.Thread(target=lambda: fovea.attend(x, x, x, threads=3)); t.start(); t.join()
        print(count() - before)
        for n in range(2, 30):
            fovea.attend(x, x, x, threads=n)
        print(count() - before)
    """)
    same, many = map(int, out.split())
    assert same == 2
    assert many == sum(n - 1 for n in range(22, 30)), "the eight last ones"


@pytest.mark.parametrize("how", ["fork", "forkserver", "spawn"])
def test_processes(run_python, how, tmp_path):
    """A pool made before a fork is of no use after it, and must not be waited for."""
    (tmp_path / "child.py").write_text("""
import numpy as np, fovea
X = np.random.default_rng(0).normal(size=(8, 256, 32)).astype(np.float32)
def attend(n):
    return float(fovea.attend(X, X, X, threads=2).sum())
""")
    run_python(f"""
        import multiprocessing, child
        if __name__ == "__main__":
            want = child.attend(0)
            with multiprocessing.get_context("{how}").Pool(2) as pool:
                assert pool.map_async(child.attend, range(6)).get(50) == [want] * 6
            assert child.attend(0) == want
    """)


def test_fork_while_others_compute(run_python):
    run_python("""
        import os, threading, numpy as np, fovea
        x = np.random.default_rng(0).normal(size=(8, 512, 64)).astype(np.float32)
        want = fovea.attend(x, x, x, threads=2)
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                fovea.attend(x, x, x, threads=2)
        threads = [threading.Thread(target=busy) for _ in range(2)]
        for t in threads: t.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                same = np.array_equal(fovea.attend(x, x, x, threads=2), want)
                os._exit(0 if same else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stop.set()
        for t in threads: t.join()
    """)


def test_leaving_while_a_thread_computes(run_python):
    run_python("""
        import threading, numpy as np, fovea
        x = np.zeros((8, 2048, 64), np.float32)
        threading.Thread(target=lambda: fovea.attend(x, x, x, threads=2), daemon=True).start()
    """)


def test_an_error_gives_the_pool_back():
    for _ in range(20):
        with pytest.raises(fovea.Error):
            fovea.attend(Q, K, V, key_lengths=[999], threads=5)
    assert_close(fovea.attend(Q, K, V, threads=5), fovea.attend(Q, K, V, threads=1), 0)
