"""The Telegram face: says which steps wait, takes Approve and Deny by a button, and goes on with the run.

Theory of operation. One task reads updates by long polling; another looks every few seconds for approvals that nobody
was told of, and for messages whose approval was decided elsewhere. An update is handled and then remembered as handled,
in the database: a restart neither loses one nor handles it twice with effect, because a decision is single-use anyway.

Who may decide is settled by `_deciding`, like everywhere; the person is the name that the site maps the Telegram user
id to. A user who is not mapped is told so, and remembered. A button carries a code, not a request: what is decided is
read from the database. Buttons of what was decided, or has expired, do nothing but say so.

Telegram may be slow, broken or ask to wait; this face then waits, and runs are not affected.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from loom_runner import RunnerError
from loom_runner.cli_base import ExitCode, write_error
from telegram import Bot, CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message, Update
from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter, TelegramError

from loom_ops._audit import AuditTrail
from loom_ops._deciding import decide, name_of, refused, requests_of
from loom_ops._errors import LoomOpsError
from loom_ops._people import Person
from loom_ops._reader import reader
from loom_ops._rules import shown_argv
from loom_ops._telegram_rows import Asked, TelegramRows, code_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loom_ops._served import ServedIncidents
    from loom_ops._site import Site

__all__ = ["bot_of", "serve_telegram"]

POLL_S: Final = 20
LOOK_S: Final = 2.0
LONGEST_PAUSE_S: Final = 60.0
MAX_TEXT: Final = 4_000
_HELP: Final = "/approvals: what waits for a word. /runs: the latest incidents. /explain ID: what happened."


def bot_of(site: Site) -> Bot:
    """Build the client.

    Raises:
        LoomOpsError: The token, the chat or the people are not set.
    """
    token = os.environ.get(site.telegram_token_env)
    if not token:
        raise LoomOpsError(
            f"cannot use Telegram: {site.telegram_token_env} is not set. Give it the bot's token.",
            exit_code=ExitCode.PROVIDER,
        )
    if site.telegram_chat is None or not site.telegram_people:
        raise LoomOpsError("cannot use Telegram: loom-ops.toml has no chat or no people under [telegram]. Add both.")
    if site.telegram_base_url is None:
        return Bot(token)
    return Bot(token, base_url=f"{site.telegram_base_url.rstrip('/')}/bot")


async def serve_telegram(bot: Bot, served: ServedIncidents, *, look_s: float = LOOK_S, poll_s: int = POLL_S) -> None:
    """Serve until cancelled.

    Raises:
        LoomOpsError: Telegram does not know the token.
    """
    rows = TelegramRows(served.database)
    face = _Face(bot, served, rows)
    try:
        async with bot:
            write_error(f"loom-ops is @{bot.username} on Telegram; Ctrl-C ends it")
            await asyncio.gather(_patiently(face.look, look_s), _patiently(lambda: face.read(poll_s), 0.0))
    except (InvalidToken, Forbidden) as exc:
        raise LoomOpsError("cannot use Telegram: it does not know this token.", exit_code=ExitCode.PROVIDER) from exc
    except TelegramError as exc:
        raise LoomOpsError(f"cannot reach Telegram: {exc.message}.", exit_code=ExitCode.PROVIDER) from exc
    finally:
        await face.end()
        rows.close()


async def _patiently(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Do it again and again; when Telegram is in trouble, wait, each time longer."""
    pause_s = 1.0
    while True:
        try:
            await work()
        except (InvalidToken, Forbidden):
            raise
        except RetryAfter as exc:
            wait = exc.retry_after
            await asyncio.sleep(min(LONGEST_PAUSE_S, wait if isinstance(wait, int | float) else wait.total_seconds()))
        except TelegramError as exc:
            write_error(f"Telegram: {exc.message}; trying again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        else:
            pause_s = 1.0
            await asyncio.sleep(every_s)


@dataclass(slots=True)
class _Face:
    bot: Bot
    served: ServedIncidents
    rows: TelegramRows
    _at_work: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def end(self) -> None:
        """Stop the runs that are driven here; `resume` goes on with them."""
        for task in self._at_work.values():
            task.cancel()
        await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    # ------------------------------------------------------------------ telling

    async def look(self) -> None:
        """Tell of approvals that nobody was told of; mend messages of those that were decided elsewhere."""
        runner = reader(self.served.store)
        chat = self.served.site.telegram_chat
        for request in requests_of(runner, None):
            if chat is not None and not self.rows.is_asked(request["run_id"], request["number"]):
                sent = await self.bot.send_message(chat, _question(request), reply_markup=_buttons(request))
                self.rows.asked(request["run_id"], request["number"], chat, sent.message_id)
        for asked in self.rows.open_messages():
            found = self._request(asked)
            if found is None or found["status"] != "pending":
                await self._settle(asked, found)

    def _request(self, asked: Asked) -> dict[str, Any] | None:
        found = reader(self.served.store).approvals(asked.run_id)
        return next((dict(row) for row in found if row["number"] == asked.number), None)

    async def _settle(self, asked: Asked, request: dict[str, Any] | None) -> None:
        """Show in the message how it was decided, without buttons."""
        text = _question(request) + "\n\n" + _decided(request) if request is not None else "This request is gone."
        try:
            await self.bot.edit_message_text(text[:MAX_TEXT], asked.chat, asked.message)
        except BadRequest as exc:
            write_error(f"Telegram: the message about {asked.run_id}#{asked.number} stays as it was: {exc.message}")
        self.rows.settled(asked.code)

    # ------------------------------------------------------------------ hearing

    async def read(self, poll_s: int) -> None:
        """Handle the updates that have come, or wait for one."""
        for update in await self.bot.get_updates(
            self.rows.next_update or None, timeout=poll_s, allowed_updates=["message", "callback_query"]
        ):
            await self._handle(update)
            self.rows.handled(update.update_id)

    async def _handle(self, update: Update) -> None:
        user = update.effective_user
        name = None if user is None else self.served.site.telegram_people.get(str(user.id))
        query, message = update.callback_query, update.message
        if query is not None:
            await self._pressed(query, name)
        elif message is not None and message.text:
            said = self._answer(message.text) if name is not None else _unknown(message)
            await self.bot.send_message(message.chat_id, said[:MAX_TEXT])

    async def _pressed(self, query: CallbackQuery, name: str | None) -> None:
        code, _, how = (query.data or "").partition(":")
        asked = self.rows.find(code)
        request = None if asked is None else self._request(asked)
        if asked is None or request is None or how not in ("approve", "deny"):
            await self._say(query, "This button is of no request here.")
            return
        if name is None:
            person = Person(f"telegram-{query.from_user.id}", "telegram", "nobody")
            trail = AuditTrail(self.served.database)
            trail.append([refused(request, person, "the Telegram user is not in the settings")])
            trail.close()
            await self._say(
                query, "You are not known here. Ask for your number to be added: " + str(query.from_user.id)
            )
            return
        if request["status"] != "pending":
            await self._say(query, _decided(request))
            await self._settle(asked, request)
            return
        person = Person(name, "telegram", f"telegram-user-{query.from_user.id}")
        try:
            decided = await decide(
                reader(self.served.store),
                request,
                "approve" if how == "approve" else "deny",
                person,
                note="",
                site=self.served.site,
                database=self.served.database,
            )
        except RunnerError as exc:
            await self._say(query, str(exc))
            return
        await self._say(query, _decided(decided))
        if decided["status"] != "pending":
            await self._settle(asked, dict(decided))
            self._go_on(asked.run_id.partition(":sub:")[0])

    async def _say(self, query: CallbackQuery, text: str) -> None:
        try:
            await self.bot.answer_callback_query(query.id, text[:200], show_alert=True)
        except BadRequest as exc:  # Telegram forgets a press after some seconds; what was decided stands
            write_error(f"Telegram: cannot answer a press: {exc.message}")

    def _go_on(self, run_id: str) -> None:
        """Drive a run in a task of its own."""
        if run_id in self._at_work and not self._at_work[run_id].done():
            return
        self._at_work[run_id] = asyncio.create_task(self._driven(run_id))

    async def _driven(self, run_id: str) -> None:
        try:
            await self.served.resume(run_id, lambda _: None)
        except RunnerError as exc:
            write_error(str(exc))
            return
        run = reader(self.served.store).get(run_id)
        outcome = (run["result"] or {}).get("outcome") or run["status"]
        if run["status"] != "waiting" and self.served.site.telegram_chat is not None:
            try:
                await self.bot.send_message(self.served.site.telegram_chat, f"{run_id}: {outcome}")
            except TelegramError as exc:
                write_error(f"Telegram: cannot tell that {run_id} is {outcome}: {exc.message}")

    def _answer(self, text: str) -> str:
        word, _, rest = text.strip().partition(" ")
        runner = reader(self.served.store)
        match word.partition("@")[0]:
            case "/approvals":
                waiting = requests_of(runner, None)
                return "\n".join(f"{name_of(row)}: {_what(row)}" for row in waiting) or "Nothing waits."
            case "/runs":
                runs = [run for run in runner.list(limit=50) if ":sub:" not in run["run_id"]]
                return (
                    "\n".join(
                        f"{run['run_id']}: {(run['result'] or {}).get('outcome') or run['status']}" for run in runs
                    )
                    or "None."
                )
            case "/explain" if rest:
                try:
                    return str(runner.explain_run(rest.strip()))
                except RunnerError as exc:
                    return str(exc)
            case _:
                return _HELP


def _unknown(message: Message) -> str:
    number = message.from_user.id if message.from_user is not None else "?"
    return f"You are not known here. Ask for your number to be added: {number}"


def _what(request: dict[str, Any]) -> str:
    policy = request["policy"]
    return shown_argv(policy["argv"]) if policy.get("argv") else str(request["tool"])


def _question(request: dict[str, Any]) -> str:
    policy = request["policy"]
    lines = [f"{request['run_id'].partition(':sub:')[0]} waits for approval", f"what: {_what(request)}"]
    if policy.get("argv"):
        lines.append(f"undo: {shown_argv(policy['undo']) if policy.get('undo') else 'none'}")
    lines += [f"why: {request['reason']}", f"who: {policy.get('group')}, asked for by {policy.get('requester')}"]
    if request["expires_at"]:
        lines.append(f"until: {request['expires_at'][:16]}Z, then denied")
    return "\n".join(lines)[:MAX_TEXT]


def _decided(request: dict[str, Any]) -> str:
    if not request["decisions"]:
        return f"It is {request['status']}."
    last = request["decisions"][-1]
    more = "; somebody else has to approve, too" if request["status"] == "pending" else ""
    how = {"approve": "approved", "deny": "denied"}.get(last["how"], last["how"])
    state = "" if request["status"] in ("pending", "approved", "denied") else f"; it is {request['status']}"
    return f"{how} by {last['by']}{more}{state}"


def _buttons(request: dict[str, Any]) -> InlineKeyboardMarkup:
    code = code_of(request["run_id"], request["number"])
    pair = [
        InlineKeyboardButton(text, callback_data=f"{code}:{how}")
        for text, how in (("Approve", "approve"), ("Deny", "deny"))
    ]
    return InlineKeyboardMarkup([pair])
