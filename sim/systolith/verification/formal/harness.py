"""What a proof is made of: a real module, free inputs, assumptions, assertions and covers."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Cover, Fragment, Instance, Module, Signal, Value
from amaranth.lib.wiring import In


class Harness:
    """A module under proof and the properties around it.

    Every input of a placed component, and the reset, is free: the solver chooses it anew in every cycle. Properties
    hold in every cycle, the reset's included; their own registers (:meth:`past`, ``m.d.sync``) are reset with the
    design, so a proof covers a reset at any cycle, and registers without reset keep what they held.
    """

    def __init__(self) -> None:
        self.m = Module()
        self._inputs: dict[int, Any] = {}
        self._texts: dict[str, str] = {}

    def place(self, component: Any, name: str = "dut") -> "Placed":
        """Put the component in; all of its inputs are free until :meth:`tie` drives them."""
        for _, member, value in component.signature.flatten(component):
            if member.flow is In:
                self._inputs[id(Value.cast(value))] = Value.cast(value)
        return self.place_plain(component, name)

    def place_plain(self, elaboratable: Any, name: str = "dut") -> "Placed":
        """The same for a module without a signature (``amaranth.lib.fifo``); the caller drives its inputs."""
        fragment = Fragment.get(elaboratable, None)
        self.m.submodules[name] = fragment
        return Placed(fragment)

    def tie(self, signal: Any, value: Any) -> None:
        """Drive an input of a placed component instead of leaving it free."""
        self._inputs.pop(id(Value.cast(signal)), None)
        self.m.d.comb += Value.cast(signal).eq(value)

    def free(self, shape: Any, name: str) -> Signal:
        """A value that the solver chooses in every cycle."""
        signal = Signal(shape, name=name)
        self._inputs[id(Value.cast(signal))] = Value.cast(signal)
        return signal

    def constant(self, shape: Any, name: str) -> Signal:
        """A value that the solver chooses once, for all cycles."""
        signal = Signal(shape, name=name)
        value = Value.cast(signal)
        self.m.submodules[f"any_{name}"] = Instance("$anyconst", ("p", "WIDTH", len(value)), ("o", "Y", value))
        return signal

    def past(self, value: Any, name: str = "past") -> Signal:
        """``value`` one cycle ago; 0 after a reset."""
        register = Signal.like(Value.cast(value), name=name, init=0)
        self.m.d.sync += register.eq(value)
        return register

    def assume(self, condition: Any) -> None:
        """What the proof takes for granted of the surroundings."""
        self.m.d.comb += Assume(condition, src_loc_at=1)

    def always(self, condition: Any, text: str) -> None:
        """What is to hold in every cycle; ``text`` is shown if it does not."""
        self._remember(text)
        self.m.d.comb += Assert(condition, src_loc_at=1)

    def stable(self, valid: Any, ready: Any, payload: Any, name: str) -> None:
        """The rule of a stream or AXI channel: what is offered stays, unchanged, until it is taken."""
        self._remember(f"{name}: offered, then withdrawn or changed")
        signal = name.replace(" ", "_")
        waiting = self.past(valid & ~ready, f"{signal}_waiting")
        before = self.past(payload, f"{signal}_before")
        self.m.d.comb += Assert(~waiting | (valid & (Value.cast(payload) == before)), src_loc_at=1)

    def cover(self, condition: Any) -> None:
        """What must be able to happen, so that the assumptions do not rule out everything."""
        self.m.d.comb += Cover(condition, src_loc_at=1)

    def _remember(self, text: str) -> None:
        caller = sys._getframe(2)
        self._texts.setdefault(f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}", text)

    def text_of(self, location: str) -> str:
        """The text of the assertion at ``file:line``."""
        return self._texts.get(location, location)

    def rtlil(self) -> str:
        text: str = rtlil.convert(self.m, name="top", ports=list(self._inputs.values()))
        # An instance's type is written as a user's module; this one is Yosys's own cell.
        return text.replace("cell \\$anyconst", "cell $anyconst")


class Placed:
    """Registers and wires inside a placed module, by name; for the invariants that induction needs."""

    def __init__(self, fragment: Any) -> None:
        self.fragment = fragment

    def __getitem__(self, path: str) -> Any:
        """The signal of that dotted path, as in ``walker.offset``; of a structure, a field: ``walker.walked.base``.

        Raises
        ------
        KeyError
            If there is no such signal.
        """
        *modules, name = path.split(".")
        fragment = self.fragment
        while modules and modules[0] in (subfragment[1] for subfragment in fragment.subfragments):
            fragment = fragment.find_subfragment(modules.pop(0))
        fields = [*modules[1:], name] if modules else []
        name = modules[0] if modules else name
        for statements in fragment.statements.values():
            for statement in statements:
                for signal in statement._lhs_signals():
                    if signal.name == name:
                        return signal._format._fields[fields[0]]._chunks[0][0] if fields else signal
        raise KeyError(path)

    def component(self, path: str) -> Any:
        """The component of that dotted path, with its ports."""
        fragment = self.fragment
        for module in path.split("."):
            fragment = fragment.find_subfragment(module)
        return fragment.origins[0]

    def memory(self, path: str, address: Any, width: int) -> Signal:
        """What the memory of that path holds at ``address``: one more asynchronous read port, for the proof alone."""
        fragment = self.fragment
        for module in path.split("."):
            fragment = fragment.find_subfragment(module)
        word = Signal(width, name=f"peek_{path.replace('.', '_')}")
        fragment.read_port(domain="comb", addr=address, data=word, en=1, transparent_for=())
        return word


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One proof.

    Parameters
    ----------
    name : str
        Unique; names the files of a counterexample.
    build : callable
        Puts a module and its properties into a fresh :class:`Harness`.
    depth : int, cycles
        From the initial state, nothing fails within so many cycles.
    reach : int or None, cycles
        Within so many cycles every cover is reached; None is ``depth``.
    induction : int or None, cycles
        After so many cycles without a failure, from any state whatever, the next one cannot fail either: with the
        check above, the properties hold for ever. None: they are known to hold for ``depth`` cycles only.
    seconds : float
        A proof that takes longer has failed.
    free_memories : bool
        Memories read as anything at all: more than the design can do, so what holds then holds, and sooner.
    quick : bool
        In the share of every test run.
    """

    name: str
    build: Callable[[Harness], None]
    depth: int = 6
    reach: int | None = None
    induction: int | None = 2
    seconds: float = 240
    free_memories: bool = False
    quick: bool = False
