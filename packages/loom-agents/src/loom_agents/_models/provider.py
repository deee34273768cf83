"""Models of providers, through pydantic-ai, which only this module uses.

Only its direct interface is used, with one HTTP request for each call: the runner retries instead
of the provider's library, and the coordinator runs the tools and keeps the conversation. What a
provider needs back unchanged (such as signatures of thoughts and ids) is stored with a message as
`details` and sent back only to the same provider.

pydantic-ai is an extra (`loom-agents[openai]`, `[anthropic]`, `[google]`) and takes a second to
load, so it is imported when a model is created. Its types are `Any`, because type checks must pass
without it.
"""

import importlib
import os
from collections.abc import Mapping
from typing import Any

from loom_agents._errors import ModelError
from loom_agents._models.messages import (
    AssistantMessage,
    FinishReason,
    Message,
    SummaryMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    storable,
)
from loom_agents._models.protocol import ModelReply, ModelRequest, OnDelta

DETAILS_FORMAT = "pydantic-ai/2"
DEFAULT_OLLAMA_URL = "http://localhost:11434/v1"

# The environment variables for the key of each provider that this package has an extra for; one of
# them is enough.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "openai-chat": ("OPENAI_API_KEY",),
    "openai-responses": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
}

_FINISH_REASONS: Mapping[str | None, FinishReason] = {"length": "length", "content_filter": "refused"}
_TRANSIENT = (
    "ModelRateLimitError",
    "ModelUnavailableError",
    "ModelServerError",
    "ModelConnectionError",
    "ModelRequestTimeout",
    "UnexpectedModelBehavior",
)


class ProviderModel:
    """Send requests to a provider's model, named `provider:model`.

    `openai:` uses the Responses API, `openai-chat:` the Chat Completions API that most servers
    support (with OPENAI_BASE_URL), `ollama:` a local Ollama (set OLLAMA_BASE_URL for another
    machine), and `anthropic:` and `google:` the APIs of these providers. Keys come from the
    providers' usual environment variables.

    Args:
        name: Provider and model.
        timeout_s: How long one request may take.

    Raises:
        ModelError: The extra is not installed, the provider is unknown, or its key is missing.
    """

    def __init__(self, name: str, *, timeout_s: float = 300.0) -> None:
        self._name = name
        self._settings = {"max_retries": 0, "timeout": timeout_s, "parallel_tool_calls": True}
        self._model = _build_model(name)

    @property
    def name(self) -> str:
        """Provider and model."""
        return self._name

    async def request(self, request: ModelRequest, *, on_delta: OnDelta) -> ModelReply:
        """Send one HTTP request and stream the reply's text.

        Raises:
            ModelError: There is no reply; `retryable` for rate limits, overload, lost connections
                and replies that cannot be read.
        """
        direct, messages, exceptions = _load("direct"), _load("messages"), _load("exceptions")
        history = _history(request, self._name)
        try:
            # Entering the model closes its connections at the end: the next request may be on
            # another event loop.
            async with (
                self._model,
                direct.model_request_stream(
                    self._model, history, model_settings=self._settings, model_request_parameters=_parameters(request)
                ) as stream,
            ):
                async for event in stream:
                    if isinstance(event, messages.PartStartEvent) and isinstance(event.part, messages.TextPart):
                        on_delta(event.part.content)
                    elif isinstance(event, messages.PartDeltaEvent) and isinstance(event.delta, messages.TextPartDelta):
                        on_delta(event.delta.content_delta)
                response = stream.get()
        except exceptions.AgentRunError as exc:
            transient = tuple(getattr(exceptions, name) for name in _TRANSIENT)
            final = isinstance(exc, exceptions.ModelQuotaExceededError)
            raise ModelError(_one_line(self._name, exc), retryable=isinstance(exc, transient) and not final) from exc
        except (exceptions.UserError, ValueError) as exc:
            raise ModelError(_one_line(self._name, exc)) from exc
        if _is_incomplete(response):
            raise ModelError(f"cannot get a reply from {self._name}: it is incomplete.", retryable=True)
        return self._reply(response)

    def _reply(self, response: Any) -> ModelReply:
        calls = tuple(ToolCall.parse(call.tool_call_id, call.tool_name, call.args) for call in response.tool_calls)
        return ModelReply(
            text=response.text or "",
            tool_calls=calls,
            usage=_usage(response),
            model=response.model_name or self._name,
            finish_reason="tool_calls" if calls else _FINISH_REASONS.get(response.finish_reason, "stop"),
            details=self._details(response),
        )

    def _details(self, response: Any) -> dict[str, Any] | None:
        """Return what the provider needs back; None when the reply is only text and calls."""
        stored = _adapter().dump_python([response], mode="json")[0]
        parts = [
            {name: value for name, value in part.items() if value is not None and name != "timestamp"}
            for part in stored["parts"]
        ]
        plain = {"text": {"content", "part_kind"}, "tool-call": {"tool_name", "args", "tool_call_id", "part_kind"}}
        if all(set(part) <= plain.get(part["part_kind"], set()) for part in parts):
            return None
        return {"format": DETAILS_FORMAT, "for": self._name, "response": {**stored, "parts": parts}}


def _load(module: str) -> Any:
    return importlib.import_module(f"pydantic_ai.{module}")


def _adapter() -> Any:
    return _load("messages").ModelMessagesTypeAdapter


