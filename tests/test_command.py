"""``sivgap COMMAND``: the same commands by one name."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sivgap.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sivgap", *words], capture_output=True, text=True, cwd=ROOT)


def test_it_is_installed_and_names_every_command():
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["sivgap"]
    assert script == "sivgap.__main__:main"
    assert (Path(sys.executable).parent / "sivgap").exists()
    assert all(name in typed().stdout for name in COMMANDS)
    assert typed("--help").stdout == typed().stdout


@pytest.mark.parametrize("name", ["train", "report", "grade"])
def test_a_command_is_the_module_of_its_name(name):
    here, there = (
        subprocess.run([sys.executable, "-m", *words, "--cfg", "job"], capture_output=True, text=True, cwd=ROOT)
        for words in (("sivgap", name), (f"sivgap.{name}",))
    )
    assert here.returncode == there.returncode == 0, here.stderr
    assert here.stdout == there.stdout


def test_what_is_no_command_is_named_with_the_nearest():
    done = typed("trian", "n=4")
    assert done.returncode == 2
    assert "no command 'trian'; did you mean 'train'?" in done.stderr
    assert typed("train", "n=0").returncode == 2  # the command's own status
