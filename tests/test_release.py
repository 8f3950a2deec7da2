"What is released: the version, both distributions, a wheel at work far from the repository, and what GitHub reads."

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from packaging.version import Version

import sonic

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/ArielBubis/sound_visualisation_for_music_recSys"
RAW = "https://raw.githubusercontent.com/ArielBubis/sound_visualisation_for_music_recSys"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [ROOT / ".github" / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# ---- one version -----------------------------------------------------------------------------------------------------


def test_version_changelog_and_citation_agree() -> None:
    "Between releases the version ends in .dev0 and the changes have no number yet."
    headings = re.findall(r"^## (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    released = [found for found in (re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", h) for h in headings) if found]
    number, day = released[0].groups()
    assert [*map(Version, (one[1] for one in released))] == sorted((Version(one[1]) for one in released), reverse=True)
    cited = yaml.safe_load(read("CITATION.cff"))
    assert (cited["version"], cited["date-released"]) == (number, day)
    ours = Version(sonic.__version__)
    assert (headings[0] == "Unreleased" and ours > Version(number)) if ours.is_devrelease else str(ours) == number
    assert ours.is_devrelease or headings[0] == f"{number} - {day}"


def test_the_citation_is_what_the_format_asks_for() -> None:
    cited = yaml.safe_load(read("CITATION.cff"))
    assert cited["cff-version"] == "1.2.0" and cited["message"] and cited["type"] == "software"
    assert cited["title"].startswith("SONIC") and cited["repository-code"] == REPOSITORY and cited["license"] == "MIT"
    for author in cited["authors"]:  # a person, or an entity
        assert set(author) in ({"family-names", "given-names"}, {"name"})
    assert all(isinstance(word, str) for word in cited["keywords"])


# ---- both distributions ----------------------------------------------------------------------------------------------


def test_the_source_distribution_holds_what_a_distributor_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    assert sdist.name == f"sonic_recsys-{sonic.__version__}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = "README.md LICENSE CHANGELOG.md CITATION.cff settings.ini setup.py pyproject.toml sonic/py.typed"
    assert {*wanted.split()} <= names
    assert {name.split("/")[0] for name in names if "/" in name} == {"sonic", "sonic_recsys.egg-info"}


def test_an_index_of_packages_shows_a_page_whose_links_lead_somewhere(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == sonic.__version__ and metadata["Description-Content-Type"] == "text/markdown"
    assert {line.partition(",")[0] for line in metadata.get_all("Project-URL")} >= {"Changelog", "Issues", "Repository"}
    page, here = metadata.get_payload(), re.compile(r"""(?:\]\(|\b(?:src|href)=["'])([^)"'\s]+)""")
    links, ours = here.findall(page), here.findall(read("README.md"))
    assert len(links) == len(ours) > 10
    for link, original in zip(links, ours, strict=True):
        assert link.startswith(("https://", "#")), link
        if link != original:
            place = RAW if re.search(r"\.(png|jpg|gif|svg)$", original) else f"{REPOSITORY}/blob"
            assert link == f"{place}/v{sonic.__version__}/{original}"
            assert (ROOT / original.partition("#")[0]).exists(), original
    assert f"{RAW}/v{sonic.__version__}/nbs/images/" in page


# ---- the wheel, far from here ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A fresh environment with the wheel in it, which sees what SONIC needs in this one, but not the SONIC of this one."
    env = tmp_path_factory.mktemp("elsewhere") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True, timeout=60)
    (site,) = env.glob("[Ll]ib/**/site-packages")
    # a folder named in a .pth file is searched, the .pth files in it are not read: an editable SONIC stays out of sight
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", env, "install", "--quiet", "--no-deps", "--no-index", wheel]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return env


