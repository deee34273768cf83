"""The command line. Everything heavy is imported inside the commands, so that `--help` is quick."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from loom_runner.cli_base import (
    ExitCode,
    Output,
    choose_output,
    output_option,
    run_async,
    styled_status,
    write_error,
    write_json,
    write_line,
    write_rows,
)

from loom_ops._cli_faces import FACE_COMMANDS
from loom_ops._cli_kept import KEPT_COMMANDS
from loom_ops._options import (
    BareFlags,
    config_option,
    db_option,
    drill_option,
    inputs_option,
    mock_option,
    model_name,
    model_option,
    note_option,
    run_option,
    run_or_new_option,
    site_of,
    trace_option,
)

if TYPE_CHECKING:
    from loom_runner import SQLiteStore

    from loom_ops._work import Desk


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loom-ops")
def cli() -> None:
    """Runbooks that cannot be lost, approvals that cannot be skipped.

    A team works on an incident: a planner reads the runbook, an executor makes its steps while a verifier watches.
    Whatever changes something waits for a person's word, through any crash. Try it in an empty folder:

        loom-ops supervise "incident: API latency" --run-id inc-001 --mock-llm
    """


@cli.command(cls=BareFlags)
@click.argument("incident")
@run_or_new_option
@db_option
@mock_option
@model_option
@click.option("--runbook", metavar="FILE|NAME", help="The runbook; the one whose words fit the incident otherwise.")
@inputs_option
@drill_option
@config_option
@trace_option
@output_option
def supervise(*, incident: str, run_id: str | None, runbook: str | None, output: Output | None, **options: Any) -> int:
    """Let a team work on an incident.

    It goes on until the incident is over or a person is needed (exit code 3).
    """
    return _begin(incident, run_id, runbook, choose_output(output), options)


@cli.command(cls=BareFlags)
@click.argument("file", metavar="FILE|NAME")
@run_or_new_option
@db_option
@inputs_option
@click.option(
    "--dry-run", is_flag=True, help="Show every step as it would be made; make only checks and steps that read."
)
@drill_option
@config_option
@trace_option
@output_option
def runbook(*, file: str, run_id: str | None, dry_run: bool, output: Output | None, **options: Any) -> int:
    """Make every step of a runbook, in order.

    No model is asked. With --dry-run each step is only shown.
    """
    if dry_run:
        from loom_ops._dry_run import dry_run_of

        return dry_run_of(file, site_of(options["config"]), _pairs(options["inputs"]), choose_output(output))
    return _begin(f"runbook {file}", run_id, file, choose_output(output), {**options, "mock_llm": ""})


@cli.command(cls=BareFlags)
@run_option
@db_option
@mock_option
@model_option
@config_option
@trace_option
@output_option
def resume(*, run_id: str, db: str, output: Output | None, **options: Any) -> int:
    """Go on with a run.

    After a crash, an interruption, or when what it waited for was decided.
    """
    from loom_ops._reader import opened

    with opened(db) as store:
        return _desk(store, db, choose_output(output), options).go_on(run_id)


@cli.command(cls=BareFlags)
@click.argument("run", metavar="RUN")
@db_option
@config_option
@trace_option
@output_option
def rollback(*, run: str, db: str, output: Output | None, **options: Any) -> int:
    """Take back what RUN did, the last step first.

    Each step waits for an approval of its own.
    """
    from loom_ops._reader import opened

    with opened(db) as store:
        return _desk(store, db, choose_output(output), options).take_back(run)


@cli.command()
@run_option
@click.option("--number", type=int, metavar="N", help="Which request, when several wait.")
@note_option
@db_option
@config_option
def approve(*, run_id: str, number: int | None, note: str, db: str, config: Path | None) -> None:
    """Let a step that waits be made. The run goes on with `loom-ops resume`."""
    _decide("approve", run_id, number, note=note, db=db, config=config)


@cli.command()
@run_option
@click.option("--number", type=int, metavar="N", help="Which request, when several wait.")
@note_option
@db_option
@config_option
def deny(*, run_id: str, number: int | None, note: str, db: str, config: Path | None) -> None:
    """Refuse a step that waits; what was done is then taken back. The run goes on with `loom-ops resume`."""
    _decide("deny", run_id, number, note=note, db=db, config=config)


def _decide(how: Any, run_id: str, number: int | None, *, note: str, db: str, config: Path | None) -> None:
    from loom_ops._audited import bring_up_to_date
    from loom_ops._deciding import decide, name_of, one_request
    from loom_ops._people import local_person
    from loom_ops._reader import opened, reader

    site = site_of(config)
    with opened(db) as store:
        rows = reader(store)
        request = one_request(rows, run_id, number, how)
        work = decide(rows, request, how, local_person(), note=note, site=site, database=Path(db))
        decided = run_async(work)
        root = request["run_id"].partition(":sub:")[0]
        bring_up_to_date(rows, root, Path(db))
    said = {"approved": "approved", "denied": "denied", "pending": "one more person has to approve"}
    write_line(f"{name_of(request)} {said.get(decided['status'], decided['status'])}")
    write_error(f"go on: loom-ops resume --run-id {shlex.quote(root)} --db {shlex.quote(db)}")


@cli.command()
@click.option("--run-id", "-r", metavar="ID", help="Only those of this run.")
@click.option("--all", "every", is_flag=True, help="Also those that are decided.")
@db_option
@output_option
def approvals(*, run_id: str | None, every: bool, db: str, output: Output | None) -> None:
    """List the steps that wait for a person."""
    from loom_ops._deciding import name_of, requests_of
    from loom_ops._reader import opened, reader
    from loom_ops._rules import shown_argv

    with opened(db) as store:
        found = requests_of(reader(store), run_id, pending_only=not every)
    chosen = choose_output(output)
    if chosen != "text":
        for row in found if chosen == "jsonl" else [found]:
            write_json(row, chosen)
        return
    if not found:
        write_error("nothing waits for approval")
    for row in found:
        policy = row["policy"]
        what = shown_argv(policy["argv"]) if policy.get("argv") else row["tool"]
        write_line(f"{name_of(row)}  {row['status']}  {what}")
        write_line(f"    why   {row['reason']}")
        write_line(f"    who   {policy.get('group')}, asked for by {policy.get('requester')}")
        if row["expires_at"]:
            write_line(f"    until {row['expires_at'][:16]}Z")
        for decision in row["decisions"]:
            note = f": {decision['note']}" if decision["note"] else ""
            write_line(f"    {decision['how']} by {decision['by']} ({decision['via']}){note}")


@cli.command()
@run_option
@click.option("--call", type=int, required=True, metavar="N", help="The call in doubt, as `explain` names it.")
@click.option("--done", "how", flag_value="result", help="It was done before the crash.")
@click.option("--retry", "how", flag_value="retry", help="It was not done: do it once more.")
@click.option("--skip", "how", flag_value="skip", help="Leave it, as failed.")
@db_option
@config_option
def resolve(*, run_id: str, call: int, how: str | None, db: str, config: Path | None) -> None:
    """Say what became of a command that was interrupted. It is never repeated by itself."""
    if how is None:
        raise click.UsageError("say what became of it: --done, --retry or --skip")
    from loom_ops._audited import bring_up_to_date
    from loom_ops._deciding import must_be_allowed_to_resolve
    from loom_ops._people import local_person
    from loom_ops._reader import opened, reader

    site = site_of(config)
    with opened(db) as store:
        rows = reader(store)
        must_be_allowed_to_resolve(rows, run_id, call, local_person(), site=site, database=Path(db))
        person = local_person().name
        result = {"ok": True, "text": f"{person} says that it was done"} if how == "result" else None
        run_async(rows.resolve(run_id=run_id, call=call, how=how, result=result, decided_by=person))  # type: ignore[arg-type]  # one of the three above
        root = run_id.partition(":sub:")[0]
        bring_up_to_date(rows, root, Path(db))
    write_error(f"go on: loom-ops resume --run-id {shlex.quote(root)} --db {shlex.quote(db)}")


@cli.command()
@run_option
@db_option
@output_option
def explain(*, run_id: str, db: str, output: Output | None) -> None:
    """Tell what happened to a run.

    ID:sub:verifier and the like are those of its team.
    """
    from loom_ops._reader import opened, reader
    from loom_ops._standing import standing_lines
    from loom_ops._story import story_lines

    def command(verb: str, run: str, *more: str) -> str:
        return " ".join(shlex.quote(word) for word in ("loom-ops", verb, "--run-id", run, "--db", db, *more))

    with opened(db) as store:
        rows = reader(store)
        story = rows.explain_run(run_id)
        chosen = choose_output(output)
        if chosen != "text":
            team = [rows.explain_run(child["run_id"]).data for child in rows.children(run_id)]
            write_json({**story.data, "team": team}, chosen)
            return
        write_line(f"{run_id}  {story.data['status']}  {story.data['summary']}")
        if ":sub:" not in run_id:
            for line in (*story_lines(rows, run_id), *standing_lines(rows, run_id, command=command)):
                write_line(line)
            return
        width = max((len(what) for what, _, _ in story.lines()), default=0)
        for what, text, at in story.lines():
            write_line(f"  {what:<{width}}  {text}  {at}".rstrip())


@cli.command()
@db_option
@output_option
def runs(*, db: str, output: Output | None) -> None:
    """List the incidents of a database, the latest first."""
    from loom_ops._reader import opened, reader

    with opened(db) as store:
        found = [run for run in reader(store).list(limit=1000) if ":sub:" not in run["run_id"]]
    rows = [
        {
            "run_id": run["run_id"],
            "status": run["status"],
            "outcome": (run["result"] or {}).get("outcome"),
            "incident": (run["input"].get("request") or {}).get("incident"),
            "updated_at": run["updated_at"],
        }
        for run in found
    ]
    columns = {
        "RUN": lambda row: row["run_id"],
        "STATUS": lambda row: styled_status(row["status"]),
        "OUTCOME": lambda row: row["outcome"] or "",
        "INCIDENT": lambda row: row["incident"] or "",
    }
    write_rows(rows, columns, choose_output(output), empty="there is no run")


@cli.command()
@click.argument("target", nargs=-1, metavar="[FILE|NAME]...")
@config_option
@output_option
def lint(*, target: tuple[str, ...], config: Path | None, output: Output | None) -> int:
    """Name what is wrong with runbooks: this site's, or those named. Exit code 1 when something is."""
    from loom_ops._linting import lint_runbooks

    return lint_runbooks(site_of(config), target, choose_output(output))


