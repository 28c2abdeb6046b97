"""Are the tests able to fail? Small faults are seeded into RTL, numerics and verifier; the tests must notice.

Each fault lives in a copy of one file that ``PYTHONPATH`` finds before a snapshot of the tree. The tests run nearest
first and stop at the first failure; RTL that passes the nearest must run an encoder and random programs, exact in every
byte and every cycle, before it meets the others. What survives is a hole in the tests unless ``equivalent.toml`` says
why it changes nothing.

Verdicts are kept in the cache of the simulators. One is final while nothing has changed that the test which noticed
the fault depends on (all tests, if none did); else it is a hint: that test then runs first.
"""

import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from threading import Lock

from systolith.sim.cache import cache_directory
from systolith.verification.evidence import CampaignError, Evidence, Options, Report

from .mutation import Mutation, mutations, sample
from .on_rtl import ON_RTL
from .run import Job, Verdict
from .workshop import UNSURE, Store, Workshop

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
#: Faults of a full run.
AMOUNT = 130
#: What is changed: everything below these places,
TARGETS = ("hw/systolith/rtl", "sw/systolith/numerics", "sw/systolith/compiler/hazards.py")
#: except what makes documents and speed instead of hardware, and what only simulators read.
LEFT_OUT = ("documentation.py", "verilog.py", "chip_state.py", "export")
#: The faults of a quick run: file, line as it is, line with the fault.
QUICK = (
    ("hw/systolith/rtl/tokens.py",
     "m.d.sync += [count.eq(count + 1), some.eq(1), full.eq(count == (1 << TOKEN_BITS) - 2)]",
     "m.d.sync += [count.eq(count - 1), some.eq(1), full.eq(count == (1 << TOKEN_BITS) - 2)]"),
    ("sw/systolith/numerics/integer.py", "length += np.where(large, step, 0)", "length += np.where(large, step, 1)"),
    ("sw/systolith/compiler/hazards.py", "if other != unit and needed[other] > clock[other]:",
     "if other != unit and needed[other] >= clock[other]:"),
)  # fmt: skip
#: Seconds after which a mutant counts as noticed because it hangs; single tests have a limit of their own.
_LIMIT = 1800.0
#: Mutants at the same time; each is one process and, now and then, a C++ compiler.
_AT_ONCE = 2
#: The module that runs programs on the RTL.
_JUDGE = "systolith.verification.mutants.on_rtl"


@dataclass(frozen=True)
class Result:
    """One mutant: what noticed it (``killer``), or what kept it from being a design at all (``design``)."""

    mutation: Mutation
    design: str
    killer: str

    @property
    def survived(self) -> bool:
        return not self.design and not self.killer


def root() -> Path:
    """The root of the project: campaigns need its tests, so it must be a checkout.

    Raises
    ------
    FileNotFoundError
        If there are no tests beside the package.
    """
    place = Path(__file__).resolve().parents[4]
    if not (place / "tests" / "hw").is_dir():
        raise FileNotFoundError(f"mutants need the tests of a checkout; there are none in {place}")
    return place


def files(place: Path) -> list[str]:
    """The files that get faults, relative to the root."""
    paths = [
        p
        for target in TARGETS
        for p in ([place / target] if target.endswith(".py") else (place / target).rglob("*.py"))
    ]
    return [str(p.relative_to(place)) for p in sorted(paths) if not {p.name, p.parent.name} & set(LEFT_OUT)]


def equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, str, str, str], str]:
    """Reasons of the explained mutants, by file, scope, and line before and after."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    return {(e["file"], e["scope"], e["before"], e["after"]): e["reason"] for e in entries}


def key(m: Mutation) -> tuple[str, str, str, str]:
    """What an explanation of a mutant is filed under."""
    return m.path, m.scope, m.before, m.after


class Hunt:
    """Judges mutants, with what earlier runs know of them.

    Parameters
    ----------
    workshop : Workshop
    store : Store
    """

    def __init__(self, workshop: Workshop, store: Store) -> None:
        self._workshop = workshop
        self._store = store
        self._seconds = store.load("seconds")
        self._recording, self._learning = Lock(), Lock()
        self._fingerprint = cache(lambda *starts: workshop.map.fingerprint(starts))

    def judge(self, mutation: Mutation) -> Result:
        """Whether anything notices the fault."""
        tests = self._workshop.map.tests(mutation.path, self._seconds)
        known = self._store.load(key(mutation))
        if not known or known["fingerprint"] != self._evidence_of(known["design"], known["killer"], tests):
            verdict = self._tested(mutation, tests, str(known.get("killer", "")))
            known = {"design": verdict.design, "killer": verdict.killer}
            known["fingerprint"] = self._evidence_of(verdict.design, verdict.killer, tests)
            if verdict.killer not in UNSURE:
                self._store.save(key(mutation), known)
        return Result(mutation, known["design"], known["killer"])

    def _evidence_of(self, design: str, killer: str, tests: list[str]) -> str:
        """A digest of what a verdict rests on: one test, the programs on the RTL, or everything."""
        if not design and "::" in killer:
            return self._fingerprint(killer.partition("::")[0])
        if design or killer.startswith(ON_RTL):
            return self._fingerprint(_JUDGE)
        return self._fingerprint(_JUDGE, *sorted(tests))

    def _tested(self, mutation: Mutation, tests: list[str], hint: str) -> Verdict:
        """The verdict. What noticed it elsewhere is tried first; a run that the machine may have ended, twice."""
        hardware = mutation.path.startswith("hw/")
        groups = [[*part, "-m", "not slow"] for part in (tests[:1], tests[1:4], tests[4:]) if part]
        # Of hardware that passes its nearest tests the programs notice more, and sooner, than those further off.
        first = 0 if hint.startswith(ON_RTL) else 2 if hardware else len(groups)
        groups, more = groups[:first], groups[first:]
        if "::" in hint and (self._workshop.root / hint.partition("::")[0]).exists():
            groups.insert(0, [hint.partition("[")[0]])
        job = Job(
            module=self._workshop.map.module(mutation.path), groups=groups, design=hardware,
            trial=self._trial if hardware else "", more=more,
        )  # fmt: skip
        verdict = self._workshop.run(job, _LIMIT, mutation)
        if verdict.killer in UNSURE:
            verdict = self._workshop.run(job, _LIMIT, mutation)
        with self._learning:
            for test, seconds in verdict.seconds.items():
                self._seconds[test] = max(seconds, self._seconds.get(test, 0.0))
            self._store.save("seconds", self._seconds)
        return verdict

    @cached_property
    def _recorded(self) -> str:
        path = self._workshop.root.parent / "trial"
        verdict = self._workshop.run(Job(module=_JUDGE, record=str(path)), _LIMIT)
        if verdict.killer or verdict.design:
            raise CampaignError(f"without any fault: {verdict.killer or verdict.design} fails")
        return str(path)

    @property
    def _trial(self) -> str:
        """The file of the programs for the RTL, recorded when first needed."""
        with self._recording:
            return self._recorded

    def confirm(self, results: Iterable[Result], report: Report) -> None:
        """Make sure that the tests that noticed a fault pass without one.

        Raises
        ------
        CampaignError
            If one of them fails.
        """
        killers = {r.killer: self._evidence_of("", r.killer, []) for r in results if "::" in r.killer}
        new = sorted(killer for killer, found in killers.items() if not self._store.load(("confirmed", killer, found)))
        if new:
            report(f"running the {len(new)} tests that noticed something without any fault")
            verdict = self._workshop.run(Job(module=_JUDGE, groups=[new]), _LIMIT)
            if verdict.design or verdict.killer:
                raise CampaignError(f"without any fault: {verdict.design or verdict.killer} fails")
            for killer in new:
                self._store.save(("confirmed", killer, killers[killer]), {"confirmed": True})


def hunt(
    chosen: Iterable[Mutation],
    judge: Callable[[Mutation], Result],
    seconds: float | None,
    report: Report,
    expected: int,
    stop: Callable[[], None],
) -> Iterator[Result]:
    """Results of the mutants as they come; after ``seconds`` no new one is begun. ``stop`` ends all judging early."""
    start = time.monotonic()
    waiting = iter(chosen)
    with ThreadPoolExecutor(_AT_ONCE) as pool, ExitStack() as early:
        early.callback(stop)
        running: set[Future[Result]] = set()
        done = 0
        while True:
            while len(running) < 2 * _AT_ONCE and (seconds is None or time.monotonic() - start < seconds):
                mutation = next(waiting, None)
                if mutation is None:
                    break
                running.add(pool.submit(judge, mutation))
            if not running:
                early.pop_all()
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for result in (future.result() for future in ended):
                done += 1
                spent = time.monotonic() - start
                left = spent / done * (expected - done) if seconds is None else seconds - spent
                fate = "survived" if result.survived else f"noticed by {result.killer or 'the generator'}"
                report(f"{done} of {expected}, {max(left, 0) / 60:.0f} min left: {result.mutation} ({fate})")
                yield result


def quick_campaign(place: Path, report: Report) -> list[Evidence]:
    """A handful of fixed faults against their nearest tests."""
    wanted = {(path, before, after) for path, before, after in QUICK}
    chosen = [m for path, _, _ in QUICK for m in mutations(place, path) if (m.path, m.before, m.after) in wanted]
    if len(chosen) != len(QUICK):
        raise CampaignError(
            f"{len(QUICK) - len(chosen)} of the {len(QUICK)} quick mutants have no place in the sources"
        )

    with tempfile.TemporaryDirectory(prefix="systolith-mutants-") as name:
        workshop = Workshop(place, Path(name))

        def judge(mutation: Mutation) -> Result:
            mirrored = workshop.map.mirrored(mutation.path)
            job = Job(module=workshop.map.module(mutation.path), groups=[[str(mirrored)]])
            verdict = workshop.run(job, _LIMIT, mutation)
            return Result(mutation, verdict.design, verdict.killer)

        return [_evidence(list(hunt(chosen, judge, None, report, len(chosen), workshop.stop)), {})]


def campaign(options: Options, report: Report) -> list[Evidence]:
    """Seed :data:`AMOUNT` faults, or as many as fit in ``options.seconds``; pass if each survivor is explained."""
    place = root()
    if options.quick:
        return quick_campaign(place, report)
    paths = files(place)
    chosen = sample(place, paths, options.seed)
    amount = AMOUNT if options.seconds is None else len(chosen)
    with tempfile.TemporaryDirectory(prefix="systolith-mutants-") as name:
        workshop = Workshop(place, Path(name))
        current = Hunt(workshop, Store(cache_directory() / "mutants"))
        results = list(hunt(chosen[:amount], current.judge, options.seconds, report, amount, workshop.stop))
        current.confirm(results, report)
    return [_evidence(results, equivalents())]


def _evidence(results: list[Result], explained: Mapping[tuple[str, str, str, str], str]) -> Evidence:
    survivors = [r for r in results if r.survived]
    open_ = [r for r in survivors if key(r.mutation) not in explained]
    stillborn = sum(bool(r.design) for r in results)
    killed = len(results) - stillborn - len(survivors)
    figure = (
        f"{len(results)} faults: {killed} noticed, {stillborn} never become a design, "
        f"{len(survivors) - len(open_)} explained as equivalent, {len(open_)} survive"
    )
    return Evidence(
        campaign="mutants",
        promise="the tests notice small faults in RTL, numerics and verifier",
        figure=figure,
        passed=bool(results) and not open_,
        details={
            "faults": len(results),
            "killed": killed,
            "stillborn": stillborn,
            "explained": [str(r.mutation) for r in survivors if key(r.mutation) in explained],
            "survivors": [str(r.mutation) for r in open_],
            "killers": {str(r.mutation): r.killer or r.design for r in results if not r.survived},
        },
    )
