"""Exporting over an existing bundle: all files of the new one replace those of the old one, and nothing else changes."""

import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from exported_programs import LINK, SERVICES, module

from dynamo_nb.bundle import export
from dynamo_nb.errors import BundleError
from dynamo_nb.program import find

NOBODY = 65534
LIBRARY = "def shout(text):\n    return text.upper()\n"
WITH_LIBRARY = "from LIBRARY import shout\n" + SERVICES.replace("word + self.suffix", "shout(word) + self.suffix")


@pytest.fixture
def place():
    """A folder that another user can enter."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def plans(source, place):
    """The plans of two versions of a graph. The first one has a package that the second one has not."""
    (source / "library_of_one").mkdir()
    (source / "library_of_one" / "__init__.py").write_text(LIBRARY)
    (source / "other_library.py").write_text(LIBRARY)
    first = module(source, WITH_LIBRARY.replace("LIBRARY", "library_of_one") + LINK).plan("--Backend.suffix=a")
    second = module(source, WITH_LIBRARY.replace("LIBRARY", "other_library") + LINK).plan("--Backend.suffix=b")
    return first, second


def tree(folder):
    """Everything in a folder, by path: the bytes of files, the targets of links, and the owners."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = str(path.readlink()) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(folder))] = (content, path.lstat().st_uid)
    return found


def as_another_user(place, call):
    """A process that calls as another user, who owns all that is there now, and the pipe for its error, "" if none."""
    for path in [place, *place.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def run(pipe):
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.chdir("/")
        try:
            call()
        except BundleError as error:
            pipe.send(str(error))
        else:
            pipe.send("")

    receiving, sending = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=run, args=(sending,))
    return child, receiving


def of_root(path):
    path.mkdir(parents=True)
    (path / "weights.bin").write_text("cached by a container")


