"""Groups of options on the command line."""

import re
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from systolith.options import Accelerator, EncoderOptions, MemoryOptions, UsageError, grouped
from systolith.rtl.config import PRESETS, ConfigError, preset


def invoke(*arguments: str) -> dict[str, Any]:
    """What a command of two groups and two options of its own is given."""
    given: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    @grouped
    def command(
        *,
        name: Annotated[str, typer.Argument()],
        memory: MemoryOptions,
        loud: Annotated[bool, typer.Option()] = False,
        accelerator: Accelerator,
    ) -> None:
        """Its help."""
        given.update(name=name, memory=memory, loud=loud, accelerator=accelerator)

    result = CliRunner().invoke(app, arguments)
    return given or {"status": result.exit_code, "output": result.output}


def test_a_group_takes_its_options_and_leaves_the_others() -> None:
    given = invoke("here", "--latency", "7", "--loud", "--rows", "3", "--config", "c.toml")
    assert given == {
        "name": "here",
        "memory": MemoryOptions(latency=7, bandwidth=0),
        "loud": True,
        "accelerator": Accelerator(config=Path("c.toml"), rows=3),
    }
    assert invoke("here")["memory"] == MemoryOptions(latency=30)


def test_help_and_bounds_are_those_of_the_fields() -> None:
    found = invoke("--help")
    assert found["status"] == 0
    assert all(part in found["output"] for part in ("Its help.", "--latency", "1<=x<=2147483647", "--preset", "--loud"))
    for name, value, bound in (
        ("--latency", 0, "greater than or equal to 1"),
        ("--latency", 1 << 31, "less than or equal to 2147483647"),
        ("--bandwidth", -1, "greater than or equal to 0"),
        ("--bandwidth", 1 << 31, "less than or equal to 2147483647"),
    ):
        found = invoke("here", name, str(value))
        assert found["status"] == 2
        assert f"'{name}': Input should be {bound}" in " ".join(re.sub("[│\n]", " ", found["output"]).split())
    assert invoke()["status"] == 2


@pytest.mark.parametrize("name", PRESETS)
def test_an_accelerator_is_a_preset_at_any_size(name: str) -> None:
    assert Accelerator(preset=name).configuration() == preset(name)
    assert Accelerator().configuration(name) == preset(name)
    resized = Accelerator(preset=name, dim=6).configuration()
    assert (resized.rows, resized.cols) == (6, 6)
    assert Accelerator(preset=name, cols=6).configuration().rows == preset(name).rows


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="--preset and --config exclude each other"):
        Accelerator(preset="tiny", config=Path("c.toml")).configuration()
    with pytest.raises(UsageError, match="--dim excludes --rows and --cols"):
        Accelerator(dim=4, rows=4).configuration()


def test_named_says_whether_an_accelerator_is_named() -> None:
    assert not Accelerator().named
    assert Accelerator(rows=4).named


def test_a_random_encoder_has_the_sizes_that_are_named() -> None:
    model = EncoderOptions(model="random", hidden=16, heads=2, ffn=24, seq=5, layers=1).load()
    assert model.prepare("").shape == (5, 16)
    assert len(model.quantized.layers) == 1
    assert EncoderOptions(model="random", layers=1).load().prepare("").shape == (32, 64)


def test_options_that_say_nothing_of_the_model_are_refused() -> None:
    with pytest.raises(UsageError, match="--seq is for --model random, not minilm-l6"):
        EncoderOptions(seq=0).load()
    with pytest.raises(UsageError, match="--text is for models that read text; the input of --model random follows"):
        EncoderOptions(model="random", text="").load()


def test_an_empty_name_is_no_preset() -> None:
    with pytest.raises(ConfigError, match="preset ''"):
        Accelerator(preset="").configuration()
