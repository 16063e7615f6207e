"""Reading ahead: threads get what a loop will need next."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from joblib import cpu_count

# Results in waiting, in bytes: few threads read where each result is large.
_ROOM = 2**29


def read_ahead(read, items, n_bytes, n_threads=None):
    """Yield ``read(item)`` for each item, in order, read by threads ahead of time.

    At most two results more than there are threads wait to be fetched. The threads end
    with the iteration, however it ends; what ``read`` raises is raised here.

    Parameters
    ----------
    read : callable
        Called from several threads at once.
    items : iterable
        Consumed in the caller's thread.
    n_bytes : int
        About what one result takes.
    n_threads : int, default=None
        As many as CPUs by default; fewer where results are large.
    """
    items = iter(items)
    n_workers = max(1, min(n_threads or cpu_count(), _ROOM // max(1, n_bytes) - 2))
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="sklgan-read")
    waiting = deque()
    try:
        for item in islice(items, n_workers + 2):
            waiting.append(pool.submit(read, item))
        while waiting:
            result = waiting.popleft().result()
            for item in islice(items, 1):
                waiting.append(pool.submit(read, item))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