ROOT_FOLDERS = ["cache", "code/__pycache__", "code/library_of_one/__pycache__", "data/deep"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of two users")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("folder", ROOT_FOLDERS)
def test_a_folder_of_another_user_stays_and_the_bundle_is_replaced(plans, place, folder):
    bundle = place / "bundle"
    export(plans[0].spec, plans[0].code, bundle)
    (bundle / "notes.txt").write_text("mine")
    child, receiving = as_another_user(place, lambda: export(plans[1].spec, plans[1].code, bundle))
    of_root(bundle / folder)
    child.start()
    child.join()

    assert receiving.recv() == ""
    assert find(str(bundle)).graph.services["Backend"]
    assert (bundle / folder / "weights.bin").read_text() == "cached by a container"
    assert (bundle / "notes.txt").read_text() == "mine"
    assert not (bundle / "code" / "library_of_one" / "__init__.py").exists()
    assert [path.name for path in place.iterdir()] == ["bundle"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of two users")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("folder", ["code", "code/library_of_one"])
def test_a_folder_of_another_user_in_the_way_leaves_everything_unchanged(plans, place, folder):
    bundle = place / "bundle"
    export(plans[0].spec, plans[0].code, bundle)
    (bundle / "notes.txt").write_text("mine")
    child, receiving = as_another_user(place, lambda: export(plans[1].spec, plans[1].code, bundle))
    os.chown(bundle / folder, 0, 0)
    before = tree(place)
    child.start()
    child.join()

    assert "the bundle cannot be written" in receiving.recv()
    assert tree(place) == before


def a_folder_instead_of_a_file(bundle):
    (bundle / "README.md").unlink()
    (bundle / "README.md").mkdir()
    (bundle / "README.md" / "mine").write_text("mine")


def a_file_with_the_name_of_a_new_module(bundle):
    (bundle / "code" / "other_library.py").write_text("mine")


def a_folder_with_the_name_of_a_new_module(bundle):
    (bundle / "code" / "other_library.py").mkdir()


def code_as_a_link(bundle):
    (bundle / "code").rename(bundle.parent / "sources")
    (bundle / "code").symlink_to("../sources")


IN_THE_WAY = {
    function.__name__: function
    for function in (
        a_folder_instead_of_a_file,
        a_file_with_the_name_of_a_new_module,
        a_folder_with_the_name_of_a_new_module,
        code_as_a_link,
    )
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_what_the_export_did_not_write_is_not_replaced(plans, place, name):
    bundle = place / "bundle"
    export(plans[0].spec, plans[0].code, bundle)
    IN_THE_WAY[name](bundle)
    before = tree(place)

    with pytest.raises(BundleError, match="what the export did not write would be replaced"):
        export(plans[1].spec, plans[1].code, bundle)

    assert tree(place) == before


KEPT = ["notes.txt", ".git/config", "code/notes.py", "code/__pycache__/x.pyc", "code/library_of_one/data.json"]


@pytest.mark.parametrize("path", KEPT)
def test_a_file_that_the_export_did_not_write_stays(plans, place, path):
    bundle = place / "bundle"
    export(plans[0].spec, plans[0].code, bundle)
    (bundle / path).parent.mkdir(parents=True, exist_ok=True)
    (bundle / path).write_text("mine")

    export(plans[1].spec, plans[1].code, bundle)

    assert (bundle / path).read_text() == "mine"
    expected = export(plans[1].spec, plans[1].code, place / "new")
    assert tree(expected).items() <= tree(bundle).items()
    assert not (bundle / "code" / "library_of_one" / "__init__.py").exists()


def test_a_path_in_the_graph_file_that_leads_outside_is_not_removed(plans, place):
    bundle = export(plans[0].spec, plans[0].code, place / "bundle")
    (place / "outside.txt").write_text("mine")
    text = (bundle / "graph.yaml").read_text()
    (bundle / "graph.yaml").write_text(text.replace("library_of_one/__init__.py:", "../../outside.txt:"))

    export(plans[1].spec, plans[1].code, bundle)

    assert (place / "outside.txt").read_text() == "mine"


def test_a_folder_with_another_graph_file_is_not_a_bundle(plans, place):
    bundle = export(plans[0].spec, plans[0].code, place / "bundle")
    (bundle / "graph.yaml").write_text("nodes: [a, b]\n")
    before = tree(place)

    with pytest.raises(BundleError, match="not a bundle"):
        export(plans[1].spec, plans[1].code, bundle)

    assert tree(place) == before


def a_line_more(file):
    file.write_text(file.read_text() + "# mine\n")


def a_line_less(file):
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))


def deleted(file):
    file.unlink()


def as_the_new_one(file):
    pass  # the test writes what the next export will write


FILES = ["Dockerfile", "config.yaml", "requirements.txt", "kubernetes.yaml", "README.md", ".dockerignore"]
EDITS = [
    *((file, a_line_more, True) for file in [*FILES, "code/[!o]*.py", "code/library_of_one/__init__.py"]),
    ("Dockerfile", a_line_less, True),
    ("Dockerfile", deleted, False),
    ("config.yaml", as_the_new_one, False),
]


@pytest.mark.parametrize(("file", "edit", "kept"), EDITS, ids=lambda v: getattr(v, "__name__", None) or str(v))
def test_a_file_that_was_edited_is_kept_with_a_note(plans, place, file, edit, kept):
    bundle, fresh, notes = place / "bundle", place / "fresh", []
    export(plans[0].spec, plans[0].code, bundle)
    export(plans[1].spec, plans[1].code, fresh)
    if "*" in file:
        file = str(next(bundle.glob(file)).relative_to(bundle))
    edit(bundle / file)
    if edit is as_the_new_one:
        shutil.copy(fresh / file, bundle / file)
    edited = (bundle / file).read_bytes() if (bundle / file).exists() else b""

    export(plans[1].spec, plans[1].code, bundle, notes.append)

    copy = f"edited/{file}"
    assert notes == [f"{file} was changed since it was exported: the changed file is now {copy}"] * kept
    assert {path: both for path, both in tree(bundle).items() if not path.startswith("edited")} == tree(fresh)
    assert not kept or (bundle / copy).read_bytes() == edited
    assert kept or not (bundle / "edited").exists()
    assert find(str(bundle)).graph.services["Backend"]


def test_files_that_are_edited_again_and_again_are_all_kept(plans, place):
    bundle = place / "bundle"
    export(plans[0].spec, plans[0].code, bundle)
    notes = []
    for text in ("one", "two", "two", "one"):
        (bundle / "Dockerfile").write_text(text)
        export(plans[0].spec, plans[0].code, bundle, notes.append)

    assert [note.rpartition(" ")[2] for note in notes] == [f"edited/Dockerfile{n}" for n in ("", ".2", ".2", "")]
    assert ((bundle / "edited/Dockerfile").read_text(), (bundle / "edited/Dockerfile.2").read_text()) == ("one", "two")


def test_a_bundle_of_an_earlier_version_has_no_digests_and_is_replaced(plans, place):
    bundle, notes = place / "bundle", []
    export(plans[0].spec, plans[0].code, bundle)
    graph = bundle / "graph.yaml"
    graph.write_text("".join(line for line in graph.read_text().splitlines(keepends=True) if line[0] != "#"))
    a_line_more(bundle / "Dockerfile")

    export(plans[0].spec, plans[0].code, bundle, notes.append)

    assert notes == []
