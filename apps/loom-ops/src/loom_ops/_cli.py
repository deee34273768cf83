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
    plural,
    run_async,
    styled_status,
    write_error,
    write_json,
    write_line,
    write_rows,
)

from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from loom_runner import SQLiteStore

    from loom_ops._site import Site
    from loom_ops._work import Desk

DEFAULT_DB = "ops.sqlite"


class _BareFlags(click.Command):
    """A command in which `--mock-llm` stands alone and only `--mock-llm=FILE` takes a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        end = args.index("--") if "--" in args else len(args)
        named = ["--mock-llm=" if arg == "--mock-llm" else arg for arg in args[:end]]
        return super().parse_args(ctx, named + args[end:])


_db = click.option(
    "--db",
    default=DEFAULT_DB,
    show_default=True,
    envvar="LOOM_OPS_DB",
    metavar="FILE",
    help="The database with the runs.",
)
_run = click.option("--run-id", "-r", required=True, metavar="ID", help="The run.")
_run_or_new = click.option("--run-id", "-r", metavar="ID", help="The run; without it a new name is made.")
_config = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings; loom-ops.toml here when it is there."
)
_mock = click.option(
    "--mock-llm", metavar="[=FILE]", help="Plan without a model: every step, in order; or by a script."
)
_model = click.option(
    "--model", metavar="P:M", envvar="LOOM_MODEL", show_envvar=True, help="Who plans: openai:gpt-5, ollama:qwen3, ..."
)
_trace = click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write a page about the team.")
_inputs = click.option("--input", "-i", "inputs", multiple=True, metavar="NAME=VALUE", help="An input of the runbook.")
_drill = click.option("--drill", is_flag=True, help="Work on a small slow service that this command starts.")
_note = click.option("--note", default="", metavar="TEXT", help="Why; it is kept in the audit trail.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loom-ops")
def cli() -> None:
    """Runbooks that cannot be lost, approvals that cannot be skipped.

    A team works on an incident: a planner reads the runbook, an executor makes its steps while a verifier watches.
    Whatever changes something waits for a person's word, through any crash. Try it in an empty folder:

        loom-ops supervise "incident: API latency" --run-id inc-001 --mock-llm
    """


@cli.command(cls=_BareFlags)
@click.argument("incident")
@_run_or_new
@_db
@_mock
@_model
@click.option("--runbook", metavar="FILE|NAME", help="The runbook; the one whose words fit the incident otherwise.")
@_inputs
@_drill
@_config
@_trace
@output_option
def supervise(*, incident: str, run_id: str | None, runbook: str | None, output: Output | None, **options: Any) -> int:
    """Let a team work on an incident.

    It goes on until the incident is over or a person is needed (exit code 3).
    """
    return _begin(incident, run_id, runbook, choose_output(output), options)


@cli.command(cls=_BareFlags)
@click.argument("file", metavar="FILE|NAME")
@_run_or_new
@_db
@_inputs
@click.option(
    "--dry-run", is_flag=True, help="Show every step as it would be made; make only checks and steps that read."
)
@_drill
@_config
@_trace
@output_option
def runbook(*, file: str, run_id: str | None, dry_run: bool, output: Output | None, **options: Any) -> int:
    """Make every step of a runbook, in order.

    No model is asked. With --dry-run each step is only shown.
    """
    if dry_run:
        from loom_ops._dry_run import dry_run_of  # noqa: PLC0415

        return dry_run_of(file, _site(options["config"]), _pairs(options["inputs"]), choose_output(output))
    return _begin(f"runbook {file}", run_id, file, choose_output(output), {**options, "mock_llm": ""})


@cli.command(cls=_BareFlags)
@_run
@_db
@_mock
@_model
@_config
@_trace
@output_option
def resume(*, run_id: str, db: str, output: Output | None, **options: Any) -> int:
    """Go on with a run.

    After a crash, an interruption, or when what it waited for was decided.
    """
    from loom_ops._reader import opened  # noqa: PLC0415

    with opened(db) as store:
        return _desk(store, db, choose_output(output), options).go_on(run_id)


@cli.command(cls=_BareFlags)
@click.argument("run", metavar="RUN")
@_db
@_config
@_trace
@output_option
def rollback(*, run: str, db: str, output: Output | None, **options: Any) -> int:
    """Take back what RUN did, the last step first.

    Each step waits for an approval of its own.
    """
    from loom_ops._reader import opened  # noqa: PLC0415

    with opened(db) as store:
        return _desk(store, db, choose_output(output), options).take_back(run)


@cli.command()
@_run
@click.option("--number", type=int, metavar="N", help="Which request, when several wait.")
@_note
@_db
@_config
def approve(*, run_id: str, number: int | None, note: str, db: str, config: Path | None) -> None:
    """Let a step that waits be made. The run goes on with `loom-ops resume`."""
    _decide("approve", run_id, number, note=note, db=db, config=config)


@cli.command()
@_run
@click.option("--number", type=int, metavar="N", help="Which request, when several wait.")
@_note
@_db
@_config
def deny(*, run_id: str, number: int | None, note: str, db: str, config: Path | None) -> None:
    """Refuse a step that waits; what was done is then taken back. The run goes on with `loom-ops resume`."""
    _decide("deny", run_id, number, note=note, db=db, config=config)


def _decide(how: Any, run_id: str, number: int | None, *, note: str, db: str, config: Path | None) -> None:
    from loom_ops._audited import bring_up_to_date  # noqa: PLC0415
    from loom_ops._deciding import decide, name_of, one_request  # noqa: PLC0415
    from loom_ops._people import local_person  # noqa: PLC0415
    from loom_ops._reader import opened, reader  # noqa: PLC0415

    site = _site(config)
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
@_db
@output_option
def approvals(*, run_id: str | None, every: bool, db: str, output: Output | None) -> None:
    """List the steps that wait for a person."""
    from loom_ops._deciding import name_of, requests_of  # noqa: PLC0415
    from loom_ops._reader import opened, reader  # noqa: PLC0415
    from loom_ops._rules import shown_argv  # noqa: PLC0415

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
@_run
@click.option("--call", type=int, required=True, metavar="N", help="The call in doubt, as `explain` names it.")
@click.option("--done", "how", flag_value="result", help="It was done before the crash.")
@click.option("--retry", "how", flag_value="retry", help="It was not done: do it once more.")
@click.option("--skip", "how", flag_value="skip", help="Leave it, as failed.")
@_db
@_config
def resolve(*, run_id: str, call: int, how: str | None, db: str, config: Path | None) -> None:
    """Say what became of a command that was interrupted. It is never repeated by itself."""
    if how is None:
        raise click.UsageError("say what became of it: --done, --retry or --skip")
    from loom_ops._audited import bring_up_to_date  # noqa: PLC0415
    from loom_ops._deciding import must_be_allowed_to_resolve  # noqa: PLC0415
    from loom_ops._people import local_person  # noqa: PLC0415
    from loom_ops._reader import opened, reader  # noqa: PLC0415

    site = _site(config)
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
@_run
@_db
@output_option
def explain(*, run_id: str, db: str, output: Output | None) -> None:
    """Tell what happened to a run.

    ID:sub:verifier and the like are those of its team.
    """
    from loom_ops._reader import opened, reader  # noqa: PLC0415
    from loom_ops._standing import standing_lines  # noqa: PLC0415
    from loom_ops._story import story_lines  # noqa: PLC0415

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
@_db
@output_option
def runs(*, db: str, output: Output | None) -> None:
    """List the incidents of a database, the latest first."""
    from loom_ops._reader import opened, reader  # noqa: PLC0415

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
@_config
@output_option
def lint(*, target: tuple[str, ...], config: Path | None, output: Output | None) -> int:
    """Name what is wrong with runbooks: this site's, or those named. Exit code 1 when something is."""
    from loom_ops._linting import lint_runbooks  # noqa: PLC0415

    return lint_runbooks(_site(config), target, choose_output(output))


