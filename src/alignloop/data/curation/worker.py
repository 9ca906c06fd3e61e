"""A process that looks at rows: a `Setup` comes in first, then rows by the chunk; what was seen goes out.

It ends when its input does, so it cannot outlive the process that started it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from typing import Any

from alignloop.data.curation.examine import Examiner
from alignloop.errors import AlignloopError


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked too, and closes the pipes
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a detector prints must not stand between the answers
    examiner: Examiner | None = None
    while True:
        answer: tuple[str, Any]
        try:
            question = pickle.load(questions)
            if examiner is None:
                examiner, answer = Examiner(question), ("ready", None)
            else:
                answer = ("looks", examiner(question))
        except EOFError:
            return
        except AlignloopError as error:
            answer = ("error", error)
        except Exception:
            answer = ("bug", traceback.format_exc())
        try:
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:
            os._exit(1)  # the parent is gone; closing the pipe would fail once more


if __name__ == "__main__":
    main()
