"""Errors whose own code fails, and steps that cancel themselves, are a matter of their run: it
fails, and the worker goes on with the others.
"""

import asyncio
import logging

import pytest
from loom_runner import AgentRunner, Complete, RetryPolicy, Worker


class TextInterrupts(Exception):
    def __str__(self):
        raise KeyboardInterrupt


class TextExits(Exception):
    def __str__(self):
        raise SystemExit(3)


class Property(Exception):
    """An error of an HTTP client that was not sent."""

    @property
    def response(self):
        raise RuntimeError("there is no response")

    @property
    def retry_after(self):
        raise RuntimeError("there is no response")

    @property
    def error_category(self):
        raise RuntimeError("there is no category")


class OddCategory(Exception):
    error_category = 5


def work(runner):
    """Work on a run `odd` and two others with a single place; return their statuses."""

    async def main():
        for run_id in ("odd", "a", "b"):
            await runner.enqueue(run_id=run_id)
        worker = Worker(runner, concurrency=1, poll_s=0.001)
        await asyncio.wait_for(worker.run(until_idle=True), 20)

    asyncio.run(main())
    return {run["run_id"]: run["status"] for run in runner.list()}


GOES_ON = {"odd": "failed", "a": "completed", "b": "completed"}


@pytest.mark.parametrize("error", [TextInterrupts(), TextExits(), Property("x"), OddCategory("x")])
def test_an_error_whose_own_code_fails_fails_its_run(store, error):
    async def step(state, ctx):
        if ctx.run_id == "odd":
            raise error
        return Complete(1)

    runner = AgentRunner(step=step, store=store)
    assert work(runner) == GOES_ON
    assert runner.get("odd")["error"]["type"] == type(error).__name__
    assert runner.get("odd")["error"]["category"] == "error"


def test_a_should_retry_that_fails_is_no_retry(store, caplog):
    def should_retry(error):
        raise AttributeError("status_code")

    async def step(state, ctx):
        if ctx.run_id == "odd":
            raise ConnectionError("reset")
        return Complete(1)

    with caplog.at_level(logging.WARNING):
        runner = AgentRunner(step=step, store=store, retry=RetryPolicy(should_retry=should_retry))
        assert work(runner) == GOES_ON
    assert runner.get("odd")["error"]["message"] == "reset"
    assert "should_retry" in caplog.text


def test_a_step_that_cancels_its_own_task_fails_its_run(store):
    async def step(state, ctx):
        if ctx.run_id == "odd":
            asyncio.current_task().cancel()
            await asyncio.sleep(60)
        return Complete(1)

    runner = AgentRunner(step=step, store=store)
    assert work(runner) == GOES_ON
    assert "cancelled its own task" in runner.get("odd")["error"]["message"]


def test_a_step_that_cancels_its_own_task_and_returns_ends_no_worker(store):
    async def step(state, ctx):
        if ctx.run_id == "odd":
            asyncio.current_task().cancel()
        return Complete(1)

    runner = AgentRunner(step=step, store=store)
    assert work(runner) == GOES_ON | {"odd": "completed"}


def test_a_worker_that_ends_still_cancels_its_steps(store):
    begun, ended = [], []

    async def step(state, ctx):
        begun.append(1)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(1)
            raise

    async def main():
        runner = AgentRunner(step=step, store=store)
        await runner.enqueue(run_id="r")
        task = asyncio.create_task(Worker(runner, poll_s=0.001).run())
        while not begun:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return runner.get("r")["status"]

    assert asyncio.run(main()) == "paused"
    assert ended
