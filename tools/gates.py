"""The house rules that no off-the-shelf linter knows, one function a rule.

    python tools/gates.py          checks the whole tree; one line per finding, exit 1 if there is any

Each function takes the repository root and yields findings, so that a test can plant a violation in
a small tree and see it caught (tests/test_gates.py).
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import wrap_prose
from name_rules import (
    folders_instead_of_prefixes,
    no_coined_words,
    no_placeholder_docstrings,
    telling_file_names,
)
from workspace import Finding, Package, modules, packages, tracked_text

MAX_PUBLIC_NAMES = 40

# Built from parts, so that this file does not contain what it forbids.
_HOSTS = re.compile(
    r"files\.pythonhosted\." + r"org|py" + r"pi\.org|registry\.npm" + r"js\.org|deb\.debian\." + r"org|crates\." + r"io"
)
_MACHINE_PATHS = re.compile(r"(?<![\w./~-])/(?:home|root|work|Users|farm)/[A-Za-z_.][\w.-]*")


# ------------------------------------------------------------------ hosts and paths


def no_hosts_or_machine_paths(root: Path) -> Iterator[Finding]:
    """No file names a package registry's host or an absolute path of somebody's machine."""
    for path, text in tracked_text(root):
        for number, line in enumerate(text.splitlines(), 1):
            if match := _HOSTS.search(line):
                yield Finding(path, number, f"names a package registry's host: {match.group()}")
            elif match := _MACHINE_PATHS.search(line):
                yield Finding(path, number, f"names a path of a machine: {match.group()}")


def nothing_generated_is_tracked(root: Path) -> Iterator[Finding]:
    """No lock file with download addresses, no environment file, no database."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True)
    for name in filter(None, listing.stdout.split("\0")):
        path = root / name
        if path.name in {"uv.lock", ".env"} or path.suffix in {".sqlite", ".pyc", ".xray"}:
            yield Finding(path, 1, "is generated or private, and tracked")


# ------------------------------------------------------------------ one version


def one_version(root: Path) -> Iterator[Finding]:
    """All packages carry the workspace's version and ask for each other by exactly that version."""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    ours = {package.folder.name for package in packages(root)}
    for package in packages(root):
        path = package.folder / "pyproject.toml"
        project = tomllib.loads(path.read_text())["project"]
        if project["version"] != version:
            yield Finding(path, 1, f"has version {project['version']}, the workspace has {version}")
        extras = project.get("optional-dependencies", {})
        for requirement in [*project.get("dependencies", []), *(each for extra in extras.values() for each in extra)]:
            match = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?(.*)", requirement)
            if match and match[1] in ours and match[2] != f"=={version}":
                yield Finding(path, 1, f"must ask for {match[1]}=={version}, not {requirement}")
        for required in ("py.typed", "__init__.py"):
            if not (package.source / required).exists():
                yield Finding(package.source / required, 1, "is missing")
        for required in ("README.md", "LICENSE"):
            if not (package.folder / required).exists():
                yield Finding(package.folder / required, 1, "is missing")


def versions_from_metadata(root: Path) -> Iterator[Finding]:
    """No module contains its own version: `importlib.metadata.version` reads that of the installed
    package.
    """
    for package in packages(root):
        for path, tree in modules(package):
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    if any(isinstance(target, ast.Name) and target.id == "__version__" for target in targets):
                        yield Finding(path, node.lineno, "contains a version: use importlib.metadata.version")


# ------------------------------------------------------------------ public names


def public_api(root: Path) -> Iterator[Finding]:
    """`__all__` is there, small, true, and everything in it is documented (its order is ruff's
    RUF022).
    """
    for package in packages(root):
        init = package.source / "__init__.py"
        tree = ast.parse(init.read_text(encoding="utf-8"))
        names = _declared_all(tree)
        if ast.get_docstring(tree) is None:
            yield Finding(init, 1, "has no docstring")
        if names is None:
            yield Finding(init, 1, "has no literal __all__")
            continue
        if len(names) > MAX_PUBLIC_NAMES:
            yield Finding(init, 1, f"__all__ has {len(names)} names, more than {MAX_PUBLIC_NAMES}")
        definitions = _definitions(package)
        bound = _bound_names(tree)
        for name in names:
            if name not in bound:
                yield Finding(init, 1, f"__all__ names {name}, which the module does not bind")
            for path, node in definitions.get(bound.get(name, name), []):
                if ast.get_docstring(node) is None:
                    yield Finding(path, node.lineno, f"public {name} has no docstring")


def _declared_all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            value = getattr(node, "value", None)
            if isinstance(value, ast.List | ast.Tuple):
                return [str(element.value) for element in value.elts if isinstance(element, ast.Constant)]
    return None


def _bound_names(tree: ast.Module) -> dict[str, str]:
    """Name bound in the module -> the name that it has where it is defined. Lazy tables
    (`_LAZY = {...}`) count.
    """
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            bound |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound[node.name] = node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound[node.id] = node.id
        elif isinstance(node, ast.Dict):
            bound |= {
                key.value: key.value
                for key in node.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.isidentifier()
            }
    return bound


def _definitions(
    package: Package,
) -> dict[str, list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]]:
    found: dict[str, list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]] = {}
    for path, tree in modules(package):
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            overload = any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not overload:
                found.setdefault(node.name, []).append((path, node))
    return found


