"""docs/extending.md, followed to the letter from an empty folder."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()
FILES = re.findall(r"```(?:python|yaml) (\S+)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```bash\npython -m sivgap\.train (.*?)\n```", PAGE, re.DOTALL)
SMALL = ("model=tiny_xs", "measure.train_prompts=8", "measure.test_prompts=8", "prompts_per_epoch=16", "n=2",
         "epochs=0.5", "tracking.wandb.mode=disabled")  # fmt: skip


@pytest.mark.parametrize("typed", COMMANDS)
def test_every_command_of_the_page_works(typed, command, tmp_path):
    for name, text in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = command("train", *shlex.split(typed), *SMALL)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.splitlines()[-1]).is_dir()
