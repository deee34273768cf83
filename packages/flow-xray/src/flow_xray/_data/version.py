"""The version of the installed package."""


def package_version() -> str:
    """Return the version of flow-xray, or "unknown" when the package is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("flow-xray")
    except PackageNotFoundError:
        return "unknown"
