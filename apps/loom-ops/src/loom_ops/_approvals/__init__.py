"""Who may decide about a step that waits for approval, and the one service that decides."""