def there(installed: Path, *command: object) -> str:
    "What a program of that environment prints, run beside it with a cache of its own."
    program = next(installed.glob(f"[bBS]*/{command[0]}*"))
    away = os.environ | {"SONIC_CACHE": str(installed.parent / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [program, *map(str, command[1:])], cwd=installed.parent, env=away, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_the_wheel_that_runs(installed: Path) -> None:
    said = there(installed, "python", "-c", "import sonic.cream.views as v; print(v.__file__)").strip()
    assert Path(said).is_relative_to(installed.resolve()) or Path(said).is_relative_to(installed)
    code = "from importlib.metadata import version; print(version('sonic-recsys'))"
    assert there(installed, "python", "-c", code).strip() == there(installed, "sonic", "--version").strip()
    assert there(installed, "sonic", "--version").strip() == sonic.__version__


def test_the_demo_of_the_wheel_compiles_draws_and_writes_its_page(installed: Path) -> None:
    there(installed, "sonic", "demo", "demo", "--tracks", 2, "--seconds", 3, "--jobs", 0)
    out = installed.parent / "demo"
    manifest = pd.read_parquet(out / "images" / "manifest.parquet")
    assert manifest["status"].tolist() == ["done", "done"]
    assert all(
        (out / "images" / path).is_file() for view in ("mel", "chroma", "fft", "tempogram") for path in manifest[view]
    )
    page = (out / "index.html").read_text(encoding="utf-8")
    assert all(title in page for title in manifest["title"])
    assert [*(installed.parent / "cache" / "kernels").iterdir()], "kernels are compiled where SONIC is first used"


# ---- what GitHub reads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_for_issues_is_one(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"] and form["description"] and form["labels"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in form["body"]} <= {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    for which in ([field["id"] for field in fields], [field["attributes"]["label"] for field in fields]):
        assert len({*which}) == len(which) > 2
    assert all(re.fullmatch(r"[\w-]+", field["id"]) for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
    assert all(field["attributes"]["value"] for field in form["body"] if field["type"] == "markdown")


def test_a_report_says_what_is_needed_to_see_it_again() -> None:
    asked = FORMS[0].read_text(encoding="utf-8")
    for words in ("sonic --version", "sonic info", "manifest", "command", "SECURITY.md", "one line"):
        assert words in asked
    links = yaml.safe_load(read(".github/ISSUE_TEMPLATE/config.yml"))["contact_links"]
    assert any("SECURITY" in link["url"] for link in links)
    assert all(set(link) == {"name", "url", "about"} for link in links)
    assert "make check" in read(".github/pull_request_template.md")


def workflow(path: Path) -> dict[str, Any]:
    "A workflow; YAML takes its key `on` for a truth."
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in found.items()}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_nothing_else_unless_it_says_so(path: Path) -> None:
    found = workflow(path)
    assert found["name"] == path.stem and found["on"] and found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        needs = job.get("needs", [])
        assert {*([needs] if isinstance(needs, str) else needs)} <= found["jobs"].keys() - {name}
        assert job["runs-on"] and job["steps"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"[\w-]+/[\w./-]+@[\w./-]+", step.get("uses", "a/b@c"))
            assert "${{" not in step.get("run", ""), "what stands there would be run as a command"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
        rights = {right for right, kind in job.get("permissions", {}).items() if kind == "write"}
        if rights:  # such a job runs nothing of ours, and nothing that was installed
            assert not any("checkout" in step.get("uses", "") for step in job["steps"])
            assert not re.search(r"\b(make|pip|python)\b", " ".join(step.get("run", "") for step in job["steps"]))


def test_one_job_alone_publishes() -> None:
    release = workflow(ROOT / ".github" / "workflows" / "release.yml")
    jobs = release["jobs"]
    assert release["on"] == {"push": {"tags": ["v*"]}}
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    publish = jobs["publish"]
    assert publish["permissions"] == {"id-token": "write"} and publish["environment"]["name"] == "pypi"
    assert {*publish["needs"]} == {"build", "try"} and jobs["announce"]["needs"] == "publish"
    assert publish["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert "password" not in str(publish) and "secrets." not in str(release)
    builds = [name for name, job in jobs.items() if "make dist" in str(job)]
    assert builds == ["build"]  # once: what is tried is what is published


def step(name: str, folder: Path, *, tag: str) -> subprocess.CompletedProcess[str]:
    "Run a step of the build job, as GitHub would for that tag."
    steps = workflow(ROOT / ".github" / "workflows" / "release.yml")["jobs"]["build"]["steps"]
    (command,) = (step["run"] for step in steps if step.get("name") == name)
    shell = ["bash", "-e", "-o", "pipefail", "-c", command]
    known = os.environ | {"GITHUB_REF_NAME": tag}
    return subprocess.run(shell, cwd=folder, env=known, capture_output=True, text=True, timeout=60)


def test_a_tag_that_is_not_the_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sonic").mkdir()
    (tmp_path / "sonic" / "__init__.py").write_text(read("sonic/__init__.py"), encoding="utf-8")
    assert step("the tag is the version", tmp_path, tag=f"v{sonic.__version__}").returncode == 0
    for tag in ("v9.9.9", sonic.__version__, f"v{sonic.__version__}rc1", "v"):
        told = step("the tag is the version", tmp_path, tag=tag)
        assert told.returncode == 1 and tag in told.stdout and sonic.__version__ in told.stdout


def test_the_notes_of_a_release_are_its_section_of_the_changelog(tmp_path: Path) -> None:
    text = "# Changes\n\n## 1.2.3 - 2030-01-02\n\nNew.\n\n### Part\n\n- a\n\n## 1.2.2 - 2030-01-01\n\nOld.\n"
    (tmp_path / "CHANGELOG.md").write_text(text, encoding="utf-8")
    for tag, notes in {"v1.2.3": "New.\n\n### Part\n\n- a", "v1.2.2": "Old."}.items():
        assert step("what has changed", tmp_path, tag=tag).returncode == 0
        assert (tmp_path / "notes.md").read_text(encoding="utf-8").strip() == notes
    for tag in ("v1.2", "v1.2.30", "v1x2.3", "v2.0.0"):
        assert step("what has changed", tmp_path, tag=tag).returncode == 1
