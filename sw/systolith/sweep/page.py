"""The report of a sweep: figures as PNG and SVG, and one HTML page that holds them all and needs no other file."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from systolith.files import check_writable, write_whole

from .figures import plots, style
from .record import Outcome, Record
from .series import point_titles, settings_of_all
from .workload import SweepError

PAGE = "report.html"
_FIGURES, _SUFFIXES = "figures", ("png", "svg")
_DOTS_PER_INCH = 150
_CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
p { max-width: 56rem; }
figure { margin: 1.5rem 0; max-width: 56rem; } figure img { width: 100%; height: auto; }
figcaption, .note { color: #444; font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), .said { text-align: left; }
.said { white-space: normal; min-width: 18rem; }
.bad { color: #b00020; }
"""


def write_report(records: Sequence[Record], directory: Path) -> list[Path]:
    """Write the page and its figures to ``directory``; the files written, the page first.

    Raises
    ------
    SweepError
        If no point of the sweep ran, so that there is nothing to draw, or the directory cannot be made.
    """
    ran = [record for record in records if record["cycles"] is not None]
    if not ran:
        raise SweepError(f"none of the {len(records)} points ran: there is nothing to draw")
    folder = directory / _FIGURES
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(f"cannot make the directory {folder}: {str(error.strerror).lower()}") from error
    drawn = plots(ran)
    files = [directory / PAGE, *(folder / f"{plot.name}.{suffix}" for plot in drawn for suffix in _SUFFIXES)]
    for file in files:
        check_writable(file)
    parts = []
    for plot in drawn:
        figure = plot.draw()
        images = {suffix: _image(figure, suffix) for suffix in _SUFFIXES}
        for suffix, content in images.items():
            write_whole(folder / f"{plot.name}.{suffix}", content)
        data = base64.b64encode(images["svg"]).decode()
        caption = html.escape(plot.caption)
        parts.append(
            f'<figure><img alt="{caption}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    write_whole(files[0], _page(records, ran, parts))
    return files


def _image(figure: Figure, suffix: str) -> bytes:
    """The same bytes for the same figure."""
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if suffix == "svg" else {"Software": None}
    with style():
        figure.savefig(buffer, format=suffix, dpi=_DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def _page(records: Sequence[Record], ran: Sequence[Record], figures: Sequence[str]) -> str:
    bad = [record for record in records if record["outcome"] != Outcome.EXACT]
    exact = len(records) - len(bad)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Systolith sweep</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_CSS}</style></head><body>",
        "<h1>Systolith sweep</h1>",
        f"<p>{len(records)} points, {exact} bit-exact on the RTL, {len(bad)} not. Cycles, bytes and causes are "
        "measured on the simulated RTL; bounds and roofs are computed. Every int8 value of every layer was compared "
        "with the integer reference.</p>",
        f"<p>All runs: {html.escape(same)}.</p>" if (same := settings_of_all(ran)) else "",
        *figures,
        "<h2>All runs</h2>",
        _runs(ran),
    ]
    if bad:
        parts += ["<h2>Not bit-exact, or not run</h2>", _failures(bad)]
    origins: dict[str, dict[str, Any]] = {}
    for record in records:
        origins.setdefault(record["origin"], {}).update(record["versions"])
    for versions in origins.values():
        listed = ", ".join(f"{html.escape(name)} {html.escape(str(value))}" for name, value in versions.items())
        parts.append(f'<p class="note">Made with {listed}.</p>')
    return "\n".join([*parts, "</body></html>", ""])


def _runs(ran: Sequence[Record]) -> str:
    heads = ("array and workload", "outcome", "cycles", "bound", "limit", "share of bound", "utilization", "bytes read",
             "bytes written", "simulated, kcycle/s")  # fmt: skip
    rows = [
        (
            title, record["outcome"], f"{record['cycles']:,}", f"{record['bound_cycles']:,.0f}",
            record["bound_limit"],
            f"{record['share']:.1%}", f"{record['utilization']:.1%}", f"{record['bytes_read']:,}",
            f"{record['bytes_written']:,}", f"{record['cycles_per_second'] / 1e3:,.0f}",
        )
        for title, record in zip(point_titles(ran), ran, strict=True)
    ]  # fmt: skip
    areas = sorted({(t, name) for r in ran for t, found in (r["synthesis"] or {}).items() for name in found})
    extra = [[_value(((r["synthesis"] or {}).get(t) or {}).get(name)) for t, name in areas] for r in ran]
    return _table((*heads, *(f"{t} {name}" for t, name in areas)), [[*a, *b] for a, b in zip(rows, extra, strict=True)])


def _failures(bad: Sequence[Record]) -> str:
    body = "".join(
        f'<tr><td>{html.escape(title)}</td><td class="bad">{html.escape(r["outcome"])}</td>'
        f'<td class="said">{html.escape(r["failure"] or "")}</td></tr>'
        for title, r in zip(point_titles(bad), bad, strict=True)
    )
    heads = '<th>array and workload</th><th>outcome</th><th class="said">cause</th>'
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,.1f}".removesuffix(".0") if isinstance(value, int | float) else str(value)
