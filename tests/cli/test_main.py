import os
import subprocess
import sys

import pytest

from prefect_tune._version import __version__
from prefect_tune.cli import main as cli
from prefect_tune.cli.commands import EXIT_UNREAD


def run_and_exit(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


def test_without_a_command_it_lists_the_commands(capsys):
    assert run_and_exit() == 0
    out = capsys.readouterr().out
    assert "quickstart" in out
    assert "version" in out


def test_help_imports_neither_a_command_nor_a_heavy_library():
    script = (
        "import sys\n"
        "from prefect_tune.cli import main as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'sklearn', 'numpy', 'prefect', 'distributed', "
        "'prefect_tune.cli.quickstart.command'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version_option(capsys):
    assert run_and_exit("--version") == 0
    assert capsys.readouterr().out == f"prefect-tune {__version__}\n"


def test_version_command_names_what_it_works_with(capsys):
    assert cli.main(["version"]) == 0
    out = capsys.readouterr().out
    assert f"prefect-tune {__version__}" in out
    assert "python " in out
    assert "distributed " in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["quikstart"], "did you mean quickstart?"),
        (["lst"], "did you mean ls?"),
        (["kubernetes"], "there is no command 'kubernetes'; see prefect-tune --help"),
        (["version", "--trials"], "unknown argument --trials; see prefect-tune version --help"),
    ],
)
def test_a_wrong_command_line_is_explained_in_one_line(given, said, capsys):
    assert run_and_exit(*given) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def command(*arguments, **options):
    """The command line in a process of its own, as a shell starts it."""
    script = "import sys; from prefect_tune.cli.main import main; sys.exit(main())"
    given = [sys.executable, "-c", script, *arguments]
    return subprocess.run(given, stderr=subprocess.PIPE, check=False, **options)


def test_who_reads_the_output_may_leave():
    reader, output = os.pipe()
    os.close(reader)
    with os.fdopen(output, "wb"):
        done = command("version", stdout=output)
    assert done.stderr == b""
    assert done.returncode == EXIT_UNREAD


def test_a_broken_pipe_elsewhere_is_not_taken_for_it(monkeypatch):
    def run(arguments):
        raise BrokenPipeError("the connection to the server")

    monkeypatch.setattr("prefect_tune.cli.version.run", run)
    refused = pytest.raises(BrokenPipeError, match="the server")
    with open(os.devnull, "w") as nowhere, refused:
        monkeypatch.setattr(sys, "stdout", nowhere)
        cli.main(["version"])


def test_a_terminal_without_the_characters_gets_something_else(tmp_path):
    trial = tmp_path / "exp" / "größe"
    trial.mkdir(parents=True)
    (trial / "params.json").write_text('{"x": "Größe"}')
    (trial / "result.json").write_text('{"loss": 1, "training_iteration": 1}\n')
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = command("ls", str(tmp_path / "exp"), stdout=subprocess.PIPE, env=environ)
    assert done.returncode == 0, done.stderr
    assert b"Gr??e" in done.stdout
