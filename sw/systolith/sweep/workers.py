"""Where the points of a sweep run: processes of this machine, or the workers of a Dask scheduler."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from .workload import SweepError

#: Why a sweep on a cluster ends early.
LOST = "the connection to the Dask scheduler was lost; the same command goes on"
#: Seconds that a worker gets to clean up after its parent died.
_GRACE = 5.0


@dataclass(frozen=True)
class Workers:
    """``open(alone)`` gives an executor, of one process if ``alone``; ``width()`` is how many tasks it may have now."""

    open: Callable[[bool], AbstractContextManager[Executor]]
    width: Callable[[], int]


def local_workers(jobs: int) -> Workers:
    """``jobs`` processes of this machine, which end, and end their simulators, with this one however it ends."""

    @contextmanager
    def pool(alone: bool) -> Iterator[Executor]:
        before = {process.pid for process in multiprocessing.active_children()}
        executor = ProcessPoolExecutor(
            1 if alone else jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
        )
        try:
            yield executor
        except BaseException:
            for process in multiprocessing.active_children():
                if process.pid not in before:
                    process.terminate()
            raise
        finally:
            executor.shutdown(cancel_futures=True)

    return Workers(pool, lambda: jobs)


def dask_workers(address: str) -> Workers:
    """The workers of the Dask scheduler at ``address``; ``SweepError`` if it cannot be reached or Dask is missing."""
    try:
        from distributed.cfexecutor import ClientExecutor
    except ImportError as error:
        raise SweepError("--scheduler needs Dask: pip install systolith[cluster]") from error
    client = _connect(address)

    @contextmanager
    def pool(alone: bool) -> Iterator[Executor]:
        # Not pure: a task that failed must run again when it is asked for again.
        executor: Executor = ClientExecutor(client, pure=False)  # type: ignore[no-untyped-call]
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)

    def width() -> int:
        # Asked each time, as workers come and go. Two tasks a thread: the next one is there when one ends.
        try:
            threads: dict[str, int] = client.nthreads()
        except (OSError, AttributeError) as error:  # a client that has given up has no scheduler
            raise SweepError(LOST) from error
        return 2 * sum(threads.values())

    return Workers(pool, width)


def _connect(address: str) -> Any:
    """A client of the Dask scheduler at ``address``."""
    from distributed import Client
    from distributed.comm.addressing import parse_address
    from distributed.comm.registry import get_backend

    try:
        scheme, place = parse_address(address, strict=True)
        get_backend(scheme).get_address_host(place)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise SweepError(f"--scheduler takes an address such as tcp://host:8786, not {address!r}") from error
    # Made in two steps, as a client that fails to connect must be closed: left to its destructor, that takes 20 s.
    client: Any = object.__new__(Client)
    try:
        client.__init__(address, timeout=10, set_as_default=False)
    except BaseException as error:
        client.close(timeout=1)
        if isinstance(error, (OSError, ValueError, TypeError)):
            raise SweepError(f"no Dask scheduler answers at {address}") from error
        raise
    return client


class _Stopped(SystemExit):
    """The worker was told to end; it does so without a word if it has no task."""


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, clean up when it says so, and do not outlive it."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise _Stopped

    def watch() -> None:
        if parent is not None:
            parent.join()
        with contextlib.suppress(ProcessLookupError):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(1)

    parent = multiprocessing.parent_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=watch, daemon=True).start()
