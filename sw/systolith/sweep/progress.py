"""How far a sweep is: points done, and the time left, judged by the products that are left to simulate."""

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.text import Text

from .record import Outcome, Record
from .space import Point
from .synthesis import missing, synthesis_title

#: What a point costs beside its products, as products; simulations do some 40 million a second whatever the array,
#: as smaller ones take more cycles and simulate faster.
_OVERHEAD = 80_000_000
#: What a synthesis costs, likewise: some minutes.
_SYNTHESIS = 8_000_000_000


class Remaining:
    """Estimates the seconds left from the cost of what is done and of what is not.

    Parameters
    ----------
    costs : mapping of key to cost
        Of every point to run.
    """

    def __init__(self, costs: dict[str, int]) -> None:
        self._costs = costs
        self._all = sum(costs.values())
        self._done = 0
        self._begin = self._latest = time.monotonic()
        self.seconds: float | None = None

    def finish(self, key: str) -> None:
        """Note that a point is done."""
        self._done += self._costs.get(key, 0)
        self._latest = time.monotonic()
        if self._done:
            self.seconds = (self._latest - self._begin) * (self._all - self._done) / self._done

    def now(self) -> float | None:
        """Seconds left; None before the first point is done."""
        return None if self.seconds is None else max(0.0, self.seconds - (time.monotonic() - self._latest))


class SweepProgress:
    """A line on the terminal while points run, and one printed for each that is done.

    ``points`` are those to run, ``syntheses`` the keys of those to make.
    """

    def __init__(self, console: Console, points: Iterable[tuple[str, Point]], syntheses: Iterable[str]) -> None:
        named = dict(points)
        self._titles = {key: point.title for key, point in named.items()}
        costs = {key: _OVERHEAD + p.workload.encoder.work.macs for key, p in named.items()}
        costs |= dict.fromkeys(syntheses, _SYNTHESIS)
        self.remaining = Remaining(costs)
        self._bar = Progress(
            SpinnerColumn(), TextColumn("points"), BarColumn(), MofNCompleteColumn(), Elapsed(), _Left(self.remaining),
            console=console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("points", total=len(costs))

    def __enter__(self) -> "SweepProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def point(self, record: Record) -> None:
        """Count a point and print how it ended."""
        self.remaining.finish(record["key"])
        self._bar.advance(self._task)
        ended = record["outcome"]
        said = f"{record['cycles']:,} cycles, {record['share']:.1%} of the bound, " if record["cycles"] else ""
        reason = f": {record['failure']}" if record["failure"] else ""
        self._bar.console.print(
            f"{self._titles[record['key']]}: {said}{ended}{reason}",
            style=None if ended == Outcome.EXACT else "red", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip

    def idle(self) -> None:
        """Say that nothing runs until workers join."""
        self._bar.console.print("waiting for workers")

    def synthesis(self, record: Record) -> None:
        """Count a synthesis and print its result."""
        self.remaining.finish(record["key"])
        self._bar.advance(self._task)
        self._bar.console.print(
            f"{synthesis_title(record)}: {_listed(record['result']) if record['result'] else record['failure']}",
            style="red" if missing(record) else None, markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


def _listed(result: dict[str, float | str | None]) -> str:
    """What a synthesis found, without what there is none of."""
    found = {name: value for name, value in result.items() if value}
    return ", ".join(
        f"{name.replace('_', ' ')} {value if isinstance(value, str) else f'{value:,.1f}'.removesuffix('.0')}"
        for name, value in found.items()
    )


class _Left(ProgressColumn):
    """Time left."""

    def __init__(self, remaining: Remaining) -> None:
        super().__init__()
        self._remaining = remaining

    def render(self, task: Task) -> Text:
        left = self._remaining.now()
        if left is None:
            return Text("time left unknown")
        minutes, seconds = divmod(round(left), 60)
        return Text(f"about {minutes // 60}:{minutes % 60:02}:{seconds:02} left")