@cli.group()
def audit() -> None:
    """The trail of what was asked, decided and done."""


@audit.command()
@click.option(
    "--head", metavar="NUMBER:HASH", help="What was printed at the end of a run; shows a tail that was cut off."
)
@click.option("--signed", type=click.Path(path_type=Path), metavar="FILE", help="A signed head instead of --head.")
@click.option("--public-key", type=click.Path(path_type=Path), metavar="PEM", help="Whose signature it has to be.")
@_db
def verify(*, head: str | None, signed: Path | None, public_key: Path | None, db: str) -> int:
    """Walk the chain and name every entry that is not what was written. Exit code 1 when one is."""
    from loom_ops._audit import AuditHead  # noqa: PLC0415

    if (signed is None) != (public_key is None) or (signed is not None and head is not None):
        raise click.UsageError("give --head, or --signed with --public-key")
    wanted = None if head is None else AuditHead.read(head)
    if signed is not None and public_key is not None:
        wanted = _signing().verified_head(signed, public_key)
    with _trail(db) as trail:
        breaks, now = trail.verify(wanted), trail.head()
    for found in breaks:
        write_line(found.text)
    if breaks:
        write_error(f"{plural(len(breaks), 'break')} in the audit trail of {db}")
        return ExitCode.FAILED
    write_line(f"ok  entries: {now.number if now else 0}, head {now or 'none'}")
    if wanted is None:
        write_error("Entries that were cut off at the end show only with --head, as it was printed.")
    return ExitCode.DONE


