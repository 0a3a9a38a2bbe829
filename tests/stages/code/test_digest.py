"""What an edit of a file's text changes in its digest, and what it does not."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from components.core.settings import ROOT
from components.stages.code import digest as module
from components.stages.code.digest import code_digest, text_digest

BEFORE = '''"""A module."""
import os


class Line:
    """A line."""

    slope = 1.5  # per step

    def at(self, x, *, name="y"):
        """Its height."""
        if x is None:
            return None
        return f"{name}: {self.slope * x:.2f}" + " units"
'''


def changed(old, new):
    assert old in BEFORE
    return text_digest(BEFORE.replace(old, new)) != text_digest(BEFORE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""\n', ""),
        ('"""A module."""', '"""Another."""'),
        ('    """A line."""\n', '    """One.\n\n    More of it.\n    """\n'),
        ("# per step", "# per second"),
        ("  # per step", ""),
        ("\n\n\nclass", "\n\nclass"),
        ("    slope = 1.5", "    slope = (\n        1.5\n    )"),
        ('(self, x, *, name="y")', "(\n        self,\n        x,\n        *,\n        name='y',\n    )"),
        ("import os\n", "import os  # noqa\n\n"),
        ('" units"', '(" " "units")'),
    ],
)
def test_comments_docstrings_and_layout_count_for_nothing(old, new):
    assert not changed(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.5", "1.25"),
        ("1.5", "3"),
        ("self.slope * x", "x * self.slope"),
        (":.2f", ":.3f"),
        ('" units"', '" Units"'),
        ('name="y"', 'name="z"'),
        ("x is None", "x is not None"),
        ("return None", "return 0"),
        ("import os", "import sys"),
        ("{name}: ", "{name!r}: "),
    ],
)
def test_anything_else_counts(old, new):
    assert changed(old, new)


def test_the_value_of_a_text_that_is_used_counts():
    assert text_digest('x = """a"""') != text_digest('x = """b"""')


def test_nested_bodies_lose_their_texts_too():
    loop = "for i in range(3):\n    {}\n    print(i)\n"
    assert text_digest(loop.format('"a note"')) == text_digest(loop.format('"another"'))


def versions():
    """Other interpreters of the versions that the project supports, as far as they are installed."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions", Path("/usr/bin"), Path("/usr/local/bin")]
    found = {}
    for root in roots:
        for path in [*root.glob("3.*/bin/python3"), *root.glob("python3.1[0-9]")]:
            done = subprocess.run(
                [path, "-c", "import sys; print(*sys.version_info[:2])"], check=False, capture_output=True, text=True
            )
            if not done.returncode and tuple(map(int, done.stdout.split())) >= (3, 11):
                found.setdefault(done.stdout.strip(), path)
    return found


@pytest.mark.slow  # above: what counts as a change under this Python; this reads all files under every one that is installed
def test_every_supported_python_gives_the_same_digests():
    """On all files that have a digest, and on what is written differently from 3.12 on: f-strings."""
    text = "x = f'{a!r:>{w}} {{}} {b=} ' 'c' f\"{d['e']}\"\ndef g(*, h: int | None = None) -> None: ...\n"
    files = sorted(str(path) for path in (ROOT / "components").rglob("*.py"))
    program = (
        "import importlib.util, json, sys\nfrom pathlib import Path\n"
        "spec = importlib.util.spec_from_file_location('digest', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\n"
        "text, *files = json.load(sys.stdin)\n"
        "print(json.dumps([module.text_digest(text), *(module.code_digest(Path(file)) for file in files)]))\n"
    )
    ours = [text_digest(text), *(code_digest(Path(file)) for file in files)]
    others = versions()
    for version, python in others.items():
        command = [str(python), "-c", program, str(Path(module.__file__))]
        done = subprocess.run(command, input=json.dumps([text, *files]), capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == ours, f"Python {version}"
    if len(others) < 2:
        pytest.skip(f"no other Python is installed; compared: {', '.join(others) or 'none'}")
