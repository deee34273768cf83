"""What the user of a product trusts: files, workspaces, tools of MCP servers."""

from loom_agents._workspace.trusted_files import TrustedFiles
from loom_agents._workspace.workspace_trust import TestSteering, WorkspaceTrust

__all__ = ["TestSteering", "TrustedFiles", "WorkspaceTrust"]
