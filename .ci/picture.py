"""Draws what the demo printed: `make demo ARGS=--exit | .venv/bin/python .ci/picture.py > docs/demo.svg`."""

from __future__ import annotations

import re
import sys
from html import escape

ADVANCE, LINE, MARGIN = 7.8, 18, 20
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
COLOURS = {"thief": "#e0a458", "gate": "#7fb4e0", "bill": "#e0a458", "seen": "#8fc98f", "contained": "#8fc98f"}

lines = [re.sub(r"\x1b\[\d+m", "", line.rstrip("\n")) for line in sys.stdin]
while lines and not lines[0].strip():
    lines.pop(0)
while lines and not lines[-1].strip():
    lines.pop()
width = MARGIN * 2 + max(map(len, lines)) * ADVANCE
height = MARGIN * 2 + len(lines) * LINE

box = f"0 0 {width:.0f} {height}"
print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="{FONT}" font-size="13">')
print("<title>What make demo prints</title>")
print(f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#15191e"/>')
for number, line in enumerate(lines):
    if not line.strip():
        continue
    told = re.match(r"  \d\d:\d\d:\d\d\.\d{3}  (\S+)", line)
    colour = COLOURS.get(told[1], "#c8d0d8") if told else "#c8d0d8"
    heading = not line.startswith(" ")
    style = ' font-weight="bold" fill="#ffffff"' if heading else f' fill="{colour}"'
    y = MARGIN + (number + 1) * LINE - 5
    length = f'textLength="{len(line) * ADVANCE:.1f}"'
    print(f'<text x="{MARGIN}" y="{y}"{style} xml:space="preserve" {length}>{escape(line)}</text>')
print("</svg>")
