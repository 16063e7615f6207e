"""Reading ahead: threads get what a loop will need next."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from joblib import cpu_count


def read_ahead(read, items, n_workers=None):
    """Yield ``read(item)`` for each item, in order, read by threads ahead of time.

    At most two results more than there are threads wait to be fetched. The threads end
    with the iteration, however it ends; what ``read`` raises is raised here.

    Parameters
    ----------
    read : callable
        Called from several threads at once.
    items : iterable
        Consumed in the caller's thread.
    n_workers : int, default=None
        Number of threads; None takes that of the CPUs.
    """
    items, n_workers = iter(items), n_workers or cpu_count()
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