def _build_model(name: str) -> Any:
    try:
        models, providers = _load("models"), _load("providers")
    except ImportError as exc:
        raise ModelError(
            f"cannot use the model {name!r}: pydantic-ai is not installed. Install loom-agents[openai] (or"
            " [anthropic], [google]), or use --mock-llm."
        ) from exc

    kind = name.partition(":")[0]
    is_keyless = kind.startswith("openai") and bool(os.environ.get("OPENAI_BASE_URL"))
    if not any(os.environ.get(variable) for variable in _KEYS.get(kind, ())) and kind in _KEYS and not is_keyless:
        keys = " or ".join(_KEYS[kind])
        raise ModelError(
            f"cannot use the model {name!r}: {keys} is not set. Set it to your key, or work offline with --mock-llm."
        )

    def provider(provider_name: str) -> Any:
        if provider_name == "ollama" and not os.environ.get("OLLAMA_BASE_URL"):
            return _load("providers.ollama").OllamaProvider(base_url=DEFAULT_OLLAMA_URL)
        if provider_name.startswith("openai") and is_keyless and not os.environ.get("OPENAI_API_KEY"):
            # A private server may need no key; the client library does not start without one.
            return _load("providers.openai").OpenAIProvider(base_url=os.environ["OPENAI_BASE_URL"], api_key="none")
        return providers.infer_provider(provider_name)

    try:
        if kind != "ollama" and not is_keyless:
            return models.infer_model(name)  # its error suggests the most similar known model
        return models.infer_model(name, provider)
    except Exception as exc:
        # Unknown names, missing extras, and errors of a provider's client, whose types cannot be
        # imported here.
        text = " ".join(str(exc).split())[:300]
        raise ModelError(f"cannot use the model {name!r}: {text}. Write PROVIDER:MODEL, such as openai:gpt-5.") from exc


def _one_line(name: str, exc: BaseException) -> str:
    status, body = getattr(exc, "status_code", None), getattr(exc, "body", None)
    message = body.get("message") if isinstance(body, Mapping) else None
    kind = f"{type(exc).__name__.removeprefix('_HTTP')}{f' {status}' if status else ''}"
    text = " ".join(str(message or exc).split())
    return storable(f"cannot get a reply from {name}: {kind}: {text[:500]}")


def _parameters(request: ModelRequest) -> Any:
    tools = [
        _load("tools").ToolDefinition(
            name=spec.name, description=spec.description, parameters_json_schema=dict(spec.parameters)
        )
        for spec in request.tools
    ]
    return _load("models").ModelRequestParameters(function_tools=tools)


def _history(request: ModelRequest, model: str) -> list[Any]:
    """Convert the conversation to pydantic-ai; the tool results of a reply share a message."""
    messages = _load("messages")
    history: list[Any] = []
    parts: list[Any] = [messages.SystemPromptPart(content=request.system)] if request.system else []
    for message in request.messages:
        if isinstance(message, AssistantMessage):
            history += [messages.ModelRequest(parts=parts), _response(message, model)]
            parts = []
        else:
            parts.append(_part(message))
    return [*history, messages.ModelRequest(parts=parts)]


def _part(message: Message) -> Any:
    messages = _load("messages")
    if isinstance(message, UserMessage):
        return messages.UserPromptPart(content=message.text)
    if isinstance(message, SummaryMessage):
        return messages.UserPromptPart(content=f"Summary of the conversation so far:\n\n{message.text}")
    assert isinstance(message, ToolMessage)
    content = message.payload
    if message.outcome == "interrupted":
        content = f"interrupted, outcome unknown: {message.payload}"
    outcome = {"success": "success", "denied": "denied"}.get(message.outcome, "failed")
    return messages.ToolReturnPart(
        tool_name=message.name, content=content, tool_call_id=message.call_id, outcome=outcome
    )


def _response(message: AssistantMessage, model: str) -> Any:
    messages = _load("messages")
    details = message.details or {}
    if details.get("format") == DETAILS_FORMAT and details.get("for") == model:
        response = _adapter().validate_python([details["response"]])[0]
        for part, call in zip(response.tool_calls, message.tool_calls, strict=True):
            part.tool_call_id = call.id  # a duplicate id was renumbered
            part.args = _arguments(call)
        return response
    parts: list[Any] = [messages.TextPart(content=message.text)] if message.text else []
    parts += [
        messages.ToolCallPart(tool_name=call.name, args=_arguments(call), tool_call_id=call.id)
        for call in message.tool_calls
    ]
    return messages.ModelResponse(parts=parts)


def _arguments(call: ToolCall) -> dict[str, Any]:
    """Return the arguments as an object: providers reject a history with anything else in it."""
    return dict(call.arguments) if call.malformed is None else {"not_a_json_object": call.malformed}


def _is_incomplete(response: Any) -> bool:
    """Report whether the connection ended before the reply did.

    pydantic-ai reports such a reply as finished. It has neither of the two things that a provider
    sends at the end: the finish reason and the token counts. Some servers never send one of the
    two.
    """
    return not (response.provider_details or {}).get("finish_reason") and not response.usage.output_tokens


def _usage(response: Any) -> Usage:
    usage = response.usage
    try:
        cost: float | None = float(response.cost().total_price)
    except (LookupError, AssertionError, ValueError):
        cost = None  # the price of the model is unknown, which is not the same as free
    return Usage(1, usage.input_tokens, usage.cache_read_tokens, usage.output_tokens, cost)
