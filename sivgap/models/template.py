"""Chat templates: programs that come with a model, rendered where they can do no harm.

transformers runs them in Jinja's sandbox, which keeps them from the machine, but not from running for ever or asking
for all memory. So they have a deadline of processor time and a limit of memory, and a longest output.
"""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from sivgap.errors import RunError

DEADLINE = 10.0
"""Seconds of processor time; ordinary templates take a thousandth of one."""
MEMORY = 2 * 2**30
"""Bytes that rendering may take beyond what the process has."""
LONGEST = 4_000_000
"""Characters that a template may write beyond ten times the conversation."""

_WRONG = (TemplateError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError, AttributeError)
"""What a template that is broken, or breaks out of the sandbox, raises."""


class _TooLong(Exception):  # noqa: N818
    pass


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[dict[str, str]],
    variables: Mapping[str, object] | None = None,
    answer: bool = True,
) -> str:
    """`messages` in the tokenizer's chat template, with the beginning of an answer unless `answer` is false.

    Args:
        tokenizer: Whose template it is.
        messages: Each with its ``role`` (system, user, assistant) and ``content``.
        variables: What else the template is told, such as ``enable_thinking``.

    Raises:
        RunError: If the template cannot be rendered, takes no system message where there is one, or takes more time,
            memory or text than any needs.
    """
    system = messages[0]["content"].strip() if messages[0]["role"] == "system" else ""
    try:
        text = _rendered(tokenizer, messages, variables, answer)
    except RunError:
        if not system:
            raise
        _rendered(
            tokenizer, messages[1:], variables, answer
        )  # where this fails as well, the system message is not the reason
        raise _no_system_message("refuses") from None
    if system not in text:
        raise _no_system_message("leaves out")
    return text


def _rendered(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[dict[str, str]],
    variables: Mapping[str, object] | None,
    answer: bool,
) -> str:
    try:
        with _limited():
            text = tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=answer, **(variables or {})
            )
    except _TooLong:
        raise _refused(f"ran for more than {DEADLINE:g} s") from None
    except MemoryError:
        raise _refused(f"asked for more than {MEMORY // 2**30} GiB") from None
    except _WRONG as error:
        raise _refused(f"cannot be rendered: {type(error).__name__}: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(text, str) or len(text) > LONGEST + 10 * sum(len(message["content"]) for message in messages):
        raise _refused("wrote more than any conversation needs")
    return text


def _no_system_message(does: str) -> RunError:
    return RunError(
        f"the model's chat template {does} a system message; set system_prompt=null, and put its words into a prompt "
        "file of your own (dataset.prompt=FILE)"
    )


def _refused(reason: str) -> RunError:
    return RunError(f"the model's chat template {reason}; set model.chat_template=false, or mend the template")


@contextmanager
def _limited() -> Iterator[None]:
    """A deadline and a limit of memory; only the main thread can be given them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGVTALRM, late)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if pages is not None:
        limit = pages * resource.getpagesize() + MEMORY
        allowed = [known for known in (soft, hard) if known != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min([limit, *allowed]), hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, DEADLINE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
