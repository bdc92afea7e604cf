"""Tables as text: aligned for a terminal, for a spreadsheet, and in Markdown."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first row is the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def csv_text(rows: Sequence[Sequence[str | int | float]]) -> str:
    """CSV, the head first. A text that a spreadsheet would read as a formula gets a quote before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        writer.writerow([f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell for cell in row])
    return out.getvalue()


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the head first; its cells are shown as they are."""
    lines = [f"| {' | '.join(map(markdown_text, row))} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def markdown_text(text: str) -> str:
    """`text` so that Markdown shows it and does nothing else: no markup, link, tag or new cell."""
    plain = re.sub(r"([\\`*_\[\]|#~:@])", r"\\\1", " ".join(text.split()))
    return html.escape(plain, quote=False).replace("www.", "www\\.")
