"""``systolith sweep`` and ``systolith report`` on the RTL of the tiny accelerator, as a user meets them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from systolith import cli
from systolith.rtl.config import preset
from systolith.sweep import commands, schedule, workers
from systolith.sweep.fingerprint import key, origin
from systolith.sweep.record import Outcome, record
from systolith.sweep.store import read_results
from systolith.sweep.synthesis import synthesis_record
from systolith.sweep.workers import Workers

TINY = ["--preset", "tiny", "--jobs", "2"]
SMALL = "random:1x{}@16/2/24"


def systolith(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["systolith", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def process(*arguments: str) -> subprocess.Popen[str]:
    """The command in a process of its own, with Ctrl-C as at a prompt (shells take it from what runs behind)."""
    code = "from systolith.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def written(output: Path) -> dict[str, int]:
    """When each point's record was written."""
    return {path.stem: path.stat().st_mtime_ns for path in (output / "points").glob("*.json")}


def test_points_run_once_failures_are_recorded_and_a_report_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results"
    options = [*TINY, "--dims", "4", "--lanes", "4,3", "--workload", SMALL.format(5), "-o", str(output)]
    # Three lanes do not divide four columns: recorded, and the other point runs all the same.
    assert systolith(monkeypatch, "sweep", *options) == 1
    records = {record["outcome"]: record for record in read_results(output)}
    assert records.keys() == {"bit-exact", "refused"}
    exact = records["bit-exact"]
    assert exact["bit_exact"] is True
    assert sum(exact["causes"].values()) == exact["cycles"] > exact["bound_cycles"] == exact["macs"] / 16
    assert exact["bytes_read"] >= exact["bytes_least"] - exact["bytes_written"]
    assert records["refused"]["failure"].startswith("lanes must divide both rows and cols")
    printed = capsys.readouterr()
    assert "2 of 2 points, 1 bit-exact, 2 run this time" in printed.out
    assert "lanes 3, refused: lanes must divide both rows and cols" in printed.out
    assert "Measured on the RTL; AXI 64 bit, latency 30, full bandwidth" in printed.out

    before = written(output)
    more = ["--dims", "4", "--workload", f"{SMALL.format(5)},{SMALL.format(6)}", "-o", str(output)]
    assert systolith(monkeypatch, "sweep", *TINY, *more) == 0
    printed = capsys.readouterr()
    assert "1 of 2 points are done already" in printed.err
    after = written(output)
    assert {name: after[name] for name in before} == before
    assert len(after) == 3
    assert len(read_results(output)) == 3

    assert systolith(monkeypatch, "report", str(output)) == 0
    assert "3 points, 2 bit-exact on the RTL, 1 not" in (output / "report.html").read_text()


def test_a_synthesis_without_its_clock_is_told_counts_and_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clocks: list[dict[str, Any]] = [{"mhz": None, "clock_failure": "it was killed"}, {"mhz": 90.5}]

    class Scheduled(schedule.Schedule):
        """Ends everything at once: points bit-exact, syntheses with the next of ``clocks``."""

        def run(self, workers: Workers) -> None:
            for task in list(self._ready):
                if isinstance(task, schedule.Synthesize):
                    result = {"lut": 10.0} | clocks.pop(0)
                    self._end(task, synthesis_record(task.config, task.target, *task.expected, result, None), None)
            for (point,) in self._waiting.values():
                self._finished(record(point, origin(), key(point), Outcome.EXACT, None, {}, 0.0))

    monkeypatch.setattr(schedule, "Schedule", Scheduled)
    command = ["sweep", *TINY, "--workload", SMALL.format(5), "--synth", "ecp5", "-o", str(tmp_path)]
    assert systolith(monkeypatch, *command) == 1
    assert "4x4, ecp5: it was killed\n" in capsys.readouterr().out
    for _ in range(2):
        assert systolith(monkeypatch, *command) == 0
        assert [result["synthesis"] for result in read_results(tmp_path)] == [{"ecp5": {"lut": 10.0, "mhz": 90.5}}]
    assert clocks == []


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_what_finished_before_a_crash_is_not_run_again(
    signum: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The second workload would take minutes; the sweep ends while it runs.
    arguments = ["sweep", "--preset", "tiny", "--jobs", "1", "-o", str(tmp_path)]
    running = process(*arguments, "--workload", f"{SMALL.format(5)},random:6x128@192/6/768")
    deadline = time.monotonic() + 240
    while not written(tmp_path):
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(running.pid, signum)
    _, said = running.communicate(timeout=240)
    if signum == signal.SIGINT:
        assert running.returncode == 130
        assert "interrupted: nothing that finished is lost, and the same command goes on" in said
        assert len(read_results(tmp_path)) == 1
    before = written(tmp_path)
    assert len(before) == 1
    assert systolith(monkeypatch, *arguments, "--workload", f"{SMALL.format(5)},{SMALL.format(6)}") == 0
    assert "1 of 2 points are done already" in capsys.readouterr().err
    after = written(tmp_path)
    assert len(after) == 2
    assert after.items() > before.items()


def test_a_dask_scheduler_with_two_worker_processes_runs_the_points(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    plugin = pytest.importorskip("distributed.diagnostics.plugin")
    ran: list[str] = []

    class Ran(plugin.SchedulerPlugin):  # type: ignore[misc, name-defined]
        """Notes which worker each point ran on."""

        def transition(self, key: str, start: str, finish: str, *_: Any, worker: str | None = None, **__: Any) -> None:
            if key.startswith("run_point") and worker is not None and finish == "memory":
                ran.append(worker)

    with (
        monkeypatch.context() as patched,
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
    ):
        patched.setattr(workers, "local_workers", lambda _: pytest.fail("no process of the sweep's own"))
        cluster.scheduler.add_plugin(Ran())
        addresses = set(cluster.scheduler.workers)
        workloads = ",".join(SMALL.format(tokens) for tokens in (5, 6, 7, 8))
        arguments = ["--preset", "tiny", "--workload", workloads, "-o", str(tmp_path)]
        assert systolith(monkeypatch, "sweep", *arguments, "--scheduler", cluster.scheduler_address) == 0
        records: list[dict[str, Any]] = read_results(tmp_path)
    assert [record["outcome"] for record in records] == ["bit-exact"] * 4
    assert len(ran) == 4
    assert set(ran) == addresses
    assert len(addresses) == 2
    # The same command without the cluster has nothing left to do.
    before = written(tmp_path)
    assert systolith(monkeypatch, "sweep", *arguments) == 0
    assert written(tmp_path) == before


def test_a_configuration_on_the_command_line_replaces_the_preset_of_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bases: list[Any] = []
    monkeypatch.setattr(commands, "_sweep", lambda points, *_: bases.append(points[0].config) or 0)
    (tmp_path / "sweep.toml").write_text('workload = ["bert-tiny:1x8"]\npreset = "small"\n')
    (tmp_path / "mine.toml").write_text(preset("tiny").to_toml())
    command = ["sweep", "--file", str(tmp_path / "sweep.toml")]
    assert systolith(monkeypatch, *command, "--config", str(tmp_path / "mine.toml")) == 0
    assert systolith(monkeypatch, *command, "--preset", "large") == 0
    assert systolith(monkeypatch, *command) == 0
    assert bases == [preset("tiny"), preset("large"), preset("small")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sweep"], "a sweep needs at least one workload"),
        (["sweep", "--workload", "bert:1x8"], "workload 'bert:1x8': unknown encoder 'bert'; the encoders are"),
        (["sweep", "--workload", "bert-tiny:1x8", "--dims", "1"], "rows must be 2 to 128, not 1"),
        (["sweep", "--workload", "bert-tiny:1x8", "--dims", "4,,8"], "'4,,8' is no list of values separated"),
        (["sweep", "--file", "nowhere.toml"], "cannot read nowhere.toml: no such file or directory"),
        (["sweep", "--workload", "bert-tiny:1x8", "--synth", "fpga"], "unknown target 'fpga'; the targets are"),
        (
            ["sweep", "--workload", "bert-tiny:1x8", "--scheduler", "tcp://127.0.0.1:1", "--jobs", "2"],
            "--scheduler excludes --jobs",
        ),
        *(
            (
                ["sweep", "--workload", "bert-tiny:1x8", "--scheduler", address],
                f"--scheduler takes an address such as tcp://host:8786, not '{address}'",
            )
            for address in ("foo", "foo:8786", "foo://host:8786", "tcp://host", "tcp://host:port")
        ),
        (["report", "nowhere"], "cannot read nowhere/results.jsonl: no such file or directory"),
    ],
)
def test_bad_options_are_one_sentence_and_status_2(
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert systolith(monkeypatch, *arguments) == 2
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint.startswith("systolith: ")
    assert sentence in complaint
    assert list(tmp_path.iterdir()) == []
