"""Programs as trainables: ``tune.command("python train.py --lr {lr}")``."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import string
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.trainable.session import get_trial_dir, get_trial_id, report

#: Seconds between two checks of a file of metrics, and seconds that a program has to end.
_POLL_S = 0.2
_GRACE_S = 5.0


def command(
    program: str | Sequence[str],
    metrics: str | re.Pattern[str] | os.PathLike[str] = "jsonl",
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Command:
    r"""Create a trainable from a program, which each trial runs once.

    The program's output is in the log of the trial. It is ended when its trial is stopped. An exit
    code other than 0 fails the trial::

        tune.run(
            tune.command("python train.py --lr {lr}", metrics=r"loss=(?P<loss>\S+)"),
            config={"lr": tune.loguniform(1e-4, 1e-1)},
        )

    Args:
        program: The program and its arguments, as one str or as a list; it is run without a shell.
            Names in braces are replaced by values of the configuration; ``{optimizer[lr]}`` is a
            nested value, ``{config}`` the whole configuration as JSON, ``{trial_id}`` and
            ``{trial_dir}`` are the trial's.
        metrics: How the program reports. ``"jsonl"``: each line of its output that is a JSON
            object is a result. A regular expression with named groups: each line of the output that
            it matches is a result. A path: each line of that file, a JSON object, is a result; a
            relative path is in the trial's directory.
        cwd: Working directory of the program; by default where the sweep was started.
        env: Environment variables for the program, in addition to those of the trial.

    Raises:
        InvalidArgument: If an argument is invalid.
    """
    return Command(program, metrics, cwd, env)


class Command:
    """Trainable that runs a program; created by `command`."""

    def __init__(
        self,
        program: str | Sequence[str],
        metrics: str | re.Pattern[str] | os.PathLike[str],
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
    ) -> None:
        try:
            self._words = shlex.split(program) if isinstance(program, str) else list(program)
            for word in self._words:
                list(string.Formatter().parse(word))
        except ValueError as error:
            raise InvalidArgument("program", f"got {program!r} ({error}).") from None
        if not self._words:
            raise InvalidArgument("program", "it is empty.", 'Give e.g. "python train.py {lr}".')
        self._pattern = _pattern(metrics)
        self._file = metrics if isinstance(metrics, os.PathLike) else None
        self._cwd = cwd
        self._env = dict(env or {})
        paths = [os.path.join(cwd or "", word) for word in self._words]
        #: Arguments that are files here; they may not be where a trial runs.
        self._files = list(filter(os.path.isfile, paths))
        script = next((word for word in self._words if word.endswith(".py")), self._words[0])
        self.__name__ = re.sub(r"\W", "_", Path(script).stem)

    def __call__(self, config: dict[str, Any]) -> None:
        """Run the program with a configuration and report its results."""
        start = os.environ.get("TUNE_ORIG_WORKING_DIR", "")
        for path in self._files:
            if not os.path.exists(os.path.join(start, path)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        process = subprocess.Popen(
            [self._fill_in(word, config) for word in self._words],
            cwd=self._cwd or start or None,
            env={**os.environ, **self._env},
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        count = 0
        try:
            results = self._read_output(process) if self._file is None else self._read_file(process)
            for result in results:
                count += 1
                report(result)
            code = process.wait()
        finally:
            _end_process(process)
        if code:
            raise TuneError(f"`{self._words[0]}` has ended with exit code {code}; see its output.")
        if not count:
            raise TuneError(f"`{self._words[0]}` has ended without a result: {self._expected()}.")

    def _fill_in(self, word: str, config: dict[str, Any]) -> str:
        values = {"trial_id": get_trial_id(), "trial_dir": get_trial_dir(), **config}
        try:
            return word.format(**{"config": json.dumps(config, default=str), **values})
        except (KeyError, IndexError, AttributeError, TypeError) as error:
            raise InvalidArgument(
                "program",
                f"{word!r} cannot be filled in ({type(error).__name__}: {error}).",
                f"The configuration has {', '.join(map(str, config)) or 'no parameters'}; literal "
                "braces are written as {{ and }}.",
            ) from None

    def _read_output(self, process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            result = _json_object(line) if self._pattern is None else self._match(line)
            if result:
                yield result

    def _read_file(self, process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
        printing = threading.Thread(target=lambda: list(self._read_output(process)), daemon=True)
        printing.start()
        path = Path(get_trial_dir() or ".") / Path(self._file or "")
        read = 0
        ended = False
        while not ended:
            try:
                process.wait(_POLL_S)
                ended = True  # read the file once more after the end
            except subprocess.TimeoutExpired:
                pass
            if not path.exists():
                continue
            with open(path, "rb") as file:
                file.seek(read)
                for line in file:
                    if line.endswith(b"\n") or ended:
                        read += len(line)
                        if result := _json_object(line):
                            yield result
        printing.join(_GRACE_S)

    def _match(self, line: str) -> dict[str, Any] | None:
        match = self._pattern and self._pattern.search(line)
        if not match:
            return None
        return {name: _number(text) for name, text in match.groupdict().items() if text is not None}

    def _expected(self) -> str:
        if self._file is not None:
            return f"{os.fspath(self._file)} has no line with a JSON object"
        if self._pattern is not None:
            return f"no line that it printed has {self._pattern.pattern!r}"
        return "no line that it printed is a JSON object"


def _pattern(metrics: Any) -> re.Pattern[str] | None:
    if metrics == "jsonl" or isinstance(metrics, os.PathLike):
        return None
    try:
        pattern = re.compile(metrics)
        if pattern.groupindex:
            return pattern
        problem = "it has no named group"
    except (re.error, TypeError) as error:
        problem = str(error)
    raise InvalidArgument(
        "metrics",
        f"got {metrics!r} ({problem}).",
        r'Give "jsonl", a regular expression such as r"loss=(?P<loss>\S+)", or a Path.',
    )


def _json_object(line: str | bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _end_process(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