# ------------------------------------------------------------------ errors


def error_tree(root: Path) -> Iterator[Finding]:
    """One base class per package; every other exception derives from it and is in the errors
    module's drawing.

    A direct child of BaseException is control flow (as asyncio.CancelledError is), not an error: it
    is left out.
    """
    for package in packages(root):
        classes = {
            node.name: (path, node)
            for path, tree in modules(package)
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }
        raised = {name for name in classes if _is_exception(name, classes)}
        public = {name for name in raised if not name.startswith("_") and _bases(classes[name][1]) != ["BaseException"]}
        if not public:
            continue
        errors = _errors_module(package)
        if not errors.exists():
            yield Finding(errors, 1, f"is missing; {', '.join(sorted(public))} must be in it")
            continue
        drawing = ast.get_docstring(ast.parse(errors.read_text(encoding="utf-8"))) or ""
        roots = {name for name in public if not any(base in raised for base in _bases(classes[name][1]))}
        roots -= {name for name in roots if any("Warning" in base for base in _bases(classes[name][1]))}
        if len(roots) != 1:
            yield Finding(errors, 1, f"must hold one base class, found {', '.join(sorted(roots)) or 'none'}")
        for name in sorted(public):
            path, node = classes[name]
            if path != errors:
                yield Finding(path, node.lineno, f"{name} is an exception outside {errors.name}")
            if name not in drawing:
                yield Finding(errors, node.lineno, f"{name} is not in the drawing of the error tree (module docstring)")
            if ast.get_docstring(node) is None:
                yield Finding(path, node.lineno, f"{name} has no docstring (when, when not, what to do)")


def _errors_module(package: Package) -> Path:
    """Return the module of the errors: `errors.py` when other packages tell the errors apart, else
    `_errors.py`.
    """
    public = package.source / "errors.py"
    return public if public.exists() else package.source / "_errors.py"


_BUILTIN_EXCEPTIONS = {
    name
    for name, value in vars(__import__("builtins")).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


def _bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def _is_exception(name: str, classes: dict[str, tuple[Path, ast.ClassDef]]) -> bool:
    if name in _BUILTIN_EXCEPTIONS and name not in classes:
        return True
    if name not in classes:
        return name.endswith(("Error", "Exception")) and name != "Error"
    return any(base != name and _is_exception(base, classes) for base in _bases(classes[name][1]))


# ------------------------------------------------------------------ prose


def markdown_width(root: Path) -> Iterator[Finding]:
    """No line of Markdown prose is wider than 100 columns; tables, code, headings and long links
    are left alone.

    Docstrings and comments are checked by `tools/wrap_prose.py --check`.
    """
    for path, text in tracked_text(root):
        if path.suffix == ".md":
            for line in wrap_prose.wide_lines_of_markdown(text):
                yield Finding(path, line, f"is wider than {wrap_prose.WIDTH} columns: run tools/wrap_prose.py")


# ------------------------------------------------------------------ private modules and names


def no_foreign_private_modules(root: Path) -> Iterator[Finding]:
    """No package imports another package's private module or private name."""
    found = packages(root)
    names = {package.name for package in found}
    for package in found:
        for path, tree in modules(package):
            for node in ast.walk(tree):
                for line, module, imported in _imports(node):
                    owner, *rest = module.split(".")
                    private = [
                        part for part in [*rest, *imported] if part.startswith("_") and not part.startswith("__")
                    ]
                    if owner in names and owner != package.name and private:
                        yield Finding(path, line, f"imports {module}:{private[0]}, private to {owner}")


def no_private_names_from_other_modules(root: Path) -> Iterator[Finding]:
    """No module imports a private name (`from x import _y`): what two modules use has a plain name.

    A private *module* of the same package is another matter: it may be imported.
    """
    for package in packages(root):
        for path, tree in modules(package):
            for node in ast.walk(tree):
                for line, module, imported in _imports(node):
                    folder = package.source.parent.joinpath(*module.split("."))
                    for name in imported:
                        private = name.startswith("_") and not name.startswith("__")
                        is_module = (folder / name).is_dir() or (folder / f"{name}.py").exists()
                        if private and module.partition(".")[0] == package.name and not is_module:
                            yield Finding(path, line, f"imports the private name {name} of {module}")


def _imports(node: ast.AST) -> Iterator[tuple[int, str, list[str]]]:
    """Line, module and names of each absolute import."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield node.lineno, alias.name, []
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.lineno, node.module, [alias.name for alias in node.names]


Rule = Callable[[Path], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    no_hosts_or_machine_paths,
    nothing_generated_is_tracked,
    one_version,
    versions_from_metadata,
    public_api,
    error_tree,
    folders_instead_of_prefixes,
    telling_file_names,
    no_coined_words,
    no_placeholder_docstrings,
    no_foreign_private_modules,
    no_private_names_from_other_modules,
    markdown_width,
)


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    count = 0
    for rule in RULES:
        for finding in rule(root):
            count += 1
            print(f"{finding.path.relative_to(root)}:{finding.line}: {finding.text}  [{rule.__name__}]")
    print(f"gates: {len(RULES)} rules, {count} findings")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