@cli.command()
@config_option
@db_option
def doctor(*, config: Path | None, db: str) -> int:
    """Look whether this site is ready."""
    from loom_ops._doctor import findings

    bad = 0
    for name, ok, text in findings(site_of(config), Path(db)):
        bad += not ok
        write_line(f"{'ok ' if ok else 'NOT'}  {name:<9}  {text}")
    return ExitCode.FAILED if bad else ExitCode.DONE


for command in (*KEPT_COMMANDS, *FACE_COMMANDS):
    cli.add_command(command)


# ---------------------------------------------------------------------- shared


def _begin(incident: str, run_id: str | None, runbook: str | None, output: Output, options: dict[str, Any]) -> int:
    from loom_ops._reader import opened
    from loom_ops._work import made_request, new_name

    db = options["db"]
    if not incident.strip():
        raise click.UsageError("INCIDENT is empty: say in a few words what is wrong")
    with opened(db, existing=False) as store:
        name = run_id or new_name()
        desk = _desk(store, db, output, options)
        record = store.get_run(name)
        if record is not None:
            from loom_ops._team import Team

            request = Team.stored_request(store, name)
            if request.incident == incident:
                return desk.go_on(name)
        model = model_name(options)
        if model is None:
            raise click.UsageError("no model: use --model PROVIDER:MODEL, or --mock-llm to plan without one")
        made = made_request(
            desk.site,
            incident,
            runbook,
            _pairs(options["inputs"]),
            run_id=name,
            database=Path(db),
            drill=options["drill"],
            model=model,
        )
        return desk.begin(name, made)


def _desk(store: "SQLiteStore", db: str, output: Output, options: dict[str, Any]) -> "Desk":
    from loom_ops._work import Desk

    return Desk(store, db, site_of(options["config"]), output, model_name(options), options.get("trace"))


def _pairs(inputs: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in inputs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--input {text!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs
