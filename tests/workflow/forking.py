"""Python modules that start at once: this process has imported Snakemake, and forks for each of them.

Snakemake is asked here for some hundred plans, and takes longer to be imported than to make one. Each
line of the standard input is a JSON list: the checkout to run in, the file that takes what is said, the
module to run as `python -m` does, its arguments. The exit status of each goes to the standard output.
"""

import json
import os
import runpy
import signal
import sys

# What the Snakefile needs from elsewhere. Nothing of the project: checkouts differ.
import jsonschema  # noqa: F401
import pandas  # noqa: F401
import snakemake.cli  # noqa: F401
import yaml  # noqa: F401

LIMIT = 300  # seconds


def run(checkout: str, said: str, module: str, arguments: list[str]) -> int:
    """Run a module in this process, which is a child of its own, and return its exit status."""
    signal.alarm(LIMIT)
    stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.chdir(checkout)
    sys.path.insert(0, checkout)
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else bool(end.code)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = 1
            try:
                status = run(*json.loads(line))
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
