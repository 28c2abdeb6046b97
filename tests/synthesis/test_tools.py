"""Results of tools are kept by content, and made again if what was kept is spoiled."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from systolith.synthesis import tools

#: A package that is there; it is not run.
TOOL = tools.Tool(package="pytest", entry="main")


@pytest.fixture
def executed(monkeypatch):
    """One element for each time that the tool ran; it copies in.txt to out.txt."""
    runs = []

    def execute(tool, arguments, work, line):
        runs.append(tool)
        (work / "out.txt").write_text((work / "in.txt").read_text())

    monkeypatch.setattr(tools, "_execute", execute)
    return runs


def run(cache, text="a"):
    return tools.run(TOOL, [], {"in.txt": text}, ("out.txt",), lambda _: None, cache)


def test_a_result_is_kept_by_the_inputs(tmp_path, executed):
    assert run(tmp_path) == run(tmp_path) == {"out.txt": "a"}
    assert len(executed) == 1
    assert run(tmp_path, "b") == {"out.txt": "b"}
    assert len(executed) == 2


@pytest.mark.parametrize("spoiled", [b"", b'{"out.t', b"\xff", b"[" * 9999, b"[]", b"{}", b'{"out.txt": 3}'])
def test_a_spoiled_result_is_made_again(tmp_path, executed, spoiled):
    run(tmp_path)
    (entry,) = tmp_path.glob("*.json")
    entry.write_bytes(spoiled)
    assert run(tmp_path) == run(tmp_path) == {"out.txt": "a"}
    assert len(executed) == 2


def test_two_that_want_the_same_run_the_tool_once(tmp_path, executed, monkeypatch):
    execute = tools._execute
    monkeypatch.setattr(tools, "_execute", lambda *arguments: (time.sleep(0.2), execute(*arguments)))
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(run, [tmp_path] * 2)) == [{"out.txt": "a"}] * 2
    assert len(executed) == 1


def test_what_was_not_used_for_a_month_goes(tmp_path, executed):
    then = time.time() - 31 * 24 * 3600
    run(tmp_path)
    run(tmp_path, "b")
    for entry in tmp_path.glob("*.json"):
        os.utime(entry, (then, then))
    run(tmp_path)
    run(tmp_path, "c")
    assert len(list(tmp_path.glob("*.json"))) == 2
    run(tmp_path)
    assert len(executed) == 3
