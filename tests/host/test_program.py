"""The host's kernels as a compiled program."""

import pytest

from systolith.host.program import HostError, Image, compile_kernels

pytest.importorskip("ziglang")


def test_every_kernel_has_an_address_within_a_segment(tmp_path):
    image = compile_kernels(cache=tmp_path)
    assert {"softmax", "gelu", "layernorm", "residual", "quantize", "requantize_sums"} <= image.functions.keys()
    for address in image.functions.values():
        assert any(start <= address < start + len(content) for start, content in image.segments)
    assert compile_kernels(cache=tmp_path) == image
    assert len(list(tmp_path.iterdir())) == 1


def test_code_that_does_not_compile_is_refused(tmp_path):
    source = tmp_path / "broken.c"
    source.write_text("void f(void) { undeclared(); }\n")
    with pytest.raises(HostError, match=r"does not compile: .*broken\.c:1:16: error: .*undeclared"):
        compile_kernels(source, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\x7fELF", "end within a header: 4 bytes"), (b"\0" * 200, "no ELF64 file for RISC-V")],
)
def test_files_that_are_no_program_are_refused(content, message):
    with pytest.raises(HostError, match=message):
        Image.parse(content)
