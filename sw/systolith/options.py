"""Groups of options that several commands have: which accelerator, which encoder, which memory."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from systolith.analysis.bench_cases import MemoryTiming
from systolith.mapping.score import OBJECTIVES, check_objective
from systolith.models.registry import Model, load_model
from systolith.rtl.config import Config, preset
from systolith.sim.dram import MOST_TIMING

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")]
#: What is encoded if no text is given.
SENTENCE = "The quick brown fox jumps over the lazy dog."
ModelName = Annotated[str, typer.Option(help="minilm-l6 or random.")]


class UsageError(ValueError):
    """Options that contradict each other or name what is not there."""


@dataclass(frozen=True)
class Accelerator:
    """Which accelerator is meant."""

    preset: Annotated[str | None, typer.Option(help="Named configuration: tiny, small, default or large.")] = None
    config: Annotated[Path | None, typer.Option(help="Configuration in TOML.")] = None
    rows: Annotated[int | None, typer.Option(help="Array rows.")] = None
    cols: Annotated[int | None, typer.Option(help="Array columns.")] = None
    dim: Annotated[int | None, typer.Option(help="Array rows and columns.")] = None

    @property
    def named(self) -> bool:
        """Whether any of the options is given."""
        return self != Accelerator()

    def configuration(self, default: str = "default") -> Config:
        """The accelerator that the options name; ``default`` is the preset if they name none.

        Raises
        ------
        UsageError, ConfigError
            If they exclude each other, or name none.
        """
        rows, cols = self.rows, self.cols
        if self.preset is not None and self.config is not None:
            raise UsageError("--preset and --config exclude each other")
        if self.dim is not None and (rows is not None or cols is not None):
            raise UsageError("--dim excludes --rows and --cols")
        name = default if self.preset is None else self.preset
        config = preset(name) if self.config is None else Config.from_toml(self.config)
        if self.dim is not None:
            rows = cols = self.dim
        if rows is not None or cols is not None:
            config = config.resized(config.rows if rows is None else rows, config.cols if cols is None else cols)
        return config


@dataclass(frozen=True)
class EncoderOptions:
    """Which encoder is meant, and its input."""

    model: ModelName = "minilm-l6"
    text: Annotated[str | None, typer.Option(help=f"The sentence, for models that read text ({SENTENCE!r}).")] = None
    layers: Annotated[int | None, typer.Option(help="Only the first layers.")] = None
    seed: Annotated[int | None, typer.Option(help="Random encoder: seed of it and its input (0).")] = None
    hidden: Annotated[int | None, typer.Option(help="Random encoder: hidden size (64).")] = None
    heads: Annotated[int | None, typer.Option(help="Random encoder: attention heads (2).")] = None
    ffn: Annotated[int | None, typer.Option(help="Random encoder: feed-forward size (128).")] = None
    seq: Annotated[int | None, typer.Option(help="Random encoder: tokens (32).")] = None

    @property
    def sentence(self) -> str:
        """The text, :data:`SENTENCE` if none is given."""
        return SENTENCE if self.text is None else self.text

    def load(self) -> Model:
        """The model, quantised.

        Raises
        ------
        UsageError
            If an option is given that says nothing of this model.
        ModelError
            If there is none of that name or shape.
        """
        of_random = {"seed": self.seed, "hidden": self.hidden, "heads": self.heads, "ffn": self.ffn, "seq": self.seq}
        given = {name: value for name, value in of_random.items() if value is not None}
        if self.model == "random" and self.text is not None:
            raise UsageError("--text is for models that read text; the input of --model random follows from --seed")
        if self.model != "random" and given:
            raise UsageError(f"--{next(iter(given))} is for --model random, not {self.model}")
        tokens = {"tokens": given.pop("seq")} if "seq" in given else {}
        return load_model(self.model, layers=self.layers, **given, **tokens)


@dataclass(frozen=True)
class MemoryOptions:
    """Which memory the accelerator meets."""

    latency: Annotated[int, typer.Option(min=1, max=MOST_TIMING, help="Memory latency, cycles.")] = 30
    bandwidth: Annotated[
        int, typer.Option(min=0, max=MOST_TIMING, help="Memory bandwidth, bytes a cycle; 0 is the bus width.")
    ] = 0

    @property
    def timing(self) -> MemoryTiming:
        return MemoryTiming(self.latency, self.bandwidth)


@dataclass(frozen=True)
class MappingOptions:
    """Which mapping the layers get."""

    mapping: Annotated[str, typer.Option(help="heuristic, search (guided, kept), or a mapping file of a layer.")] = (
        "heuristic"
    )
    objective: Annotated[
        str | None,
        typer.Option(help=f"What --mapping search makes least: {', '.join(OBJECTIVES)}; the first if none is given."),
    ] = None

    @property
    def named(self) -> bool:
        """Whether any of the options is given."""
        return self != MappingOptions()

    @property
    def file(self) -> Path | None:
        """The mapping file, if one is given."""
        return None if self.mapping in ("heuristic", "search") else Path(self.mapping)

    def checked_objective(self) -> str:
        """The objective, cycles if none is given.

        Raises
        ------
        MappingError
            If there is no such one.
        UsageError
            If one is given and nothing is searched for.
        """
        if self.objective is None:
            return OBJECTIVES[0]
        check_objective(self.objective)
        if self.mapping != "search":
            raise UsageError("--objective says what --mapping search makes least, and no mapping is searched for")
        return self.objective


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` as Typer wants it: each parameter that is a group of options becomes the options of the group."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        group = hints[parameter.name]
        if not is_dataclass(group):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=group))
            continue
        groups[parameter.name] = group
        types = get_type_hints(group, include_extras=True)
        for field in fields(group):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            parameters.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=types[field.name]
                )
            )

    @wraps(command)
    def with_groups(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        command(**options)

    with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return with_groups
