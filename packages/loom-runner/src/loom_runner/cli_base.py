"""The frame of all commands of the stack: exit codes, one-line errors, output modes, tables,
Ctrl-C.

`ExitCode` lists the exit codes, which are the same for every command.
"""

from loom_runner._cli.base import (
    Amount,
    Count,
    ExitCode,
    Interrupted,
    exit_code_of_error,
    exit_code_of_status,
    grace_s,
    run_async,
    run_command,
)
from loom_runner._cli.output import (
    Output,
    choose_output,
    output_option,
    styled,
    styled_status,
    terminal_width,
    write_error,
    write_json,
    write_line,
    write_rows,
)
from loom_runner._cli.trust import allow_database, may_write_database, remember_database, trust_option
from loom_runner._model.formatting import counted, duration, one_line, plural, shorten, size
from loom_runner._model.local_user import local_user
from loom_runner._store.address import database_exists, sqlite_path
from loom_runner._store.origin import records_problem, user_state_folder

__all__ = [
    "Amount",
    "Count",
    "ExitCode",
    "Interrupted",
    "Output",
    "allow_database",
    "choose_output",
    "counted",
    "database_exists",
    "duration",
    "exit_code_of_error",
    "exit_code_of_status",
    "grace_s",
    "local_user",
    "may_write_database",
    "one_line",
    "output_option",
    "plural",
    "records_problem",
    "remember_database",
    "run_async",
    "run_command",
    "shorten",
    "size",
    "sqlite_path",
    "styled",
    "styled_status",
    "terminal_width",
    "trust_option",
    "user_state_folder",
    "write_error",
    "write_json",
    "write_line",
    "write_rows",
]
