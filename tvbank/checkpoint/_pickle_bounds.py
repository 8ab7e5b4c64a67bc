"""Whether unpickling would end: a look at a pickle's instructions before any is obeyed.

Torch's restricted unpickler executes nothing, but it hashes what a pickle uses as keys. A tuple
that holds a tuple twice, which holds another twice, forty times over, takes 200 bytes and 2**40
steps. Here the instructions are followed with sizes in place of values.
"""

from __future__ import annotations

import pickletools
import warnings
from typing import IO, Any, final

__all__ = ["objection_to"]

#: Deepest nesting of tuples: hashing descends on the processor's stack.
_DEEPEST = 64

#: What hashing may cost: steps for each instruction of the pickle, and for any pickle.
_STEPS_EACH = 64
_STEPS = 2**22

#: Most instructions of a pickle; a checkpoint has some thirty for each tensor.
_MOST = 2**25

#: Instructions of later protocols, which numpy's files have and torch's unpickler does not know.
_PUSHING = ("SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8")

#: Integers from here on have equal hashes in arithmetic sequences: as keys they collide.
_LONG = 2**61 - 1


@final
class _Sized:
    """What stands for a value.

    Attributes:
        size: entries that are met if it is hashed or listed, itself among them.
        depth: of tuples within tuples.
        awkward: how many of those entries have hashes that somebody can choose.
    """

    __slots__ = ("awkward", "depth", "size")

    def __init__(self, size: int = 1, depth: int = 0, awkward: int = 0) -> None:
        self.size, self.depth, self.awkward = size, depth, awkward

    def take(self, items: list[_Sized]) -> None:
        """Hold some more values."""
        self.size += sum(item.size for item in items)
        self.awkward += sum(item.awkward for item in items)


def objection_to(stream: IO[bytes], arrays: bool = False) -> str | None:
    """Follow one pickle until it ends, or until torch's unpickler would refuse it.

    Args:
        stream: the pickle; afterwards it stands after the last instruction that was followed.
        arrays: whether it is read by the unpickler of numpy's arrays, which also knows some
            instructions of later protocols; what that does not know is an objection.

    Returns:
        Why unpickling it would take out of proportion; ``None`` if it would not.
    """
    machine = _Machine(arrays)
    try:
        with warnings.catch_warnings():  # pickletools undoes escapes in texts, and warns of some
            warnings.simplefilter("ignore")
            return _follow(machine, stream, arrays)
    except (ValueError, IndexError, KeyError, AttributeError):
        return "it is truncated or damaged" if arrays else None  # torch's says what is wrong


def _follow(machine: _Machine, stream: IO[bytes], arrays: bool) -> str | None:
    for number, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        if number > _MOST:
            return f"it has more than {_MOST} instructions"
        if not machine.step(operation.name, argument):
            return f"no array needs its instruction {operation.name}" if arrays else None
        if machine.depth > _DEEPEST:
            return f"it nests tuples deeper than {_DEEPEST}"
        if machine.spent > _STEPS + _STEPS_EACH * number:
            return "its keys are nested or alike, so that unpickling it would not end"
    return None


@final
class _Machine:
    """The unpickler's stack and memo, of sizes.

    Attributes:
        spent: steps that hashing has cost so far.
        depth: of the deepest tuple so far.
    """

    def __init__(self, arrays: bool) -> None:
        self._arrays = arrays
        self._stack: list[_Sized] = []
        self._marks: list[list[_Sized]] = []
        self._memo: dict[int, _Sized] = {}
        self._awkward = self.spent = self.depth = 0

    def step(self, name: str, argument: Any) -> bool:
        """Follow one instruction; false if the unpickler knows none of that name."""
        stack = self._stack
        match name:
            case "BINPUT" | "LONG_BINPUT":
                if self._arrays and argument > len(self._memo):  # it would make room up to there
                    return False
                self._memo[argument] = stack[-1]
            case "MEMOIZE" if self._arrays:
                self._memo[len(self._memo)] = stack[-1]
            case "STACK_GLOBAL" if self._arrays:
                self._top(2)
                stack.append(_Sized())
            case "FRAME" if self._arrays:
                pass
            case _ if self._arrays and name in _PUSHING:
                stack.append(_Sized())
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "MARK":
                self._marks.append(stack)
                self._stack = []
            case "TUPLE":
                self._tuple(self._marked())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._tuple(self._top(int(name[-1])))
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET" | "EMPTY_TUPLE":
                stack.append(_Sized())
            case "APPEND" | "APPENDS":
                items = self._top(1) if name == "APPEND" else self._marked()
                self._stack[-1].take(items)
            case "SETITEM" | "SETITEMS":
                items = self._top(2) if name == "SETITEM" else self._marked()
                for key in items[::2]:
                    self._awkward += key.awkward
                    self.spent += key.size + key.awkward * self._awkward
                self._stack[-1].take(items)
            case "REDUCE" | "NEWOBJ" | "BINPERSID":
                [*_, arguments] = self._top(1 if name == "BINPERSID" else 2)
                self._spend(arguments)
                stack.append(_Sized(arguments.size))
            case "BUILD":
                [state] = self._top(1)
                self._spend(state)
                stack[-1].take([state])
            case "PROTO" | "STOP":
                pass
            case (
                "GLOBAL" | "NONE" | "NEWTRUE" | "NEWFALSE" | "BININT" | "BININT1" | "BININT2"
                | "BINFLOAT" | "BINUNICODE" | "SHORT_BINSTRING" | "LONG1"
            ):  # fmt: skip
                long = isinstance(argument, int | float) and abs(argument) >= _LONG
                stack.append(_Sized(awkward=int(long)))
            case _:
                return False
        return True

    def _spend(self, arguments: _Sized) -> None:
        """Count what a constructor may hash: all of its arguments, each beside all others."""
        self.spent += arguments.size + arguments.awkward**2

    def _tuple(self, items: list[_Sized]) -> None:
        made = _Sized(depth=1 + max((item.depth for item in items), default=0), awkward=1)
        made.take(items)
        self.depth = max(self.depth, made.depth)
        self._stack.append(made)

    def _top(self, count: int) -> list[_Sized]:
        if len(self._stack) < count:
            raise IndexError
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _marked(self) -> list[_Sized]:
        items, self._stack = self._stack, self._marks.pop()
        return items
