"""The vocabulary of a language model as bytes: which of its tokens may follow where an automaton over bytes stands.

A tokenizer.json is read by the `tokenizers` library, which runs no code of the file. Byte-level vocabularies (GPT-2, Llama 3)
and those of pieces with bytes to fall back on (Llama 2) are understood.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from twinlake.core.errors import ConfigError
from twinlake.models.spelling import Spelling

NEEDED = (*range(0xC0), *range(0xC2, 0xF5))
CACHED = 200_000
Trie = dict[int, Any]
HERE = -1


@dataclass(frozen=True)
class Choices:
    """The tokens that may be drawn in a state, int64 [n], the state behind each, and how many bytes each spells."""

    ids: npt.NDArray[np.int64]
    states: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


@dataclass
class Vocabulary:
    """`source`: the content of a tokenizer.json. Errors: ConfigError for a vocabulary that can't spell every text."""

    source: str
    tokens: list[bytes | None] = field(init=False, repr=False)
    longest: int = field(init=False, repr=False)
    _trie: Trie = field(init=False, repr=False)
    _tokenizer: Any = field(init=False, repr=False)
    _known: dict[bytes, tuple[int, ...]] = field(init=False, repr=False, default_factory=dict)
    _choices: dict[tuple[int, int], Choices] = field(init=False, repr=False, default_factory=dict)
    _spellings: list[Spelling] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(self.source)
            self.tokens = _bytes_of(self._tokenizer, json.loads(self.source))
        except ConfigError:
            raise
        except Exception:  # the library raises plain Exception for what it can't read
            raise ConfigError("model.llm.path: its tokenizer.json can't be read") from None
        self._trie = {}
        for number, spelled in enumerate(self.tokens):
            if spelled:
                node = self._trie
                for byte in spelled:
                    node = node.setdefault(byte, {})
                node.setdefault(HERE, number)
        missing = [byte for byte in NEEDED if HERE not in self._trie.get(byte, {})]
        if missing:
            raise ConfigError(
                f"model.llm.path: its vocabulary has no token for {len(missing)} of the bytes that text is made of; "
                "take a model with a byte-level tokenizer, or one that falls back on bytes"
            )
        self.longest = max(len(t) for t in self.tokens if t)

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[str]]:
        return Vocabulary, (self.source,)

    def prompt(self, text: str) -> list[int]:
        """The tokens of a prompt, with what the tokenizer puts before every text."""
        return [int(i) for i in self._tokenizer.encode(text).ids]

    def encode(self, text: bytes) -> tuple[int, ...]:
        """Tokens that spell just these bytes of UTF-8: those of the tokenizer, or where it adds something, the longest ones."""
        found = self._known.get(text)
        if found is None:
            ids = tuple(self._tokenizer.encode(text.decode("utf-8"), add_special_tokens=False).ids)
            found = ids if b"".join(self.tokens[i] or b"\xff" for i in ids) == text else self._longest(text)
            if len(self._known) < CACHED:
                self._known[text] = found
        return found

    def _longest(self, text: bytes) -> tuple[int, ...]:
        out, at = [], 0
        while at < len(text):
            node, best, end, place = self._trie, -1, at, at
            while place < len(text) and text[place] in node:
                node, place = node[text[place]], place + 1
                if HERE in node:
                    best, end = node[HERE], place
            if best < 0:
                raise ConfigError(f"model.llm.path: its vocabulary has no token for the byte {text[at]:#04x}")
            out.append(best)
            at = end
        return tuple(out)

    def choices(self, spelling: Spelling, state: int) -> Choices:
        """What may be drawn where `spelling` is in `state`: all tokens whose bytes it takes. Kept once found."""
        found = self._choices.get((id(spelling), state))
        if found is None:
            if not any(s is spelling for s in self._spellings):
                self._spellings.append(spelling)  # its id stays its own
            ids: list[tuple[int, int, int]] = []
            stack = [(self._trie, state, 0)]
            while stack:
                node, at, length = stack.pop()
                arcs = spelling.arcs(at)
                for byte in arcs.keys() & node.keys():
                    below, after = node[byte], arcs[byte]
                    if HERE in below:
                        ids.append((below[HERE], after, length + 1))
                    stack.append((below, after, length + 1))
            columns = np.array(sorted(ids), np.int64).reshape(-1, 3)
            found = Choices(columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy())
            self._choices[id(spelling), state] = found
        return found

    def forget(self) -> None:
        """Lets go of all kept choices."""
        self._choices.clear()
        self._spellings.clear()


def _bytes_of(tokenizer: Any, source: dict[str, Any]) -> list[bytes | None]:
    """The bytes of each token; None for special ones, and for others that no text is made of."""
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)
    out: list[bytes | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
    byte_level = '"ByteLevel"' in json.dumps([source.get("decoder"), source.get("pre_tokenizer")])
    byte_of = {char: byte for byte, char in _byte_characters().items()}
    for token, number in vocabulary.items():
        if byte_level:
            out[number] = bytes(byte_of[c] for c in token) if all(c in byte_of for c in token) else None
        elif len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            out[number] = bytes([int(token[3:5], 16)])
        else:
            out[number] = token.replace("\u2581", " ").encode("utf-8")
    for added in source.get("added_tokens", ()):
        if added["id"] < len(out):
            out[added["id"]] = None
    return out


def _byte_characters() -> dict[int, str]:
    """The printable character that byte-level vocabularies (Radford et al., 2019) write for each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(0x100) if b not in set(plain)]
    return {b: chr(b) for b in plain} | {b: chr(0x100 + n) for n, b in enumerate(others)}
