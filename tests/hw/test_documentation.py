"""The committed pages are what hosts and programs are written against: definitions cannot drift from them unnoticed."""

from pathlib import Path

import pytest

from systolith.rtl.documentation import PAGES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_committed_pages_say_what_the_definitions_do(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()
