"""Which tests could notice a fault in a file: those that import it, the nearest first."""

import ast
import sys
from collections import deque
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

#: Where the packages and the tests of the project lie.
SOURCES = ("hw", "sw", "sim")
#: Suites whose time is spent in building simulators and running tools, for which the programs on the RTL stand; and
#: those of what is made of results.
_LEFT_OUT = (
    "tests/sim", "tests/runtime", "tests/analysis", "tests/verification", "tests/test_cli.py", "tests/survey",
    "tests/sweep", "tests/synthesis", "tests/hw/export/test_bundle.py", "tests/hw/test_verilog.py",
)  # fmt: skip
#: Of one test's own time, what a step further from the file weighs, in seconds.
_STEP = 5.0


class TestMap:
    """The imports of a source tree.

    Parameters
    ----------
    root : Path
        The root of the project.
    """

    __test__ = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = {
            ".".join(path.relative_to(root / source).with_suffix("").parts).removesuffix(".__init__"): path
            for source in SOURCES
            for path in (root / source).rglob("*.py")
        }
        self._imports = {name: self._imported(path, name) for name, path in self._files.items()}

    def module(self, path: str) -> str:
        """The module of a file, given by its path relative to the root."""
        return next(name for name, file in self._files.items() if file == self._root / path)

    def mirrored(self, path: str) -> str | None:
        """The file of tests that mirrors a source file, if there is one."""
        source, _, inner = path.split("/", 2)
        package, _, rest = inner.partition("/")
        place = rest if source == "hw" else f"{package}/{rest}"
        test = Path("tests", "hw" if source == "hw" else "", place)
        mirrored = test.with_name(f"test_{test.name}")
        return str(mirrored) if (self._root / mirrored).exists() else None

    def tests(self, path: str, seconds: dict[str, float]) -> list[str]:
        """Test files that import the file, directly or not: first the mirrored one, then near and quick ones.

        ``seconds`` is what the test files are known to take. For hardware only the tests of hardware count.
        """
        suite = "tests/hw" if path.startswith("hw/") else "tests"
        module, mirrored = self.module(path), self.mirrored(path)
        ranked = []
        for test in sorted((self._root / suite).rglob("test_*.py")):
            name = str(test.relative_to(self._root))
            if not name.startswith(_LEFT_OUT):
                distance = self._distance(test, module)
                if distance is not None:
                    ranked.append((name != mirrored, _STEP * distance + seconds.get(name, 0.0), name))
        return [name for _, _, name in sorted(ranked)]

    def fingerprint(self, starts: Iterable[str]) -> str:
        """A digest of all that these files (relative to the root) and modules may depend on.

        These are the modules that they import, directly or not, what lies beside or below those and is no Python,
        the ``conftest.py`` of tests, and the project's settings.
        """
        files = {self._root / "pyproject.toml"}
        waiting, seen = deque[str](), set[str]()
        for start in starts:
            if start in self._files:
                waiting.append(start)
                continue
            test = self._root / start
            own = [test, *(folder / "conftest.py" for folder in test.parents if folder.is_relative_to(self._root))]
            for path in filter(Path.exists, own):
                files.add(path)
                waiting.extend(self._imported(path, ""))
        while waiting:
            name = waiting.popleft()
            if name not in seen:
                seen.add(name)
                waiting.extend(self._imports[name])
        folders = {self._files[name].parent for name in seen}
        files |= {self._files[name] for name in seen}
        files |= {p for folder in folders for p in folder.rglob("*.*") if p.suffix not in (".py", ".pyc")}
        digest = sha256(sys.version.encode())
        for path in sorted(files):
            digest.update(str(path.relative_to(self._root)).encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def _distance(self, test: Path, module: str) -> int | None:
        """Imports from a test to a module, or None if it does not import it."""
        queue = deque((name, 1) for name in self._imported(test, ""))
        seen: set[str] = set()
        while queue:
            name, steps = queue.popleft()
            if name == module:
                return steps
            if name not in seen:
                seen.add(name)
                queue.extend((other, steps + 1) for other in self._imports.get(name, ()))
        return None

    def _imported(self, path: Path, module: str) -> set[str]:
        """Modules of the project that a file imports, anywhere in it."""
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = str(node.module)
                if node.level:
                    package = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
                    base = ".".join([*package[: len(package) + 1 - node.level], *filter(None, [node.module])])
                found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                # The name of a module that is imported when it is needed.
                found.add(node.value)
        return {name for name in found if name in self._files}
