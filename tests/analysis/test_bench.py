import pytest

from systolith.analysis.bench_cases import CASES, MemoryTiming, Target
from systolith.analysis.bench_tools import generation
from systolith.analysis.bounds import Product, bound, encoder_work, gemm_work
from systolith.analysis.regression import changes, read_cycles, to_text
from systolith.cli import main
from systolith.files import FileError
from systolith.rtl.config import preset


def test_bound_of_a_product_is_the_array_s_or_the_bus_s():
    large = bound(gemm_work(128, 768, 768), preset("default"))
    assert (large.cycles, large.limit) == (128 * 768 * 768 / 256, "compute")
    small = bound(gemm_work(1, 768, 768), preset("default"))
    assert (small.cycles, small.limit) == ((768 * 768 + 8 * 768 + 768) / 16, "memory")


def test_limited_bandwidth_is_shared_by_reads_and_writes():
    work = gemm_work(16, 64, 64)
    assert bound(work, preset("default"), 8).memory == (work.read_bytes + work.written_bytes) / 8
    # No more than a beat each way, however much the memory could give.
    assert bound(work, preset("default"), 1000).memory == work.read_bytes / 16


def test_padding_counts_whole_tiles():
    product = Product(77, 200, 333)
    assert product.padded_cycles(preset("default")) == 77 * 13 * 21
    assert product.macs == 77 * 200 * 333


def test_encoder_work_is_that_of_its_products():
    work = encoder_work(layers=2, hidden=24, heads=2, ffn=40, tokens=19)
    projections, scores, ffn = 4 * 19 * 24 * 24, 19 * 19 * 24, 19 * 24 * 40
    assert work.macs == 2 * (projections + 2 * scores + 2 * ffn)
    assert work.written_bytes == 19 * 24


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target(cycles=963_000), "≤ 963,000"),
        (Target(share=0.97), "≥ 97%"),
        (Target(points=5), "≤ 5 below padding"),
    ],
)
def test_targets_read_as_in_the_issue(target, text):
    assert str(target) == text


def test_slow_memory_has_a_target_of_its_own():
    case = CASES["layer"][0]
    assert case.target_at(MemoryTiming(100)) is case.target
    assert case.target_at(MemoryTiming(200)) is case.slow_target
    assert case.target_at(MemoryTiming(30, 8)) is case.slow_target
    assert case.timings([7], None) == [MemoryTiming(7)]


def test_changes_name_the_causes(tmp_path):
    path = tmp_path / "cycles.json"
    entry = {"cycles": 100, "causes": {"array busy": 90, "drain": 10}}
    path.write_text(to_text({"a": entry, "b": entry}))
    slower = {"cycles": 1105, "causes": {"array busy": 90, "drain": 1015}}
    known = read_cycles(path)
    assert changes(known, {"a": entry, "b": entry}) == []
    assert changes(known, {"a": slower, "c": entry}) == [
        "b: no longer run",
        "a: 100 → 1,105 (+1,005 cycles: drain +1,005)",
        "c: new, 100 cycles",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", r"holds no JSON object: it is \[1\]"),
        ("{", "holds no JSON object: Expecting property name"),
        ("[" * 100_000, "holds no JSON object: it is nested too deeply"),
        ('{"a": 3}', "holds no cycles of cases: 'a' is 3"),
        ('{"a": {"cycles": 3, "causes": []}}', "holds no cycles of cases: 'a' is"),
        ('{"a": {"cycles": "3", "causes": {}}}', "'cycles' of 'a' must be 0 to 18446744073709551615, not '3'"),
        ('{"a": {"cycles": 3, "causes": {"b": -1}}}', "'b' of 'a' must be 0 to 18446744073709551615, not -1"),
        ("{" + " " * (1 << 22) + "}", "is too large: 4,194,306 bytes; at most 4,194,304 are read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, message):
    path = tmp_path / "cycles.json"
    path.write_text(text)
    with pytest.raises(FileError, match=rf"cycles.json {message}|cycles.json holds no cycles of cases: {message}"):
        read_cycles(path)


def test_sizes_and_times_of_a_generation_are_measured():
    result = generation(4, lambda _: None, build_it=False)
    assert (result.dim, result.build_seconds) == (4, None)
    assert result.seconds > 0
    assert result.verilog_bytes > 10_000
    assert result.peak_bytes > 10_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--suite", "nope"],
            "unknown suite 'nope'; the suites are gemm, attention, layer, model, sim, generate, quick",
        ),
        (["--renew"], "--renew needs --against FILE"),
        (["--against", "nowhere.json"], "cannot read nowhere.json: no such file or directory"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["systolith", "bench", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert message in capsys.readouterr().err
