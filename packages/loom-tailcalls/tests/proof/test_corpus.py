"""Every program of the corpus, in every mode of `blocks`, against plain recursion."""

import warnings

import loom
import pytest
from loom_proof import observe, stepwise
from loom_proof.program import CORPUS, Program, corpus, read

MODES = ({}, {"blocks": "step"}, {"blocks": "exact"}, {"blocks": "reject"})
ACCEPTED, DEVIATING, EITHER, REFUSED = (corpus(folder) for folder in ("accepted", "deviating", "either", "refused"))


def by_name(programs: list[Program]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("program", programs, ids=[program.name for program in programs])


def mode_name(mode: dict[str, str]) -> str:
    return mode.get("blocks", "unsaid")


def run(program: Program, decorators: observe.Decorators, **options) -> observe.Observation:
    return observe.run(program.source, str(program.path), decorators, **options)


def outcome(seen: observe.Observation) -> tuple[str, str, tuple[str, ...]]:
    return seen.kind, seen.value, seen.events


def by_step(program: Program) -> tuple[str, str, tuple[str, ...]]:
    """What the corpus says the program does when blocks cover one step."""
    kind, value = program.literal("STEP")
    return kind, repr(value) if kind == "returned" else value, tuple(map(repr, program.literal("STEP_EVENTS")))


def reported(decorators: observe.Decorators, what: str = "line") -> set[object]:
    found = set()
    for made in decorators.decorated:
        found |= {deviation[what] for deviation in loom.explain_tailcalls(made, as_json=True)["deviations"]}
    return found


@pytest.mark.parametrize("mode", MODES, ids=mode_name)
@by_name(ACCEPTED)
def test_an_accepted_program_equals_plain_recursion(program, mode):
    compiled = observe.compiled(**mode)
    if mode_name(mode) == "exact" and "exact" in program.directives:
        assert run(program, compiled).value.startswith("TailCallError: LT009"), program.path
        return
    reference = run(program, observe.plain())
    assert str(run(program, compiled, record=True)) == str(reference)
    assert compiled.decorated or program.name in ("tools_linecache_source", "tools_zip_import", "tools_doctest")
    assert reported(compiled, "id") == set(filter(None, [program.directives.get("reports")]))


@by_name([program for program in ACCEPTED if program.has("deep")])
def test_an_accepted_program_runs_in_constant_stack(program):
    seen = run(program, observe.compiled(), entry="deep", seconds=20)
    assert (seen.kind, seen.value) == ("returned", repr(program.literal("DEEP")))


@by_name(DEVIATING)
def test_a_deviating_program_equals_plain_recursion_when_blocks_are_exact(program):
    compiled = observe.compiled(blocks="exact")
    seen = run(program, compiled, record=True)
    if program.name.startswith(
        ("handler_", "stream_a")
    ):  # a handler's context and a stream's sender: no mode keeps them
        assert outcome(seen) == by_step(program)
        assert reported(compiled) == program.deviating_lines
    else:
        assert str(seen) == str(run(program, observe.plain()))
        assert reported(compiled, "id") <= {"exception-context"}


@pytest.mark.parametrize("mode", MODES[:2], ids=mode_name)
@by_name(DEVIATING)
def test_a_deviating_program_does_exactly_what_is_reported(program, mode):
    compiled = observe.compiled(**mode)
    seen = run(program, compiled, allowed_warning=loom.BlockScopeWarning, record=True)
    assert outcome(seen) == by_step(program)
    assert reported(compiled) == program.deviating_lines


@by_name([program for program in DEVIATING if not program.name.startswith(("handler_", "stream_a"))])
def test_a_block_without_the_option_always_warns(program):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        observe.load(program.source, str(program.path), observe.compiled())
    told = [warning for warning in caught if issubclass(warning.category, loom.BlockScopeWarning)]
    assert {warning.lineno for warning in told} == program.deviating_lines
    assert {warning.filename for warning in told} == {str(program.path)}
    for warning in told:
        for choice in ("step", "exact", "reject"):
            assert choice in str(warning.message)


@by_name([program for program in DEVIATING if not program.name.startswith(("handler_", "stream_a"))])
def test_blocks_reject_refuses_at_the_line_of_the_call(program):
    seen = run(program, observe.compiled(blocks="reject"))
    assert (seen.kind, seen.value.split(":")[0]) == ("import-raised", "TailCallError")
    assert any(f":{line}:" in seen.value for line in program.deviating_lines), seen.value


@pytest.mark.parametrize("mode", MODES, ids=mode_name)
@by_name(EITHER)
def test_an_undecided_program_is_refused_reported_or_equal(program, mode):
    compiled = observe.compiled(**mode)
    seen = run(program, compiled, allowed_warning=loom.BlockScopeWarning, record=True)
    if seen.kind == "import-raised" or seen.value.startswith("TailCallError"):
        assert seen.value.startswith("TailCallError"), seen
        return
    reference = run(program, observe.plain())
    assert str(seen) == str(reference) or reported(compiled)


@by_name(REFUSED)
def test_a_refused_program_is_refused_with_code_line_and_column(program):
    with pytest.raises(loom.TailCallError) as refusal:
        observe.load(program.source, str(program.path), observe.compiled())
    error = refusal.value
    if "code" in program.directives:
        assert error.code == program.directives["code"], str(error)
        return
    (expected,) = program.refusals
    assert (error.code, error.line, error.column) == (expected.code, expected.line, expected.column), str(error)
    text = str(error).splitlines()
    assert f'{program.path}":{expected.line}:{expected.column}' in text[1]
    assert text[0].startswith(f"{expected.code}: cannot ")
    code_line = program.source.splitlines()[expected.line - 1]
    assert text[2].strip() == code_line.strip()
    assert text[3].strip("^ ") == ""
    shift = text[2].index(code_line.strip()) - (len(code_line) - len(code_line.lstrip()))
    assert text[3].index("^") - shift == expected.column - 1
    assert [line.split(":")[0].strip() for line in text[4:]] == ["Why", "Fix"]


@by_name(
    [
        program
        for program in [*ACCEPTED, *DEVIATING]
        if not program.name.startswith(("binding_", "tools_", "stream_a", "names_underscored"))
    ]
)
def test_the_second_reference_agrees_with_the_first_and_with_the_corpus(program):
    seen = outcome(run(program, stepwise.decorators()))
    if program in ACCEPTED:
        assert seen == outcome(run(program, observe.plain()))
        return
    assert seen == by_step(program)


def test_every_corpus_file_has_a_valid_header_and_is_in_a_tested_folder():
    folders = {read(path).path.parent.name for path in CORPUS.rglob("*.py")}
    assert folders == {"accepted", "deviating", "either", "refused"}
