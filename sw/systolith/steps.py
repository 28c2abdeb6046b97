"""What a command shows of its steps while it works: one changing line on a terminal, elsewhere a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread

from rich.console import Console
from rich.progress import Progress

#: Seconds between two lines where the output is no terminal: logs of hours stay readable, short commands say nothing.
INTERVAL = 30.0


@contextmanager
def steps(console: Console, first: str, interval: float = INTERVAL) -> Iterator[Callable[[str], None]]:
    """Gives a function that says which step has begun; ``first`` is the first one.

    Where ``console`` is no terminal (a log, CI), the step at hand is printed with the time since the beginning, every
    ``interval`` seconds if it is another one than before.
    """
    if console.is_terminal:
        with console.status(first) as status:
            yield status.update
        return
    latest = first
    ended = Event()
    begin = time.monotonic()

    def say(step: str) -> None:
        nonlocal latest
        latest = step

    def watch() -> None:
        printed = None
        while not ended.wait(interval):
            if latest != printed:
                printed = latest
                elapsed = timedelta(seconds=round(time.monotonic() - begin))
                console.print(f"{elapsed} {printed}", markup=False, highlight=False, soft_wrap=True)

    watching = Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield say
    finally:
        ended.set()
        watching.join()


@contextmanager
def counted(console: Console, what: str, interval: float = INTERVAL) -> Iterator[Callable[[int, int], None]]:
    """Gives a function of how many are done, of how many: a bar on a terminal, elsewhere lines as of :func:`steps`."""
    if console.is_terminal:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, most: bar.update(task, completed=done, total=most)
        return
    with steps(console, what, interval) as say:
        yield lambda done, most: say(f"{what}: {done:,} of {most:,}")