@audit.command()
@click.option("--run-id", "-r", metavar="ID", help="Only this run and its team.")
@_db
def export(*, run_id: str | None, db: str) -> None:
    """Write the entries as JSON lines."""
    with _trail(db) as trail:
        for entry in trail.entries(run_id):
            write_json(entry.as_json(), "jsonl")


@audit.command()
@click.option("--sign", type=click.Path(path_type=Path), metavar="PEM", help="Sign it with this Ed25519 key.")
@_db
def head(*, sign: Path | None, db: str) -> None:
    """Print number and hash of the newest entry; keep it elsewhere."""
    with _trail(db) as trail:
        newest = trail.head()
    if sign is not None and newest is not None:
        write_line(_signing().sign_head(newest, sign))
    else:
        write_line(str(newest or "none"))


def _signing() -> Any:
    from importlib.util import find_spec  # noqa: PLC0415

    if find_spec("cryptography") is None:
        raise LoomOpsError("cannot sign or verify: 'cryptography' is not installed. Install loom-ops[sign].")
    from loom_ops import _signing as signing  # noqa: PLC0415

    return signing


def _trail(db: str) -> Any:
    from contextlib import closing  # noqa: PLC0415

    from loom_ops._audit import AuditTrail  # noqa: PLC0415

    _must_exist(db)
    return closing(AuditTrail(Path(db)))


@cli.group()
def memory() -> None:
    """What earlier runs have found out."""


@memory.command(name="list")
@click.option("--all", "every", is_flag=True, help="Also what was superseded or has expired.")
@_db
@output_option
def list_(*, every: bool, db: str, output: Output | None) -> None:
    """List facts."""
    from loom_ops._memory import Memory  # noqa: PLC0415
    from loom_ops._team import now_iso  # noqa: PLC0415

    _must_exist(db)
    known = Memory(Path(db))
    found = known.facts(now_iso(), with_old=every)
    known.close()
    columns = {
        "FACT": lambda row: str(row["number"]),
        "KIND": lambda row: row["kind"],
        "LEARNED": lambda row: row["learned_at"][:10],
        "TEXT": lambda row: row["text"],
    }
    write_rows([fact.as_json() for fact in found], columns, choose_output(output), empty="nothing is known")


@memory.command()
@click.argument("number", type=int)
@_db
def forget(*, number: int, db: str) -> None:
    """Remove a fact."""
    from loom_ops._memory import Memory  # noqa: PLC0415

    _must_exist(db)
    known = Memory(Path(db))
    was_there = known.forget(number)
    known.close()
    if not was_there:
        raise LoomOpsError(f"cannot forget fact {number}: there is none. See loom-ops memory list.")


@cli.command()
@_config
@_db
def doctor(*, config: Path | None, db: str) -> int:
    """Look whether this site is ready."""
    from loom_ops._doctor import findings  # noqa: PLC0415

    bad = 0
    for name, ok, text in findings(_site(config), Path(db)):
        bad += not ok
        write_line(f"{'ok ' if ok else 'NOT'}  {name:<9}  {text}")
    return ExitCode.FAILED if bad else ExitCode.DONE


