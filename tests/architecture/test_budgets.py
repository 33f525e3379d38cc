"""The package keeps the rules in `checks.py`. To learn why a rule exists: docs/architecture.md."""

from pathlib import Path

import pytest

from .checks import CHECKS, Check, constructor_parameters, forward_parameters, read_sources

PACKAGE = Path(__file__).parents[2] / "src" / "regard"
SOURCES = read_sources(PACKAGE)

#: Signatures that are long because people know them, each with its reason:
#: "models/bart.py: BartForConditionalGeneration.forward": "public edge, the field's signature".
LONG_SIGNATURES: dict[str, str] = {
    "models/decoder.py: DoubleHeads.forward": "public edge, the field's signature",
    "models/multitask.py: MultiTaskModel.forward": "public edge, the field's signature",
    "training/setup.py: TrainerSetup.__init__": "public edge, the field's signature",
}


def offences(check: Check) -> list[str]:
    return [line for source in SOURCES for line in check(source)]


def is_exempt(offence: str) -> bool:
    names = [name.split(": ") for name in LONG_SIGNATURES]
    return any(f"/{path}:" in offence and f": {name} has" in offence for path, name in names)


def test_the_package_is_found():
    assert "errors.py" in {source.path for source in SOURCES}, f"nothing to check in {PACKAGE}"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_package_keeps(check):
    found = [line for line in offences(check) if not is_exempt(line)]
    if found:
        pytest.fail("\n".join([check.__doc__, *found]), pytrace=False)


def test_every_exemption_is_needed():
    long = [*offences(constructor_parameters), *offences(forward_parameters)]
    needed = sum(is_exempt(line) for line in long)
    assert needed == len(LONG_SIGNATURES), "LONG_SIGNATURES names a signature that is not long"
    assert all(LONG_SIGNATURES.values()), "every entry of LONG_SIGNATURES needs its reason"
