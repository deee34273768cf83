from loom_agents import Workspace, workspace_tools


def test_the_tools_are_declared_by_their_effects(workspace: Workspace) -> None:
    tools = {tool.name: tool for tool in workspace_tools(workspace)}
    assert sorted(tools) == ["git_diff", "git_status", "grep", "list_files", "read_file", "run_tests", "search_docs"]
    assert all(tool.read_only for name, tool in tools.items() if name != "run_tests")
    assert not tools["run_tests"].is_repeatable
    assert all(tool.doubt_policy == "retry" for tool in tools.values())


def test_every_tool_and_every_parameter_is_described_to_the_model(workspace: Workspace) -> None:
    for tool in workspace_tools(workspace):
        assert tool.description
        for name, facts in tool.schema()["properties"].items():
            assert facts["description"], f"{tool.name}.{name}"
