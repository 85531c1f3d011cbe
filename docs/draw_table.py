"""Draw the table of saved records: `python docs/draw_table.py OUT.svg COMMAND RECORD.json ...`."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from bench.record import load
from bench.report import print_table

WIDTH = 140
# rich's own frame, but for its fonts, which it would fetch from elsewhere
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
  .{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
  .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
  {styles}
</style>
<defs>
  <clipPath id="{unique_id}-clip-terminal">
    <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
  </clipPath>
  {lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
  {backgrounds}
  <g class="{unique_id}-matrix">
  {matrix}
  </g>
</g>
</svg>
"""


def main(out: Path, command: str, records: list[Path]) -> None:
    text = StringIO()
    print_table([load(path) for path in records], text, WIDTH)
    console = Console(record=True, width=WIDTH, file=StringIO(), highlight=False)
    console.print(text.getvalue().rstrip(), markup=False)
    out.write_text(
        console.export_svg(title=command, code_format=FRAME, unique_id="aimatrix"), encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [Path(name) for name in sys.argv[3:]])
