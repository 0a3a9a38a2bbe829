"""Names of the classes and functions in a pickle, read from its opcodes: nothing of it is executed."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import IO

PICKLES = 5  # in a torch file of before 1.6: magic number, protocol, system, object, keys of storages
TENSORS = ("torch.", "collections.OrderedDict", "_codecs.encode")  # what a file of tensors is made of
PADDLE = "StructuredToParameterName@@"  # a key of paddle.save's files


def foreign_names(data: IO[bytes]) -> list[str]:
    """Return the names in the pickles at the start of ``data`` that no file of plain tensors has, e.g. "argparse.Namespace"."""
    return [name for name in dict.fromkeys(globals_in(data)) if not name.startswith(TENSORS)]


def globals_in(data: IO[bytes]) -> Iterator[str]:
    """Yield "module.name" of every global that the pickles would import, as far as they can be parsed."""
    for _ in range(PICKLES):
        try:
            yield from _globals_in_one(data)
        except (ValueError, IndexError, KeyError, UnicodeDecodeError, MemoryError, OverflowError):
            return  # the end of the pickles, or no pickle at all


def _globals_in_one(data: IO[bytes]) -> Iterator[str]:
    """Follow texts on the stack and in the memo: STACK_GLOBAL takes the last two."""
    texts: list[str] = []
    memo: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
            yield f"{texts[-2]}.{texts[-1]}"
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else ""
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(str(argument))] = texts[-1] if texts else ""
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            texts.append(memo.get(int(str(argument)), ""))
        elif isinstance(argument, str):
            texts.append(argument)


def is_paddle(head: bytes) -> bool:
    """Return whether the beginning of a pickle is of ``paddle.save``."""
    return PADDLE.encode() in head or b"paddle" in head.lower()
