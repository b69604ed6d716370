"""What the design promises of the code as a whole: floors, fences, light imports, clean files."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
CORE = REPOSITORY / "core" / "mobclip"
HEAVY = {"torch", "umap", "geopandas", "rasterio", "sklearn", "pandas", "pooch"}

# Addresses that a reader may follow; nothing is downloaded from them. Everything else that looks
# like an address must be a `url` of data_manifest.yaml.
READ_ONLY_HOSTS = {
    *("127.0.0.1", "localhost"),
    *("arxiv.org", "doi.org", "github.com"),
    *("en.wikipedia.org", "www.apache.org"),  # in the notices of the bundled libraries
    *("creativecommons.org", "opendatacommons.org"),
    *("h3geo.org", "streamlit.io"),  # for readers of the README
    "www.w3.org",  # the name of SVG, by which a browser knows a drawing; nothing is fetched
}


# ---- floors and fences (contracts in pyproject.toml) -------------------------------------------


def test_floors_and_fences():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "modules",
    [
        "mobclip.cli",
        "mobclip.pipeline",
        "mobclip.place, mobclip.search, mobclip.projection, mobclip.probes",
        "cache, state, colours, map_component, views.frame, views.map, views.similar, views.probe",
    ],
)
def test_starts_without_the_heavy_libraries(modules):
    if modules.startswith("cache"):
        pytest.importorskip("streamlit", reason="the app needs the extra 'app'")
    code = f"import {modules}, sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "app")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())


# ---- code -------------------------------------------------------------------------------------


def test_core_does_not_print():
    calls = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for path in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not calls, "use logging, or the console of cli.py"


def test_core_does_not_pickle():
    modules = re.compile(r"^\s*(?:import|from)\s+(?:pickle|joblib|dill)\b|allow_pickle=True", re.M)
    assert not [p.name for p in CORE.rglob("*.py") if modules.search(p.read_text("utf-8"))]


# ---- dependencies -----------------------------------------------------------------------------


def constraints() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pins}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_are_plain_exact_versions():
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pin = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*")  # no local tag, no option
    odd = [line for line in lines if not line.startswith("#") and not pin.fullmatch(line)]
    assert not odd
    # The index decides what torch brings; we do not pin what only one of its builds needs.
    assert not [name for name in constraints() if name.startswith(("nvidia", "triton", "cuda"))]
    assert "torchvision" not in constraints()


def test_every_direct_dependency_is_pinned_within_its_range():
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    pins = constraints()
    for text in project["dependencies"] + extras["app"] + extras["notebook"] + extras["dev"]:
        wanted = requirements.Requirement(text)
        assert canonical(wanted.name) in pins, f"{text}: run `make constraints`"
        assert wanted.specifier.contains(pins[canonical(wanted.name)]), text


def test_the_lock_of_the_map_names_no_host():
    lock = json.loads((REPOSITORY / "app/map_component/package-lock.json").read_text("utf-8"))
    assert lock["packages"]
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


# ---- files in git -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Path -> content of every text file of the repository."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout: the list of files is git's")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    found = {}
    for name in filter(None, listed):
        path = REPOSITORY / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            found[name] = content.decode("utf-8")
    assert "pyproject.toml" in found
    return found


def test_files_name_no_host_that_something_is_loaded_from(texts):
    manifest = yaml.safe_load(texts["data_manifest.yaml"])
    allowed = READ_ONLY_HOSTS | set(hosts(json.dumps(manifest)))
    odd = {
        f"{name}: {host}"
        for name, text in texts.items()
        for host in hosts(text)
        # example.* is reserved for examples; a name without a dot is no public host
        if host not in allowed and "." in host and not host.endswith((".example", "example.org"))
    }
    assert not odd, "add it to READ_ONLY_HOSTS if nothing is downloaded from there"


def hosts(text: str) -> list[str]:
    return [host.lower() for host in re.findall(r"(?:https?|wss?)://([\w.-]*\w)", text)]


def test_files_set_no_package_index(texts):
    option = re.compile(r"^[^#\n]*(?:index-url|find-links|registry\s*=\s*\S)", re.M)
    me = Path(__file__).name
    assert not [name for name, text in texts.items() if me not in name and option.search(text)]


def test_no_data_is_in_the_repository(texts):
    # Fixtures are miniatures; real data and what is made of it stays outside.
    sizes = {name: (REPOSITORY / name).stat().st_size for name in texts}
    assert not {name: n for name, n in sizes.items() if n > 2_500_000}
    assert not [name for name in texts if name.startswith(("data/", "shared/"))]
