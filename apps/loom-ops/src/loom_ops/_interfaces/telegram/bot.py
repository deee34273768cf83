"""The Telegram bot: shows the steps that wait, accepts decisions by buttons, and resumes the runs.

Theory of operation. One task reads updates by long polling; another looks every few seconds for
requests without a message, and for messages whose request was decided elsewhere. An update is
handled and then recorded as handled, in the database: a restart neither loses one nor decides
twice, because a request is decided only once.

The person is the name that the site maps the Telegram user id to; the decision service decides
whether they may. A user who is not mapped is refused, and the refusal is recorded. Buttons of a
request that was decided, or has expired, only show that.

Telegram may be slow, fail or limit the rate; the bot then waits, and runs are not affected.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flow_xray.terminal import visible
from loom_agents.cli import request_name
from loom_runner import RunnerError, Runs
from loom_runner.cli_base import ExitCode, write_error
from loom_runner.run_ids import is_child, request_id
from telegram import Bot, CallbackQuery, Update
from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter, TelegramError

from loom_ops._approvals.people import People, Person
from loom_ops._approvals.requests import step_text
from loom_ops._errors import LoomOpsError
from loom_ops._interfaces.telegram.messages import (
    HELP,
    MAX_CHARACTERS,
    approval_buttons,
    approval_text,
    decision_text,
    short_hash,
    unknown_user_text,
)
from loom_ops._interfaces.telegram.tables import TelegramTables, code_of
from loom_ops._team.outcomes import outcome_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from loom_agents.cli import Request

    from loom_ops._interfaces.http import IncidentProduct
    from loom_ops._interfaces.telegram.tables import ApprovalMessage
    from loom_ops._site import Site

__all__ = ["bot_of", "serve_telegram"]

POLL_S: Final = 20
LOOK_S: Final = 2.0
MAX_PAUSE_S: Final = 60.0
MAX_ALERT_CHARACTERS: Final = 200
MAX_RUNS: Final = 50


def bot_of(site: Site) -> Bot:
    """Build the client.

    Raises:
        LoomOpsError: The token, the chat or the people are not set.
    """
    token = os.environ.get(site.telegram_token_env)
    if not token:
        raise LoomOpsError(
            f"cannot use Telegram: {site.telegram_token_env} is not set. Set it to the token of the bot.",
            exit_code=ExitCode.PROVIDER,
        )
    if site.telegram_chat is None or not any(each.startswith("telegram:") for each in People.of(site).identities):
        raise LoomOpsError(
            "cannot use Telegram: loom-ops.toml has no chat under [telegram], or no person with telegram = [NUMBER] "
            "under [people.NAME]. Add both."
        )
    if site.telegram_base_url is None:
        return Bot(token)
    return Bot(token, base_url=f"{site.telegram_base_url.rstrip('/')}/bot")


async def serve_telegram(bot: Bot, product: IncidentProduct, *, look_s: float = LOOK_S, poll_s: int = POLL_S) -> None:
    """Serve until cancelled.

    Args:
        look_s: Seconds between two looks for new requests.
        poll_s: Seconds that one long poll may take.

    Raises:
        LoomOpsError: Telegram rejects the token, or cannot be reached.
    """
    tables = TelegramTables(product.database)
    interface = _TelegramInterface(bot, product, tables)
    try:
        async with bot:
            write_error(f"loom-ops is @{bot.username} on Telegram. Press Ctrl-C to stop.")
            await asyncio.gather(
                _repeat(interface.update_messages, look_s), _repeat(lambda: interface.read_updates(poll_s), 0.0)
            )
    except (InvalidToken, Forbidden) as exc:
        raise LoomOpsError("cannot use Telegram: it rejects this token.", exit_code=ExitCode.PROVIDER) from exc
    except TelegramError as exc:
        raise LoomOpsError(f"cannot reach Telegram: {exc.message}.", exit_code=ExitCode.PROVIDER) from exc
    finally:
        await interface.stop()
        tables.close()


async def _repeat(work: Callable[[], Awaitable[None]], pause_s: float) -> None:
    """Repeat the work forever; after an error of Telegram, wait longer each time."""
    error_pause_s = 1.0
    while True:
        try:
            await work()
        except (InvalidToken, Forbidden):
            raise
        except RetryAfter as exc:
            wait = exc.retry_after
            await asyncio.sleep(min(MAX_PAUSE_S, wait if isinstance(wait, int | float) else wait.total_seconds()))
        except TelegramError as exc:
            write_error(f"Telegram: {exc.message}; trying again in {error_pause_s:g} s")
            await asyncio.sleep(error_pause_s)
            error_pause_s = min(2 * error_pause_s, MAX_PAUSE_S)
        else:
            error_pause_s = 1.0
            await asyncio.sleep(pause_s)


@dataclass(slots=True)
class _TelegramInterface:
    bot: Bot
    product: IncidentProduct
    tables: TelegramTables
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def stop(self) -> None:
        """Stop the runs that are driven here; `loom-ops resume` continues them."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # ------------------------------------------------------------------ messages

    async def update_messages(self) -> None:
        """Send a message for each new request; close those that were decided elsewhere."""
        chat = self.product.site.telegram_chat
        for request in self.product.decisions.requests():
            run_id, number = request["run_id"], request["number"]
            if chat is not None and self.tables.find(code_of(run_id, number)) is None:
                sent = await self.bot.send_message(chat, approval_text(request), reply_markup=approval_buttons(request))
                self.tables.add_message(run_id, number, chat, sent.message_id, short_hash(request))
        for message in self.tables.open_messages():
            found = self._request_of(message)
            if found is None or found["status"] != "pending":
                await self._close(message, found)
            elif message.shown != short_hash(found):
                await self._show_again(message, found)

    def _request_of(self, message: ApprovalMessage) -> Request | None:
        found = Runs(self.product.store).approvals(message.run_id)
        return next((row for row in found if row["number"] == message.number), None)

    async def _close(self, message: ApprovalMessage, request: Request | None) -> None:
        """Show the decision in the message, without buttons."""
        text = (
            "This request no longer exists."
            if request is None
            else f"{approval_text(request)}\n\n{decision_text(request)}"
        )
        try:
            await self.bot.edit_message_text(visible(text)[:MAX_CHARACTERS], message.chat, message.message)
        except BadRequest as exc:
            name = request_id(message.run_id, message.number)
            write_error(f"Telegram: the message for {name} was not updated: {exc.message}")
        self.tables.set_closed(message.code)

    async def _show_again(self, message: ApprovalMessage, request: Request) -> None:
        """Show a request that was edited, with buttons for what it is now."""
        try:
            await self.bot.edit_message_text(
                approval_text(request), message.chat, message.message, reply_markup=approval_buttons(request)
            )
        except BadRequest as exc:
            name = request_id(message.run_id, message.number)
            write_error(f"Telegram: the message for {name} was not updated: {exc.message}")
        number, run_id = message.number, message.run_id
        self.tables.add_message(run_id, number, message.chat, message.message, short_hash(request))

    # ------------------------------------------------------------------ updates

    async def read_updates(self, poll_s: int) -> None:
        """Handle the updates that have arrived, or wait for one."""
        for update in await self.bot.get_updates(
            self.tables.next_update or None, timeout=poll_s, allowed_updates=["message", "callback_query"]
        ):
            await self._handle(update)
            self.tables.set_handled(update.update_id)

    async def _handle(self, update: Update) -> None:
        user = update.effective_user
        person = None if user is None else self._person(user.id)
        query, message = update.callback_query, update.message
        if query is not None:
            await self._handle_button(query)
        elif message is not None and message.text:
            answer = unknown_user_text(user.id if user else "?") if person is None else self._answer(message.text)
            await self.bot.send_message(message.chat_id, visible(answer)[:MAX_CHARACTERS])

    def _person(self, user_id: int) -> Person | None:
        """Return the person of a Telegram user; None for one whom the settings do not name."""
        person = People.of(self.product.site).person(f"telegram:{user_id}", "telegram")
        return None if person.name == person.identity else person

    async def _handle_button(self, query: CallbackQuery) -> None:
        parts = (query.data or "").split(":")
        code, shown, verdict = parts[0], parts[1:-1], parts[-1]
        message = self.tables.find(code)
        request = None if message is None else self._request_of(message)
        if message is None or request is None or verdict not in ("approve", "deny"):
            await self._alert(query, "This button does not belong to a request here.")
            return
        user_id = query.from_user.id
        decisions = self.product.decisions
        person = self._person(user_id)
        if person is None:
            nobody = Person(f"telegram-{user_id}", f"telegram:{user_id}", "telegram")
            decisions.record_refusal(request, nobody, "the Telegram user is not in the settings")
            await self._alert(query, unknown_user_text(user_id))
            return
        if request["status"] != "pending":
            await self._alert(query, decision_text(request))
            await self._close(message, request)
            return
        if verdict == "approve" and shown != [str(request["number"]), short_hash(request)]:
            await self._alert(query, "It was edited since this message was sent. Look at it again, then decide.")
            await self._show_again(message, request)
            return
        try:
            decided = await decisions.decide(request, "approve" if verdict == "approve" else "deny", person)
        except RunnerError as exc:
            await self._alert(query, str(exc))
            return
        await self._alert(query, decision_text(decided.request))
        if decided.run_id is not None:
            await self._close(message, decided.request)
            self._resume(decided.run_id)

    async def _alert(self, query: CallbackQuery, text: str) -> None:
        try:
            await self.bot.answer_callback_query(query.id, visible(text)[:MAX_ALERT_CHARACTERS], show_alert=True)
        except BadRequest as exc:  # a button press can be answered for a few seconds only
            write_error(f"Telegram: cannot answer a button: {exc.message}")

    def _answer(self, text: str) -> str:
        command, _, argument = text.strip().partition(" ")
        runs = Runs(self.product.store)
        match command.partition("@")[0]:
            case "/approvals":
                waiting = self.product.decisions.requests()
                return "\n".join(f"{request_name(row)}: {step_text(row)}" for row in waiting) or "Nothing waits."
            case "/runs":
                found = [run for run in runs.list(limit=MAX_RUNS) if not is_child(run["run_id"])]
                return "\n".join(f"{run['run_id']}: {_status_of(run)}" for run in found) or "There are no runs."
            case "/explain" if argument:
                try:
                    return str(runs.explain(argument.strip()))
                except RunnerError as exc:
                    return str(exc)
            case _:
                return HELP

    # ------------------------------------------------------------------ runs

    def _resume(self, run_id: str) -> None:
        """Drive a run in a separate task."""
        if run_id in self._tasks and not self._tasks[run_id].done():
            return
        self._tasks[run_id] = asyncio.create_task(self._drive(run_id))

    async def _drive(self, run_id: str) -> None:
        try:
            await self.product.resume(run_id, lambda _: None)
        except RunnerError as exc:
            write_error(str(exc))
            return
        run = Runs(self.product.store).get(run_id)
        chat = self.product.site.telegram_chat
        if run["status"] != "waiting" and chat is not None:
            text = f"{run_id}: {_status_of(run)}"
            try:
                await self.bot.send_message(chat, visible(text))
            except TelegramError as exc:
                write_error(f"Telegram: cannot send {text!r}: {exc.message}")


def _status_of(run: Mapping[str, Any]) -> str:
    outcome = (run["result"] or {}).get("outcome")
    return outcome_text(outcome) if outcome else str(run["status"])
