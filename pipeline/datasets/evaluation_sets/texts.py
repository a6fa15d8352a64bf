"""Corruptions of texts by severity: typing errors, case, truncation. What is drawn is drawn from each instance's id.

There is no benchmark whose severities are everybody's. Typing errors are those that Pruthi, Dhingra and Lipton, "Combating
Adversarial Misspellings with Robust Word Recognition", ACL 2019, study (a letter swapped with the next, left out, doubled,
or replaced by a neighbour on the keyboard), of a share of the letters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["TEXT_CORRUPTIONS", "TextCorruption"]

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    letter: [row[at + step] for step in (-1, 1) if 0 <= at + step < len(row)]
    for row in _ROWS
    for at, letter in enumerate(row)
}


@dataclass(frozen=True, slots=True)
class TextCorruption:
    """A kind of corruption, with its strength at each severity from 1 to 5."""

    apply: Callable[[str, float, np.random.Generator], str]
    strengths: tuple[float, float, float, float, float]

    def corrupted(self, text: str, severity: int, draws: np.random.Generator) -> str:
        """Return a text.

        Args:
            text: as it was written.
            severity: 1 to 5.
            draws: of this instance.
        """
        return self.apply(text, self.strengths[severity - 1], draws)


def _typos(text: str, strength: float, draws: np.random.Generator) -> str:
    """Mistype letters; the strength is the share of them."""
    letters = list(text)
    at = 0
    while at < len(letters):
        if letters[at].isalpha() and draws.random() < strength:
            at = _mistype(letters, at, draws)
        at += 1
    return "".join(letters)


def _mistype(letters: list[str], at: int, draws: np.random.Generator) -> int:
    """Mistype one letter in place; return the last place that was written."""
    kind = int(draws.integers(4))
    neighbours = _NEIGHBOURS.get(letters[at].lower())
    if kind == 0 and at + 1 < len(letters):
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
        return at + 1
    if kind == 1:
        letters[at] = ""
    elif kind == 2 or not neighbours:  # noqa: PLR2004 - the third of four kinds
        letters[at] *= 2
    else:
        letters[at] = neighbours[int(draws.integers(len(neighbours)))]
    return at


def _capitals(text: str, strength: float, draws: np.random.Generator) -> str:
    """Write words in capitals; the strength is the share of them."""
    return "".join(part.upper() if draws.random() < strength else part for part in _words(text))


def _truncation(text: str, strength: float, draws: np.random.Generator) -> str:
    """Keep the beginning; the strength is the share of the words that is left, one at least."""
    words = text.split()
    return " ".join(words[: max(1, int(len(words) * strength))])


def _words(text: str) -> list[str]:
    """Words and what is between them."""
    parts: list[str] = []
    for letter in text:
        if parts and parts[-1][-1].isspace() == letter.isspace():
            parts[-1] += letter
        else:
            parts.append(letter)
    return parts


TEXT_CORRUPTIONS: Mapping[str, TextCorruption] = {
    "capitals": TextCorruption(_capitals, (0.1, 0.25, 0.5, 0.75, 1.0)),
    "truncation": TextCorruption(_truncation, (0.9, 0.75, 0.6, 0.45, 0.3)),
    "typos": TextCorruption(_typos, (0.01, 0.03, 0.05, 0.08, 0.12)),
}
