"""The attribute names of OpenTelemetry traces, listed only here.

The current names of the GenAI conventions are *written*. Older names and those of OpenInference,
Traceloop (OpenLLMetry), pydantic-ai, Langfuse and the Vercel AI SDK are also *read*. A tuple lists
the names that are read for one fact, in order of preference; when its first name is a current GenAI
name, it is the one that is written. Facts without a name there (cost, status, our own kinds) are
written under `flow_xray.`.

Source: semantic-conventions-genai (development status), openinference-semantic-conventions 0.1.42,
the attributes that pydantic-ai 2 and the Traceloop instrumentations set.
"""

from typing import Final

OPERATION: Final = "gen_ai.operation.name"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM: Final = "gen_ai.system_instructions"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
INPUT_VALUE: Final = "input.value"
INPUT_TYPE: Final = "input.mime_type"
OUTPUT_VALUE: Final = "output.value"
OUTPUT_TYPE: Final = "output.mime_type"
JSON_TYPE: Final = "application/json"
THREAD: Final = "thread.name"
SERVICE: Final = "service.name"
ERROR_TYPE: Final = "error.type"
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACK: Final = "exception.stacktrace"
CODE_FILE: Final = "code.file.path"
CODE_LINE: Final = "code.line.number"
CODE_FUNCTION: Final = "code.function.name"

OWN_KIND: Final = "flow_xray.kind"
OWN_STATUS: Final = "flow_xray.status"
OWN_META: Final = "flow_xray.meta"
OWN_ORIGIN: Final = "flow_xray.origin"
OWN_TRACE: Final = "flow_xray.trace"
OWN_COST: Final = "flow_xray.cost_usd"
OPENINFERENCE_COST: Final = "llm.cost.total"

KIND_OF_OPERATION: Final = {
    "chat": "llm",
    "generate_content": "llm",
    "text_completion": "llm",
    "embeddings": "embedding",
    "retrieval": "retrieval",
    "execute_tool": "tool",
    "create_agent": "agent",
    "invoke_agent": "agent",
    "invoke_workflow": "workflow",
}
OPERATION_OF_KIND: Final = {
    "llm": "chat",
    "embedding": "embeddings",
    "retrieval": "retrieval",
    "tool": "execute_tool",
    "agent": "invoke_agent",
    "workflow": "invoke_workflow",
}
KIND_NAMES: Final = (
    "openinference.span.kind",
    "traceloop.span.kind",
    "langfuse.observation.type",
    "llm.request.type",
    "ai.operationId",
)
KIND_OF_VALUE: Final = {
    "llm": "llm",
    "generation": "llm",
    "chat": "llm",
    "completion": "llm",
    "ai.generatetext.dogenerate": "llm",
    "ai.streamtext.dostream": "llm",
    "ai.generateobject.dogenerate": "llm",
    "ai.streamobject.dostream": "llm",
    "embedding": "embedding",
    "retriever": "retrieval",
    "reranker": "retrieval",
    "rerank": "retrieval",
    "tool": "tool",
    "ai.toolcall": "tool",
    "agent": "agent",
    "chain": "workflow",
    "workflow": "workflow",
    "task": "function",
    "span": "function",
    "prompt": "function",
    "unknown": "function",
    "guardrail": "guardrail",
    "evaluator": "evaluator",
}

COUNTS: Final = {
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
        "ai.usage.inputTokens",
        "ai.usage.promptTokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
    ),
    "cache_read_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.cachedInputTokens",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_write_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.details.cache_write_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
        "ai.usage.reasoningTokens",
    ),
}
OWN_SUM: Final = "gen_ai.aggregated_usage."  # pydantic-ai: the sum of the calls of an agent

MODEL: Final = (
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.response.model_name",
    "llm.model_name",
    "llm.request.model_name",
    "embedding.model_name",
    "reranker.model_name",
    "llm.response.model",
    "llm.request.model",
    "ai.model.id",
)
FACTS: Final = {
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"),
    "response_id": ("gen_ai.response.id",),
    "finish_reasons": ("gen_ai.response.finish_reasons", "llm.finish_reason", "ai.response.finishReason"),
    "temperature": ("gen_ai.request.temperature",),
    "top_p": ("gen_ai.request.top_p",),
    "max_tokens": ("gen_ai.request.max_tokens", "gen_ai.openai.request.max_tokens"),
    "seed": ("gen_ai.request.seed",),
    "parameters": ("llm.invocation_parameters",),
    "agent": ("gen_ai.agent.name", "agent.name", "agent_name", "gen_ai.workflow.name"),
    "conversation_id": ("gen_ai.conversation.id", "session.id", "langfuse.session.id"),
    "user_id": ("user.id", "langfuse.user.id"),
    "tool_call_id": ("gen_ai.tool.call.id", "tool.id", "ai.toolCall.id"),
    "tools": ("gen_ai.tool.definitions",),
    "query": ("gen_ai.retrieval.query.text",),
    "host": ("server.address",),
}
WRITTEN_FACTS: Final = {key: names[0] for key, names in FACTS.items() if names[0].startswith("gen_ai.")}
COST: Final = (OWN_COST, OPENINFERENCE_COST, "operation.cost", "gen_ai.usage.cost", "gen_ai.cost.total_usd")
FIRST_CHUNK_S: Final = ("gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk")
IGNORED: Final = ("logfire.json_schema", "logfire.msg")  # hints for another viewer

INPUTS: Final = (
    TOOL_ARGUMENTS,
    "tool_arguments",
    "tool.parameters",
    "ai.toolCall.args",
    INPUT_VALUE,
    "traceloop.entity.input",
    "langfuse.observation.input",
    "gen_ai.retrieval.query.text",
    "ai.prompt",
)
OUTPUTS: Final = (
    TOOL_RESULT,
    "tool_response",
    "ai.toolCall.result",
    OUTPUT_VALUE,
    "traceloop.entity.output",
    "langfuse.observation.output",
    "gen_ai.retrieval.documents",
    "final_result",
    "ai.response.text",
)
MESSAGES_IN: Final = (INPUT_MESSAGES, "gen_ai.prompt", "ai.prompt.messages")
MESSAGES_OUT: Final = (OUTPUT_MESSAGES, "gen_ai.completion")
CONVERSATION: Final = ("pydantic_ai.all_messages", "all_messages_events")
FLAT_MESSAGES_IN: Final = ("llm.input_messages", "gen_ai.prompt")
FLAT_MESSAGES_OUT: Final = ("llm.output_messages", "gen_ai.completion")
FLAT_DOCUMENTS: Final = "retrieval.documents"
FLAT_TOOLS: Final = "llm.tools"
EVENT_LIST: Final = "events"  # pydantic-ai before version 2 of its format: a JSON list of events
MESSAGE_EVENT: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
    "gen_ai.choice": "assistant",
    "gen_ai.content.prompt": "user",
    "gen_ai.content.completion": "assistant",
}
DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
