"""Small, valid PDFs, written by hand.

Text that the built-in Helvetica can show is shown in it. Any other character is drawn as an empty box, as a reader
without a font for it would, and still copies and searches as itself: each gets a glyph of a Type 3 font that is
drawn in the file and mapped back to Unicode. So no font file is needed and no name can break a document.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from itertools import groupby

_SIZE = 11
_LEADING = 16
_LEFT, _TOP = 56, 780
_BOX = b"500 0 40 0 460 700 d1 40 0 420 700 re 50 w S"


def render(lines: Iterable[str]) -> bytes:
    """Return a one-page PDF (A4) that shows ``lines``, the first one larger."""
    shown = [part for line in lines for part in textwrap.wrap(line, 90) or [""]]
    foreign = sorted({character for line in shown for character in line if not _is_latin(character)})
    # Object numbers: 1 catalog, 2 pages, 3 page, 4 content, 5 Helvetica, 6 the box, then two for each Type 3 font.
    fonts = [foreign[start : start + 256] for start in range(0, len(foreign), 256)]
    names = " ".join(f"/X{index} {7 + 2 * index} 0 R" for index in range(len(fonts)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R " + names.encode() + b" >> >> >>",
        _stream(_content(shown, foreign)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        _stream(_BOX),
    ]
    for index, characters in enumerate(fonts):
        objects.append(_type3(len(characters), 8 + 2 * index))
        objects.append(_stream(_to_unicode(characters)))
    return _file(objects)


def _is_latin(character: str) -> bool:
    # ASCII and the upper half of Latin-1 stand for themselves in WinAnsiEncoding.
    return character.isascii() or "\xa0" <= character <= "\xff"


def _content(lines: list[str], foreign: list[str]) -> bytes:
    parts = [f"BT {_LEADING} TL {_LEFT} {_TOP} Td".encode()]
    for row, line in enumerate(lines):
        size = _SIZE if row else _SIZE * 2
        for font, characters in groupby(line, lambda c: None if _is_latin(c) else foreign.index(c) // 256):
            text = "".join(characters)
            if font is None:
                parts.append(f"/F1 {size} Tf <{text.encode('latin-1').hex()}> Tj".encode())
            else:
                codes = bytes(foreign.index(character) % 256 for character in text)
                parts.append(f"/X{font} {size} Tf <{codes.hex()}> Tj".encode())
        parts.append(b"T*")
    parts.append(b"ET")
    return b"\n".join(parts)


def _type3(count: int, to_unicode: int) -> bytes:
    glyphs = " ".join(f"/g{code}" for code in range(count))
    procedures = " ".join(f"/g{code} 6 0 R" for code in range(count))
    widths = " ".join(["500"] * count)
    return (
        "<< /Type /Font /Subtype /Type3 /FontBBox [0 0 500 700] /FontMatrix [0.001 0 0 0.001 0 0] /Resources << >>"
        f" /FirstChar 0 /LastChar {count - 1} /Widths [{widths}] /CharProcs << {procedures} >>"
        f" /Encoding << /Type /Encoding /Differences [0 {glyphs}] >> /ToUnicode {to_unicode} 0 R >>"
    ).encode()


def _to_unicode(characters: list[str]) -> bytes:
    blocks = []
    for start in range(0, len(characters), 100):  # the format allows at most 100 in a block
        rows = [
            f"<{code:02x}> <{character.encode('utf-16-be', 'replace').hex()}>"
            for code, character in enumerate(characters[start : start + 100], start)
        ]
        blocks.append("\n".join([f"{len(rows)} beginbfchar", *rows, "endbfchar"]))
    return "\n".join(
        [
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
            "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
            "1 begincodespacerange <00> <ff> endcodespacerange",
            *blocks,
            "endcmap CMapName currentdict /CMap defineresource pop end end",
        ]
    ).encode()


def _stream(data: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%b\nendstream" % (len(data), data)


def _file(objects: list[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe9\xeb\xf1\xbf\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
