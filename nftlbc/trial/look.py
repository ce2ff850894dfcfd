"""What a drawing may be made of: how wide, which characters, which colours."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from fractions import Fraction

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COLOURS = {"bold": "1", "dim": "2", "good": "32", "bad": "1;31", "bar": "36", "note": "33"}
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Look:
    file: str = "FILE"
    """The farms file, as the user calls it."""
    colour: bool = False
    blocks: bool = True
    """Eighths of blocks and typographic signs; False: ASCII alone."""
    whole: bool = False
    """Every farm in full, however many there are."""
    width: int = 80

    def paint(self, text: str, colour: str) -> str:
        if not self.colour or not text:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"

    @property
    def dot(self) -> str:
        return " · " if self.blocks else " - "

    def rule(self, text: str) -> str:
        """A line across with a text in it."""
        line = "──" if self.blocks else "--"
        rest = max(0, self.width - len(text) - 4)
        return f"{line} {text} {line[0] * rest}"

    def cut(self, text: str, width: int) -> str:
        """The text, its end left out where it is too long."""
        if len(text) <= width:
            return text
        mark = "…" if self.blocks else "..."
        return text[: width - len(mark)] + mark

    def ends(self, left: str, right: str) -> str:
        """One text at the left, one at the right; on two lines where they don't fit on one."""
        room = self.width - visible(left) - visible(right)
        if room >= 2:
            return left + " " * room + right
        return f"{left}\n{' ' * (self.width - visible(right))}{right}"

    def wrap(self, text: str, indent: int, deeper: int = 2) -> list[str]:
        """The text in lines, those after the first ``deeper`` by so much. Words are never broken:
        an address in halves can't be copied."""
        return textwrap.wrap(
            text,
            self.width,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + deeper),
            break_long_words=False,
            break_on_hyphens=False,
        )

    def bar(self, got: int, due: Fraction, most: Fraction | int, width: int, *, ok: bool) -> str:
        """A bar of a width in columns, full at ``most``; where not ok, what is missing to what
        was due is shown as a gap."""
        if not most:
            return " " * width
        filled = self._filled(Fraction(got) / most * width, width)
        missing = 0 if ok else max(0, round(due / most * width) - len(filled))
        gap = ("░" if self.blocks else ".") * missing
        rest = " " * (width - len(filled) - missing)
        return self.paint(filled, "bar" if ok else "bad") + self.paint(gap, "bad") + rest

    def _filled(self, length: Fraction, width: int) -> str:
        if not self.blocks:
            return "#" * min(width, max(round(length), 1 if length else 0))
        eighths = min(width * 8, max(round(length * 8), 1 if length else 0))
        whole, part = divmod(eighths, 8)
        return "█" * whole + (_EIGHTHS[part] if part else "")


def visible(text: str) -> int:
    """The columns of a text, colours not counted."""
    return len(_ESCAPES.sub("", text))
