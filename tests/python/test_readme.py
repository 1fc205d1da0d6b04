"""The README says what is true: its program is the example that is compiled and run."""

from helpers import REPOSITORY


def test_program_is_the_compiled_example() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    program = readme.split("```cpp\n")[1].split("```")[0]
    assert program == (REPOSITORY / "examples" / "quickstart.cpp").read_text()


def test_links_lead_somewhere() -> None:
    for page in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "src").rglob("*.md")):
        for part in page.read_text().split("](")[1:]:
            target = part.split(")")[0].split("#")[0]
            if target and not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page}: {target}"
