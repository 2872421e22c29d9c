"""Long curves made short enough to draw: the first, the last, and each stretch's lowest and highest stay."""

from __future__ import annotations

from collections.abc import Sequence


def thin(values: Sequence[float | None], most: int) -> list[int]:
    """Return at most `most` positions (4 or more): ends, and lowest and highest of stretches of equal length.

    Examples:
        >>> thin([0.0, 0.0, 9.0, 0.0, 0.0, -9.0, 0.0, 0.0], 6)
        [0, 1, 2, 5, 6, 7]
        >>> thin([1.0, 2.0], 6)
        [0, 1]
    """
    count = len(values)
    if count <= most:
        return list(range(count))
    stretches = (most - 2) // 2
    kept = {0, count - 1}
    for i in range(stretches):
        inside = range(1 + i * (count - 2) // stretches, 1 + (i + 1) * (count - 2) // stretches)
        known = [(value, j) for j in inside if (value := values[j]) is not None]
        if known:
            kept |= {min(known)[1], max(known)[1]}
    return sorted(kept)


def spaced(count: int, most: int) -> list[int]:
    """Return at most `most` positions at even distances, the first and the last among them.

    Examples:
        >>> spaced(10, 4), spaced(2, 4), spaced(0, 4)
        ([0, 3, 6, 9], [0, 1], [])
    """
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
