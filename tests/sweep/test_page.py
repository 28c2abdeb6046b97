"""The report: which figures there are, that the page stands alone, and that it says what was not run."""

import base64
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from systolith.files import FileError
from systolith.sweep.figures import MAX_BARS, MAX_SERIES, plots
from systolith.sweep.page import write_report
from systolith.sweep.record import Outcome, Record
from systolith.sweep.series import MEMORY_SETTINGS, series_of
from systolith.sweep.workload import SweepError

Made = Callable[..., Record]


def test_the_page_needs_no_other_file_and_figures_are_png_and_svg(made: Made, tmp_path: Path) -> None:
    area = {"ecp5": {"lut": 1000.0, "mhz": 90.25}}
    records = [made("4", 1000, area), made("2x4", 2100), made("8", None), made("4", 1200, latency=[99])]
    files = write_report(records, tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in files) == sorted(
        ["report.html"]
        + [f"figures/{n}.{s}" for n in ("utilization", "cycles", "area", "roofline", "causes") for s in ("png", "svg")]
    )
    page = (tmp_path / "report.html").read_text()
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert [base64.b64decode(image) for image in images] == [p.read_bytes() for p in files if p.suffix == ".svg"]
    # Nothing is loaded from elsewhere.
    assert set(re.findall(r'(?:src|href)="([^:"]+):', page)) == {"data"}
    assert "4 points, 3 bit-exact on the RTL, 1 not" in page
    assert "too large for &lt;it&gt;" in page
    assert "<td>1,200</td>" in page
    assert "<td>90.2</td>" in page
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files if path.suffix == ".png")


