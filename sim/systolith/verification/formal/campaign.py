"""Proofs on the modules themselves: bounded model checking and k-induction, with Yosys and Z3 from PyPI."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from systolith.verification.evidence import Evidence, Options, Report
from systolith.verification.formal.engine import Outcome, check, require_tools
from systolith.verification.formal.harness import Proof

#: Where the netlist, log and counterexample (VCD) of a failed proof are left.
DIRECTORY = Path("build/formal")


def promises() -> dict[str, tuple[Proof, ...]]:
    """Promise -> the proofs that it rests on."""
    from systolith.verification.formal import channels, control, fifos, regions, registers, sums, tokens

    return {
        "queues lose, double and reorder nothing, and never overflow": fifos.PROOFS,
        "token counters never wrap and lose no token": tokens.PROOFS,
        "whatever the instructions say, the DMA addresses nothing outside of the regions": regions.PROOFS,
        "AXI: stable until taken, right last beats, no more outstanding than declared": channels.PROOFS,
        "registers: AXI4-Lite, and a running program's cannot change": registers.PROOFS,
        "no sum overflows, for the documented number of products": sums.PROOFS,
        "a start ends once, done or at fault, and the bus is quiet before a fault is shown": control.PROOFS,
    }


def campaign(options: Options, report: Report) -> list[Evidence]:
    """Every proof, two at a time (one per core), or with ``quick`` the fastest of each promise.

    Raises
    ------
    ModuleNotFoundError
        If the extra ``formal`` is not installed.
    """
    require_tools()
    wanted = {
        promise: [proof for proof in proofs if proof.quick or not options.quick]
        for promise, proofs in promises().items()
    }
    proofs = [proof for chosen in wanted.values() for proof in chosen]
    done: list[Outcome] = []

    def run(proof: Proof) -> Outcome:
        outcome = check(proof, DIRECTORY)
        done.append(outcome)
        report(f"{len(done)} of {len(proofs)} proofs, {proof.name} took {outcome.seconds:.0f} s")
        return outcome

    # The longest first, so that no core is left with one of them at the end.
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        futures = {proof.name: pool.submit(run, proof) for proof in sorted(proofs, key=lambda p: -p.seconds)}
    outcomes = {name: future.result() for name, future in futures.items()}
    return [_evidence(promise, [outcomes[proof.name] for proof in chosen]) for promise, chosen in wanted.items()]


def _evidence(promise: str, outcomes: list[Outcome]) -> Evidence:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    unbounded = sum(outcome.proof.induction is not None for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    figure = f"{len(outcomes)} proofs, {unbounded} without bound, {seconds:.0f} s"
    if failed:
        first = failed[0]
        where = f" ({first.trace})" if first.trace else ""
        figure = f"{len(failed)} of {figure}; {first.proof.name}: {first.failure}{where}"
    return Evidence(
        campaign="formal",
        promise=promise,
        figure=figure,
        passed=bool(outcomes) and not failed,
        details={
            outcome.proof.name: {
                "seconds": round(outcome.seconds, 1),
                "cycles": outcome.proof.depth,
                "induction": outcome.proof.induction,
                "failure": outcome.failure,
                "trace": str(outcome.trace) if outcome.trace else None,
            }
            for outcome in outcomes
        },
    )
