"""Documents must open in a reader, whatever the customer is called."""

from __future__ import annotations

import io
import re
import shutil
import subprocess

import pytest
from pypdf import PdfReader

from polar_portal.testing.pdf import render

LINES = ["Invoice", "Zoë (Ltd) \\ 100% <b>", "Łukasz Żółć", "李小龍", "Иван Петров", "🙂 emoji", "", "x" * 300]


def test_text_is_read_back_as_it_was() -> None:
    text = PdfReader(io.BytesIO(render(LINES)), strict=True).pages[0].extract_text()
    for line in LINES[:6]:
        assert line in text
    assert text.count("x") == 300


def test_cross_references_point_at_the_objects() -> None:
    data = render(LINES)
    start = int(re.findall(rb"startxref\n(\d+)\n%%EOF\n$", data)[0])
    assert data[start:].startswith(b"xref\n")
    offsets = [int(offset) for offset in re.findall(rb"(\d{10}) 00000 n \n", data[start:])]
    for number, offset in enumerate(offsets, 1):
        assert data[offset:].startswith(b"%d 0 obj\n" % number)


def test_more_foreign_characters_than_a_font_has_room_for() -> None:
    text = "".join(chr(0x4E00 + index) for index in range(600))
    shown = PdfReader(io.BytesIO(render([text])), strict=True).pages[0].extract_text()
    assert shown.replace("\n", "") == text


def test_half_a_character_breaks_nothing() -> None:
    assert render(["\ud800"]).startswith(b"%PDF-")


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
def test_another_reader_has_nothing_to_complain_about() -> None:
    done = subprocess.run(["pdftotext", "-", "-"], input=render(LINES[:6]), capture_output=True, check=True)  # noqa: S607
    assert done.stderr == b""
    for line in LINES[:6]:
        assert line in done.stdout.decode()