def test_a_page_that_cannot_be_written_is_known_before_anything_is(made: Made, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(FileError, match=r"cannot write .*report\.html: it is a directory"):
        write_report([made("4", 1000)], tmp_path)
    assert list((tmp_path / "figures").iterdir()) == []


def test_the_page_says_what_all_runs_have_in_common(made: Made, tmp_path: Path) -> None:
    write_report([made("4", 1000), made("2x4", 2100, latency=[99])], tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<p>All runs: AXI 64 bit, full bandwidth.</p>" in page
    assert "2x4, random:1x8@16/2/24, latency 99" in page


def test_the_same_records_make_the_same_files(made: Made, tmp_path: Path) -> None:
    records = [made("4", 1000), made("8", 300)]
    first, second = (write_report(records, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_figures_say_what_is_measured_and_what_is_computed(made: Made) -> None:
    shown = plots([made("4", 1000), made("8", 300)])
    assert [plot.name for plot in shown] == ["utilization", "cycles", "roofline", "causes"]
    for plot in shown:
        assert "easured on the RTL" in plot.caption
        (axes,) = plot.draw().axes
        assert "measured on RTL" in axes.get_xlabel() + axes.get_ylabel()
        assert re.search(r"%|cycle", axes.get_ylabel() + axes.get_xlabel())


def settings(made: Made) -> list[Record]:
    """Runs that differ in every setting, so that names are as long as they get."""
    area = {"ecp5": {"lut": 1000.0}}
    grid = itertools.product([64, 128], ["512K", "1M"], ["256K", "512K"], [2, 4], [30, 100], [4, 16])
    return [
        made(
            "16", 1000 + number, area, workload=["random:2x128@1024/16/4096"],
            axi=[axi], scratchpad=[pad], accumulator=[acc], lanes=[lanes], latency=[latency], bandwidth=[bandwidth],
        )
        for number, (axi, pad, acc, lanes, latency, bandwidth) in enumerate(grid)
    ]  # fmt: skip


def test_long_names_and_many_series_stay_within_a_figure_and_apart(made: Made) -> None:
    for plot in plots(settings(made)):
        figure = plot.draw()
        figure.draw_without_rendering()
        (axes,) = figure.axes
        (legend,) = figure.legends
        texts = [text.get_window_extent() for text in (*legend.get_texts(), *axes.get_yticklabels())]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in texts), plot.name
        assert not any(a.overlaps(b) for a, b in itertools.combinations(texts, 2)), plot.name
        assert axes.bbox.height > 200, plot.name


@pytest.mark.parametrize("name", ["utilization", "cycles", "area", "roofline"])
def test_each_series_that_is_drawn_looks_different(name: str, made: Made) -> None:
    records = settings(made)
    (plot,) = [plot for plot in plots(records) if plot.name == name]
    (legend,) = plot.draw().legends
    markers = [handle for handle in legend.legend_handles if handle.get_marker() not in ("None", "_")]
    among = [MEMORY_SETTINGS] if name == "area" else []
    assert len(markers) == min(MAX_SERIES, len(series_of(records, *among)))
    looks = [(line.get_marker(), line.get_fillstyle(), line.get_linestyle(), line.get_color()) for line in markers]
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("count", [3, 12])
def test_each_array_size_of_the_roofline_has_its_colour(count: int, made: Made) -> None:
    (plot,) = [p for p in plots([made(str(size), 1000) for size in range(4, 4 + count)]) if p.name == "roofline"]
    (axes,) = plot.draw().axes
    roofs = [line for line in axes.lines if str(line.get_label()).startswith("roof of")]
    assert len({line.get_color() for line in roofs}) == len(roofs) == count


def test_many_series_are_cut_and_the_caption_says_so(made: Made) -> None:
    few = [made("4", 1000 + latency, {"ecp5": {"lut": 9.0}}, latency=[latency]) for latency in range(1, MAX_SERIES + 1)]
    many = [*few, *(made("8", 900 + latency, {"ecp5": {"lut": 9.0}}, latency=[latency]) for latency in range(1, 31))]
    for name in ("utilization", "cycles", "area", "roofline"):
        captions = [plot.caption for records in (few, many) for plot in plots(records) if plot.name == name]
        assert "The first" not in captions[0]
        assert f"The first {MAX_SERIES} of 30 series." in captions[1], name


def test_runs_that_are_not_bit_exact_are_not_drawn_and_captions_say_so(made: Made, tmp_path: Path) -> None:
    area = {"ecp5": {"lut": 1000.0}}
    wrong = made("8", 10, area) | {"outcome": str(Outcome.WRONG), "bit_exact": False, "failure": "layer 0"}
    for plot in plots([made("4", 1000, area), wrong]):
        assert "Runs that are not bit-exact are left out: 1 of 2." in plot.caption
        (axes,) = plot.draw().axes
        labels = [text.get_text() for text in (*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts)]
        assert not any("8x8" in label for label in labels)
        ran = [line for line in axes.lines if len(line.get_xdata()) and line.get_marker() not in ("None", "_")]
        assert all(len(line.get_xdata()) == 1 for line in ran)
    write_report([wrong], tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<figure>" not in page
    assert "layer 0" in page


def test_labels_of_a_figure_do_not_overlap(made: Made) -> None:
    records = [made(size, 100_000 // int(size.split("x")[0])) for size in ("4", "6x10", "8", "7x9", "16")]
    for plot in plots(records):
        figure = plot.draw()
        figure.draw_without_rendering()
        (axes,) = figure.axes
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_visible()]
            lines = [label.get_text().count("\n") for label in axis.get_ticklabels() if label.get_visible()]
            for (a, above), (b, below) in zip(
                zip(boxes, lines, strict=True), list(zip(boxes, lines, strict=True))[1:], strict=False
            ):
                assert above != below or not a.overlaps(b), plot.name


def test_many_runs_are_cut_and_the_caption_says_so(made: Made) -> None:
    records = [made("4", 1000 + latency, latency=[latency]) for latency in range(1, MAX_BARS + 3)]
    causes = plots(records)[-1]
    assert f"The first {MAX_BARS} of {MAX_BARS + 2} runs" in causes.caption
    (axes,) = causes.draw().axes
    assert len(axes.get_yticks()) == MAX_BARS


def test_svg_is_well_formed(made: Made, tmp_path: Path) -> None:
    for path in write_report([made("4", 1000)], tmp_path):
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_a_sweep_of_which_nothing_ran_has_no_report(made: Made, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="none of the 1 points ran: there is nothing to draw"):
        write_report([made("4", None)], tmp_path)
