"""Tables of figures on narrow outputs."""

import io

from rich.console import Console

from systolith.survey.commands import printed
from systolith.survey.figure import FigureTable


def test_no_figure_is_cut_where_the_table_is_wider_than_the_output() -> None:
    names = ("output projection, LayerNorm", "scores, softmax, context", "whole attention by the compiler's plan")
    rows = tuple((name, "1,254,560", "12,345,678", "83 % worse", "98.0 / 96.7") for name in names)
    columns = ("chain", "fused, cycles", "through DRAM, cycles", "survey, estimated", "array, %")
    text = io.StringIO()
    Console(file=text, width=62).print(printed(FigureTable(title="t", columns=columns, rows=rows, note="")))
    words = text.getvalue().split()
    assert "…" not in text.getvalue()
    for row in (columns, *rows):
        assert set(" ".join(row).split()) <= set(words)


def test_a_table_without_rows_has_its_headings() -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(printed(FigureTable(title="t", columns=("a", "b"), rows=(), note="")))
    assert {"a", "b"} <= set(text.getvalue().split())
