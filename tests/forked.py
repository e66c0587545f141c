"""Commands in a process forked from one that has the libraries loaded: a fresh interpreter takes 4 s to read them.

python tests/forked.py        reads requests, a line of JSON each; answers with a process and then its exit status
"""

import json
import os
import runpy
import sys

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "pandas", "pyarrow", "matplotlib.pyplot", "lmfit", "hydra")


def main() -> None:
    for library in LIBRARIES:
        __import__(library)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            command(**json.loads(line))
            return
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def command(name: str, arguments: list[str], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    """``python -m sivgap.NAME ARGUMENTS`` in `folder`, as this process; its words go to the files `out` and `err`."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in ((0, os.devnull), (1, out), (2, err)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.path[:1] = [folder, environment["PYTHONPATH"]]
    sys.argv = [f"sivgap.{name}", *arguments]
    runpy.run_module(f"sivgap.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
