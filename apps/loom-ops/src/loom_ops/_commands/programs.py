"""Programs that execute what they are told, and variables that tell programs what to execute.

Both are a second net. The first ones need no list: `slot_values` limits the values of slots, and a
variable is passed on only when its name is that of data (a credential, a version, a region); any
other is given a fixed value in the rules.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from typing import Final

__all__ = ["executes_its_words", "is_data_variable", "is_interpreter", "is_loader_variable"]

_VERSION: Final = r"[-.0-9]*(?:-dbg|w|\.exe|d)?"
_INTERPRETERS: Final = re.compile(
    r"(?:(?:ba|da|z|k|c|tc|fi|a|ra|mk|pdk|elvi|yas)?sh|nu|xonsh|env|xargs|nohup|nice|ionice|timeout|setsid|setarch|stdbuf|"
    r"watch|time|sudo|sudoedit|doas|su|sg|newgrp|pkexec|runuser|setpriv|chroot|chrt|taskset|numactl|unshare|nsenter|ssh|"
    r"eval|exec|command|python|ipython|pypy|perl|ruby|jruby|irb|node|nodejs|deno|bun|php|lua|luajit|tclsh|wish|awk|gawk|"
    r"mawk|nawk|osascript|pwsh|powershell|busybox|toybox|find|fd|parallel|script|expect|make|gmake|bmake|ninja|just|task|"
    r"ld(?:-linux.*|-musl.*)?\.so.*|ld\.so|flock|start-stop-daemon|systemd-run|dbus-run-session|bwrap|firejail|proot|"
    r"fakeroot|fakechroot|entr|watchexec|strace|ltrace|gdb|lldb|valgrind|perf|catchsegv|julia|r|rscript|octave|java|"
    r"groovy|scala|kotlin|jshell|erl|elixir|iex|escript|ghci|runghc|sbcl|guile|racket|swift|tmux|screen|"
    r"gnome-terminal|xterm|at|batch|crontab|sqlite|psql|mysql|mariadb|mongo|mongosh|redis-cli|cscript|wscript|cmd)"
    + _VERSION
)
_TOOLS: Final = re.compile(
    r"(?:git|hg|svn|cvs|sed|gsed|ed|ex|vi|vim|nvim|nano|emacs|less|more|most|man|tar|gtar|bsdtar|cpio|zip|unzip|7z|7za|"
    r"rsync|scp|sftp|socat|nc|ncat|netcat|m4|dc|bc|docker|podman|nerdctl|ctr|crictl|buildah|kubectl|oc|helm|helmfile|"
    r"kustomize|terraform|tofu|terragrunt|pulumi|ansible.*|salt.*|puppet|chef.*|vagrant|packer|npm|npx|yarn|pnpm|corepack|"
    r"pip|pipx|uv|uvx|poetry|conda|cargo|go|gcc|g\+\+|cc|clang|cmake|rake|gradle|gradlew|mvn|mvnw|ant|bazel|meson|apt|"
    r"apt-get|dpkg|rpm|yum|dnf|apk|brew|snap|flatpak|tcpdump|openssl|curl|wget|aria2c|dd|split|sort|logrotate|run-parts|"
    r"aws|gcloud|az|gh|glab)" + _VERSION
)
_LOADERS: Final = re.compile(
    r"LD_.*|DYLD_.*|BASH_ENV|ENV|IFS|PATH|PYTHON.*|PERL5?.*|RUBY.*|NODE_.*|GIT_.*|EDITOR|VISUAL|.*PAGER|BROWSER|"
    r"(?:_?JAVA|JDK|JVM)_.*|CLASSPATH|LESS.*|SHELLOPTS|BASHOPTS|PS[0-4]|PROMPT_COMMAND|ZDOTDIR|CDPATH|HOME|XDG_.*|"
    r"KUBE.*|DOCKER_.*|HELM_.*|TF_.*|ANSIBLE_.*|.*_PROXY|GCONV_PATH|LOCPATH|GLIBC_.*|MALLOC_.*|OPENSSL_.*|MAKE.*|"
    r"RSYNC_.*|CVS_.*|SSH_.*|CURL_.*|WGETRC|NPM_.*|LUA_.*|PHP.*|TMPDIR|AWS_.*(?:CONFIG|FILE|BUNDLE).*|SSL_.*|"
    r"REQUESTS_.*|SUDO_.*|SYSTEMD_.*|TERM.*|R_.*|DOTNET_.*|COR(?:ECLR)?_.*",
    re.IGNORECASE,
)
_DATA: Final = re.compile(
    r"(?:LANG|LC_[A-Z]+|TZ|NO_COLOR|PGUSER|PGPASSWORD|PGDATABASE|PGPORT|MYSQL_PWD)|"
    r"(?:[A-Z0-9]+_)*(?:TOKEN|KEY|SECRET|PASSWORD|PASS|USER|USERNAME|LOGIN|ACCOUNT|PROJECT|TENANT|ID|NAME|REGION|ZONE|"
    r"CLUSTER|NAMESPACE|STAGE|ENVIRONMENT|SERVICE|VERSION|RELEASE|TAG|REVISION|REASON|TICKET|INCIDENT|LEVEL|MODE|PORT|"
    r"COUNT|LIMIT|TIMEOUT|REPLICAS|DRY_RUN)"
)

_SETTING: Final = re.compile(
    r"(?:^|_)(?:LD|DYLD|CONFIG|CONF|RC|PATH|OPTS?|OPTIONS|FLAGS|ARGS|CMD|COMMAND|EXEC|PROFILE|STARTUP|INIT|"
    r"HOOKS?|PLUGINS?|MODULES?|PRELOAD|HOME|DIR|FILE|SOCK|PROXY|EDITOR|PAGER|SHELL)(?:_|$)"
)


def _name(program: str) -> str:
    return PurePath(program).name.lower()


def is_interpreter(program: str) -> bool:
    """Return whether a program, or what its absolute path links to, starts what it is told."""
    return any(_INTERPRETERS.fullmatch(name) is not None for name in _names(program))


def executes_its_words(program: str) -> bool:
    """Return whether a program is known to read commands or code in some of its words."""
    return any(_INTERPRETERS.fullmatch(name) or _TOOLS.fullmatch(name) for name in _names(program))


def _names(program: str) -> set[str]:
    names = {_name(program)}
    if program.startswith("/"):
        names.add(_name(os.path.realpath(program)))
    return names


def is_loader_variable(name: str) -> bool:
    """Return whether a variable is known to change which code runs or where it connects to."""
    return _LOADERS.fullmatch(name) is not None


def is_data_variable(name: str) -> bool:
    """Return whether the name of a variable is that of data for the program, so that its value may
    come from elsewhere.
    """
    return _DATA.fullmatch(name) is not None and _SETTING.search(name) is None