@cli.command(cls=_BareFlags)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8734, show_default=True, help="0 takes any.")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Who may do what (TOML).")
@click.option("--allow-host", multiple=True, metavar="NAME", help="One more name that the server is called by.")
@_db
@_mock
@_model
@_config
def serve(
    *, host: str, port: int, token_file: Path | None, allow_host: tuple[str, ...], db: str, **options: Any
) -> int:
    """Serve incidents over HTTP, with a page.

    Start runs, watch them live, approve their steps.
    """
    try:
        from loom_agents.serve import serve as serve_product  # noqa: PLC0415
    except ImportError as exc:
        raise LoomOpsError(f"cannot serve: {exc.name!r} is not installed. Install loom-ops[serve].") from exc
    from loom_ops._reader import opened  # noqa: PLC0415
    from loom_ops._served import ServedIncidents  # noqa: PLC0415
    from loom_ops._work import model_named  # noqa: PLC0415

    model = _model_name(options)
    if model is None:
        raise click.UsageError("no model: use --model PROVIDER:MODEL, or --mock-llm to plan without one")
    model_named(model)

    def told(address: str, token: str | None) -> None:
        write_error(f"loom-ops serves {db} at {address}" + (f"#token={token}" if token else ""))
        write_error("Ctrl-C ends it; what is at work then is gone on with by loom-ops resume")

    with opened(db, existing=False) as store:
        served = ServedIncidents(store, _site(options["config"]), model, is_owners=token_file is None)
        run_async(
            serve_product(served, host=host, port=port, token_file=token_file, allowed_hosts=allow_host, told=told)
        )
    return ExitCode.DONE


@cli.command(cls=_BareFlags)
@_db
@_mock
@_model
@_config
def telegram(*, db: str, **options: Any) -> int:
    """Ask for approvals on Telegram, and go on with the runs."""
    try:
        from loom_ops._telegram import bot_of, serve_telegram  # noqa: PLC0415
    except ImportError as exc:
        raise LoomOpsError(f"cannot use Telegram: {exc.name!r} is not installed. Install loom-ops[telegram].") from exc
    from loom_ops._reader import opened  # noqa: PLC0415
    from loom_ops._served import ServedIncidents  # noqa: PLC0415

    site = _site(options["config"])
    bot = bot_of(site)
    with opened(db, existing=False) as store:
        run_async(serve_telegram(bot, ServedIncidents(store, site, _model_name(options) or "mock")))
    return ExitCode.DONE


@cli.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("drill"), show_default=True, metavar="DIR")
def drill(*, folder: Path) -> None:
    """Start the small slow service by itself.

    It serves until Ctrl-C; its programs are in DIR/bin.
    """
    import threading  # noqa: PLC0415

    from loom_ops._drill import Drill  # noqa: PLC0415

    practice = Drill(folder)
    with practice.serving() as url:
        write_line(f"This is a drill: {url} runs {practice.release}, which is slow.")
        write_error(f"make it fast: {shlex.quote(str(folder / 'bin' / 'rollback-service'))} api    Ctrl-C ends it")
        threading.Event().wait()  # Ctrl-C ends it


# ---------------------------------------------------------------------- shared


def _begin(incident: str, run_id: str | None, runbook: str | None, output: Output, options: dict[str, Any]) -> int:
    from loom_ops._reader import opened  # noqa: PLC0415
    from loom_ops._work import made_request, new_name  # noqa: PLC0415

    db = options["db"]
    if not incident.strip():
        raise click.UsageError("INCIDENT is empty: say in a few words what is wrong")
    with opened(db, existing=False) as store:
        name = run_id or new_name()
        desk = _desk(store, db, output, options)
        record = store.get_run(name)
        if record is not None:
            from loom_ops._team import Team  # noqa: PLC0415

            request = Team.stored_request(store, name)
            if request.incident == incident:
                return desk.go_on(name)
        model = _model_name(options)
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
    from loom_ops._work import Desk  # noqa: PLC0415

    return Desk(store, db, _site(options["config"]), output, _model_name(options), options.get("trace"))


def _model_name(options: dict[str, Any]) -> str | None:
    mock, model = options.get("mock_llm"), options.get("model")
    if mock is None:
        return None if model is None else str(model)
    return f"script:{Path(mock).resolve()}" if mock else "mock"


def _site(config: Path | None) -> "Site":
    from loom_ops._site import load_site  # noqa: PLC0415

    return load_site(Path.cwd(), config)


def _pairs(inputs: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in inputs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--input {text!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def _must_exist(db: str) -> None:
    if not Path(db).exists():
        raise LoomOpsError(
            f"cannot open {db}: there is no such database. Start with loom-ops supervise, or name another --db."
        )
