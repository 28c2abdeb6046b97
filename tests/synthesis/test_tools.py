"""Results of tools are kept by content, and made again if what was kept is spoiled."""

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
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(spoiled)
    assert run(tmp_path) == run(tmp_path) == {"out.txt": "a"}
    assert len(executed) == 2
