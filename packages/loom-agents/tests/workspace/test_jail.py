import os
from pathlib import Path

import pytest
from loom_agents._errors import WorkspaceError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.listing import walk
from loom_agents._workspace.secret_names import is_secret


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt",
        "docs/../../outside.txt",
        "docs/../README.md",
        "/etc/passwd",
        "link_out",
        "link_folder/outside.txt",
        "link_folder/project/README.md/../../outside.txt",
        "./link_out",
        "docs//../..//outside.txt",
        "",
        "  ",
        "a\0b",
        "/",
        "/proc/self/environ",
        "x" * 5000,
    ],
)
def test_a_path_that_leads_outside_is_refused(workspace: Workspace, path: str) -> None:
    with pytest.raises(WorkspaceError):
        workspace.open(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "./.env",
        "config/.ENV",
        "link_env",
        "keys/id_rsa",
        "KEYS/ID_RSA",
        ".env.local",
        ".env.",
        ".env ",
        "．env",  # a full-width dot, which some file systems fold
        ".git/config",
        "sub/.ssh/known_hosts",
        "server.PEM",
        "secrets.yaml",
    ],
)
def test_a_secret_is_refused_in_any_spelling(workspace: Workspace, path: str) -> None:
    with pytest.raises(WorkspaceError, match="secrets"):
        workspace.open(path)


SECRET = """
.e\u200bnv .\u2060g\ufeffit/config .env .ENV .env~ .env.bak .env-prod env.production .envrc .flaskenv sub/.env.d/x secrets.yaml my-secrets.yml secrets/db.txt
.secrets .streamlit/secrets.toml credentials.csv .aws/x .config/gh/hosts.yml .cargo/credentials .kube/config kubeconfig.yaml
terraform.tfstate.backup prod.tfvars.json .m2/settings.xml gradle.properties .npmrc pip.conf .netrc .authinfo.gpg .pgpass
.vault-token vault_password.txt deploy_key deploy.key server.pem.bak id_ed25519.old my_id_rsa AuthKey_A.p8 keystore.jks
service_account.json gcp-key.json x-adminsdk-1.json appsettings.Production.json wp-config.php .zsh_history logins.json
rclone.conf .gitconfig sftp-config.json master.key oauth_token token.json auth.json foo.key/inner.txt .huggingface/token
""".split()
ORDINARY = """
.env.example .env.template id_rsa.pub src/secrets.py tokens.py auth.py auth/login.ts environment.md keyboard.txt keys.py
tokenizer.json special_tokens_map.json design-tokens.json docs/secrets.md password_reset.html credentials_provider.go env.py
.cargo/config.toml .github/workflows/ci.yml .vscode/settings.json main.tf appsettings.json package.json history.md token.rs
""".split()


@pytest.mark.parametrize("path", SECRET)
def test_a_name_of_a_secret_is_known(path: str) -> None:
    assert is_secret(tuple(path.split("/")))


@pytest.mark.parametrize("path", ORDINARY)
def test_a_harmless_name_is_not_a_secret(path: str) -> None:
    assert not is_secret(tuple(path.split("/")))


def test_an_absolute_path_inside_the_workspace_is_accepted(workspace: Workspace) -> None:
    with workspace.open(str(workspace.root / "docs" / "guide.md")) as file:
        assert file.readline() == b"# Guide\n"


def test_a_link_to_a_file_inside_is_followed(workspace: Workspace) -> None:
    with workspace.open("link_in") as file:
        assert file.readline() == b"# Sample\n"


def test_a_workspace_named_through_a_link_is_the_same_one(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(workspace.root)
    again = Workspace.at(tmp_path / "alias")
    assert again == workspace
    assert again.resolve(str(tmp_path / "alias" / "README.md")) == workspace.root / "README.md"


def test_a_link_that_appears_after_the_check_is_not_followed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = workspace.resolve("docs/guide.md")
    (workspace.root / "docs").rename(workspace.root / "docs_before")
    (workspace.root / "docs").symlink_to(workspace.root.parent)
    (workspace.root.parent / "guide.md").write_text("outside")
    monkeypatch.setattr(Workspace, "resolve", lambda self, path: real)
    with pytest.raises(WorkspaceError):
        workspace.open("docs/guide.md")


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(workspace: Workspace) -> None:
    os.mkfifo(workspace.root / "pipe")
    with pytest.raises(WorkspaceError, match="special file"):
        workspace.open("pipe")


def test_a_folder_is_not_a_file(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="list_files"):
        workspace.open("docs")


def test_a_missing_file_is_named(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="'docs/none.md': there is no such file"):
        workspace.open("docs/none.md")


def test_a_refused_open_leaves_no_descriptor_behind(workspace: Workspace) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("docs", "docs/none.md", "README.md/x", "link_out"):
        with pytest.raises(WorkspaceError):
            workspace.open(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("name", ["missing", "file.txt"])
def test_a_workspace_must_be_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(WorkspaceError, match="as the workspace"):
        Workspace.at(tmp_path / name)


def test_private_files_of_the_application_are_neither_listed_nor_read(workspace: Workspace) -> None:
    for name in ("runs.sqlite", "runs.sqlite-wal", "runs.sqlite.md"):
        (workspace.root / name).write_text("x")
    (workspace.root / "alias.md").symlink_to(workspace.root / "runs.sqlite")
    own = Workspace.at(workspace.root, private=[workspace.root / "docs" / ".." / "runs.sqlite"])
    for path in ("runs.sqlite", "runs.sqlite-wal", "alias.md"):
        with pytest.raises(WorkspaceError, match="private file of the application"):
            own.open(path)
    assert [file.path for file in walk(own) if file.path.startswith("runs")] == ["runs.sqlite.md"]
