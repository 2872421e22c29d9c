"""Names and numbers as the page shows them."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from unicodedata import bidirectional

from multiloss.core.records import digits

NOT_A_NUMBER = "not a number"
LONGEST = 28
COLOURS = 8
"""So many outputs have a colour of their own; what is more is drawn together."""


# What turns the order of the characters round, digits included, or is no character at all: overrides, embeddings and
# directional isolates, marks of direction, control characters other than the end of a line and the tabulator.
_UNSEEN = [*range(9), 11, 12, *range(14, 32), *range(127, 160), 0x61C, 0x200E, 0x200F]
_DROPPED = dict.fromkeys([*_UNSEEN, *range(0x202A, 0x202F), 0x2066, 0x2067])
_ISOLATES = {0x2068: None, 0x2069: None}


def clean(text: str) -> str:
    r"""Return text without the characters that show it, or the numbers behind it, in another order.

    Examples:
        >>> clean("gain \u202e0.51")
        'gain 0.51'
    """
    return text.translate(_DROPPED)


def isolated(name: str) -> str:
    r"""Return a clean name that leaves the order of what stands around it alone, also where it is read from the right.

    Examples:
        >>> isolated("price"), ascii(isolated("\u05d0"))
        ('price', "'\\u2068\\u05d0\\u2069'")
    """
    own = clean(name).translate(_ISOLATES)
    return f"\u2068{own}\u2069" if any(bidirectional(character) in ("R", "AL") for character in own) else own


def short(name: str, longest: int = LONGEST) -> str:
    """Return a name cut in the middle where it is too long for a label.

    Examples:
        >>> short("price"), short("a_very_long_name_of_an_output", 13)
        ('price', 'a_very…output')
    """
    if len(name) > longest:
        half = longest // 2
        name = f"{name[:half]}…{name[-half:]}"
    return isolated(name)


def label(name: str, longest: int = LONGEST) -> str:
    """Return a name as a Plotly label: Plotly would read `<b>` and `<a href=...>` as markup.

    Examples:
        >>> label("<b>&")
        '&lt;b&gt;&amp;'
    """
    return html.escape(" ".join(short(name, longest).split()), quote=False)


def percent(share: float | None) -> str:
    r"""Return a share as people read it.

    Examples:
        >>> percent(0.555), percent(0.00004), percent(None)
        ('55.5\xa0%', '0.004\xa0%', '-')
    """
    if share is None or not math.isfinite(share):
        return "-"
    text = f"{100 * share:.1f}" if abs(share) >= 0.0005 or share == 0 else f"{100 * share:.1g}"
    return f"{text}\xa0%"


def number(value: object) -> float | None:
    """Return a finite number, or `None` for anything else a record may hold."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None  # type: ignore[arg-type]  # it is one of both


def shown(value: object) -> str:
    """Return a number of a record as text; a dash where there is none, words where it is NaN or infinite.

    Examples:
        >>> shown(0.25), shown(None), shown(float("nan"))
        ('0.2500', '-', 'not a number')
    """
    return NOT_A_NUMBER if isinstance(value, float) and not math.isfinite(value) else digits(number(value))


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return names as a sentence holds them.

    Examples:
        >>> listed(["a", "b", "c"]), listed(["a"]), listed(list("abcdef"), 2)
        ('a, b and c', 'a', 'a, b and 4 more')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def unlike(names: Iterable[str]) -> list[str]:
    """Return names with a number behind those that came before.

    Examples:
        >>> unlike(["run", "run", "b"])
        ['run', 'run (2)', 'b']
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
