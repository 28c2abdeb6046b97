"""How far a sweep is: points done, and the time left, judged by the products that are left to simulate."""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import ExitStack

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.text import Text

from systolith.rtl.config import Config
from systolith.steps import steps

from .record import Outcome, Record
from .space import Point
from .synthesis import missing, synthesis_title

#: What a point costs beside its products, as products; simulations do some 40 million a second whatever the array,
#: as smaller ones take more cycles and simulate faster.
_OVERHEAD = 80_000_000
#: What a synthesis costs, likewise: some minutes.
_SYNTHESIS = 8_000_000_000
#: What building a simulator costs, likewise, and each of its processing elements more: 19 s and 33 ms, as
#: ``systolith bench --suite generate`` measures from 4x4 to 64x64.
_BUILD, _BUILD_ELEMENT = 760_000_000, 1_320_000


class Remaining:
    """Estimates the seconds left from the cost of what is done and of what is not.

    Parameters
    ----------
    costs : mapping of name to cost
        Of everything that is to be done.
    """

    def __init__(self, costs: Mapping[Hashable, int]) -> None:
        self._costs = dict(costs)
        self._left = sum(costs.values())
        self._done = 0
        self._begin = self._latest = time.monotonic()
        self.seconds: float | None = None

    def finish(self, name: Hashable, *, worked: bool = True) -> None:
        """Note that something is done; its cost says nothing of the others' time unless it was worked for."""
        cost = self._costs.pop(name, 0)
        self._left -= cost
        self._done += cost if worked else 0
        self._latest = time.monotonic()
        if self._done:
            self.seconds = (self._latest - self._begin) * self._left / self._done

    def now(self) -> float | None:
        """Seconds left; None before anything was worked for."""
        return None if self.seconds is None else max(0.0, self.seconds - (time.monotonic() - self._latest))

    def __str__(self) -> str:
        left = self.now()
        if left is None:
            return "time left unknown"
        minutes, seconds = divmod(round(left), 60)
        return f"about {minutes // 60}:{minutes % 60:02}:{seconds:02} left"


class SweepProgress:
    """A line on the terminal while points run, elsewhere one now and then, and one printed for each that is done.

    ``points`` are those to run, ``syntheses`` the keys of those to make.
    """

    def __init__(self, console: Console, points: Iterable[tuple[str, Point]], syntheses: Iterable[str]) -> None:
        named = dict(points)
        self._titles = {key: point.title for key, point in named.items()}
        costs: dict[Hashable, int] = {key: _OVERHEAD + p.workload.encoder.work.macs for key, p in named.items()}
        costs |= dict.fromkeys(syntheses, _SYNTHESIS)
        self._count = len(costs)
        costs |= {c: _BUILD + _BUILD_ELEMENT * c.rows * c.cols for p in named.values() if (c := p.config)}
        self.remaining = Remaining(costs)
        self._bar = Progress(
            SpinnerColumn(), TextColumn("points"), BarColumn(), MofNCompleteColumn(), Elapsed(), _Left(self.remaining),
            console=console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("points", total=self._count)
        self._shown = ExitStack()
        self._say: Callable[[str], None] = lambda _: None

    def __enter__(self) -> "SweepProgress":
        if self._bar.console.is_terminal:
            self._shown.enter_context(self._bar)
        else:
            self._say = self._shown.enter_context(steps(self._bar.console, self._step))
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    @property
    def _step(self) -> str:
        return f"{self._bar.tasks[self._task].completed:,.0f} of {self._count:,} done, {self.remaining}"

    def _finish(self, name: Hashable, *, worked: bool, counts: bool = True) -> None:
        self.remaining.finish(name, worked=worked)
        self._bar.advance(self._task, 1 if counts else 0)
        self._say(self._step)

    def built(self, config: Config, made: bool) -> None:
        """Note that a simulator is there, ``made`` now or found in the cache."""
        self._finish(config, worked=made, counts=False)

    def point(self, record: Record) -> None:
        """Count a point and print how it ended."""
        self._finish(record["key"], worked=record["cycles"] is not None)
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
        self._finish(record["key"], worked=record["result"] is not None)
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
        return Text(str(self._remaining))
